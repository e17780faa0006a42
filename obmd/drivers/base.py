"""What obmd asks of a driver: one class, small capabilities.

A driver is a class behind a stevedore entry point in the group ``obmd.drivers``.  The entry
point's name is the ``type`` under which nodes are registered.  One instance serves one live
node in the conductor that owns it; the API uses only the class (schema, capabilities), never an
instance.

Everything here may be called from many threads at once, and may block until its deadline.  What
must not block is said where it stands (:class:`ConsoleSink`).
"""

import abc
import dataclasses

from obmd.common import errors

#: what is known of a BMC: it answers, it does not, it answers no, nothing
REACHABILITY = REACHABLE, SILENT, REFUSED, UNKNOWN = 'reachable', 'silent', 'refused', 'unknown'


@dataclasses.dataclass(frozen=True)
class NodeRef:
    """Who a driver instance works for, for its error messages and logs."""

    name: str
    uuid: str


class Driver:
    """Base of all drivers; capabilities are mixed in from the classes below.

    :cvar aliases: other names that callers may give as ``type``.
    :cvar schema: JSON schema (dict) of ``info``; its titles and descriptions are what
        documentation and the command line show.
    :cvar secret_fields: names in ``info`` that are credentials.
    """

    aliases = ()
    schema = {'type': 'object'}
    secret_fields = ()

    def __init__(self, node, info):
        """:param node: :class:`NodeRef`.  :param info: dict as ``normalise`` returned it.

        Must not touch the network.
        """
        self.node = node
        self.info = info

    @classmethod
    def normalise(cls, info):
        """Map the spellings that callers use to the driver's own; called after the schema check.

        :raises obmd.common.errors.InvalidInput: naming the field that the schema cannot judge.
        """
        return info

    @classmethod
    def from_parameters(cls, name, parameters):
        """Find what reaches a node among its free parameters, as files of nodes have it.

        :param name: str, the node's.  :param parameters: dict.
        :returns: (info as a caller would give it, dict of the parameters that are left), or None:
            there is nothing of this driver's among them.
        :raises obmd.common.errors.InvalidInput: naming the parameter that is missing or wrong.
        """

    @classmethod
    def address(cls, info):
        """:returns: str, where the BMC is, for messages; sealed with the credentials and compared
        when they are opened.  ``''`` for none."""
        return ''

    @property
    def answer_within(self):
        """Seconds that the BMC has to answer one question; a caller waits no longer for it."""
        return 5.0

    @property
    def reachability(self):
        """One of :data:`REACHABILITY`, known without asking the BMC; None: judge by the last
        outcome."""
        return None

    def authorise(self):
        """Called before what ends another client's console session at the BMC.

        The conductor puts its own check here: it asks the database whether the node is still its.
        Asked in a caller's thread, never from the I/O loop.

        :raises NotOwner: it is not; nothing is sent.  :raises Unavailable: nobody knows.
        """

    def reopen(self):
        """The credentials may be tried again after :class:`CredentialsRefused`."""

    def close(self, deadline):
        """Give back what is held at the BMC (session logout), within ``deadline``."""

    def abort(self, error):
        """End every wait for the BMC now by raising ``error``: the process is going down."""


def heard(error):
    """:returns: what ``error`` of a driver tells of its BMC, or None: nothing."""
    if isinstance(error, errors.BmcSilent | errors.OutcomeUnknown):
        return SILENT
    if isinstance(error, errors.BmcRefused):
        return REFUSED
    if isinstance(error, errors.StateNotReached | errors.ConsoleHeld):
        return REACHABLE
    return None


class Power(abc.ABC):
    """Chassis power."""

    #: what ``set_power`` takes
    ON, OFF, RESET, CYCLE, SOFT_OFF, DIAG = 'on', 'off', 'reset', 'cycle', 'soft_off', 'diag'

    #: what ``power_status`` may say beside ``on`` and ``off``: on its way to one of them, or asleep
    PENDING, STOPPING, SLEEPING = 'pending', 'stopping', 'sleeping'

    #: ``set_power('cycle')`` is all of a power cycle, hard or soft; obmd has nothing to wait for
    cycles_itself = False

    @abc.abstractmethod
    def power_status(self, deadline):
        """Ask the BMC now.

        :returns: str, ``on`` or ``off`` for real hardware; an instance in a cloud may also be
            ``PENDING``, ``STOPPING`` or ``SLEEPING``.

        :raises: BmcSilent, BmcRefused, CredentialsRefused.
        """

    @abc.abstractmethod
    def set_power(self, action, deadline):
        """Carry out ``action`` and, for ``on`` and ``off``, read the state back until it holds.

        ``reset`` needs a node that is on.  ``soft_off`` returns once the BMC has taken it.

        :raises: as ``power_status``; StateNotReached, OutcomeUnknown.
        """


