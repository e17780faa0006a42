"""Rows of the table ``conductors``: one for each start of a conductor.

``beat`` only counts up; who watches it judges by his own clock whether it moves.  Every
function raises :class:`obmd.common.errors.Unavailable` when the database is not there.

A drain is a host's and lasts until it is undrained: the row of a drained conductor that has stopped
or died stays, as dead, until the next start of its host takes the drain over (:func:`register`).
"""

import dataclasses

import sqlalchemy as sa

from obmd.db import engine
from obmd.db import models

_TABLE = models.Conductor.__table__

LIVE, LEAVING, DEAD = 'live', 'leaving', 'dead'
#: states of a conductor that renews its row; a leaving one gives its nodes away
ALIVE = (LIVE, LEAVING)
CONDUCTOR, ALL_IN_ONE = 'conductor', 'all_in_one'


@dataclasses.dataclass(frozen=True)
class Conductor:
    """One row.

    :ivar incarnation: str, 32 hex digits drawn at the start.
    :ivar drivers: tuple of str, the types of node that it serves.
    :ivar key_ids: tuple of str, the keys that it can open.
    :ivar started_at: float, wall time for a person to read.
    :ivar home: str, the same at each start with one state folder on one machine under one host
        name; ``''``: unknown.
    :ivar drained: bool, an operator wants it to own nothing.
    """

    incarnation: str
    host: str
    conductor_group: str
    drivers: tuple
    callback_url: str
    state: str = LIVE
    beat: int = 0
    kind: str = CONDUCTOR
    key_ids: tuple = ()
    version: str = ''
    started_at: float = 0.0
    home: str = ''
    drained: bool = False


_FIELDS = [field.name for field in dataclasses.fields(Conductor)]
_COLUMNS = [_TABLE.c[name] for name in _FIELDS]


def _conductor(row):
    values = dict(zip(_FIELDS, row, strict=True))
    values['drivers'] = tuple(values['drivers'])
    values['key_ids'] = tuple(values['key_ids'])
    return Conductor(**values)


def register(conductor):
    """Add the row of a start, drained if its host was.  :param conductor: :class:`Conductor`."""
    values = dataclasses.asdict(conductor)
    values['drivers'] = list(conductor.drivers)
    values['key_ids'] = list(conductor.key_ids)
    with engine.writer() as session:
        if conductor.kind == CONDUCTOR and _take_drain(session, conductor.host):
            values['drained'] = True
        session.execute(sa.insert(_TABLE).values(values))


def _take_drain(session, host):
    """Take it from dead rows, which may go then.  :returns: bool, whether one was drained."""
    drained = sa.select(_TABLE.c.incarnation, _TABLE.c.host).where(
        _TABLE.c.drained, _TABLE.c.state == DEAD
    )
    # Hosts are compared here: not every database compares them as bytes.
    old = [incarnation for incarnation, name in session.execute(drained) if name == host]
    if not old:
        return False
    where = _TABLE.c.incarnation.in_(old), _TABLE.c.drained
    return bool(session.execute(sa.update(_TABLE).where(*where).values(drained=False)).rowcount)


def beat(incarnation, beat):
    """Renew.  :returns: bool; False: the row is dead or gone, join as a new incarnation.

    Not retried: the caller's lease counts from before the attempt, and the next is due anyway.
    Waits for no place in the pool: a conductor that is busy is not dead.
    """
    where = [_TABLE.c.incarnation == incarnation, _TABLE.c.state.in_(ALIVE)]
    with engine.writer(apart=True) as session:
        statement = sa.update(_TABLE).where(*where).values(beat=beat)
        return bool(session.execute(statement).rowcount)


@engine.retried
def all():
    """:returns: list of :class:`Conductor`, dead ones included, by host."""
    statement = sa.select(*_COLUMNS).order_by(_TABLE.c.host, _TABLE.c.incarnation)
    with engine.reader() as session:
        return [_conductor(row) for row in session.execute(statement)]


def mark_dead(incarnation, beat=None):
    """Say that a conductor is dead: its late heartbeat then matches nothing.

    :param beat: int, the beat that was seen standing still: only if it still does.
    :returns: bool, whether it was live (and at ``beat``).
    """
    where = [_TABLE.c.incarnation == incarnation, _TABLE.c.state.in_(ALIVE)]
    if beat is not None:
        where.append(_TABLE.c.beat == beat)
    with engine.writer() as session:
        statement = sa.update(_TABLE).where(*where).values(state=DEAD)
        return bool(session.execute(statement).rowcount)


@engine.retried
def set_state(incarnation, state):
    """Let a conductor leave, or stay after all.

    :param state: LIVE or LEAVING.  :returns: bool, whether it renews its row.
    """
    where = [_TABLE.c.incarnation == incarnation, _TABLE.c.state.in_(ALIVE)]
    with engine.writer() as session:
        statement = sa.update(_TABLE).where(*where).values(state=state)
        return bool(session.execute(statement).rowcount)


@engine.retried
def drain(incarnation):
    """Let a conductor own nothing.  :returns: bool, whether it renews its row."""
    where = [_TABLE.c.incarnation == incarnation, _TABLE.c.state.in_(ALIVE)]
    with engine.writer() as session:
        statement = sa.update(_TABLE).where(*where).values(drained=True)
        return bool(session.execute(statement).rowcount)


@engine.retried
def undrain(incarnation):
    """Let a conductor have its share again.  :returns: bool, whether it was drained."""
    where = [_TABLE.c.incarnation == incarnation, _TABLE.c.drained]
    with engine.writer() as session:
        statement = sa.update(_TABLE).where(*where).values(drained=False)
        return bool(session.execute(statement).rowcount)


@engine.retried
def remove(incarnation):
    """Delete the row: a clean stop, or a dead one that owns nothing any more.

    A drained one stays, as dead.

    :returns: bool, whether a row was deleted.
    """
    mine = _TABLE.c.incarnation == incarnation
    with engine.writer() as session:
        if session.execute(sa.delete(_TABLE).where(mine, ~_TABLE.c.drained)).rowcount:
            return True
        session.execute(sa.update(_TABLE).where(mine, _TABLE.c.drained).values(state=DEAD))
        return False
