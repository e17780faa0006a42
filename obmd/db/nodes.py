"""Rows of the table ``nodes``: each function is one short transaction.

Whoever owns a node writes to its row with its own incarnation and the epoch under which it
claimed: a write of an owner that has been replaced matches nothing and returns False.

Every function raises :class:`obmd.common.errors.Unavailable` when the database is not there.
"""

import dataclasses
import re
import time
import typing

import sqlalchemy as sa
from oslo_db import exception as db_exc

from obmd.common import errors
from obmd.db import engine
from obmd.db import models

_TABLE = models.Node.__table__
#: names or uuids in one query; SQLite takes 32,766 variables, older ones 999
CHUNK = 500
#: RFC 9562, section 4; its letters may be of either case
_UUID = re.compile('[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}', re.IGNORECASE)
#: what goes with a node's row
_BESIDE = (
    models.Port.__table__,
    models.Description.__table__,
    models.Agent.__table__,
    models.NodeRank.__table__,
)


@dataclasses.dataclass(frozen=True)
class Node:
    """One row.  Times are seconds since the epoch; see ``models`` for the columns."""

    id: int
    uuid: str
    name: str
    driver: str
    address: str
    sealed_info: str = dataclasses.field(repr=False)
    key_id: str
    conductor_group: str
    owner: str | None
    owner_epoch: int
    token_hash: str | None = dataclasses.field(repr=False)
    token_id: str | None = dataclasses.field(repr=False)
    token_issued_at: float | None
    credentials_refused: str | None
    credentials_refused_at: float | None
    sol_holder: str | None
    target_power_state: str | None
    target_until: float | None
    target_reason: str | None
    target_call_id: str | None
    last_error: str | None
    lock_purpose: str | None
    lock_caller: str | None
    lock_since: float | None
    created_at: float
    updated_at: float


_COLUMNS = [_TABLE.c[field.name] for field in dataclasses.fields(Node)]


class Standing(typing.NamedTuple):
    """What a conductor compares at every check: whose the node is, and its token."""

    token_id: str | None
    owner: str | None
    owner_epoch: int


_STANDING = [_TABLE.c[name] for name in Standing._fields]


def select(*where):
    """A query for whole rows.  :param where: conditions."""
    return sa.select(*_COLUMNS).where(*where)


# of every request: made once, for SQLAlchemy knows a statement by the object
_BY_NAME = select(_TABLE.c.name == sa.bindparam('name'))
_BY_UUID = select(_TABLE.c.uuid == sa.bindparam('uuid'))


def _one(session, statement, **values):
    row = session.execute(statement, values).one_or_none()
    return None if row is None else Node(*row)


def in_session(session, uuid):
    """:returns: :class:`Node` or None."""
    return _one(session, _BY_UUID, uuid=uuid)


def update(session, where, clock=time.time, **values):
    """:returns: int, rows that matched ``where``."""
    statement = sa.update(_TABLE).where(*where).values(updated_at=clock(), **values)
    return session.execute(statement).rowcount


def hold(session, uuid, clock=time.time):
    """Keep a node from being deleted until the transaction ends, and tell it from one that was.

    :returns: bool, whether there is such a node.
    """
    return bool(update(session, [_TABLE.c.uuid == uuid], clock))


def text(value):
    """A database's text has no NUL and no half of a surrogate pair; a BMC's own words might."""
    return value and value.replace('\0', '').encode(errors='replace').decode()


def storable(name):
    """Whether a name can be a row's: a label with NUL or half a surrogate pair never is."""
    try:
        return 0 < len(name) <= 255 and b'\0' not in name.encode()
    except UnicodeEncodeError:
        return False


def is_uuid(ident):
    """:returns: bool, whether it is written as one (RFC 9562), in letters of either case."""
    return bool(_UUID.fullmatch(ident))


# -- registration -----------------------------------------------------------------------------


