"""Who did what to which nodes, from where, with which result: the table ``audit``.

Entries are added, read and, once old, forgotten; never changed.
Every function raises :class:`obmd.common.errors.Unavailable` when the database is not there.
"""

import dataclasses

import sqlalchemy as sa

from obmd.db import engine
from obmd.db import models
from obmd.db import nodes

_TABLE = models.AuditEntry.__table__
#: characters of what is no long text; what is longer is cut
_SHORT = {'request_id': 64, 'door': 16, 'job_uuid': 36}
_LONG = ('nodes', 'detail')
_EXACT = 255


@dataclasses.dataclass(frozen=True)
class Entry:
    """One row.

    :ivar at: seconds since the epoch.
    :ivar subject: str, the token's ``jti``, or ``admin``, or None: nobody.
    :ivar claimed_user: str, whom the caller said to be; not checked.
    :ivar source: str, the caller's address.
    :ivar action: str, such as ``command power-off``, ``node create``, ``token revoke``.
    :ivar nodes: str, a folded range, or None: none.
    :ivar id: int, given by the database.
    """

    at: float
    action: str
    subject: str | None = None
    label: str | None = None
    claimed_user: str | None = None
    claimed_uid: int | None = None
    source: str | None = None
    request_id: str | None = None
    door: str | None = None
    nodes: str | None = None
    job_uuid: str | None = None
    outcome: str | None = None
    detail: str | None = None
    id: int | None = None


_COLUMNS = [_TABLE.c[field.name] for field in dataclasses.fields(Entry)]


@engine.retried_if_undone
def write(*entries):
    """:param entries: :class:`Entry` without an id; all or none are written."""
    if entries:
        with engine.writer() as session:
            add(session, *entries)


def add(session, *entries):
    """As :func:`write`, in the transaction of what they tell of."""
    session.execute(sa.insert(_TABLE), [_row(entry) for entry in entries])


def _row(entry):
    values = {}
    for name, value in dataclasses.asdict(entry).items():
        if isinstance(value, str):
            value = nodes.text(value)
            if name not in _LONG:
                value = value[: _SHORT.get(name, _EXACT)]
        values[name] = value
    values.pop('id')
    return values


@engine.retried
def page(since=None, until=None, subject=None, action=None, job=None, before_id=None, limit=1000):
    """The newest entries that fit, newest first.

    :param since: s since the epoch, inclusive; ``until`` is exclusive.
    :param subject: str, a subject or a label.
    :param before_id: int, id of the last entry seen.
    :returns: list of :class:`Entry`.
    """
    if not all(nodes.storable(text) for text in (subject, action, job) if text is not None):
        return []  # whoever writes stores no such text
    where = []
    if since is not None:
        where.append(_TABLE.c.at >= since)
    if until is not None:
        where.append(_TABLE.c.at < until)
    if subject is not None:
        where.append(sa.or_(_TABLE.c.subject == subject, _TABLE.c.label == subject))
    if action is not None:
        where.append(_TABLE.c.action == action)
    if job is not None:
        where.append(_TABLE.c.job_uuid == job)
    if before_id is not None:
        where.append(_TABLE.c.id < before_id)
    statement = sa.select(*_COLUMNS).where(*where).order_by(_TABLE.c.id.desc()).limit(limit)
    with engine.reader() as session:
        return [Entry(*row) for row in session.execute(statement)]


@engine.retried
def forget(before, limit):
    """Delete up to ``limit`` entries of before a time (s since the epoch).

    :returns: int, how many.
    """
    old = sa.select(_TABLE.c.id).where(_TABLE.c.at < before).order_by(_TABLE.c.at).limit(limit)
    with engine.writer() as session:
        ids = list(session.execute(old).scalars())
        if ids:
            session.execute(sa.delete(_TABLE).where(_TABLE.c.id.in_(ids)))
        return len(ids)
