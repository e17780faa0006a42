"""Runs of jobs: the table ``job_runs``.

A run is one node's part of a job, or the only one of a job without nodes.  It is ``queued``, then
``running`` under one conductor's incarnation, then ``ended``: each step is taken once, by one
transaction that found it where it was.

Times are wall times, seconds since the epoch.
Every function raises :class:`obmd.common.errors.Unavailable` when the database is not there.
"""

import typing

import sqlalchemy as sa

from obmd.db import engine
from obmd.db import models
from obmd.db import nodes

_TABLE = models.JobRun.__table__
#: states
QUEUED, RUNNING, ENDED = 'queued', 'running', 'ended'
#: outcomes
EXITED, SIGNALLED, NOT_STARTED = 'exited', 'signalled', 'not_started'
CANCELLED, TIMED_OUT, OUTPUT_LIMIT, LOST = 'cancelled', 'timed_out', 'output_limit', 'lost'
#: of a run that its conductor did not live to tell about
LOST_STATUS = 1
LOST_REASON = 'its conductor went away: it may or may not have run'


class Run(typing.NamedTuple):
    """One row.

    :ivar position: int, from 0, in the order of the nodes.
    :ivar runner: incarnation of the conductor that runs it, or ran it.
    :ivar outcome: once ended: ``exited``, ``signalled``, ``not_started``, ``cancelled``,
        ``timed_out``, ``output_limit`` or ``lost``.
    :ivar status: int, once ended.
    """

    job_uuid: str
    position: int
    node_uuid: str | None = None
    node_name: str | None = None
    state: str = QUEUED
    outcome: str | None = None
    status: int | None = None
    reason: str | None = None
    runner: str | None = None
    started_at: float | None = None
    ended_at: float | None = None
    output_bytes: int = 0


class End(typing.NamedTuple):
    """How a run ended, as its conductor tells."""

    job_uuid: str
    position: int
    outcome: str
    status: int
    reason: str | None = None
    output_bytes: int = 0


class Counts(typing.NamedTuple):
    """How many runs of a job are in which state.

    :ivar failed: int, of those that ended, the ones with another status than 0.
    """

    queued: int = 0
    running: int = 0
    ended: int = 0
    failed: int = 0


_COLUMNS = [_TABLE.c[name] for name in Run._fields]
_NEW = ('job_uuid', 'position', 'node_uuid', 'node_name', 'state', 'output_bytes')
_OF_JOB = _TABLE.c.job_uuid == sa.bindparam('job')
_AMONG = _TABLE.c.position.in_(sa.bindparam('positions', expanding=True))
_STARTABLE = (
    sa.select(_TABLE.c.position)
    .where(_OF_JOB, _AMONG, _TABLE.c.state == QUEUED)
    .order_by(_TABLE.c.position)
    .with_for_update()
)
_START = (
    sa.update(_TABLE)
    .where(_OF_JOB, _AMONG, _TABLE.c.state == QUEUED)
    .values(state=RUNNING, runner=sa.bindparam('incarnation'), started_at=sa.bindparam('now'))
)
_RUNNING_UNDER = (_TABLE.c.runner == sa.bindparam('incarnation'), _TABLE.c.state == RUNNING)
_END = (
    sa.update(_TABLE)
    .where(_OF_JOB, _AMONG, *_RUNNING_UNDER)
    .values(
        state=ENDED,
        outcome=sa.bindparam('how'),
        status=sa.bindparam('number'),
        reason=sa.bindparam('why'),
        output_bytes=sa.bindparam('size'),
        ended_at=sa.bindparam('now'),
    )
)
_ENDED_SO = sa.select(_TABLE.c.position).where(
    _OF_JOB,
    _AMONG,
    _TABLE.c.runner == sa.bindparam('incarnation'),
    _TABLE.c.state == ENDED,
    _TABLE.c.outcome == sa.bindparam('how'),
)


