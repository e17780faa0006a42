"""The lock of a node: writes to its BMC, one at a time, and the end of them when the node moves."""

import collections
import contextlib
import dataclasses
import threading
import time

from obmd.common import callers
from obmd.common import errors
from obmd.common import metrics
from obmd.conductor import shadow

#: what a call is told that comes while the node moves; what the move waits for may follow
MOVES = 'the node moves to another conductor'


class _Turn:
    """One who waits for the node; ``came`` and ``moved`` are changed under the queue's lock.

    :ivar moved: the node moves to another conductor: the turn never comes here.
    """

    def __init__(self, work):
        self.work = work
        self.came = False
        self.moved = False
        self._event = threading.Event()

    def come(self):
        self.came = True
        self._event.set()

    def move(self):
        self.moved = True
        self._event.set()

    def wait(self, seconds):
        self._event.wait(seconds)


class Writes:
    """The writes to one node, one at a time, in the order in which they came.

    :param limit: writes that may wait behind the one that runs.
    :param show: called with the :class:`~obmd.conductor.shadow.Work` that holds the node from now
        on, None: nothing.  It must not wait.
    """

    def __init__(
        self, limit, node_name, show=lambda work: None, clock=time.monotonic, wall_clock=time.time
    ):
        self._limit = limit
        self._node_name = node_name
        self._show = show
        self._clock = clock
        self._wall_clock = wall_clock
        self._lock = threading.Lock()
        self._held = False
        self._queue = collections.deque()
        self._running = None
        self._silent_at = None
        self._moving = False

    @contextlib.contextmanager
    def turn(self, purpose, deadline, caller=callers.UNKNOWN):
        """Hold the node for one write.

        :param purpose: str, what runs, for those who find the node busy.
        :param caller: :class:`obmd.common.callers.Caller`, for whom.
        :raises NodeBusy: too many wait, or the turn did not come within ``deadline``.
        :raises NotOwner: the node moves to another conductor.
        :raises BmcSilent: while this one waited, the BMC did not answer another; it is not asked
            in turn, so that a silent BMC costs all who wait one deadline and not one each.
        """
        came = self._clock()
        with metrics.Timer(metrics.LOCK_WAITS):
            self._wait_for_turn(shadow.Work(purpose, caller), deadline)
        try:
            if self._silent_at is not None and self._silent_at >= came:
                raise errors.BmcSilent('the BMC did not answer', self._node_name)
            with self._watch_silence():
                yield
        finally:
            self._pass_on()

    @property
    def busy(self):
        """Whether a write holds the node."""
        return self._held

    @contextlib.contextmanager
    def _watch_silence(self):
        try:
            yield
        except (errors.BmcSilent, errors.OutcomeUnknown):
            self._silent_at = self._clock()
            raise

    def finish(self, deadline):
        """The node moves: let nobody write any more, and wait until the write that runs has ended.

        Those who wait get NotOwner: nothing of theirs was sent, so they ask the next owner.

        :returns: bool, whether it has ended within ``deadline``; if not, writes go on as before.
        """
        last = _Turn(shadow.Work('hand-over to another conductor', callers.Caller(callers.OBMD)))
        with self._lock:
            self._moving = True
            waiting, self._queue = self._queue, collections.deque()
            if self._held:
                self._queue.append(last)
            else:
                last.come()
            for turn in waiting:
                turn.move()
        last.wait(deadline.remaining)
        with self._lock:
            if not last.came and not last.moved:  # else another hand-over waits in its place
                self._queue.remove(last)
                self._moving = False
        return last.came

    def resume(self):
        """After a :meth:`finish` that was for nothing: the node stays."""
        with self._lock:
            self._moving = False
            held = self._held
        if held:
            self._pass_on()

    def _wait_for_turn(self, work, deadline):
        with self._lock:
            if self._moving:
                raise self._moved()
            if not self._held:
                self._held = True
                self._hold(work)
                return
            if len(self._queue) >= self._limit:
                raise self._busy()
            turn = _Turn(work)
            self._queue.append(turn)
        try:
            turn.wait(deadline.remaining)
        finally:
            self._withdraw(turn)

    def _withdraw(self, turn):
        """Give up waiting unless the turn has come, be it in this moment."""
        with self._lock:
            if turn.came:
                return
            if turn.moved:
                raise self._moved()
            self._queue.remove(turn)
            raise self._busy()

    def _pass_on(self):
        with self._lock:
            if self._queue:
                turn = self._queue.popleft()
                self._hold(turn.work)
                turn.come()
            else:
                self._held = False
                self._hold(None)

    def _hold(self, work):
        """``work`` (None: nothing) has the node from now on; the caller holds the lock."""
        if work is not None:
            work = dataclasses.replace(work, began=self._clock(), since=self._wall_clock())
        self._running = work
        self._show(work)

    def _moved(self):
        return errors.NotOwner(f'{MOVES}{self._told()}', self._node_name)

    def _busy(self):
        return errors.NodeBusy(f'the node is busy{self._told()}', self._node_name, 1)

    def _told(self):
        if self._running is None:
            return ''
        waiting = 0 if self._moving else len(self._queue)
        more = f'; {waiting} more wait' if waiting else ''
        return f': {self._running.told(self._clock())}{more}'
