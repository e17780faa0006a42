"""The one place where an error becomes an answer.

``{"error": {"kind", "reason", "node"?}}`` and a newline, whichever door the caller came through.
"""

import json
import logging
import math

from obmd.api import http
from obmd.common import errors
from obmd.common import scrubbing

LOG = logging.getLogger(__name__)

#: kind of error -> HTTP status (RFC 9110); what is not here is 500
STATUS = {
    'invalid_input': 400,
    'unsupported': 400,
    'unauthorized': 401,
    'forbidden': 403,
    'not_found': 404,
    'method_not_allowed': 405,
    'not_acceptable': 406,
    'too_large': 413,
    'unsupported_media_type': 415,
    'too_many_requests': 429,
    'node_exists': 409,
    'node_busy': 409,
    'mac_taken': 409,
    'console_held': 409,
    'bmc_refused': 502,
    'credentials_refused': 502,
    'unavailable': 503,
    'not_owner': 503,
    # the operator's to mend, and the reason says how
    'key_missing': 500,
    'seal_mismatch': 500,
    'bmc_silent': 504,
    'outcome_unknown': 504,
    'state_not_reached': 504,
}
#: those that say when a new try makes sense
TRY_AGAIN = (429, 503)
#: seconds that they advise when nobody knows better
RETRY_AFTER = 2


class MethodNotAllowed(errors.ObmdError):
    """The path exists, the method does not.  :param allowed: list of str."""

    kind = 'method_not_allowed'

    def __init__(self, reason, node=None, retry_after=None, allowed=()):
        super().__init__(reason, node, retry_after)
        self.allowed = allowed


class UnsupportedMediaType(errors.ObmdError):
    kind = 'unsupported_media_type'


class NotAcceptable(errors.ObmdError):
    """The request asks for a version of the API that is not offered."""

    kind = 'not_acceptable'


class TooManyRequests(errors.ObmdError):
    kind = 'too_many_requests'


def wire(error):
    """What of ``error`` a caller may see.  :returns: dict with kind, reason and node if known."""
    if isinstance(error, errors.ObmdError) and error.kind in STATUS:
        shown = {'kind': error.kind, 'reason': scrubbing.scrub(error.reason)}
        if error.node is not None:
            shown['node'] = error.node
        return shown
    if isinstance(error, errors.ObmdError):
        LOG.error('%s: %s', error.kind, error.reason)
    else:
        LOG.error('a request failed', exc_info=error)
    return {'kind': 'internal', 'reason': 'internal error; the log of the service says more'}


def status(shown):
    """:param shown: of :func:`wire`.  :returns: int."""
    return STATUS.get(shown['kind'], 500)


def response(error):
    """:param error: Exception.  :returns: :class:`obmd.api.http.Response`."""
    shown = wire(error)
    # a label may be any text; ASCII keeps the body readable for every client
    body = json.dumps({'error': shown}).encode() + b'\n'
    answer = http.Response(body, status=status(shown), content_type='application/json')
    advise(answer, error)
    return answer


def advise(answer, error):
    """Add the headers that say what to do about ``error``."""
    if answer.status_int in TRY_AGAIN:
        seconds = getattr(error, 'retry_after', None) or RETRY_AFTER
        answer.headers['Retry-After'] = str(max(1, math.ceil(seconds)))
    challenge = getattr(error, 'challenge', None)
    if challenge is not None:
        answer.headers['WWW-Authenticate'] = challenge
    if isinstance(error, MethodNotAllowed):
        answer.headers['Allow'] = ', '.join(error.allowed)