def queued(run):
    """:returns: dict, the row of a new :class:`Run`; what stays NULL costs a server time too."""
    return {name: getattr(run, name) for name in _NEW}


def _chunks(values):
    values = list(values)
    for start in range(0, len(values), nodes.CHUNK):
        yield values[start : start + nodes.CHUNK]


# -- looking ----------------------------------------------------------------------------------


@engine.retried
def of_job(uuid, states=None, after=None, limit=None):
    """:param states: only these; None: all.  :param after: position of the last one seen.

    :returns: list of :class:`Run`, by position.
    """
    where = [_TABLE.c.job_uuid == uuid]
    if states is not None:
        where.append(_TABLE.c.state.in_(list(states)))
    if after is not None:
        where.append(_TABLE.c.position > after)
    statement = sa.select(*_COLUMNS).where(*where).order_by(_TABLE.c.position).limit(limit)
    with engine.reader() as session:
        return [Run(*row) for row in session.execute(statement)]


@engine.retried
def at(uuid, positions):
    """:returns: list of :class:`Run`, those of a job at ``positions``, by position."""
    found = []
    for some in _chunks(positions):
        statement = sa.select(*_COLUMNS).where(_OF_JOB, _AMONG).order_by(_TABLE.c.position)
        with engine.reader() as session:
            rows = session.execute(statement, {'job': uuid, 'positions': some})
            found += [Run(*row) for row in rows]
    return found


@engine.retried
def running_under(incarnation):
    """:returns: list of :class:`Run` that run under an incarnation, of all jobs."""
    where = _TABLE.c.runner == incarnation, _TABLE.c.state == RUNNING
    with engine.reader() as session:
        statement = (
            sa.select(*_COLUMNS).where(*where).order_by(_TABLE.c.job_uuid, _TABLE.c.position)
        )
        return [Run(*row) for row in session.execute(statement)]


@engine.retried
def runners():
    """:returns: set of str, the incarnations under which runs run; reads the index."""
    column = _TABLE.c.runner
    where = _TABLE.c.state == RUNNING, column.is_not(None)
    with engine.reader() as session:
        return set(session.execute(sa.select(column).where(*where).distinct()).scalars())


def counts(uuid):
    """:returns: :class:`Counts`."""
    return counts_among([uuid]).get(uuid, Counts())


@engine.retried
def counts_among(uuids):
    """:returns: dict of uuid -> :class:`Counts`; a job without runs is absent."""
    failed = sa.func.sum(sa.case((_TABLE.c.status != 0, 1), else_=0))
    made = {}
    for some in _chunks(uuids):
        statement = (
            sa.select(_TABLE.c.job_uuid, _TABLE.c.state, sa.func.count(), failed)
            .where(_TABLE.c.job_uuid.in_(some))
            .group_by(_TABLE.c.job_uuid, _TABLE.c.state)
        )
        with engine.reader() as session:
            for uuid, state, count, bad in session.execute(statement):
                of_job = made.setdefault(uuid, {})
                of_job[state] = count
                of_job['failed'] = of_job.get('failed', 0) + int(bad)
    return {uuid: Counts(**of_job) for uuid, of_job in made.items()}


# -- changing ---------------------------------------------------------------------------------


@engine.retried_if_undone
def start(uuid, positions, incarnation, now):
    """Take queued runs for one conductor.

    :returns: list of int, those that were queued and are its own now.  Not retried: after a lost
        connection they may be ours although nobody started them (:func:`running_under`,
        :func:`put_back`).
    """
    taken = []
    with engine.writer() as session:
        for some in _chunks(positions):
            asked = {'job': uuid, 'positions': some}
            queued = list(session.execute(_STARTABLE, asked).scalars())
            if queued:
                ours = {'job': uuid, 'positions': queued, 'incarnation': incarnation, 'now': now}
                session.execute(_START, ours)
                taken += queued
    return taken


