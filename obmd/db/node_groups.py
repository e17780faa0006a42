"""Names that operators gave to ranges of nodes: the table ``node_groups``.

A group is text: whether its nodes exist is found out when it is used.
Every function raises :class:`obmd.common.errors.Unavailable` when the database is not there.
"""

import dataclasses
import time

import sqlalchemy as sa
from oslo_db import exception as db_exc

from obmd.db import engine
from obmd.db import models
from obmd.db import nodes

_TABLE = models.NodeGroup.__table__


@dataclasses.dataclass(frozen=True)
class Group:
    """One row.  :ivar nodes: str, a folded range.  :ivar updated_at: s since the epoch."""

    name: str
    nodes: str
    updated_at: float


_COLUMNS = [_TABLE.c[field.name] for field in dataclasses.fields(Group)]


@engine.retried
def get(name):
    """:returns: :class:`Group` or None."""
    if not nodes.storable(name):
        return None
    with engine.reader() as session:
        row = session.execute(sa.select(*_COLUMNS).where(_TABLE.c.name == name)).one_or_none()
    return None if row is None else Group(*row)


@engine.retried
def page(after='', limit=1000):
    """:param after: name of the last group seen.  :returns: list of :class:`Group`, by name."""
    statement = sa.select(*_COLUMNS).where(_TABLE.c.name > after)
    with engine.reader() as session:
        rows = session.execute(statement.order_by(_TABLE.c.name).limit(limit))
        return [Group(*row) for row in rows]


@engine.retried
def put(name, range_, clock=time.time):
    """Make a group or replace its nodes.

    :param name: storable (``nodes.storable``).
    :param range_: str, a folded range.
    :returns: bool, whether it is new.
    """
    values = {'nodes': range_, 'updated_at': clock()}
    try:
        with engine.writer() as session:
            if _replace(session, name, values):
                return False
            session.execute(sa.insert(_TABLE).values(name=name, **values))
            return True
    except db_exc.DBDuplicateEntry:
        # made by another in the same moment
        with engine.writer() as session:
            _replace(session, name, values)
        return False


def _replace(session, name, values):
    return session.execute(sa.update(_TABLE).where(_TABLE.c.name == name).values(values)).rowcount


@engine.retried
def delete(name):
    """:returns: bool, whether there was one."""
    if not nodes.storable(name):
        return False
    with engine.writer() as session:
        return bool(session.execute(sa.delete(_TABLE).where(_TABLE.c.name == name)).rowcount)
