"""What operators say about nodes: the tables ``descriptions`` and ``ports``.

A node without a row has said nothing; ``nodes.delete`` takes its rows along.
Every function raises :class:`obmd.common.errors.Unavailable` when the database is not there.
"""

import dataclasses
import time

import sqlalchemy as sa
from oslo_db import exception as db_exc

from obmd.common import errors
from obmd.db import engine
from obmd.db import models
from obmd.db import nodes

_NODES = models.Node.__table__
_TABLE = models.Description.__table__
_PORTS = models.Port.__table__


@dataclasses.dataclass(frozen=True)
class Description:
    """:ivar instance_info: dict, what may be shown of it.

    :ivar sealed_instance_info: str, the whole of it, or None: all of it may be shown.
    :ivar key_id: str, the key that it is sealed to, or None.
    :ivar parameters: dict, what scripts are given (``common.parameters``).
    :ivar ports: tuple of str, MAC addresses in lower case with colons, sorted.
    """

    properties: dict = dataclasses.field(default_factory=dict)
    extra: dict = dataclasses.field(default_factory=dict)
    instance_info: dict = dataclasses.field(default_factory=dict)
    sealed_instance_info: str | None = dataclasses.field(default=None, repr=False)
    key_id: str | None = None
    ports: tuple = ()
    parameters: dict = dataclasses.field(default_factory=dict)


_NAMES = [field.name for field in dataclasses.fields(Description) if field.name != 'ports']
_ROW = sa.select(*(_TABLE.c[name] for name in _NAMES)).where(
    _TABLE.c.node_uuid == sa.bindparam('uuid')
)
_PARAMETERS = sa.select(_TABLE.c.node_uuid, _TABLE.c.parameters).where(
    _TABLE.c.node_uuid.in_(sa.bindparam('uuids', expanding=True))
)
_MACS = sa.select(_PORTS.c.mac).where(_PORTS.c.node_uuid == sa.bindparam('uuid'))


def _read(session, uuid):
    macs = sorted(session.execute(_MACS, {'uuid': uuid}).scalars())
    return dataclasses.replace(_read_row(session, uuid), ports=tuple(macs))


def _read_row(session, uuid):
    row = session.execute(_ROW, {'uuid': uuid}).one_or_none()
    said = {} if row is None else dict(zip(_NAMES, row, strict=True))
    said['parameters'] = said.get('parameters') or {}
    return Description(**said)


@engine.retried
def get(uuid):
    """:returns: :class:`Description`, an empty one where nothing was said."""
    with engine.reader() as session:
        return _read(session, uuid)


def parameters(uuids):
    """What scripts are given, of many nodes: one query for each 500.

    :returns: dict of uuid -> dict; a node of which nothing was said is absent.
    """
    uuids, found = list(uuids), {}
    for start in range(0, len(uuids), nodes.CHUNK):
        found |= _parameters(uuids[start : start + nodes.CHUNK])
    return found


@engine.retried
def _parameters(uuids):
    with engine.reader() as session:
        rows = session.execute(_PARAMETERS, {'uuids': uuids})
        return {uuid: said for uuid, said in rows if said}


@engine.retried
def get_without_ports(uuid):
    """:returns: as :func:`get`, for half of what it costs."""
    with engine.reader() as session:
        return _read_row(session, uuid)


@engine.retried_if_undone
def change(uuid, ports=None, clock=time.time, **columns):
    """Replace parts of a description, all or none of them.

    :param ports: MAC addresses in lower case with colons, or None: as they are.
    :param columns: of :class:`Description`.
    :returns: :class:`Description` as it is now.
    :raises NotFound: there is no such node (any more).
    :raises MacTaken: an address is another node's; names both.
    """
    try:
        with engine.writer() as session:
            if not nodes.hold(session, uuid, clock):
                raise errors.NotFound('there is no such node')
            if columns:
                put(session, uuid, columns)
            if ports is not None:
                put_ports(session, uuid, set(ports))
            return _read(session, uuid)
    except db_exc.DBDuplicateEntry:
        # another node's in the same moment
        with engine.reader() as session:
            _refuse_taken(session, uuid, set(ports))
        raise errors.Unavailable('the ports of nodes change just now', retry_after=1) from None


