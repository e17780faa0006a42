"""Power: what a caller asks for, in terms of what a driver can do.

Reads take no lock and are shared; writes to one node go one after the other.
"""

import collections
import contextlib
import dataclasses
import logging
import threading
import time

from obmd.common import callers
from obmd.common import clock as clocks
from obmd.common import errors
from obmd.common import metrics
from obmd.common import threads
from obmd.common.deadline import Deadline
from obmd.conductor import shadow
from obmd.conf import CONF
from obmd.drivers import base

LOG = logging.getLogger(__name__)

#: seconds between two looks at a node that shuts down: first and longest
LOOK_MIN, LOOK_MAX = 0.25, 5.0
#: after which no agent runs any more that did before
ENDS_AGENT = (base.Power.OFF, base.Power.RESET, base.Power.CYCLE)
#: boot devices, as drivers call them, that bring a ramdisk
NETWORK = ('pxe', 'network')
#: what a call is told that comes while the node moves; what the move waits for may follow
MOVES = 'the node moves to another conductor'
#: in the row from before a node that has gone off is turned on: who sees it on then is done
TURNING_ON = 'soft power cycle: it has gone off and is turned on'
#: seconds after which a BMC that has not answered may not have many more callers wait for it
SLOW = 1.0


class SharedRead:
    """One question to a BMC for all who ask it while it is busy.

    An answer is given only to those who asked before it was read: who comes while a read is
    under way shares the next one.  So any number of callers cost a BMC two reads, and every
    answer is fresh.

    :param read: ``read(deadline)``.
    :param limit: callers that may wait at once for a BMC that is slow to answer.
    """

    def __init__(self, read, limit, node_name, clock=time.monotonic):
        self._read = read
        self._limit = limit
        self._node_name = node_name
        self._clock = clock
        self._asked_at = None
        self._lock = threading.Lock()
        self._waiting = 0
        self._running = False
        self._next = None

    def get(self, deadline):
        """:raises BmcSilent: no answer within ``deadline``; and what ``read`` raises."""
        with self._lock:
            if self._waiting >= self._limit and self._clock() - self._asked_at > SLOW:
                raise errors.Unavailable(
                    f'{self._waiting} calls wait for this node already', self._node_name, 1
                )
            self._waiting += 1
            batch = self._next = self._next or _Batch()
            batch.deadline = max(batch.deadline or deadline, deadline, key=lambda d: d.remaining)
            lead = not self._running
            if lead:
                self._running = True
                self._asked_at = self._clock()
                self._next = None
        try:
            if lead:
                self._lead(batch)
            return batch.result(deadline, self._node_name)
        finally:
            with self._lock:
                self._waiting -= 1

    def _lead(self, batch):
        try:
            batch.run(self._read)
        finally:
            with self._lock:
                following, self._next = self._next, None
                self._running = following is not None
                self._asked_at = self._clock()
            if following is not None:
                threads.spawn(self._lead, following)


class _Batch:
    def __init__(self):
        self.deadline = None
        self._done = threading.Event()
        self._value = None
        self._error = errors.ObmdError('internal error of the driver')

    def run(self, read):
        try:
            self._value = read(self.deadline)
            self._error = None
        except errors.ObmdError as error:
            self._error = error
        except Exception:
            LOG.exception('a read failed')
        finally:
            self._done.set()

    def result(self, deadline, node_name):
        if not self._done.wait(deadline.remaining):
            raise errors.BmcSilent('the BMC did not answer in time', node_name)
        if self._error is not None:
            # A copy: one exception object raised in many threads mixes their tracebacks.
            raise errors.from_wire(self._error.to_wire())
        return self._value


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


def set_power(live, action, deadline, caller=callers.UNKNOWN):
    """Turn a node on or off and see that it is.  A soft cycle that waits is called off."""
    live.require('power')
    deadline = deadline.within(CONF.conductor.power_timeout)
    with live.write(f'power {action}', deadline, caller) as driver:
        if action == base.Power.ON:
            live.part_with_agent(driver, deadline)
        _call_off(live, f'power {action} was asked for')
        _set_power(live, driver, action, deadline)


def _set_power(live, driver, action, deadline):
    """The agent that ran is gone once the BMC has taken it; where the outcome is not known, it may
    run on, and keeps its token."""
    try:
        driver.set_power(action, deadline)
    except errors.StateNotReached:
        if action in ENDS_AGENT:
            live.forget_agent()
        raise
    if action in ENDS_AGENT:
        live.forget_agent()


