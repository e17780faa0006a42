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


class _Pass:
    """One look at all nodes that should go.

    :ivar called_off: bool, the database is gone: no other node is begun.
    """

    def __init__(self, deadline):
        self.deadline = deadline
        self.moved = []
        self.done = threading.Semaphore(0)
        self.called_off = False

    @property
    def is_over(self):
        return self.called_off or self.deadline.expired


class Handover:
    """:param incarnation: str, of this conductor's start.
    :param holdings: :class:`obmd.conductor.holdings.Holdings`.
    :param close: ``close(live, error, reason, deadline)``, gives back what is held for a node.
    :param tell: ``tell(incarnation, uuid)``, tells the next owner in the background.
    :param save: ``save(live)``, writes what is known of its agent and is not in its row.
    """

    def __init__(self, incarnation, holdings, close, tell, save, clock=time.monotonic):
        self._incarnation = incarnation
        self._holdings = holdings
        self._close = close
        self._tell = tell
        self._save = save
        self._clock = clock
        self._pace = pace.Pace(clock)

    def give(self, patience=PATIENCE):
        """Move the nodes that the rings give to another conductor.

        The rings may change meanwhile: each node goes, or stays, as they say when its turn comes.
        After ``patience`` seconds, or when the database is gone, no other is begun.

        :returns: bool, whether all have moved.
        """
        one = _Pass(Deadline(patience))
        due, begun = self._due(), 0
        for live in due:
            if live.busy:
                # It has no place while it waits for the write that runs: the others go on.
                threads.spawn(self._give_later, live, one)
            else:
                self._pace.enter()
                if one.is_over:
                    self._pace.leave()
                    break
                threads.spawn(self._give_one, live, one)
            begun += 1
        for _ in range(begun):
            one.done.acquire()
        if due:
            LOG.info('%d of %d nodes handed over', len(one.moved), len(due))
        return len(one.moved) == len(due)

    def _due(self):
        due = []
        for live in self._holdings:
            time.sleep(0)  # a slice at a time: the ring does not yield
            if self._holdings.heir(live) is not None:
                due.append(live)
        return due

    def _give_later(self, live, one):
        began = self._clock()
        if live.settle(one.deadline):
            self._pace.enter()
            self._give_one(live, one, settled=True)
        else:
            LOG.warning('%s: busy, its hand-over waits', live.name)
            metrics.HANDOVERS.observe(self._clock() - began, 'kept')
            one.done.release()

    def _give_one(self, live, one, settled=False):
        """The caller has entered the pace."""
        seconds = None
        try:
            target = self._holdings.heir(live)
            if target is not None:
                seconds = self._send(live, target, one, settled)
            elif settled:
                live.resume()
            if target is None or seconds is not None:
                one.moved.append(live)
        finally:
            self._pace.leave(seconds)
            one.done.release()

    def _send(self, live, target, one, settled):
        """:returns: float, seconds for which the node was on its way; None: it stayed."""
        captured, began = live.console.up, self._clock()
        moved = self._is_free(live, one, settled) and self._move(live)
        metrics.HANDOVERS.observe(self._clock() - began, 'moved' if moved else 'kept')
        if not moved:
            return None
        self._tell(target, live.uuid)
        _wait_until_taken(live.uuid, captured)
        return self._clock() - began

    def _is_free(self, live, one, settled):
        """Nothing is let go before the database has answered: a console that was closed while its
        row cannot be given away would be nobody's until it can."""
        try:
            live.confirm()
        except errors.NotOwner:
            pass  # somebody has it already: it goes, and nothing is said to its BMC
        except errors.ObmdError as error:
            if not one.called_off:
                LOG.warning('%s: not handed over: %s', live.name, error.reason)
            one.called_off = one.called_off or isinstance(error, errors.Unavailable)
            if settled:
                live.resume()
            return False
        return settled or live.settle(one.deadline)

    def _move(self, live):
        self._holdings.leave(live.uuid)
        moved = errors.NotOwner('the node moves to another conductor', live.name)
        released = False
        self._save_agent(live)
        try:
            self._close(live, moved, 'the node moves to another conductor', Deadline(5))
            released = owners.release(live.uuid, self._incarnation, live.epoch)
        except errors.ObmdError as error:
            LOG.warning('%s: not released: %s', live.name, error.reason)
        finally:
            self._holdings.drop(live.uuid)
            if not released:
                # If it still is ours in the row nobody else takes it: it is served anew at the
                # next look.
                self._holdings.doubt(live.uuid)
        return released

    def _save_agent(self, live):
        """After the last heartbeat that is taken here."""
        try:
            self._save(live)
        except errors.ObmdError as error:
            LOG.warning('%s: its last heartbeat is not written: %s', live.name, error.reason)


def _wait_until_taken(uuid, captured):
    patience = Deadline(TAKEN_WITHIN)
    while not patience.expired:
        time.sleep(LOOK)
        try:
            row = nodes.get_by_uuid(uuid)
        except errors.Unavailable:
            return
        up = row is not None and console.is_up(row.sol_holder)
        if row is None or (row.owner is not None and (up or not captured)):
            return
