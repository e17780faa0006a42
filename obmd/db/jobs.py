"""Jobs: the table ``jobs``.  A job is one command over many nodes, or over none.

A job is ``running`` until its last run (``runs``) has ended, then ``ended``.  It has an owner as a
node has one: an incarnation, and an epoch that grows with each new owner.
Times are wall times, seconds since the epoch.
Every function raises :class:`obmd.common.errors.Unavailable` when the database is not there.
"""

import collections
import dataclasses

import sqlalchemy as sa

from obmd.common import errors
from obmd.common import ranges
from obmd.db import audit
from obmd.db import engine
from obmd.db import models
from obmd.db import nodes
from obmd.db import runs

_TABLE = models.Job.__table__
_RUNS = models.JobRun.__table__
#: states of a job
RUNNING, ENDED = runs.RUNNING, runs.ENDED


@dataclasses.dataclass(frozen=True)
class Job:
    """One row.

    :ivar arguments: list of str, verbatim.
    :ivar door: str, ``action`` or ``native``.
    :ivar context_type: str, ``nodes``, ``groups`` or None: a job without nodes.
    :ivar context: str, the range as it was given, or None.
    :ivar subject: str, the token's ``jti``, or ``admin``; ``label`` is the token's.
    :ivar claimed_user: str, whom the caller said to be; not checked.
    :ivar source: str, the caller's address.
    :ivar run_limit: int, runs at once.
    :ivar stagger: seconds between two starts.
    :ivar timeout: seconds that one run may take.
    :ivar output_limit: bytes that one run may write.
    :ivar state: ``running`` or ``ended``.
    :ivar status: int, the largest of its runs, once it has ended.
    """

    uuid: str
    command: str
    created_at: float
    total: int
    arguments: list = dataclasses.field(default_factory=list)
    door: str = 'native'
    context_type: str | None = None
    context: str | None = None
    subject: str = 'admin'
    label: str | None = None
    claimed_user: str | None = None
    claimed_uid: int | None = None
    source: str | None = None
    request_id: str | None = None
    run_limit: int = 16
    stagger: float = 0.0
    timeout: float = 3600.0
    output_limit: int = 2**30
    state: str = RUNNING
    cancelled_at: float | None = None
    ended_at: float | None = None
    status: int | None = None
    owner: str | None = None
    owner_epoch: int = 0


_COLUMNS = [_TABLE.c[field.name] for field in dataclasses.fields(Job)]
# of every job: made once, for SQLAlchemy knows a statement by the object
_BY_UUID = sa.select(*_COLUMNS).where(_TABLE.c.uuid == sa.bindparam('uuid'))
_INSERT_RUNS = sa.insert(_RUNS)


def _jobs(statement):
    with engine.reader() as session:
        return [Job(*row) for row in session.execute(statement)]


def _update(session, where, **values):
    return session.execute(sa.update(_TABLE).where(*where).values(**values)).rowcount


# -- jobs -------------------------------------------------------------------------------------


@engine.retried_if_undone
def create(job, rows, audited=None):
    """Store a job with all its runs, or nothing.

    :param rows: list of :class:`obmd.db.runs.Run`, at least one, all queued.
    :param audited: :class:`obmd.db.audit.Entry` that is stored with it, or None.
    """
    with engine.writer() as session:
        if audited is not None:
            audit.add(session, audited)
        session.execute(sa.insert(_TABLE).values(dataclasses.asdict(job)))
        session.execute(_INSERT_RUNS, [runs.queued(run) for run in rows])


@engine.retried
def count_open():
    """:returns: int, jobs that have not ended."""
    statement = sa.select(sa.func.count()).where(_TABLE.c.state == RUNNING)
    with engine.reader() as session:
        return session.execute(statement).scalar_one()


@engine.retried
def get(uuid):
    """:param uuid: str, from anywhere.  :returns: :class:`Job` or None."""
    if not nodes.is_uuid(uuid):
        return None
    with engine.reader() as session:
        row = session.execute(_BY_UUID, {'uuid': uuid.lower()}).one_or_none()
    return None if row is None else Job(*row)


@engine.retried
def page(subject=None, state=None, after=None, limit=1000):
    """Jobs, newest first.

    :param subject: whose, None: everybody's.
    :param after: uuid of the last job seen.
    :returns: list of :class:`Job`.
    :raises NotFound: there is no job ``after`` (any more).
    """
    where = []
    if subject is not None:
        where.append(_TABLE.c.subject == subject)
    if state is not None:
        where.append(_TABLE.c.state == state)
    if after is not None:
        last = get(after)
        if last is None:
            raise errors.NotFound(f'there is no job "{after}"')
        where.append(
            sa.or_(
                _TABLE.c.created_at < last.created_at,
                sa.and_(_TABLE.c.created_at == last.created_at, _TABLE.c.uuid < last.uuid),
            )
        )
    newest = _TABLE.c.created_at.desc(), _TABLE.c.uuid.desc()
    return _jobs(sa.select(*_COLUMNS).where(*where).order_by(*newest).limit(limit))


@engine.retried
def cancel(uuid, now):
    """Have a job end.  :returns: bool, False: it has ended, or there is none."""
    with engine.writer() as session:
        where = _TABLE.c.uuid == uuid, _TABLE.c.state == RUNNING
        values = {'cancelled_at': sa.func.coalesce(_TABLE.c.cancelled_at, now)}
        return bool(_update(session, where, **values))


@engine.retried
def old(before, limit):
    """:returns: list of str, uuids of jobs that ended before then; the oldest first."""
    statement = sa.select(_TABLE.c.uuid).where(_TABLE.c.ended_at < before)
    with engine.reader() as session:
        found = session.execute(statement.order_by(_TABLE.c.ended_at).limit(limit))
        return list(found.scalars())


