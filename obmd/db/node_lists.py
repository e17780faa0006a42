"""Lists of nodes: by name, page by page, and of many names what a job over them needs.

Every function raises :class:`obmd.common.errors.Unavailable` when the database is not there.
"""

import time
import typing

import sqlalchemy as sa

from obmd.db import engine
from obmd.db import models
from obmd.db import nodes

_NODES = models.Node.__table__
_RANKS = models.NodeRank.__table__


class Place(typing.NamedTuple):
    """A node, and where it is served: a fourth of its row."""

    uuid: str
    name: str
    driver: str
    conductor_group: str
    owner: str | None
    owner_epoch: int


_PLACES = sa.select(*(_NODES.c[name] for name in Place._fields)).where(
    _NODES.c.name.in_(sa.bindparam('names', expanding=True))
)


def places(names):
    """:returns: list of :class:`Place`, those of ``names`` that exist, in no order."""
    names, found = [name for name in names if nodes.storable(name)], []
    for start in range(0, len(names), nodes.CHUNK):
        found += _places(names[start : start + nodes.CHUNK])
        time.sleep(0)  # SQLite does not yield by itself
    return found


@engine.retried
def _places(names):
    with engine.reader() as session:
        return [Place(*row) for row in session.execute(_PLACES, {'names': names})]


def page(driver=None, conductor_group=None, owners=None, rank=None, after='', limit=1000):
    """The nodes that fit, by name.

    :param owners: incarnations, or None: whoever owns it, or nobody.
    :param rank: str, one of the node's.
    :param after: name of the last node seen.
    :returns: list of :class:`obmd.db.nodes.Node`, at most ``limit``.
    """
    where = [_NODES.c.name > after]
    if driver is not None:
        where.append(_NODES.c.driver == driver)
    if conductor_group is not None:
        where.append(_NODES.c.conductor_group == conductor_group)
    if owners is not None:
        where.append(_NODES.c.owner.in_(list(owners)))
    if rank is not None:
        has = sa.select(_RANKS.c.node_uuid).where(_RANKS.c.rank == rank)
        where.append(_NODES.c.uuid.in_(has))
    return nodes.fetch(nodes.select(*where).order_by(_NODES.c.name).limit(limit))
