"""The audit trail: who did what on which nodes, from where, with which result.

An entry is written where something was asked for and done, refused or begun; never a secret.  What
cannot be written is logged: the database was there a moment ago, and what was done stands.
"""

import contextlib
import logging
import time

from obmd.api import auth
from obmd.common import errors
from obmd.common import ranges
from obmd.db import audit

LOG = logging.getLogger(__name__)

NATIVE, ACTION, OBMD = 'native', 'action', 'obmd'


def record(
    request,
    identity,
    action,
    nodes=None,
    job=None,
    outcome='ok',
    detail=None,
    claimed_user=None,
    claimed_uid=None,
    door=NATIVE,
):
    """Write one entry.

    :param identity: :class:`obmd.api.bearer.Identity`.
    :param action: str, such as ``command power-off``, ``node create``, ``token revoke``.
    :param nodes: iterable of str, names, or None: it is about none.
    :param job: str, uuid of the job.  :param outcome: str, ``ok`` or a kind of error.
    :param claimed_user: str, whom the caller says to be; not checked.
    """
    caller = auth.caller(request, identity.who)
    entry = audit.Entry(
        time.time(),
        action,
        subject=identity.subject,
        label=identity.label,
        claimed_user=claimed_user,
        claimed_uid=claimed_uid,
        source=caller.address,
        request_id=caller.request_id,
        door=door,
        nodes=None if nodes is None else ranges.fold(nodes),
        job_uuid=job,
        outcome=outcome,
        detail=detail,
    )
    try:
        audit.write(entry)
    except errors.ObmdError as error:
        LOG.error('not in the audit trail: %s: %s', entry, error.reason)


@contextlib.contextmanager
def recording(request, action, nodes=None, job=None):
    """One entry for what happens inside, with its result; see :func:`record`."""
    outcome, detail = 'ok', None
    try:
        yield
    except BaseException as error:
        outcome, detail = getattr(error, 'kind', 'internal'), getattr(error, 'reason', None)
        raise
    finally:
        record(request, request.identity, action, nodes, job, outcome, detail)
