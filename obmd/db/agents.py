"""The ramdisk agents of nodes: the table ``agents``.

Times are wall times, seconds since the epoch.  A node without a row expects no agent and has
none; ``nodes.delete`` takes the row along.  What an agent said is written only while its token is
the node's: a late write of an agent that was forgotten matches nothing.

Every function raises :class:`obmd.common.errors.Unavailable` when the database is not there.
"""

import dataclasses
import time

import sqlalchemy as sa

from obmd.db import engine
from obmd.db import models
from obmd.db import nodes

_TABLE = models.Agent.__table__
_PORTS = models.Port.__table__
_NODES = models.Node.__table__


@dataclasses.dataclass(frozen=True)
class Agent:
    """One row.

    :ivar expect_until: an agent is expected until then, or None: not.
    :ivar token_hash: str, SHA-256 of the agent's token in hex, or None: none was issued.
    :ivar verify_ca: str, PEM of the authority of the agent's own certificate, or None.
    :ivar heartbeat_at: when it last reported in, as far as it was written, or None.
    :ivar generation: int, raised whenever something else is expected or the agent is forgotten:
        who looked before that gets no token after it.
    """

    expect_until: float | None = None
    token_hash: str | None = dataclasses.field(default=None, repr=False)
    token_issued_at: float | None = None
    url: str | None = None
    version: str | None = None
    verify_ca: str | None = dataclasses.field(default=None, repr=False)
    status: str | None = None
    status_message: str | None = None
    heartbeat_at: float | None = None
    generation: int = dataclasses.field(default=0, compare=False)

    def is_expected(self, now):
        """:param now: wall time.  :returns: bool."""
        return self.expect_until is not None and now < self.expect_until


_FIELDS = [field.name for field in dataclasses.fields(Agent)]
#: what is forgotten with an agent
_FORGOTTEN = {name: None for name in _FIELDS if name not in ('expect_until', 'generation')}
_ROW = sa.select(*(_TABLE.c[name] for name in _FIELDS)).where(
    _TABLE.c.node_uuid == sa.bindparam('uuid')
)
# of every lookup and heartbeat: made once.  Only what decides on them is read: a certificate of
# thousands of bytes is not.
_WITH_AGENT = (
    nodes.select()
    .add_columns(_TABLE.c.expect_until, _TABLE.c.token_hash, _TABLE.c.generation)
    .outerjoin_from(_NODES, _TABLE, _TABLE.c.node_uuid == _NODES.c.uuid)
)
_OF_UUID = _WITH_AGENT.where(_NODES.c.uuid == sa.bindparam('uuid'))
_OF_IDENT = _WITH_AGENT.where(
    sa.or_(_NODES.c.uuid == sa.bindparam('uuid'), _NODES.c.name == sa.bindparam('name'))
)
_HOLDERS = (
    sa.select(_PORTS.c.node_uuid)
    .where(_PORTS.c.mac.in_(sa.bindparam('macs', expanding=True)))
    .distinct()
    .subquery()
)
# Without a LIMIT: it leads PostgreSQL to go through all ports, or all nodes, in the order of
# another index until it has found so many.
_OF_MACS = _WITH_AGENT.join(_HOLDERS, _HOLDERS.c.node_uuid == _NODES.c.uuid)
_AMONG = sa.select(_TABLE.c.node_uuid, *(_TABLE.c[name] for name in _FIELDS)).where(
    _TABLE.c.node_uuid.in_(sa.bindparam('uuids', expanding=True))
)
_OWNED = sa.select(_NODES.c.uuid).where(
    _NODES.c.uuid.in_(sa.bindparam('uuids', expanding=True)),
    _NODES.c.owner == sa.bindparam('owner'),
)
_TOKENS = (
    sa.select(_TABLE.c.node_uuid, _TABLE.c.token_hash)
    .where(_TABLE.c.node_uuid.in_(sa.bindparam('uuids', expanding=True)))
    .order_by(_TABLE.c.node_uuid)
    .with_for_update()
)


@engine.retried
def get(uuid):
    """:returns: :class:`Agent`, an empty one where there is none."""
    with engine.reader() as session:
        row = session.execute(_ROW, {'uuid': uuid}).one_or_none()
    return Agent(*(row or ()))


def among(uuids):
    """Many at once, one query for each 500.

    :returns: dict of uuid -> :class:`Agent`; of a node without a row nothing.
    """
    uuids, found = list(uuids), {}
    for start in range(0, len(uuids), nodes.CHUNK):
        found |= _among(uuids[start : start + nodes.CHUNK])
    return found


@engine.retried
def _among(uuids):
    with engine.reader() as session:
        return {row[0]: Agent(*row[1:]) for row in session.execute(_AMONG, {'uuids': uuids})}


def find(macs):
    """Whose these addresses are: one query, whether there are such ports or not.

    :param macs: at most 128, in lower case with colons.
    :returns: list of (:class:`obmd.db.nodes.Node`, :class:`Agent`), at most 2: with two, no node
        is meant.  Of the agents only ``expect_until``, ``token_hash`` and ``generation`` are
        read.
    """
    return _with_agents(_OF_MACS, macs=list(macs))


