"""The nodes that this conductor owns: claimed by compare-and-swap, live until given up."""

import logging
import threading
import time

from obmd.common import errors
from obmd.common import metrics
from obmd.common import secrets
from obmd.conductor import node
from obmd.db import descriptions
from obmd.db import nodes
from obmd.db import owners
from obmd.drivers import base
from obmd.drivers import registry

LOG = logging.getLogger(__name__)

#: nodes claimed between two looks at the rest of the table, and in one transaction: the first are
#: served while the rest is claimed, and their rows are not locked for long
PAGE, BATCH = 500, 50


class Holdings:
    """:param incarnation: str, of this conductor's start.
    :param keyring: ``obmd.common.secrets.Keyring``.
    :param make_console: as of LiveNode.
    :param settle: called with each new LiveNode: starts what goes on without callers.
    :param timers: as of LiveNode.
    """

    def __init__(self, incarnation, keyring, make_console, settle, timers):
        self._incarnation = incarnation
        self._keyring = keyring
        self._make_console = make_console
        self._settle = settle
        self._timers = timers
        self._lives = {}
        self._lock = threading.Lock()
        self._unreadable = set()
        self._doubtful = set()
        self._leaving = set()
        self._closed = False
        #: the rings as of the last look; who is asked for a node that nobody owns claims it only
        #: if they say so, else it would go back and forth
        self.rings = None

    def __len__(self):
        return len(self._lives)

    def __iter__(self):
        return iter(list(self._lives.values()))

    @property
    def uuids(self):
        return list(self._lives)

    def close(self):
        """Claim and serve nothing more than what is live now."""
        with self._lock:
            self._closed = True

    def get(self, uuid):
        """:returns: LiveNode or None."""
        return self._lives.get(uuid)

    def find(self, uuid):
        """The live node, claimed now if nobody owns it.

        :raises NotOwner: it is another's, or was deleted.  Nothing was sent to its BMC.
        """
        live = self._lives.get(uuid)
        if live is not None:
            if uuid in self._leaving:
                raise errors.NotOwner('the node moves to another conductor', live.name)
            return live
        row = nodes.get_by_uuid(uuid)
        if row is None or row.owner not in (None, self._incarnation):
            raise errors.NotOwner('this conductor does not own the node', row and row.name)
        if row.owner is None and not self.is_mine(row):
            raise errors.NotOwner('another conductor should own the node', row.name)
        live = self.claim(row)
        if live is None:
            raise errors.NotOwner('another conductor was faster to claim the node', row.name)
        return live

    def claim(self, row):
        """Own the node of ``row``, as it was read just now.

        :returns: LiveNode, or None when the row has changed meanwhile.
        :raises ObmdError: its credentials cannot be opened here; it is left alone.
        :raises Unavailable: after :meth:`close`.
        """
        if self._closed:
            raise errors.Unavailable('this conductor is stopping', row.name)
        try:
            driver = self._driver(row)
        except errors.ObmdError as error:
            error.node = error.node or row.name
            raise
        epoch = row.owner_epoch
        if row.owner != self._incarnation:
            epoch = self._take(row)
            if epoch is None:
                row = nodes.get_by_uuid(row.uuid)
                if row is None or row.owner != self._incarnation:
                    return None
                epoch = row.owner_epoch
        return self._serve(row, driver, epoch)

    def _serve(self, row, driver, epoch):
        new = node.LiveNode(row, driver, self._incarnation, epoch, self._make_console, self._timers)
        with self._lock:
            if self._closed:  # what was claimed in this moment is the next start's
                raise errors.Unavailable('this conductor is stopping', row.name)
            live = self._lives.setdefault(row.uuid, new)
        if live is new:
            self._settle(live)
        return live

    def _take(self, row):
        try:
            epoch = owners.claim(row.uuid, self._incarnation, row.owner, row.owner_epoch)
            metrics.CLAIMS.count('lost' if epoch is None else 'won')
            return epoch
        except errors.Unavailable:
            metrics.CLAIMS.count('unknown')
            self.doubt(row.uuid)  # it may have been committed: seen at the next look
            raise

    def claim_due(self, group, drivers, dead):
        """Claim what nobody owns, or a dead conductor did, and the ring gives to us.

        :param dead: incarnations of the dead conductors.
        :returns: list of the LiveNodes that are new.
        """
        claimed, after_id = self._settle_doubts(), 0
        while True:
            rows = owners.claimable(group, drivers, dead, PAGE, after_id)
            claimed += self._claim_page(rows)
            if len(rows) < PAGE:
                return claimed
            after_id = rows[-1].id

    def _claim_page(self, rows):
        by_owner, claimed = {}, []
        for row in rows:
            time.sleep(0)  # a slice at a time: the ring does not yield by itself
            if self.is_mine(row):
                by_owner.setdefault(row.owner, []).append(row)
        failed = None
        for owner, mine in by_owner.items():
            for start in range(0, len(mine), BATCH):
                try:
                    claimed += self._claim_batch(mine[start : start + BATCH], owner)
                except errors.Unavailable as error:
                    # A row that somebody holds locked keeps its batch, and no other, from being
                    # claimed; a database that is gone ends it all.
                    if self._closed or failed is not None:
                        raise
                    failed = error
        if failed is not None:
            raise failed
        return claimed

    def _claim_batch(self, rows, owner):
        if self._closed:
            raise errors.Unavailable('this conductor is stopping')
        ready = {}
        for row in rows:
            time.sleep(0)  # nor does opening what is sealed
            driver = self._try(row, self._driver)
            if driver is not None:
                ready[row.uuid] = row, driver
        try:
            taken = owners.claim_all(ready, self._incarnation, owner) if ready else []
        except errors.Unavailable:
            self._doubtful.update(ready)  # it may have been committed: seen at the next look
            metrics.CLAIMS.count('unknown', by=len(ready))
            raise
        metrics.CLAIMS.count('won', by=len(taken))
        metrics.CLAIMS.count('lost', by=len(ready) - len(taken))
        claimed = []
        for row in taken:
            seen, driver = ready[row.uuid]
            live = None
            if row.sealed_info == seen.sealed_info:
                live = self._try(row, self._serve, driver, row.owner_epoch)
            if live is not None:
                claimed.append(live)
            else:
                self.doubt(row.uuid)
        return claimed

    def is_mine(self, row):
        """Whether the ring gives the node of ``row`` to this conductor."""
        return self.rings is not None and self.rings.propose(row) == self._incarnation

    def heir(self, live):
        """:returns: str, the incarnation that the ring gives a node of ours to now, or None: it
        stays."""
        target = self.rings.propose_for(live.uuid, live.conductor_group, live.driver_name)
        return None if target == self._incarnation else target

    def adopt(self, live, row):
        """Go on under the epoch of ``row`` if that is ours and the BMC is reached as before.

        :returns: bool, whether it is; else the node has to be let go and served anew.
        """
        if (row.owner, row.driver) != (self._incarnation, live.driver_name):
            return False
        try:
            same = self._opened(row) == live.driver.info
        except errors.ObmdError:
            return False
        if same:
            live.epoch = row.owner_epoch
        return same

    def _opened(self, row):
        return secrets.open_info(self._keyring, row)

    def leave(self, uuid):
        """Answer no call for the node any more: it moves.  ``drop`` ends this."""
        self._leaving.add(uuid)

    def drop(self, uuid):
        """Forget a node.  :returns: LiveNode or None; closing it is the caller's."""
        with self._lock:
            live = self._lives.pop(uuid, None)
            self._leaving.discard(uuid)
        return live

    def doubt(self, uuid):
        """Whether the node is ours is seen in its row at the next look."""
        self._doubtful.add(uuid)

    def _settle_doubts(self):
        """Serve what a claim took whose answer was lost.  :returns: as ``claim_due``."""
        claimed = []
        for uuid in list(self._doubtful):
            row = nodes.get_by_uuid(uuid)
            self._doubtful.discard(uuid)
            if row is not None and row.owner == self._incarnation and uuid not in self._lives:
                claimed.append(self._try(row, self.claim))
        return [live for live in claimed if live is not None]

    def _try(self, row, step, *args):
        """One node that cannot be served keeps no other from being claimed.

        :returns: what ``step(row, *args)`` gives, or None.
        """
        try:
            made = step(row, *args)
        except errors.Unavailable:
            raise
        except Exception as error:
            if row.uuid not in self._unreadable:
                self._unreadable.add(row.uuid)
                known = isinstance(error, errors.ObmdError)
                why = error.reason if known else f'its driver failed: {type(error).__name__}'
                LOG.error('%s is not served: %s', row.name, why)
            return None
        self._unreadable.discard(row.uuid)
        return made

    def open_configdrive(self, live):
        """:returns: the configdrive of the node, in the clear; None: there is none.

        :raises SealMismatch, KeyMissing: it cannot be opened here.
        """
        found = descriptions.get(live.uuid)
        if found.sealed_instance_info is None:
            return None
        opened = secrets.open_json(
            self._keyring, live.uuid, found.sealed_instance_info, found.key_id
        )
        return opened.get('configdrive')

    def _driver(self, row):
        driver_class = registry.get(row.driver)
        return driver_class(base.NodeRef(row.name, row.uuid), self._opened(row))
