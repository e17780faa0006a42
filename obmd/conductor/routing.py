"""Where a call goes: to the owner in the node's row, if it lives."""

import contextlib
import logging
import threading
import time

from obmd.common import errors
from obmd.conductor import ownership

LOG = logging.getLogger(__name__)

#: seconds within which a look at the conductors is not repeated for another caller
FRESH = 0.2
#: nodes that are routed in one go: 2 ms where each must be looked up on a ring of 100 conductors
SLICE = 500


class OwnerGone(errors.Unavailable):
    """The owner in the row is not live; nothing was sent.  The row may say another by now.

    :ivar heir: bool, whether a conductor lives that will claim the node.
    """

    heir = False


class Router:
    """The API's view of the conductors; fed by an Observer (``look``).

    :param partitions: as on the conductors, ``[conductor] ring_partitions``.
    :param retry_after: seconds to advise to a caller whose node has no owner.
    :ivar refresh: callable that reads the conductors now and calls ``look``; for an owner that
        has started since the last regular look.  None: no such look.
    """

    def __init__(self, partitions, retry_after, clock=time.monotonic):
        self.refresh = None
        self._partitions = partitions
        self._retry_after = retry_after
        self._clock = clock
        self._looked_at = float('-inf')
        self._looking = threading.Lock()
        self._live = {}
        self._hosts = {}
        self._watchers = {}
        self._rings = ownership.Rings((), partitions)

    def look(self, live, rows):
        """Take the live conductors as of now; end the waiting for those that are gone."""
        rings = ownership.Rings(live, self._partitions)
        if rings != self._rings:
            self._rings = rings
        before, self._live = self._live, {one.incarnation: one for one in live}
        self._hosts = {one.incarnation: one.host for one in rows}
        self._looked_at = self._clock()
        gone = before.keys() - self._live.keys()
        if gone:
            for incarnation, give_up in list(self._watchers.values()):
                if incarnation in gone:
                    give_up()

    @property
    def live(self):
        """Number of live conductors."""
        return len(self._live)

    @property
    def living(self):
        """:returns: list of ``obmd.db.conductors.Conductor``."""
        return list(self._live.values())

    @property
    def rings(self):
        """:returns: :class:`obmd.conductor.ownership.Rings` over the live conductors."""
        return self._rings

    def conductor(self, incarnation):
        """:raises OwnerGone: it is not live any more."""
        try:
            return self._live[incarnation]
        except KeyError:
            raise OwnerGone('the conductor has just gone', retry_after=self._retry_after) from None

    def host(self, incarnation):
        """:returns: str, the host of a conductor, which may not live, or None: not known."""
        return self._hosts.get(incarnation)

    def host_of(self, node):
        """:returns: str, the host of the node's owner, which may not live, or None."""
        return self._hosts.get(node.owner)

    @contextlib.contextmanager
    def watched(self, incarnation, give_up):
        """Within it ``give_up()`` is called when that conductor is not live any more; it costs no
        query, the regular look finds out for all who wait."""
        key = object()
        self._watchers[key] = incarnation, give_up
        try:
            if incarnation not in self._live:
                give_up()
            yield
        finally:
            del self._watchers[key]

    def owner_of(self, node):
        """The conductor to call for ``node``: its owner, or for an unowned node the one that the
        ring proposes, which claims it when called.

        :raises OwnerGone: the owner does not live.
        :raises Unavailable: nobody lives who should own it.
        """
        found = self._find(node)
        if found is None:
            self.look_again()
            found = self._find(node)
        if found is None:
            raise self._nobody(node)
        return found

    def owner_of_job(self, job):
        """The conductor to ask about ``job``: its owner, or who should claim it.

        :param job: ``obmd.db.jobs.Job``.
        :raises OwnerGone: it does not live, or nobody does who would own it.
        """
        owner = job.owner or self._rings.propose_for(job.uuid, *ownership.EVERYBODY)
        if owner not in self._live:
            self.look_again()
            owner = job.owner or self._rings.propose_for(job.uuid, *ownership.EVERYBODY)
        if owner not in self._live:
            raise OwnerGone(
                'the conductor that owns the job is gone; another takes it over soon'
                if job.owner
                else 'no conductor lives that could own the job',
                retry_after=self._retry_after,
            )
        return self._live[owner]

    def _find(self, node):
        if node.owner is not None:
            return self._live.get(node.owner)
        return self._live.get(self._rings.propose(node))

    def look_again(self):
        """One look for all who find an owner missing or moved at the same time."""
        if self.refresh is None:
            return
        with self._looking:
            if self._clock() - self._looked_at < FRESH:
                return
            try:
                self.refresh()
            except errors.ObmdError as error:
                LOG.warning('conductors cannot be read: %s', error.reason)

    def may_hold(self, node):
        """The conductors that may hold something of ``node`` (a stream, a session)."""
        owner = self._live.get(node.owner)
        return [owner] if owner is not None else []

    def split(self, nodes):
        """:returns: ``(by_owner, unroutable)``: dict incarnation -> list of nodes, and dict of
        node name -> error."""
        by_owner, unroutable = {}, {}
        for number, node in enumerate(nodes):
            if number % SLICE == 0:
                time.sleep(0)
            try:
                by_owner.setdefault(self.owner_of(node).incarnation, []).append(node)
            except errors.Unavailable as error:
                unroutable[node.name] = error
        return by_owner, unroutable

    def _nobody(self, node):
        live = self._live.values()
        others = ownership.why_nobody(node.conductor_group, node.driver, live)
        if node.owner is None:
            return errors.Unavailable(others, node.name, self._retry_after)
        host = self._hosts.get(node.owner)
        owner = f'the conductor {host or "that owns the node"} is not answering'
        heir = self._rings.propose(node) is not None
        then = 'another takes the node over soon' if heir else others
        error = OwnerGone(f'{owner}; {then}', node.name, self._retry_after)
        error.heir = heir
        return error
