"""``power-on``, ``power-off``, ``power-cycle``, ``power-status``"""

from obmd.common import errors
from obmd.common import secrets
from obmd.conductor import power
from obmd.conductor.builtin import usage
from obmd.drivers.base import Power

#: what power-status prints, and its exit status: flight-action's users test for these
STATES = {
    Power.ON: ('ON', 0),
    Power.PENDING: ('PENDING', 0),
    Power.OFF: ('OFF', 123),
    Power.STOPPING: ('STOPPING', 123),
    Power.SLEEPING: ('SLEEPING', 124),
}


def on(live, arguments, deadline, say, caller):
    usage.require_none('power-on', arguments)
    return _set(live, Power.ON, deadline, say, caller)


def off(live, arguments, deadline, say, caller):
    usage.require_none('power-off', arguments)
    return _set(live, Power.OFF, deadline, say, caller)


def _set(live, action, deadline, say, caller):
    power.set_power(live, action, deadline, caller)
    say('OK')
    return 0


def cycle(live, arguments, deadline, say, caller):
    usage.require_none('power-cycle', arguments)
    power.cycle(live, True, deadline, caller.request_id or secrets.new_id(), caller)
    say('OK')
    return 0


def status(live, arguments, deadline, say, caller):
    usage.require_none('power-status', arguments)
    state = live.read_power(deadline)
    if state not in STATES:
        raise errors.BmcRefused(f'the power status is not known: {state}', live.name)
    text, code = STATES[state]
    say(text)
    return code