class BootDevice(abc.ABC):
    #: tuple of str, the legal values; None: any
    boot_devices = ()

    @abc.abstractmethod
    def set_boot_device(self, device, deadline):
        """Set ``device`` (checked by the caller to be in ``boot_devices``), persistently."""

    def boot_device(self, deadline):
        """Ask what the node boots from.

        :returns: str; None: nobody has said, or it is none of ``boot_devices``.
        :raises: BmcSilent, BmcRefused, CredentialsRefused; Unsupported: it cannot be asked.
        """
        raise errors.Unsupported('the driver cannot tell what the node boots from', self.node.name)


class ConsoleSink(abc.ABC):
    """Who a console source delivers to.  ``data`` and ``lost`` are called from the I/O loop and
    may not block."""

    def opening(self):  # noqa: B027  a sink that minds nothing is whole without it
        """From the thread that opens it, just before the BMC is asked for its console: who dies
        from now on may hold it.  May wait.

        :raises ObmdError: do not ask.
        """

    @abc.abstractmethod
    def data(self, chunk):
        """:param chunk: bytes, in the order of the line, each once."""

    @abc.abstractmethod
    def lost(self, error):
        """The source is down and calls nothing any more.  :param error: ObmdError, why.

        ``ConsoleHeld`` when another client took the session.
        """


class ConsoleHandle(abc.ABC):
    """An open console source."""

    #: str, what identifies our session at the BMC for a later claimer, e.g. ``address:port``
    peer = ''

    @abc.abstractmethod
    def close(self, deadline, deactivate=True):
        """Stop.  ``deactivate=False`` leaves the BMC's SOL payload alone (it may be another's by
        now: Deactivate Payload ends whoever holds it).  Never raises; ``lost`` is not called."""


class Console(abc.ABC):
    #: one line a chunk to each viewer, for drivers whose users rely on it
    line_chunks = False
    #: the source starts with its first viewer whatever ``[console] capture`` says
    always_on_demand = False

    @abc.abstractmethod
    def open_console(self, sink, deadline, takeover=False):
        """Start the source.  :returns: :class:`ConsoleHandle`, once data can flow.

        :param takeover: end the session of whoever holds the console, once.
        :raises: BmcSilent, BmcRefused, CredentialsRefused, ConsoleHeld.
        """


class EventLog(abc.ABC):
    @abc.abstractmethod
    def event_log(self, deadline, limit):
        """The newest ``limit`` records of the system event log, oldest first.

        :returns: list of dicts ``{"id": int, "time": str or None (ISO 8601), "sensor": str,
            "event": str, "raw": str (hex)}``.
        """


class MachineType(abc.ABC):
    """What size of machine a cloud gives: its own name for it, such as ``t3.medium``."""

    @property
    @abc.abstractmethod
    def machine_types(self):
        """dict of the names that users say (``general-small``) to the cloud's own; in an order
        for people."""

    @abc.abstractmethod
    def machine_type(self, deadline):
        """Ask now.  :returns: str, the cloud's own name.  :raises: as ``power_status``."""

    @abc.abstractmethod
    def set_machine_type(self, raw, deadline):
        """Change it; the machine is off.

        :param raw: str, the cloud's own name.
        :raises: as ``power_status``; OutcomeUnknown.
        """


#: what each capability is called by callers and in error messages
CAPABILITIES = {
    'power': Power,
    'boot_device': BootDevice,
    'console': Console,
    'event_log': EventLog,
    'machine_type': MachineType,
}


def capabilities(driver_class):
    """:returns: sorted list of the names in ``CAPABILITIES`` that ``driver_class`` has."""
    return sorted(n for n, cls in CAPABILITIES.items() if issubclass(driver_class, cls))
