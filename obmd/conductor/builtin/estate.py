"""``estate-show``, ``estate-change``"""

from obmd.conductor import estate
from obmd.conductor.builtin import usage

#: exit status of a machine type that there is not
UNKNOWN_TYPE = 101
#: exit status of a machine that was not off in time
NOT_OFF = 124


def show(live, arguments, deadline, say, caller):
    usage.require_none('estate-show', arguments)
    raw = estate.machine_type(live, deadline)
    say(_name(live, raw) or f'unknown ({raw})')
    return 0


def _name(live, raw):
    names = (name for name, own in live.driver.machine_types.items() if own == raw)
    return next(names, None)


def change(live, arguments, deadline, say, caller):
    live.require('machine_type')
    types = live.driver.machine_types
    if len(arguments) > 1:
        raise usage.Wrong(['estate-change takes one argument after the node: the machine type'])
    wanted = arguments[0] if arguments else ''
    if wanted not in types:
        told = f'Unknown machine type {usage.shown(wanted)}'
        told = told if wanted else 'A machine type is missing'
        raise usage.Wrong([f'{told}. Available machine types:', *types], UNKNOWN_TYPE)
    if estate.machine_type(live, deadline) == types[wanted]:
        say(f'Machine type already {wanted}')
        return 0
    try:
        estate.change(
            live,
            types[wanted],
            deadline,
            caller,
            began=lambda: say('Changing machine type...'),
            changed=lambda: say('OK'),
        )
    except estate.NotOff as error:
        say(error.reason, error=True)
        return NOT_OFF
    return 0
