"""Giving nodes to the conductors that should own them: finish, let go, release, tell.

A node moves in this order: calls for it are refused with NotOwner (the API asks the next owner),
the write that runs ends, viewers are sent on, SOL is deactivated, the BMC's session is closed, the
row is released, and the next owner is told, so that it claims without waiting for its next look.
"""

import logging
import threading
import time

from obmd.common import errors
from obmd.common import metrics
from obmd.common import threads
from obmd.common.deadline import Deadline
from obmd.conductor import console
from obmd.conductor import pace
from obmd.db import nodes
from obmd.db import owners

LOG = logging.getLogger(__name__)

#: seconds for which a node that moves is waited for, and between two looks whether its next owner
#: has it and its console
TAKEN_WITHIN, LOOK = 2.0, 0.1
#: seconds a write that runs may hold its node up; then it is tried again later
PATIENCE = 60.0


class Handover:
    """:param incarnation: str, of this conductor's start.
    :param holdings: :class:`obmd.conductor.holdings.Holdings`.
    :param close: ``close(live, error, reason, deadline)``, gives back what is held for a node.
    :param tell: ``tell(incarnation, uuid)``, tells the next owner in the background.
    """

    def __init__(self, incarnation, holdings, close, tell, clock=time.monotonic):
        self._incarnation = incarnation
        self._holdings = holdings
        self._close = close
        self._tell = tell
        self._clock = clock
        self._pace = pace.Pace(clock)

    def give(self, patience=PATIENCE):
        """Move every node that the rings give to another conductor; returns when all have moved
        or were found busy for ``patience`` seconds.

        The rings may change meanwhile: each node goes, or stays, as they say when its turn comes.

        :returns: bool, whether all have moved.
        """
        deadline = Deadline(patience)
        due = []
        for live in self._holdings:
            time.sleep(0)  # a slice at a time: the ring does not yield
            if self._holdings.heir(live) is not None:
                due.append(live)
        results, done = [], threading.Semaphore(0)
        for live in due:
            self._pace.enter()
            threads.spawn(self._give_one, live, deadline, results, done)
        for _ in due:
            done.acquire()
        if due:
            LOG.info('%d of %d nodes handed over', len(results), len(due))
        return len(results) == len(due)

    def _give_one(self, live, deadline, results, done):
        seconds = None
        try:
            target = self._holdings.heir(live)
            if target is not None:
                seconds = self._send(live, target, deadline)
            if target is None or seconds is not None:
                results.append(live)
        finally:
            self._pace.leave(seconds)
            done.release()

    def _send(self, live, target, deadline):
        """:returns: float, seconds for which the node was on its way; None: it stayed."""
        captured, began = live.console.up, self._clock()
        moved = False
        if live.settle(deadline):
            began = self._clock()
            moved = self._move(live)
        else:
            LOG.warning('%s: busy, its hand-over waits', live.name)
        metrics.HANDOVERS.observe(self._clock() - began, 'moved' if moved else 'kept')
        if not moved:
            return None
        self._tell(target, live.uuid)
        _wait_until_taken(live.uuid, captured, deadline)
        return self._clock() - began

    def _move(self, live):
        self._holdings.leave(live.uuid)
        moved = errors.NotOwner('the node moves to another conductor', live.name)
        self._close(live, moved, 'the node moves to another conductor', Deadline(5))
        try:
            return owners.release(live.uuid, self._incarnation, live.epoch)
        except errors.Unavailable as error:
            # Still ours in the row, so nobody else takes it: it is served anew at the next look.
            self._holdings.doubt(live.uuid)
            LOG.warning('%s: not released: %s', live.name, error.reason)
            return False
        finally:
            self._holdings.drop(live.uuid)


def _wait_until_taken(uuid, captured, deadline):
    patience = deadline.within(TAKEN_WITHIN)
    while not patience.expired:
        time.sleep(LOOK)
        try:
            row = nodes.get_by_uuid(uuid)
        except errors.Unavailable:
            return
        up = row is not None and console.is_up(row.sol_holder)
        if row is None or (row.owner is not None and (up or not captured)):
            return
