"""What is held here and what the rows say: the same, though a commit may come late.

A release or a claim whose answer was lost is settled by reading the row; but the commit itself may
still be on its way then.  So the rows that the check of tokens reads anyway are compared with what
is held, and now and then what is owned with what is served.
"""

import logging
import time

from obmd.common import errors
from obmd.common import threads
from obmd.db import nodes
from obmd.db import owners

LOG = logging.getLogger(__name__)

#: seconds between two looks for nodes that are ours and not served
UNSERVED = 60.0


class Audit:
    """:param incarnation: str, of this conductor's start.
    :param holdings: :class:`obmd.conductor.holdings.Holdings`.
    :param close: ``close(live, error, reason, deadline, deactivate)``, lets go of what is held.
    """

    def __init__(self, incarnation, holdings, close, clock=time.monotonic):
        self._incarnation = incarnation
        self._holdings = holdings
        self._close = close
        self._clock = clock
        self._due = clock() + UNSERVED

    def compare(self, standings):
        """Let go of the nodes that are another's; now and then, find those that are not served.

        :param standings: as :func:`obmd.db.nodes.standings` gives, read a moment ago.
        """
        try:
            self._let_go(standings)
            if self._clock() >= self._due:
                self._doubt_unserved()
                self._due = self._clock() + UNSERVED
        except errors.ObmdError as error:
            LOG.warning('what is held is not compared with the rows: %s', error.reason)
        except Exception:
            # the check of tokens goes on
            LOG.exception('what is held cannot be compared with the rows')

    def _let_go(self, standings):
        suspects = self._not_ours(self._holdings, standings)
        if not suspects:
            return
        # it may have been claimed between the answer and now
        again = nodes.standings(live.uuid for live in suspects)
        for live in self._not_ours(suspects, again):
            if self._holdings.get(live.uuid) is live:
                self._lose(live, again.get(live.uuid))

    def _not_ours(self, lives, standings):
        return [live for live in lives if self._is_lost(live, standings.get(live.uuid))]

    def _is_lost(self, live, standing):
        if standing is None or live.going is not None:
            return False  # deleted, or closed already: another room sees to it
        return (standing.owner, standing.owner_epoch) != (self._incarnation, live.epoch)

    def _lose(self, live, standing):
        if standing.owner == self._incarnation:
            row = nodes.get_by_uuid(live.uuid)
            if row is None or self._holdings.adopt(live, row):
                return
            # what was sent to the BMC may have been done: a call must not be made again elsewhere
            error = errors.OutcomeUnknown('the BMC of the node was changed meanwhile', live.name)
        else:
            error = errors.NotOwner('the node has another owner now', live.name)
        LOG.warning('%s: %s; let go', live.name, error.reason)
        self._holdings.drop(live.uuid)
        self._holdings.doubt(live.uuid)  # ours again, at another epoch
        # its SOL is the next owner's
        threads.spawn(self._close, live, error, error.reason, None, False)

    def _doubt_unserved(self):
        for uuid in owners.uuids(self._incarnation):
            if self._holdings.get(uuid) is None:
                self._holdings.doubt(uuid)
