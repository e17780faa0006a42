"""The machine type of a node: what size of instance a cloud gives for it."""

import logging
import time

from obmd.common import clock as clocks
from obmd.common import errors
from obmd.common import secrets
from obmd.common import threads
from obmd.common.deadline import Deadline
from obmd.conductor import power
from obmd.conf import CONF
from obmd.drivers.base import Power

LOG = logging.getLogger(__name__)

#: seconds that a machine has to be off, and between two looks whether it is
OFF_WITHIN, LOOK = 120.0, 2.0
#: seconds that a cloud has to take a change
CHANGE_WITHIN = 60.0
#: the machine is on, or will be
_ON = (Power.ON, Power.PENDING)
_GOING_OFF = (Power.STOPPING, Power.SLEEPING)


class NotOff(errors.StateNotReached):
    """The machine was not off in time; its type was not changed."""


def machine_type(live, deadline):
    """:returns: str, the cloud's own name of it, asked now."""
    live.require('machine_type')
    with live.place(), live.bmc() as driver:
        return driver.machine_type(deadline.within(driver.answer_within))


def change(live, raw, deadline, caller, began, changed, sleep=time.sleep, clock=clocks.boot_time):
    """Give a node another machine type.  One that is on is turned off for it, and on again, be it
    by another conductor if this one dies meanwhile.

    :param raw: str, the cloud's own name.
    :param began, changed: called when the type is about to be changed, and has been.
    :raises NotOff: it stays as it was, and on its way off.
    """
    live.require('machine_type')
    live.require('power')
    turn = deadline.within(CONF.conductor.power_timeout)
    with live.write('change of the machine type', turn, caller) as driver:
        state = driver.power_status(deadline.within(driver.answer_within))
        call_id = None
        if state in _ON:
            call_id = caller.request_id or secrets.new_id()
            _turn_off(live, driver, deadline, call_id)
        if state in (*_ON, *_GOING_OFF):
            _wait_until_off(live, driver, deadline, call_id, sleep, clock)
        began()
        try:
            driver.set_machine_type(raw, deadline.within(CHANGE_WITHIN))
        except errors.ObmdError:
            if call_id is not None:
                _turn_on_after_failure(live, driver, call_id)
            raise
        changed()
        if call_id is not None:
            _turn_on(live, driver, deadline, call_id)


def _turn_off(live, driver, deadline, call_id):
    # Committed before the machine is turned off: a conductor that dies in between leaves one that
    # its next owner turns on again.
    longest = OFF_WITHIN + CHANGE_WITHIN + CONF.conductor.power_timeout
    live.set_target(Power.ON, time.time() + longest, 'change of the machine type', call_id)
    try:
        driver.set_power(Power.OFF, deadline.within(CONF.conductor.power_timeout))
    except errors.StateNotReached:
        pass  # it is waited for
    except errors.ObmdError:
        _carry_on(live)
        raise


def _wait_until_off(live, driver, deadline, call_id, sleep, clock):
    until = clock() + min(OFF_WITHIN, deadline.remaining)
    while driver.power_status(deadline.within(driver.answer_within)) != Power.OFF:
        if clock() >= until:
            if call_id is not None:
                _carry_on(live)
            raise NotOff(f'the machine was not off within {OFF_WITHIN:.0f} s', live.name)
        sleep(LOOK)


def _turn_on(live, driver, deadline, call_id):
    try:
        live.forget_agent()
        driver.set_power(Power.ON, deadline.within(CONF.conductor.power_timeout))
        live.clear_target(call_id)
    except errors.ObmdError:
        _carry_on(live)
        raise


def _turn_on_after_failure(live, driver, call_id):
    try:
        _turn_on(live, driver, Deadline(CONF.conductor.power_timeout), call_id)
    except errors.ObmdError as error:
        LOG.warning('%s: it is not on again yet: %s', live.name, error.reason)


def _carry_on(live):
    """It is turned on when it is off, as after a soft power cycle."""
    threads.spawn(power.carry_on, live, CONF.conductor.soft_off_timeout)
