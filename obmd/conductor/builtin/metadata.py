"""What users are told of the built-in commands."""

from obmd.common import commands


def _command(name, summary, description=None, syntax='NAME', confirmation=None):
    return commands.Command(
        name, summary, description or summary, syntax, confirmation, builtin=True
    )


_ALL = (
    _command(
        'estate-change',
        'Change the machine type of a node',
        'Change the machine type of a node. A node that is on is turned off for it, and on again.',
        'NAME TYPE',
        'Change machine type for %{nodes}. If powered on it will be rebooted. '
        'Confirm to proceed [y/n]?',
    ),
    _command('estate-show', 'Show the machine type of a node'),
    _command('ipmi-sel', 'Show the system event log (SEL) of a node'),
    _command(
        'power-cycle',
        'Cycle the power, reboot the node',
        'Restart a node at once, without asking its operating system. One that is off is turned '
        'on.',
        confirmation='Power cycle %{nodes}, confirm to proceed [y/n]?',
    ),
    _command(
        'power-off',
        'Power off a node',
        'Power off a node at once, without asking its operating system.',
        confirmation='Power off %{nodes}, confirm to proceed [y/n]?',
    ),
    _command('power-on', 'Power on a node'),
    _command(
        'power-status',
        'Print the power status of a node',
        'Print the power status of a node. The exit status is 0 for ON and PENDING, 123 for OFF '
        'and STOPPING, 124 for SLEEPING.',
    ),
)

#: dict of name to :class:`obmd.common.commands.Command`
METADATA = {one.name: one for one in _ALL}
