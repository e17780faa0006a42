"""Who owns a node: changed by compare-and-swap on its row, and by nothing else.

``owner`` is the incarnation of a conductor's start; ``owner_epoch`` grows with each new owner.
Every function raises :class:`obmd.common.errors.Unavailable` when the database is not there.
"""

import sqlalchemy as sa

from obmd.db import engine
from obmd.db import models
from obmd.db import nodes

_TABLE = models.Node.__table__

#: what held a node ends with the ownership under which it did
_UNLOCKED = {'lock_purpose': None, 'lock_caller': None, 'lock_since': None}


@engine.retried_if_undone
def claim(uuid, incarnation, owner, epoch):
    """Take a node from ``owner`` (None: nobody) if it still is ``owner``'s at ``epoch``.

    :returns: int, the new epoch, or None: another was faster.  Not retried: whether a claim
        that lost its connection was committed is seen from the row.
    """
    where = [_TABLE.c.uuid == uuid, _TABLE.c.owner == owner, _TABLE.c.owner_epoch == epoch]
    with engine.writer() as session:
        done = nodes.update(session, where, owner=incarnation, owner_epoch=epoch + 1, **_UNLOCKED)
    return epoch + 1 if done else None


@engine.retried_if_undone
def claim_all(uuids, incarnation, owner):
    """Take those of ``uuids`` that still are ``owner``'s (None: nobody's), all at once.

    :param uuids: at most ``nodes.CHUNK``.
    :returns: list of ``nodes.Node``, those that are ours now.  Not retried, as :func:`claim`.
    """
    among = _TABLE.c.uuid.in_(sorted(uuids))
    values = {'owner': incarnation, 'owner_epoch': _TABLE.c.owner_epoch + 1, **_UNLOCKED}
    with engine.writer() as session:
        nodes.update(session, [among, _TABLE.c.owner == owner], **values)
        ours = session.execute(nodes.select(among, _TABLE.c.owner == incarnation))
        return [nodes.Node(*row) for row in ours]


@engine.retried_if_undone
def release(uuid, incarnation, epoch):
    """Give a node up.  :returns: bool, whether it was ours at ``epoch``."""
    with engine.writer() as session:
        where = nodes.held(uuid, incarnation, epoch)
        return bool(nodes.update(session, where, owner=None, **_UNLOCKED))


@engine.retried
def release_all(incarnation):
    """Give up every node of ``incarnation``.  :returns: int, how many."""
    with engine.writer() as session:
        return nodes.update(session, [_TABLE.c.owner == incarnation], owner=None, **_UNLOCKED)


def owned_by(incarnation, limit=None):
    """:returns: list of ``nodes.Node``, at most ``limit``."""
    mine = nodes.select(_TABLE.c.owner == incarnation)
    return nodes.fetch(mine.order_by(_TABLE.c.id).limit(limit))


@engine.retried
def uuids(incarnation):
    """:returns: list of str, the nodes of ``incarnation``."""
    statement = sa.select(_TABLE.c.uuid).where(_TABLE.c.owner == incarnation)
    with engine.reader() as session:
        return list(session.execute(statement).scalars())


@engine.retried
def owned_counts(incarnations=None):
    """How many nodes each owner has; reads the whole index, or what ``incarnations`` own.

    :returns: dict of (incarnation, conductor group, driver) -> int, above 0.
    """
    key = _TABLE.c.owner, _TABLE.c.conductor_group, _TABLE.c.driver
    owned = _TABLE.c.owner.is_not(None)
    if incarnations is not None:
        owned = _TABLE.c.owner.in_(list(incarnations))
    statement = sa.select(*key, sa.func.count()).where(owned).group_by(*key)
    with engine.reader() as session:
        return {tuple(row[:3]): row[3] for row in session.execute(statement)}


def placements(after_id, limit):
    """What the rings need of up to ``limit`` nodes with a larger id, by id.

    :returns: list of (id, uuid, conductor group, driver, owner or None).
    """
    columns = (_TABLE.c[name] for name in ('id', 'uuid', 'conductor_group', 'driver', 'owner'))
    return _placements(
        sa.select(*columns).where(_TABLE.c.id > after_id).order_by(_TABLE.c.id).limit(limit)
    )


@engine.retried
def _placements(statement):
    with engine.reader() as session:
        return [tuple(row) for row in session.execute(statement)]


def claimable(group, drivers, dead_owners, limit, after_id=0):
    """Nodes of ``group`` and ``drivers`` that nobody owns, or a dead conductor, by id.

    Costs an index look-up for each owner asked for, however many nodes there are.

    :param dead_owners: incarnations.
    :param after_id: int, id of the last node already seen: the caller's ring may give some to
        others, and those must not hide the rest.
    :returns: list of ``nodes.Node``, at most ``limit``.
    """
    where = [
        _TABLE.c.conductor_group == group,
        _TABLE.c.driver.in_(list(drivers)),
        _TABLE.c.id > after_id,
        sa.or_(_TABLE.c.owner.is_(None), _TABLE.c.owner.in_(list(dead_owners))),
    ]
    return nodes.fetch(nodes.select(*where).order_by(_TABLE.c.id).limit(limit))


@engine.retried
def incarnations():
    """The incarnations that own nodes; reads the whole index.  :returns: set of str."""
    column = _TABLE.c.owner
    with engine.reader() as session:
        found = session.execute(sa.select(column).where(column.is_not(None)).distinct())
        return set(found.scalars())


@engine.retried
def owns_any(incarnation):
    """:returns: bool, whether some node is owned by ``incarnation``."""
    statement = sa.select(_TABLE.c.id).where(_TABLE.c.owner == incarnation).limit(1)
    with engine.reader() as session:
        return session.execute(statement).first() is not None