def find_by_uuid(uuid):
    """:returns: as :func:`find`, one or none."""
    return _with_agents(_OF_UUID, uuid=uuid)


def find_by_ident(ident):
    """:param ident: str, a node's uuid or, where there is no such uuid, its name.

    :returns: as :func:`find`, one or none; one query.
    """
    if not nodes.storable(ident):
        return []
    found = _with_agents(_OF_IDENT, uuid=ident.lower(), name=ident)
    # one node's name may be another's uuid
    return sorted(found, key=lambda pair: pair[0].uuid != ident.lower())[:1]


@engine.retried
def _with_agents(statement, **values):
    with engine.reader() as session:
        found = session.execute(statement, values).fetchmany(2)
    return [
        (
            nodes.Node(*row[:-3]),
            Agent(expect_until=row[-3], token_hash=row[-2], generation=row[-1] or 0),
        )
        for row in found
    ]


@engine.retried
def expect(uuid, until, clock=time.time):
    """Expect an agent until a wall time: begins anew, a former agent is forgotten.  None: expect
    none any more; one that is there stays.

    :returns: bool, known node.
    """
    with engine.writer() as session:
        if not nodes.hold(session, uuid, clock):
            return False
        expect_in(session, uuid, until)
        return True


def expect_in(session, uuid, until):
    """As :func:`expect`, for who holds the node's row in a transaction."""
    values = {'expect_until': until}
    if until is not None:
        values |= _FORGOTTEN
    _put(session, uuid, values)


def _put(session, uuid, values):
    if not session.execute(_next(uuid, values)).rowcount:
        session.execute(sa.insert(_TABLE).values(node_uuid=uuid, generation=1, **values))


def _next(uuid, values):
    return _update(uuid).values(generation=_TABLE.c.generation + 1, **values)


def _update(uuid):
    return sa.update(_TABLE).where(_TABLE.c.node_uuid == uuid)


@engine.retried_if_undone
def issue_token(uuid, token_hash, generation, clock=time.time):
    """Give the node's agent a token, where it has none yet.

    :param generation: of the :class:`Agent` that was read to decide on it.
    :returns: bool, whether it is the agent's token now; False: it has another, its generation has
        gone, or there is no such node.
    """
    values = {'token_hash': token_hash, 'token_issued_at': clock()}
    free = _TABLE.c.token_hash.is_(None), _TABLE.c.generation == generation
    with engine.writer() as session:
        # The row of a node that is deleted goes with it, whether that has begun or not.
        if session.execute(_update(uuid).where(*free).values(values)).rowcount:
            return True
        return generation == 0 and _issue_first(session, uuid, values, clock)


def _issue_first(session, uuid, values, clock):
    """The same for a node that has no row yet."""
    if not nodes.hold(session, uuid, clock):
        return False
    if session.execute(_ROW, {'uuid': uuid}).one_or_none() is not None:
        return False
    session.execute(sa.insert(_TABLE).values(node_uuid=uuid, **values))
    return True


@engine.retried
def forget(uuid, clock=time.time):
    """Forget the agent, its token too; whether one is expected stays.

    :returns: bool, known node.
    """
    with engine.writer() as session:
        if session.execute(_next(uuid, _FORGOTTEN)).rowcount:
            return True
        if not nodes.hold(session, uuid, clock):
            return False
        _put(session, uuid, _FORGOTTEN)  # who looks just now must see that something has changed
        return True


def record(beats, owner=None):
    """Write what agents said, in a transaction for each 500; what is equal is one statement.

    :param beats: list of (uuid, token hash, dict of columns); one of each uuid.
    :param owner: incarnation of the conductor that writes; only its nodes are written.
    :returns: set of the uuids whose agent still has that token; the others are not written.
    """
    matched = set()
    for start in range(0, len(beats), nodes.CHUNK):
        matched |= _record(beats[start : start + nodes.CHUNK], owner)
    return matched


@engine.retried
def _record(beats, owner):
    with engine.writer() as session:
        uuids = [uuid for uuid, _, _ in beats]
        held = session.execute(_TOKENS, {'uuids': uuids})
        tokens = {tuple(row) for row in held if row.token_hash is not None}
        if owner is not None:
            # After the rows are held: the next owner writes after us, or is seen here.
            owned = set(session.execute(_OWNED, {'uuids': uuids, 'owner': owner}).scalars())
            tokens = {token for token in tokens if token[0] in owned}
        said = {}
        for uuid, token_hash, columns in beats:
            if (uuid, token_hash) in tokens:
                values = tuple((name, _storable(columns[name])) for name in sorted(columns))
                said.setdefault(values, []).append(uuid)
        for values, uuids in said.items():
            among = _TABLE.c.node_uuid.in_(uuids)
            if values:
                session.execute(sa.update(_TABLE).where(among).values(dict(values)))
        return {uuid for uuids in said.values() for uuid in uuids}


def _storable(value):
    return nodes.text(value) if isinstance(value, str) else value
