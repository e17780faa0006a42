"""The ranks of nodes: the table ``node_ranks``.

A node has any number of them, in an order: a command runs the script of the first that it knows.
``nodes.delete`` takes a node's ranks along.
Every function raises :class:`obmd.common.errors.Unavailable` when the database is not there.
"""

import time

import sqlalchemy as sa

from obmd.common import errors
from obmd.db import engine
from obmd.db import models
from obmd.db import nodes

_TABLE = models.NodeRank.__table__
_NODES = models.Node.__table__
_AMONG = (
    sa.select(_TABLE.c.node_uuid, _TABLE.c.rank)
    .where(_TABLE.c.node_uuid.in_(sa.bindparam('uuids', expanding=True)))
    .order_by(_TABLE.c.node_uuid, _TABLE.c.position)
)


def get(uuid):
    """:returns: list of str, in the node's order; empty where there is no such node."""
    return among([uuid]).get(uuid, [])


def among(uuids):
    """Many at once, one query for each 500.

    :returns: dict of uuid -> list of str; a node without ranks is absent.
    """
    uuids, found = list(uuids), {}
    for start in range(0, len(uuids), nodes.CHUNK):
        for uuid, rank in _among(uuids[start : start + nodes.CHUNK]):
            found.setdefault(uuid, []).append(rank)
    return found


@engine.retried
def _among(uuids):
    with engine.reader() as session:
        return [tuple(row) for row in session.execute(_AMONG, {'uuids': uuids})]


@engine.retried
def put(uuid, ranks, clock=time.time):
    """Replace a node's ranks.

    :param ranks: list of str, each once.
    :raises NotFound: there is no such node (any more).
    """
    with engine.writer() as session:
        if not nodes.hold(session, uuid, clock):
            raise errors.NotFound('there is no such node')
        replace(session, uuid, ranks)


def replace(session, uuid, ranks):
    """As :func:`put`, for who holds the node's row in a transaction."""
    rows = [
        {'node_uuid': uuid, 'position': position, 'rank': rank}
        for position, rank in enumerate(ranks)
    ]
    session.execute(sa.delete(_TABLE).where(_TABLE.c.node_uuid == uuid))
    if rows:
        session.execute(sa.insert(_TABLE), rows)


@engine.retried
def members(rank, limit=None):
    """:returns: list of str, names of the nodes with ``rank``, by name; at most ``limit``."""
    if not nodes.storable(rank):
        return []
    statement = (
        sa.select(_NODES.c.name)
        .join(_TABLE, _TABLE.c.node_uuid == _NODES.c.uuid)
        .where(_TABLE.c.rank == rank)
        .order_by(_NODES.c.name)
        .limit(limit)
    )
    with engine.reader() as session:
        return list(session.execute(statement).scalars())


@engine.retried
def counts():
    """:returns: dict of rank -> number of nodes; reads the whole index."""
    statement = sa.select(_TABLE.c.rank, sa.func.count()).group_by(_TABLE.c.rank)
    with engine.reader() as session:
        return dict(session.execute(statement).all())
