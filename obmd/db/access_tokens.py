"""Bearer tokens that were issued: the table ``access_tokens``.

A row says what a token may do and whether it still may; the token itself is nowhere.
Every function raises :class:`obmd.common.errors.Unavailable` when the database is not there.
"""

import dataclasses

import sqlalchemy as sa

from obmd.db import engine
from obmd.db import models

_TABLE = models.AccessToken.__table__


@dataclasses.dataclass(frozen=True)
class AccessToken:
    """One row; None means everything.  Times are seconds since the epoch.

    :ivar jti: str, the token's random id (RFC 7519, section 4.1.7).
    :ivar commands: list of str.
    :ivar nodes: str, a range.
    :ivar operations: list of str.
    :ivar revoked_at: float, or None: it was not.
    """

    jti: str
    label: str | None
    commands: list | None
    nodes: str | None
    operations: list | None
    issued_at: float
    expires_at: float
    revoked_at: float | None = None


_COLUMNS = [_TABLE.c[field.name] for field in dataclasses.fields(AccessToken)]
# of every request: made once
_BY_JTI = sa.select(*_COLUMNS).where(_TABLE.c.jti == sa.bindparam('jti'))


@engine.retried_if_undone
def issue(token):
    """:param token: :class:`AccessToken` with a new ``jti``."""
    with engine.writer() as session:
        session.execute(sa.insert(_TABLE).values(dataclasses.asdict(token)))


@engine.retried
def get(jti):
    """:param jti: str, from anywhere.  :returns: :class:`AccessToken` or None."""
    if not _possible(jti):
        return None
    with engine.reader() as session:
        row = session.execute(_BY_JTI, {'jti': jti}).one_or_none()
    return None if row is None else AccessToken(*row)


@engine.retried
def page(after='', limit=1000):
    """By ``jti``.  :param after: the last one seen.  :returns: list of :class:`AccessToken`."""
    statement = sa.select(*_COLUMNS).where(_TABLE.c.jti > after)
    with engine.reader() as session:
        rows = session.execute(statement.order_by(_TABLE.c.jti).limit(limit))
        return [AccessToken(*row) for row in rows]


@engine.retried
def revoke(jti, now):
    """A second time changes nothing.  :returns: :class:`AccessToken` as it is now, or None."""
    if not _possible(jti):
        return None
    valid = _TABLE.c.jti == jti, _TABLE.c.revoked_at.is_(None)
    with engine.writer() as session:
        session.execute(sa.update(_TABLE).where(*valid).values(revoked_at=now))
        row = session.execute(_BY_JTI, {'jti': jti}).one_or_none()
    return None if row is None else AccessToken(*row)


def _possible(jti):
    return isinstance(jti, str) and jti.isascii() and '\0' not in jti and len(jti) <= 36