def put(session, uuid, columns):
    """:param columns: dict, of :class:`Description`; whoever calls holds the node's row."""
    changed = sa.update(_TABLE).where(_TABLE.c.node_uuid == uuid).values(columns)
    if not session.execute(changed).rowcount:
        session.execute(sa.insert(_TABLE).values(node_uuid=uuid, **columns))


def put_ports(session, uuid, macs):
    """:param macs: set of str.  :raises MacTaken: one is another node's."""
    had = set(session.execute(_MACS, {'uuid': uuid}).scalars())
    lost, new = sorted(had - macs), sorted(macs - had)
    if new:
        _refuse_taken(session, uuid, new)
    if lost:
        mine = _PORTS.c.node_uuid == uuid
        session.execute(sa.delete(_PORTS).where(_PORTS.c.mac.in_(lost), mine))
    if new:
        _clear_nobodys(session, new)
        session.execute(sa.insert(_PORTS).values([{'mac': m, 'node_uuid': uuid} for m in new]))


def _clear_nobodys(session, macs):
    """An API of an earlier version that deletes a node knows nothing of its ports."""
    statement = (
        sa.select(_PORTS.c.mac, _PORTS.c.node_uuid)
        .outerjoin_from(_PORTS, _NODES, _NODES.c.uuid == _PORTS.c.node_uuid)
        .where(_PORTS.c.mac.in_(macs), _NODES.c.uuid.is_(None))
    )
    for mac, gone in session.execute(statement).all():
        left = _PORTS.c.mac == mac, _PORTS.c.node_uuid == gone
        session.execute(sa.delete(_PORTS).where(*left))


def _refuse_taken(session, uuid, macs):
    """:raises MacTaken: one of ``macs`` is another node's."""
    statement = (
        sa.select(_PORTS.c.mac, _NODES.c.name)
        .join(_NODES, _NODES.c.uuid == _PORTS.c.node_uuid)
        .where(_PORTS.c.mac.in_(sorted(macs)), _PORTS.c.node_uuid != uuid)
        .order_by(_PORTS.c.mac)
        .limit(1)
    )
    taken = session.execute(statement).one_or_none()
    if taken is not None:
        raise errors.MacTaken(f'{taken.mac} is a port of node "{taken.name}"')


# -- what is sealed ---------------------------------------------------------------------------


@engine.retried
def sealed_to_others(key_id, after_uuid, limit):
    """What is not sealed to ``key_id``, by uuid, after ``after_uuid`` (the first: '').

    :returns: list of (node uuid, node name, sealed instance_info, key id).
    """
    columns = (_TABLE.c.node_uuid, _NODES.c.name, _TABLE.c.sealed_instance_info, _TABLE.c.key_id)
    statement = (
        sa.select(*columns)
        .join(_NODES, _NODES.c.uuid == _TABLE.c.node_uuid)
        .where(_TABLE.c.node_uuid > after_uuid, _TABLE.c.key_id != key_id)
        .order_by(_TABLE.c.node_uuid)
        .limit(limit)
    )
    with engine.reader() as session:
        return [tuple(row) for row in session.execute(statement)]


def reseal(uuid, old_sealed, sealed, key_id):
    """Replace what is sealed if it still is ``old_sealed``.  :returns: bool."""
    where = [_TABLE.c.node_uuid == uuid, _TABLE.c.sealed_instance_info == old_sealed]
    values = {'sealed_instance_info': sealed, 'key_id': key_id}
    with engine.writer() as session:
        return bool(session.execute(sa.update(_TABLE).where(*where).values(values)).rowcount)