@engine.retried_if_undone
def create(
    name,
    driver,
    address,
    sealed_info,
    key_id,
    conductor_group,
    uuid,
    clock=time.time,
    beside=lambda session: None,
):
    """Register a node.  :returns: :class:`Node`, owned by nobody, without a token.

    :param beside: writes what stands beside the node, in the same transaction.
    :raises NodeExists: the name is taken, or another node's uuid.
    :raises InvalidInput: the name cannot be stored.
    """
    if not storable(name):
        raise errors.InvalidInput('a node name has 1 to 255 characters, none of them NUL')
    if address != text(address):
        raise errors.InvalidInput('an address is text without NUL')
    now = clock()
    values = {
        'uuid': uuid,
        'name': name,
        'driver': driver,
        'address': address,
        'sealed_info': sealed_info,
        'key_id': key_id,
        'conductor_group': conductor_group,
        'owner_epoch': 0,
        'created_at': now,
        'updated_at': now,
    }
    is_new = False
    try:
        with engine.writer() as session:
            if is_uuid(name) and _one(session, _BY_UUID, uuid=name.lower()):
                raise errors.NodeExists(f'"{name}" is the uuid of another node', node=name)
            session.execute(sa.insert(_TABLE).values(values))
            is_new = True
            beside(session)
            return in_session(session, uuid)
    except db_exc.DBDuplicateEntry:
        if is_new:
            raise errors.Unavailable('the ports of nodes change just now', retry_after=1) from None
        raise errors.NodeExists(f'node "{name}" exists already', node=name) from None


@engine.retried_if_undone
def delete(name):
    """Unregister.  :returns: :class:`Node` as it was, or None when there was none."""
    if not storable(name):
        return None
    with engine.writer() as session:
        node = _one(session, _BY_NAME, name=name)
        if node is None:
            return None
        # first: who adds something beside a node holds its row
        gone = session.execute(sa.delete(_TABLE).where(_TABLE.c.id == node.id)).rowcount
        for table in _BESIDE:
            session.execute(sa.delete(table).where(table.c.node_uuid == node.uuid))
        return node if gone else None


# -- looking up -------------------------------------------------------------------------------


@engine.retried
def get(name):
    """:returns: :class:`Node` or None."""
    if not storable(name):
        return None
    with engine.reader() as session:
        return _one(session, _BY_NAME, name=name)


@engine.retried
def get_by_uuid(uuid):
    """:returns: :class:`Node` or None."""
    with engine.reader() as session:
        return _one(session, _BY_UUID, uuid=uuid)


def get_by_ident(ident):
    """:param ident: str, a node's uuid or, where there is no such uuid, its name.

    :returns: :class:`Node` or None.
    """
    found = get_by_uuid(ident.lower()) if is_uuid(ident) else None
    return found or get(ident)


def by_uuids(uuids):
    """:returns: list of :class:`Node`, those of ``uuids`` that exist, in no order."""
    return _among(_TABLE.c.uuid, list(uuids))


def by_names(names):
    """:returns: list of :class:`Node`, those of ``names`` that exist, in no order."""
    return _among(_TABLE.c.name, [name for name in names if storable(name)])


def _among(column, values):
    found = []
    for start in range(0, len(values), CHUNK):
        found += fetch(select(column.in_(values[start : start + CHUNK])))
        time.sleep(0)  # SQLite does not yield by itself
    return found


@engine.retried
def fetch(statement):
    """Run what :func:`select` made.  :returns: list of :class:`Node`."""
    with engine.reader() as session:
        return [Node(*row) for row in session.execute(statement)]


def page(after_id, limit):
    """Up to ``limit`` rows with a larger id, by id.  :returns: list of (id, :class:`Node`)."""
    statement = select(_TABLE.c.id > after_id).order_by(_TABLE.c.id).limit(limit)
    return [(node.id, node) for node in fetch(statement)]


@engine.retried
def names():
    """:returns: list of str, of all nodes, sorted."""
    with engine.reader() as session:
        return list(session.execute(sa.select(_TABLE.c.name).order_by(_TABLE.c.name)).scalars())


@engine.retried
def groups():
    """:returns: dict of conductor group -> number of nodes."""
    column = _TABLE.c.conductor_group
    with engine.reader() as session:
        return dict(session.execute(sa.select(column, sa.func.count()).group_by(column)).all())


# -- tokens -----------------------------------------------------------------------------------


def set_token(name, token_hash, token_id, clock=time.time):
    """Replace the node's token.  :returns: :class:`Node` or None (unknown)."""
    return _set_token(
        name, clock, token_hash=token_hash, token_id=token_id, token_issued_at=clock()
    )