@engine.retried
def put_back(uuid, positions, incarnation):
    """Queue runs again that were taken for a conductor which did not start them.

    :returns: int, how many.
    """
    values = {'state': QUEUED, 'runner': None, 'started_at': None}
    return _change(
        uuid, positions, [_TABLE.c.runner == incarnation, _TABLE.c.state == RUNNING], values
    )


def _change(uuid, positions, where, values):
    """:param positions: iterable of int, or None: all."""
    changed = 0
    where = [_TABLE.c.job_uuid == uuid, *where]
    with engine.writer() as session:
        for some in [None] if positions is None else _chunks(positions):
            among = [] if some is None else [_TABLE.c.position.in_(some)]
            statement = sa.update(_TABLE).where(*where, *among).values(values)
            changed += session.execute(statement).rowcount
    return changed


@engine.retried
def end(incarnation, ends, now):
    """Write how runs ended; those that ended alike are one statement.

    :param ends: list of :class:`End`; only rows that run under ``incarnation`` are written.
    :returns: list of :class:`End` that came too late: the run had ended otherwise before.
    """
    alike = {}
    for one in ends:
        key = one.job_uuid, one.outcome, one.status, nodes.text(one.reason), one.output_bytes
        alike.setdefault(key, {})[one.position] = one
    late = []
    with engine.writer() as session:
        for key in sorted(alike, key=lambda key: (key[0], min(alike[key]))):
            for positions in _chunks(sorted(alike[key])):
                left = _end_alike(session, incarnation, key, positions, now)
                late += [alike[key][position] for position in left]
    return late


def _end_alike(session, incarnation, key, positions, now):
    """:returns: set of the positions that have ended otherwise."""
    uuid, outcome, status, reason, size = key
    which = {'job': uuid, 'positions': positions, 'incarnation': incarnation, 'how': outcome}
    values = {'number': status, 'why': reason, 'size': size, 'now': now}
    if session.execute(_END, which | values).rowcount == len(positions):
        return set()
    # a first try whose answer was lost has written them too
    return set(positions) - set(session.execute(_ENDED_SO, which).scalars())


@engine.retried
def end_queued(uuid, outcome, status, reason, now, positions=None):
    """End runs that nobody started.

    :param positions: iterable of int, None: all.
    :returns: int, how many.
    """
    values = {
        'state': ENDED,
        'outcome': outcome,
        'status': status,
        'reason': nodes.text(reason),
        'ended_at': now,
    }
    return _change(uuid, positions, [_TABLE.c.state == QUEUED], values)


@engine.retried
def lose(uuid, incarnation, now, reason=LOST_REASON):
    """End the running rows of an incarnation that is gone.

    :param uuid: of a job, or None: of all.
    :returns: list of (job uuid, position).
    """
    where = [_TABLE.c.runner == incarnation, _TABLE.c.state == RUNNING]
    if uuid is not None:
        where.append(_TABLE.c.job_uuid == uuid)
    keys = _TABLE.c.job_uuid, _TABLE.c.position
    values = {'outcome': LOST, 'status': LOST_STATUS, 'reason': reason, 'ended_at': now}
    with engine.writer() as session:
        found = sa.select(*keys).where(*where).order_by(*keys).with_for_update()
        lost = [tuple(row) for row in session.execute(found)]
        if lost:
            session.execute(sa.update(_TABLE).where(*where).values(state=ENDED, **values))
    return lost


@engine.retried_if_undone
def annotate(uuid, position, text):
    """Add a late word to an ended run's reason; its outcome stays.  :returns: bool."""
    run = _TABLE.c.job_uuid == uuid, _TABLE.c.position == position, _TABLE.c.state == ENDED
    with engine.writer() as session:
        had = session.execute(
            sa.select(_TABLE.c.reason).where(*run).with_for_update()
        ).one_or_none()
        if had is None:
            return False
        reason = '; '.join(part for part in (had.reason, nodes.text(text)) if part)
        session.execute(sa.update(_TABLE).where(*run).values(reason=reason))
        return True
