"""Power: what a caller asks for, in terms of what a driver can do.

Reads take no lock and are shared (``shared_read``); writes to one node go one after the other
(``writes``).
"""

import contextlib
import logging
import time

from obmd.common import callers
from obmd.common import clock as clocks
from obmd.common import errors
from obmd.common import threads
from obmd.common.deadline import Deadline
from obmd.conf import CONF
from obmd.drivers import base

LOG = logging.getLogger(__name__)

#: seconds between two looks at a node that shuts down: first and longest
LOOK_MIN, LOOK_MAX = 0.25, 5.0
#: after which no agent runs any more that did before
ENDS_AGENT = (base.Power.OFF, base.Power.RESET, base.Power.CYCLE)
#: boot devices, as drivers call them, that bring a ramdisk
NETWORK = ('pxe', 'network')
#: in the row from before a node that has gone off is turned on: who sees it on then is done
TURNING_ON = 'soft power cycle: it has gone off and is turned on'


def set_power(live, action, deadline, caller=callers.UNKNOWN):
    """Turn a node on or off and see that it is.  A soft cycle that waits is called off."""
    live.require('power')
    deadline = deadline.within(CONF.conductor.power_timeout)
    purpose = f'power {action}'
    with _recording(live, purpose) as record, live.write(purpose, deadline, caller) as driver:
        if action == base.Power.ON:
            live.part_with_agent(driver, deadline)
        _call_off(live, f'power {action} was asked for')
        _set_power(live, driver, action, deadline, record)


@contextlib.contextmanager
def _recording(live, purpose):
    """Gives what records the consequence of a write that the BMC has done.

    If that fails, who asked must not take it for a call of which nothing was sent, and repeat it: a
    reset would come twice.  It is told when the node is free again: the BMC was not silent, and
    who waits for the node has nothing to do with it.

    :raises OutcomeUnknown: it is not recorded.
    """
    failures = []

    def record(change, *args):
        try:
            change(*args)
        except errors.Unavailable as error:
            LOG.warning('%s: %s is done, but %s', live.name, purpose, error.reason)
            failures.append(error)

    yield record
    for error in failures:
        raise errors.OutcomeUnknown(
            f'the BMC has done its part ({purpose}), but {error.reason}', live.name
        ) from error


def _set_power(live, driver, action, deadline, record):
    """The agent that ran is gone once the BMC has taken it; where the outcome is not known, it may
    run on, and keeps its token."""
    try:
        driver.set_power(action, deadline)
    except errors.StateNotReached:
        if action in ENDS_AGENT:
            record(live.forget_agent)
        raise
    if action in ENDS_AGENT:
        record(live.forget_agent)


def cycle(live, force, deadline, call_id, caller=callers.UNKNOWN):
    """Restart a node.

    ``force``: reset it, or turn it on when it is off.  Otherwise ask its operating system to
    shut down and return; whoever owns the node turns it on again when it has gone off
    (:func:`carry_on`).
    """
    live.require('power')
    deadline = deadline.within(CONF.conductor.power_timeout)
    purpose = 'power cycle'
    with _recording(live, purpose) as record, live.write(purpose, deadline, caller) as driver:
        if driver.cycles_itself:
            _set_power(live, driver, base.Power.CYCLE, deadline, record)
            return
        _call_off(live, 'a power cycle was asked for')
        if driver.power_status(deadline.within(driver.answer_within)) == base.Power.OFF:
            live.forget_agent()
            driver.set_power(base.Power.ON, deadline)
        elif force:
            _set_power(live, driver, base.Power.RESET, deadline, record)
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
    purpose = 'set boot device'
    with _recording(live, purpose) as record, live.write(purpose, deadline, caller) as driver:
        driver.set_boot_device(device, deadline.within(driver.answer_within))
        if device in NETWORK and CONF.agent.expect_on_pxe:
            record(live.expect_agent, time.time() + CONF.agent.expect_timeout)