def known(uuids):
    """:returns: set of str, those of ``uuids`` that there are."""
    uuids, found = list(uuids), set()
    for start in range(0, len(uuids), nodes.CHUNK):
        found |= _known(uuids[start : start + nodes.CHUNK])
    return found


@engine.retried
def _known(uuids):
    statement = sa.select(_TABLE.c.uuid).where(_TABLE.c.uuid.in_(uuids))
    with engine.reader() as session:
        return set(session.execute(statement).scalars())


def delete(uuids):
    """Delete jobs with their runs, a transaction for each."""
    for uuid in uuids:
        _delete(uuid)


@engine.retried
def _delete(uuid):
    with engine.writer() as session:
        session.execute(sa.delete(_RUNS).where(_RUNS.c.job_uuid == uuid))
        session.execute(sa.delete(_TABLE).where(_TABLE.c.uuid == uuid))


# -- owners of jobs ---------------------------------------------------------------------------


def _held(uuid, incarnation, epoch):
    return (
        _TABLE.c.uuid == uuid,
        _TABLE.c.state == RUNNING,
        _TABLE.c.owner == incarnation,
        _TABLE.c.owner_epoch == epoch,
    )


@engine.retried_if_undone
def claim(uuid, incarnation, owner, epoch):
    """Take a job that has not ended from ``owner`` (None: nobody) if it is still so.

    :returns: int, the new epoch, or None: another was faster.  Not retried: whether a claim
        that lost its connection was committed is seen from the row.
    """
    with engine.writer() as session:
        done = _update(session, _held(uuid, owner, epoch), owner=incarnation, owner_epoch=epoch + 1)
    return epoch + 1 if done else None


@engine.retried
def claimable(dead_owners, limit, after=''):
    """Jobs that have not ended and that nobody owns, or a dead conductor, by uuid.

    :param dead_owners: incarnations.
    :param after: uuid of the last job already seen: the caller's ring may give some to others,
        and those must not hide the rest.
    :returns: list of :class:`Job`.
    """
    free = sa.or_(_TABLE.c.owner.is_(None), _TABLE.c.owner.in_(list(dead_owners)))
    where = _TABLE.c.state == RUNNING, _TABLE.c.uuid > after, free
    return _jobs(sa.select(*_COLUMNS).where(*where).order_by(_TABLE.c.uuid).limit(limit))


@engine.retried
def owned_by(incarnation):
    """:returns: list of :class:`Job` that have not ended."""
    mine = _TABLE.c.state == RUNNING, _TABLE.c.owner == incarnation
    return _jobs(sa.select(*_COLUMNS).where(*mine).order_by(_TABLE.c.created_at, _TABLE.c.uuid))


@engine.retried
def owners():
    """:returns: set of str, the incarnations that own jobs which have not ended."""
    column = _TABLE.c.owner
    where = _TABLE.c.state == RUNNING, column.is_not(None)
    with engine.reader() as session:
        return set(session.execute(sa.select(column).where(*where).distinct()).scalars())


@engine.retried_if_undone
def release(uuid, incarnation, epoch):
    """Give a job up.  :returns: bool, whether it was ours at ``epoch``."""
    with engine.writer() as session:
        return bool(_update(session, _held(uuid, incarnation, epoch), owner=None))


@engine.retried
def release_all(incarnation):
    """Give up every job that has not ended.  :returns: int, how many."""
    with engine.writer() as session:
        mine = _TABLE.c.state == RUNNING, _TABLE.c.owner == incarnation
        return _update(session, mine, owner=None)


def _result(session, job):
    """:returns: :class:`obmd.db.audit.Entry`: how a job ended, and on which nodes not well."""
    failed = session.execute(
        sa.select(_RUNS.c.node_name, _RUNS.c.outcome)
        .where(_RUNS.c.job_uuid == job.uuid, _RUNS.c.status != 0)
        .order_by(_RUNS.c.position)
    ).all()
    counts = collections.Counter(outcome for _, outcome in failed)
    names = [name for name, _ in failed if name is not None]
    told = ''.join(f', {count} {outcome}' for outcome, count in sorted(counts.items()))
    return audit.Entry(
        job.ended_at,
        'job end',
        subject=job.subject,
        label=job.label,
        request_id=job.request_id,
        door=job.door,
        nodes=ranges.fold(names) if names else None,
        job_uuid=job.uuid,
        outcome=f'status {job.status}',
        detail=f'{job.command}: {len(failed)} of {job.total} failed{told}',
    )


@engine.retried
def end(uuid, incarnation, epoch, now):
    """End a job of ours that has no run left, with the largest status of its runs.

    The audit trail tells with which result.

    :returns: :class:`Job` as it is now, or None: runs are left, or it is another's.
    """
    left = sa.exists().where(_RUNS.c.job_uuid == uuid, _RUNS.c.state != ENDED)
    largest = sa.select(sa.func.max(_RUNS.c.status)).where(_RUNS.c.job_uuid == uuid)
    with engine.writer() as session:
        done = _update(
            session,
            [*_held(uuid, incarnation, epoch), ~left],
            state=ENDED,
            ended_at=now,
            status=sa.func.coalesce(largest.scalar_subquery(), 0),
        )
        row = session.execute(_BY_UUID, {'uuid': uuid}).one_or_none()
        if done:
            audit.add(session, _result(session, Job(*row)))
    if row is None:
        return None
    job = Job(*row)
    ours = job.owner == incarnation and job.owner_epoch == epoch
    return job if done or (job.state == ENDED and ours) else None
