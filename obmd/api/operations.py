"""What the doors share: find the node, call its owner, try once more when it has moved."""

import dataclasses
import logging
import threading
import time
import typing

from obmd.api import policy
from obmd.api import rates
from obmd.api import rereading
from obmd.api import room
from obmd.api import vigil
from obmd.common import deadline
from obmd.common import errors
from obmd.common import rpc
from obmd.conductor import routing
from obmd.conductor import writes
from obmd.conf import CONF
from obmd.db import nodes
from obmd.drivers import base
from obmd.drivers import registry

LOG = logging.getLogger(__name__)

#: seconds that a read waits for the heir of a dead conductor, and a sweep for a node that moves
MOVE_TIMEOUT = 10.0
#: seconds between two tries at a node that moves: first and longest
MOVE_PAUSE, MOVE_PAUSE_MAX = 0.1, 1.0
#: seconds between two looks for the heir of a dead conductor
HEIR_PAUSE = 0.5
#: times that a read is sent to a conductor that lives and does not answer
TRIES = 2
#: seconds that must be left of a deadline for one more try
LEAST = 0.25

_rows = rereading.Rereading()


class StreamSlots:
    """Streams that this process passes on at once, at most ``[api] max_streams``."""

    def __init__(self):
        self._lock = threading.Lock()
        self.taken = 0

    def take(self):
        """:raises Unavailable: all are taken."""
        with self._lock:
            if self.taken >= CONF.api.max_streams:
                raise errors.Unavailable('too many streams are open here', retry_after=5)
            self.taken += 1

    def give(self):
        with self._lock:
            self.taken -= 1


@dataclasses.dataclass
class Services:
    """What the doors stand on.

    :ivar conductor_api: :class:`obmd.conductor.rpcapi.ConductorAPI`.
    :ivar router: :class:`obmd.conductor.routing.Router`.
    :ivar public_key: :class:`obmd.common.secrets.PublicKey` that BMC credentials are sealed to.
    :ivar admin_hash: str, hash of the admin token.
    :ivar jwt_key: bytes that access tokens are signed with.
    :ivar local: the conductor is in this process and hands streams over itself.
    :ivar readiness: functions that raise an ObmdError while the service cannot work.
    :ivar rates: limits on callers without credentials, in this process.
    :ivar room: for requests of agents that are looked up, in this process.
    :ivar policy: who may use the doors that are open by default.
    :ivar vigil: ends the streams of access tokens that have ended.
    :ivar clock: wall time, s.
    """

    conductor_api: object
    router: object
    public_key: object
    admin_hash: str = dataclasses.field(repr=False)
    jwt_key: bytes | None = dataclasses.field(default=None, repr=False)
    local: bool = False
    readiness: tuple = ()
    slots: StreamSlots = dataclasses.field(default_factory=StreamSlots)
    rates: object = dataclasses.field(default_factory=lambda: rates.Rates())
    room: object = dataclasses.field(default_factory=lambda: room.Room())
    policy: object = dataclasses.field(default_factory=lambda: policy.Policy())
    vigil: object = dataclasses.field(default_factory=lambda: vigil.Vigil())
    clock: typing.Callable = time.time


def call_deadline():
    """The deadline of a call to a conductor, ``[api] call_timeout`` from now."""
    return deadline.Deadline(CONF.api.call_timeout)


def find(label):
    """:param label: str, a node's uuid or name, or None (it cannot be one).  :returns: Node.

    :raises InvalidInput: not a name.  :raises NotFound:
    """
    found = nodes.get_by_ident(check_label(label))
    if found is None:
        raise errors.NotFound('there is no such node', label)
    return found


def find_for(identity, label):
    """As :func:`find`, for who asks: a node that is not for them is as one that does not exist.

    :param identity: :class:`obmd.api.bearer.Identity`.
    """
    found = find(label)
    if identity.outside([found.name]):
        raise errors.NotFound('there is no such node', label)
    return found


