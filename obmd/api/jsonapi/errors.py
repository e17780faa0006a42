"""Errors as the Action door's callers read them (JSON:API 1.0, "Error Objects")."""

import json
import uuid

from obmd.api import errors as api_errors
from obmd.api import http
from obmd.api.jsonapi import documents
from obmd.common import errors

PREFIX = '/action'
_TITLES = {
    400: 'Bad Request Error',
    403: 'Forbidden Error',
    404: 'Not Found Error',
    405: 'Method Not Allowed Error',
    409: 'Conflict Error',
    413: 'Payload Too Large Error',
    415: 'Unsupported Media Type Error',
    422: 'Unprocessable Entity Error',
    500: 'Internal Server Error',
    503: 'Service Unavailable Error',
}


class Conflict(errors.InvalidInput):
    """A resource of another type than the route's."""

    status = 409


class Unprocessable(errors.InvalidInput):
    """The document is understood and asks for what cannot be.

    :param pointer: str, where in the request's document (RFC 6901), or None.
    """

    status = 422

    def __init__(self, reason, pointer=None):
        super().__init__(reason)
        self.pointer = pointer


class BadParameter(errors.InvalidInput):
    """:param parameter: str, its name."""

    def __init__(self, reason, parameter):
        super().__init__(reason)
        self.parameter = parameter[:64]


def covers(path):
    """Whether a path belongs to the Action door, found or not.  :param path: str, decoded."""
    return path == PREFIX or path.startswith(f'{PREFIX}/')


def response(error):
    """:param error: Exception.  :returns: :class:`obmd.api.http.Response`."""
    shown = api_errors.wire(error)
    status = getattr(error, 'status', None) or api_errors.status(shown)
    # the original's callers know of no other answer to a token that is not good
    status = 403 if status == 401 else status
    one = {
        'id': str(uuid.uuid4()),
        'status': str(status),
        'title': _TITLES.get(status, 'Error'),
        'detail': shown['reason'],
    }
    for name in ('pointer', 'parameter'):
        if getattr(error, name, None) is not None:
            one['source'] = {name: getattr(error, name)}
    body = json.dumps({'errors': [one]}).encode()
    answer = http.Response(body, status=status, content_type=documents.MEDIA_TYPE)
    api_errors.advise(answer, error)
    return answer