def cycle(live, force, deadline, call_id, caller=callers.UNKNOWN):
    """Restart a node.

    ``force``: reset it, or turn it on when it is off.  Otherwise ask its operating system to
    shut down and return; whoever owns the node turns it on again when it has gone off
    (:func:`carry_on`).
    """
    live.require('power')
    deadline = deadline.within(CONF.conductor.power_timeout)
    with live.write('power cycle', deadline, caller) as driver:
        if driver.cycles_itself:
            _set_power(live, driver, base.Power.CYCLE, deadline)
            return
        _call_off(live, 'a power cycle was asked for')
        if driver.power_status(deadline.within(driver.answer_within)) == base.Power.OFF:
            live.forget_agent()
            driver.set_power(base.Power.ON, deadline)
        elif force:
            _set_power(live, driver, base.Power.RESET, deadline)
        else:
            _soft_cycle(live, driver, deadline, call_id)


def _soft_cycle(live, driver, deadline, call_id):
    until = time.time() + CONF.conductor.soft_off_timeout
    # Committed before the BMC hears of it: a conductor that dies in between leaves a node that
    # its next owner turns on again, not one that stays off.
    live.set_target(base.Power.ON, until, 'soft power cycle', call_id)
    try:
        driver.set_power(base.Power.SOFT_OFF, deadline)
    except Exception as error:
        # If it may have been taken, the node may go off: then it is turned on again.
        if isinstance(error, errors.OutcomeUnknown) or not _withdraw(live, call_id):
            threads.spawn(carry_on, live, CONF.conductor.soft_off_timeout)
        raise
    threads.spawn(carry_on, live, CONF.conductor.soft_off_timeout)


def _withdraw(live, call_id, last_error=None):
    """:returns: bool, whether the row does not have the target any more."""
    try:
        live.clear_target(call_id, last_error)
    except errors.ObmdError as error:
        LOG.warning('%s: soft power cycle: %s', live.name, error.reason)
        return False
    return True


def _call_off(live, why):
    target = live.target
    if target is not None:
        LOG.info('%s: soft power cycle called off: %s', live.name, why)
        live.clear_target(target.call_id)


def carry_on(live, left=None, sleep=time.sleep, wall_clock=time.time, clock=clocks.boot_time):
    """Second half of a soft power cycle: wait until the node is off, then turn it on.

    Started by the call itself and by a conductor that takes the node over.  It ends when the
    target was cleared (a forced call came), reached, or its time is up.

    The time is measured by this conductor's own clock.  The wall time in the row, which another
    host may have written, only says how much of it is left at a takeover: never more than all.

    :param left: seconds, where the caller knows.
    """
    target = live.target
    if target is None or not live.follow(target.call_id):
        return
    longest = CONF.conductor.soft_off_timeout
    left = min(target.until - wall_clock(), longest) if left is None else left
    until = clock() + left
    try:
        done = False
        pause = LOOK_MIN
        while not done and live.holds(target) and clock() < until:
            try:
                done = _turn_on_if_off(live, target)
            except errors.ObmdError as error:
                LOG.warning('%s: soft power cycle: %s', live.name, error.reason)
            if not done:
                sleep(min(pause, max(0.0, until - clock())))
                pause = min(LOOK_MAX, 2 * pause)
        last_error = None
        if not done and left <= 0:
            last_error = (
                'soft power cycle given up: its time was over when this conductor took the node '
                'over, if the clocks of both hosts are right'
            )
        elif not done:
            last_error = f'soft power cycle given up: the node was not off within {longest:.0f} s'
        _conclude(live, target, last_error, sleep)
    finally:
        live.unfollow(target.call_id)


def _turn_on_if_off(live, target):
    """:returns: bool, whether it was turned on, now or by who carried this on before."""
    reason = (live.target or target).reason
    state = live.read_power(Deadline(live.driver.answer_within))
    if state != base.Power.OFF:
        return state == base.Power.ON and reason == TURNING_ON
    deadline = Deadline(CONF.conductor.power_timeout)
    began_by = callers.Caller(callers.OBMD, target.call_id)
    with live.write('second half of a soft power cycle', deadline, began_by) as driver:
        if not live.advance(target, TURNING_ON):
            return False
        live.forget_agent()  # it is off; if that cannot be written, it stays off until it can
        driver.set_power(base.Power.ON, deadline)
        LOG.info('%s: soft power cycle done', live.name)
        return True


def _conclude(live, target, last_error, sleep):
    """Take the target out of the row, as soon as the database lets us."""
    while live.holds(target) and not _withdraw(live, target.call_id, last_error):
        sleep(LOOK_MAX)


def set_boot_device(live, device, deadline, caller=callers.UNKNOWN):
    """:raises InvalidInput: ``device`` is not one of the driver's."""
    live.require('boot_device')
    legal = live.driver.boot_devices
    if legal is not None and device not in legal:
        raise errors.InvalidInput(f'bootdev must be one of: {", ".join(legal)}', live.name)
    with live.write('set boot device', deadline, caller) as driver:
        driver.set_boot_device(device, deadline.within(driver.answer_within))
        if device in NETWORK and CONF.agent.expect_on_pxe:
            live.expect_agent(time.time() + CONF.agent.expect_timeout)