def clear_token(name, clock=time.time):
    """Take the node's token away.  :returns: :class:`Node` or None (unknown)."""
    return _set_token(name, clock, token_hash=None, token_id=None, token_issued_at=None)


@engine.retried
def _set_token(name, clock, **values):
    if not storable(name):
        return None
    with engine.writer() as session:
        if not update(session, [_TABLE.c.name == name], clock, **values):
            return None
        return _one(session, _BY_NAME, name=name)


# -- what is compared regularly ----------------------------------------------------------------


def standings(uuids):
    """The tokens and owners of many nodes, one query for each 500.

    :returns: dict of uuid -> :class:`Standing`; a node that is gone is absent.
    """
    uuids = list(uuids)
    found = {}
    for start in range(0, len(uuids), CHUNK):
        found.update(_standings(uuids[start : start + CHUNK]))
    return found


@engine.retried
def _standings(uuids):
    statement = sa.select(_TABLE.c.uuid, *_STANDING).where(_TABLE.c.uuid.in_(uuids))
    with engine.reader() as session:
        return {uuid: Standing(*rest) for uuid, *rest in session.execute(statement)}


# -- what the owner records -------------------------------------------------------------------


def held(uuid, incarnation, epoch):
    """The condition that a node is owned under this epoch; what else owners write depends on it."""
    return [
        _TABLE.c.uuid == uuid,
        _TABLE.c.owner == incarnation,
        _TABLE.c.owner_epoch == epoch,
    ]


@engine.retried
def _as_owner(uuid, incarnation, epoch, **values):
    with engine.writer() as session:
        return bool(update(session, held(uuid, incarnation, epoch), **values))


def set_sol_holder(uuid, incarnation, epoch, holder):
    """Record who holds the BMC's SOL session.

    :param holder: str ``<incarnation> <address>:<port>`` or ``foreign``, or None.
    :returns: bool, whether the node was ours.
    """
    return _as_owner(uuid, incarnation, epoch, sol_holder=holder)


def set_lock(uuid, incarnation, epoch, purpose=None, caller=None, since=None):
    """Tell what holds the node, for whom and since when (wall time, s); None: nothing.

    :returns: bool, whether the node was ours.
    """
    return _as_owner(
        uuid,
        incarnation,
        epoch,
        lock_purpose=purpose,
        lock_caller=caller,
        lock_since=since,
    )


def set_target(uuid, incarnation, epoch, state, until, reason, call_id):
    """Commit deferred work: bring the node to ``state`` before ``until`` (wall time, s).

    :returns: bool, whether the node was ours.
    """
    return _as_owner(
        uuid,
        incarnation,
        epoch,
        target_power_state=state,
        target_until=until,
        target_reason=text(reason),
        target_call_id=call_id,
        last_error=None,
    )


def clear_target(uuid, incarnation, epoch, last_error=None):
    """The deferred work is done, cancelled or (``last_error``) given up.

    :returns: bool, whether the node was ours.
    """
    return _as_owner(
        uuid,
        incarnation,
        epoch,
        target_power_state=None,
        target_until=None,
        target_reason=None,
        target_call_id=None,
        last_error=text(last_error),
    )


# -- credentials ------------------------------------------------------------------------------


@engine.retried
def refuse_credentials(uuid, reason, clock=time.time):
    """The BMC refused the credentials: nobody tries them again.  :returns: bool, known node."""
    values = {'credentials_refused': text(reason), 'credentials_refused_at': clock()}
    with engine.writer() as session:
        return bool(update(session, [_TABLE.c.uuid == uuid], clock, **values))


@engine.retried
def retry_credentials(name):
    """An operator says that they may be tried again.  :returns: bool, known node."""
    if not storable(name):
        return False
    values = {'credentials_refused': None, 'credentials_refused_at': None}
    with engine.writer() as session:
        return bool(update(session, [_TABLE.c.name == name], **values))


def reseal(uuid, old_sealed, sealed, key_id):
    """Replace what is sealed if it still is ``old_sealed``.  :returns: bool."""
    where = [_TABLE.c.uuid == uuid, _TABLE.c.sealed_info == old_sealed]
    with engine.writer() as session:
        return bool(update(session, where, sealed_info=sealed, key_id=key_id))
