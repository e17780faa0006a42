"""What can go wrong, in one place.

An error is raised where it is known, with the node and the reason in the caller's words, and
translated once, at the door that the caller came through (``obmd.api.errors``).  It crosses the
bus as a dictionary (``to_wire``), never as a pickled or traced exception.

A reason never carries a credential, a token or a key.
"""

_by_kind = {}


class ObmdError(Exception):
    """Base of all errors that a caller may see.

    :param reason: str, one sentence; ends up in an answer and in logs.
    :param node: str or None, the label of the node it is about.
    :param retry_after: seconds (float) after which a new try makes sense, or None.
    """

    kind = 'internal'

    def __init__(self, reason, node=None, retry_after=None):
        super().__init__(reason)
        self.reason = reason
        self.node = node
        self.retry_after = retry_after

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        # A driver's own error of a known kind is that kind to everybody else.
        _by_kind.setdefault(cls.kind, cls)

    def to_wire(self):
        """:returns: dict with ``kind``, ``reason`` and, where known, ``node``, ``retry_after``."""
        wire = {'kind': self.kind, 'reason': self.reason}
        if self.node is not None:
            wire['node'] = self.node
        if self.retry_after is not None:
            wire['retry_after'] = self.retry_after
        return wire


def from_wire(wire):
    """Inverse of :meth:`ObmdError.to_wire`; an unknown kind becomes a plain ``ObmdError``."""
    cls = _by_kind.get(wire.get('kind'), ObmdError)
    error = cls(wire.get('reason', ''), wire.get('node'), wire.get('retry_after'))
    error.kind = wire.get('kind', cls.kind)
    return error


def is_known(kind):
    """:returns: bool, whether ``kind`` is one that the code has, not one that only a peer has."""
    return kind in _by_kind or kind == ObmdError.kind


# -- the caller's mistake ---------------------------------------------------------------------


class InvalidInput(ObmdError):
    kind = 'invalid_input'


class TooLarge(ObmdError):
    kind = 'too_large'


class Unsupported(ObmdError):
    """The node's driver lacks what was asked for; decided without touching the BMC."""

    kind = 'unsupported'


class Unauthorized(ObmdError):
    kind = 'unauthorized'


class Forbidden(ObmdError):
    kind = 'forbidden'


class NotFound(ObmdError):
    kind = 'not_found'


class NodeExists(ObmdError):
    kind = 'node_exists'


class MacTaken(ObmdError):
    """A MAC address is another node's."""

    kind = 'mac_taken'


class NodeBusy(ObmdError):
    """Too many writes wait for this node already."""

    kind = 'node_busy'


# -- the BMC ----------------------------------------------------------------------------------


class BmcSilent(ObmdError):
    """The BMC did not answer within the deadline."""

    kind = 'bmc_silent'


class OutcomeUnknown(ObmdError):
    """A command went out and no answer tells whether it was carried out: never sent twice."""

    kind = 'outcome_unknown'


class StateNotReached(ObmdError):
    """The BMC accepted a power change and answers, but the state did not follow in time."""

    kind = 'state_not_reached'


class BmcRefused(ObmdError):
    """The BMC answered no (privilege, command, cipher suite, no session free)."""

    kind = 'bmc_refused'


class CredentialsRefused(BmcRefused):
    """The BMC refused user, password or K_g; nothing is sent again until they change."""

    kind = 'credentials_refused'


class ConsoleHeld(ObmdError):
    """Another client holds the BMC's only SOL session."""

    kind = 'console_held'


# -- obmd itself ------------------------------------------------------------------------------


class Unavailable(ObmdError):
    """Not now: no conductor, no database, no broker, at a limit, or going down."""

    kind = 'unavailable'


class NotOwner(ObmdError):
    """A conductor was asked about a node that it does not own; nothing was sent to the BMC."""

    kind = 'not_owner'


class SealMismatch(ObmdError):
    """A node's sealed credentials are damaged, or were sealed for another node or address."""

    kind = 'seal_mismatch'


class KeyMissing(ObmdError):
    """A node's credentials are sealed to a key that this conductor does not have."""

    kind = 'key_missing'


class Fatal(ObmdError):
    """A service cannot start; ``cmd`` prints the reason on one line and exits with 1."""

    kind = 'fatal'
