"""Chassis commands: power and boot device.  Sections are those of the IPMI 2.0 specification.

Each function takes a :class:`~obmd.drivers.ipmi.bmc.Bmc` and the caller's
:class:`~obmd.common.deadline.Deadline`; a single command gets ``[ipmi] deadline`` of it at most.
"""

from obmd.common import errors
from obmd.conf import CONF
from obmd.drivers.base import Power

CHASSIS = 0x00
GET_CHASSIS_STATUS, CHASSIS_CONTROL = 0x01, 0x02
SET_BOOT_OPTIONS, GET_BOOT_OPTIONS = 0x08, 0x09

#: Chassis Control, section 28.3
_CONTROL = {
    Power.OFF: 0,
    Power.ON: 1,
    Power.CYCLE: 2,
    Power.RESET: 3,
    Power.DIAG: 4,
    Power.SOFT_OFF: 5,
}
#: completion code: the command is right, but not in the state that the chassis is in
_NOT_IN_THIS_STATE = 0xD5
#: seconds before the state is read again: the first pause, what it grows by, the longest
_PAUSE, _PAUSE_GROWTH, _PAUSE_MAX = 0.05, 1.6, 1.0

#: boot device selector, data 2 of boot option parameter 5, table 28-14
BOOT_DEVICES = {'pxe': 0x01 << 2, 'disk': 0x02 << 2, 'none': 0x00}
_VALID, _PERSISTENT = 0x80, 0x40
_SELECTOR = 0x0F << 2
#: boot option parameters: set in progress, valid bit clearing, boot flags
_SET_IN_PROGRESS, _VALID_BIT_CLEARING, _BOOT_FLAGS = 0, 3, 5


def power_status(bmc, deadline):
    """:returns: ``on`` or ``off``, Get Chassis Status (section 28.2)."""
    limit = deadline.within(CONF.ipmi.deadline)
    answer = bmc.call(CHASSIS, GET_CHASSIS_STATUS, deadline=limit)
    if not answer.data:
        raise bmc.account.error(errors.BmcRefused, 'a chassis status without content')
    return Power.ON if answer.data[0] & 1 else Power.OFF


def set_power(bmc, action, deadline):
    """As :meth:`obmd.drivers.base.Power.set_power`."""
    if action in (Power.ON, Power.OFF):
        _switch(bmc, action, deadline)
    else:
        _pulse(bmc, action, deadline)


def _switch(bmc, action, deadline):
    """On and off: safe to say twice; read back at once, then in growing pauses."""
    pause, answer, error = _PAUSE, None, None
    while True:
        try:
            if answer is None or answer.code == _NOT_IN_THIS_STATE:
                answer = _control(bmc, action, deadline)
            if answer.code not in (0, _NOT_IN_THIS_STATE):
                raise bmc.account.error(errors.BmcRefused, answer.words)
            if power_status(bmc, deadline) == action:
                return
            error = None
        except errors.BmcSilent as silence:
            error = silence  # some fall silent for a while when the power changes
            if answer is None:
                raise
        if deadline.remaining <= pause:
            raise _not_reached(bmc, action, answer, error)
        bmc.sleep(pause)
        pause = min(_PAUSE_MAX, _PAUSE_GROWTH * pause)


def _not_reached(bmc, action, answer, error):
    if error is not None:
        text = f'power {action} was accepted and the BMC has not answered since'
        return bmc.account.error(errors.OutcomeUnknown, text)
    if answer.code:
        return bmc.account.error(errors.BmcRefused, answer.words)
    text = f'power {action} was accepted and the node did not follow in time'
    return bmc.account.error(errors.StateNotReached, text)


def _pulse(bmc, action, deadline):
    """Reset, cycle, diag and soft off: sent once.

    Reading the state first also proves the session, so that a restart of the BMC meanwhile
    leaves no doubt about whether the command was carried out.
    """
    if power_status(bmc, deadline) == Power.OFF:
        if action == Power.SOFT_OFF:
            return
        raise bmc.account.error(errors.BmcRefused, f'{action} needs a node that is on')
    answer = _control(bmc, action, deadline, idempotent=False)
    if answer.code:
        raise bmc.account.error(errors.BmcRefused, answer.words)


def _control(bmc, action, deadline, idempotent=True):
    return bmc.command(
        CHASSIS,
        CHASSIS_CONTROL,
        (_CONTROL[action],),
        deadline=deadline.within(CONF.ipmi.deadline),
        idempotent=idempotent,
    )


def set_boot_device(bmc, device, deadline):
    """Set ``device`` (a key of ``BOOT_DEVICES``) for all boots to come; ``none`` ends that."""
    selector = BOOT_DEVICES[device]
    flags = _VALID | _PERSISTENT if selector else _VALID
    if selector:
        # Else the BMC forgets the flags when no power command follows within a minute (bit 3 of
        # table 28-14, parameter 3).  Optional: not every BMC has this parameter.
        _set_option(bmc, deadline, _VALID_BIT_CLEARING, 0x08)
    answer = _set_option(bmc, deadline, _BOOT_FLAGS, flags, selector, 0, 0, 0)
    if answer.code:
        # some take boot flags only between these two
        _set_option(bmc, deadline, _SET_IN_PROGRESS, 1)
        answer = _set_option(bmc, deadline, _BOOT_FLAGS, flags, selector, 0, 0, 0)
        _set_option(bmc, deadline, _SET_IN_PROGRESS, 0)
    if answer.code:
        raise bmc.account.error(errors.BmcRefused, answer.words)


def boot_device(bmc, deadline):
    """:returns: str, a key of ``BOOT_DEVICES``: ``none`` also where the flags are not valid; None:
    another device, which somebody else set.  Get System Boot Options, section 28.13."""
    limit = deadline.within(CONF.ipmi.deadline)
    answer = bmc.call(CHASSIS, GET_BOOT_OPTIONS, (_BOOT_FLAGS, 0, 0), deadline=limit)
    # version, parameter, flags, selector, ...
    if len(answer.data) < 4:
        raise bmc.account.error(errors.BmcRefused, 'boot options without content')
    flags, selector = answer.data[2], answer.data[3] & _SELECTOR
    if not flags & _VALID:
        return 'none'
    return next((name for name, bits in BOOT_DEVICES.items() if bits == selector), None)


def _set_option(bmc, deadline, *data):
    limit = deadline.within(CONF.ipmi.deadline)
    return bmc.command(CHASSIS, SET_BOOT_OPTIONS, data, deadline=limit)