def check_label(label):
    """:returns: ``label``.  :raises InvalidInput: it is None: it cannot be a node's name."""
    if label is None:
        raise errors.InvalidInput('a node name is 1 to 255 characters of UTF-8, none of them NUL')
    return label


def check_capability(node, name):
    """:returns: the node's driver class, or None when it is not enabled here: then the conductor
    judges.

    :raises Unsupported: the driver cannot do that.
    """
    driver = registry.enabled().get(node.driver)
    if driver is not None and not issubclass(driver, base.CAPABILITIES[name]):
        raise errors.Unsupported(f'the driver {node.driver} has no {name}', node.name)
    return driver


def call(method, node, *args, deadline=None, by_token=True, read=False, **kwargs):
    """Call a method of ConductorAPI about ``node``; again while it moves to another conductor.

    NotOwner and OwnerGone are raised only before anything was sent to a BMC, so no write happens
    twice.  A node that moves may first have to end a long write: it is waited for until the
    deadline.  A read that a conductor leaves without an answer is repeated with the node's owner as
    of then; a write never is.  No database connection is held.

    :param deadline: of the whole, ``[api] call_timeout`` from now by default.
    :param by_token: the caller's right is the token in ``node``: a new row must have the same.
    :param read: it changes nothing.
    :raises OutcomeUnknown: a write was sent and there is no answer.
    :raises NodeBusy: the node's move waited for a write that ran until the deadline.
    :raises: what the conductor says, with the node's name.
    """
    deadline = deadline or call_deadline()
    patience, silences, pause = None, 0, 0.0
    try:
        while True:
            try:
                return method(node, *args, deadline=deadline, **kwargs)
            except errors.NotOwner as error:
                reason, pause = _moving(error), min(2 * pause or MOVE_PAUSE, MOVE_PAUSE_MAX)
            except routing.OwnerGone as error:
                # It may have handed the node over after the row was read.
                owner, node = node.owner, _again(node, by_token, MOVE_PAUSE)
                if node.owner != owner:
                    continue
                patience = patience or deadline.within(MOVE_TIMEOUT)
                if not (read and error.heir) or patience.expired:
                    raise
                reason, pause = error, HEIR_PAUSE
            except rpc.NoAnswer as error:
                if not read:
                    raise
                silences += not error.gone
                reason, pause, patience = silent(error), MOVE_PAUSE, None
                if silences == TRIES and not error.gone:
                    raise reason from None
            if deadline.remaining < pause + LEAST:
                raise reason from None
            node = _again(node, by_token, pause)
    except errors.Unauthorized:
        raise
    except errors.ObmdError as error:
        if error.node is None:
            error.node = node.name
        raise


def silent(error):
    """What the reader of a node gets whose conductor left a call without an answer.

    :param error: :class:`obmd.common.rpc.NoAnswer`.
    """
    ttl = CONF.conductor.heartbeat_ttl
    return errors.Unavailable(
        f'the conductor {error.server} does not answer; if it is dead, its nodes go to others '
        f'within {ttl:g} s',
        retry_after=min(ttl, 10),
    )


def _moving(error):
    """:param error: NotOwner.  :returns: NodeBusy when it names a write that the move waits for."""
    runs = error.reason.partition(f'{writes.MOVES}: ')[2]
    return errors.NodeBusy(f'the node is busy: {runs}', error.node, 1) if runs else error


def _again(node, by_token, pause):
    """:returns: Node as it is now.  :raises: it was deleted, or the caller's right to it ended."""
    now = _rows.get(node.uuid, pause)
    if now is None or (by_token and now.token_id != node.token_id):
        raise _gone(node, by_token) from None
    return now


def _gone(node, by_token):
    if by_token:
        return errors.Unauthorized('the token is wrong or there is no such node')
    return errors.NotFound('there is no such node', node.name)


def tell(method, node):
    """Tell a conductor something in the background; what fails is logged, the answer stands."""
    try:
        method(node)
    except Exception:
        LOG.exception('the conductor of node %s could not be told', node.uuid)
