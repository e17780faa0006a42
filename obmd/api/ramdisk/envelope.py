"""Errors as Ironic's callers read them: a JSON document in a string in a JSON document."""

import json
import logging

from oslo_context import context
from oslo_middleware import request_id

from obmd.api import errors as api_errors
from obmd.api import http
from obmd.api.ramdisk import versions
from obmd.common import errors
from obmd.common import requests

LOG = logging.getLogger(__name__)

#: of everything that an unauthenticated caller must not tell apart
NOT_FOUND = 'Resource could not be found.'
#: in place of reasons of obmd's own, which name hosts, files and keys: they are in the log
NOT_NOW, INTERNAL = 'Not now, try again later', 'Internal error'

#: bytes of a request line that tell which door it is for
_LINE_START = 2048


class NodeNotFound(errors.NotFound):
    """A heartbeat names a node that is not there; the path said which, so it may be repeated."""


def covers(path):
    """Whether a path belongs to the Ironic door, found or not.  :param path: str, decoded."""
    return path in ('/', '/v1') or path.startswith('/v1/')


def response(request, error):
    """:param error: Exception.  :returns: :class:`obmd.api.http.Response`."""
    shown = api_errors.wire(error)
    status = api_errors.status(shown)
    text = _withheld(status, shown) if status >= 500 else _text(error, shown)
    body = wrap(status, text)
    answer = http.Response(
        body,
        status=status,
        content_type='application/json',
        headers=versions.headers(request.environ),
    )
    api_errors.advise(answer, error)
    return answer


def _text(error, shown):
    if isinstance(error, errors.NotFound) and not isinstance(error, NodeNotFound):
        return NOT_FOUND
    return shown['reason']


def _withheld(status, shown):
    # errors of no known kind are in the log already
    if shown['kind'] in api_errors.STATUS:
        LOG.log(
            logging.INFO if status == 503 else logging.ERROR,
            'A ramdisk is answered %d, node %s, %s: %s',
            status,
            shown.get('node', 'unknown'),
            shown['kind'],
            shown['reason'],
        )
    return NOT_NOW if status == 503 else INTERNAL


def wrap(status, text):
    """:returns: bytes, the body of an error."""
    fault = {
        'faultcode': 'Client' if status < 500 else 'Server',
        'faultstring': text,
        'debuginfo': None,
    }
    return json.dumps({'error_message': json.dumps(fault)}).encode() + b'\n'


def refusal(status, phrase, reason, line=b''):
    """What a listener answers to what is no request, before there is an application.

    :returns: bytes, as :func:`obmd.common.requests.refusal`.
    """
    number = (request_id.HTTP_RESP_HEADER_REQUEST_ID, context.generate_request_id())
    headers = [*versions.headers({}), number]
    return requests.refused(status, phrase, wrap(status, reason), headers)


def refusal_by_path(status, phrase, reason, line=b''):
    """:func:`refusal` where the request line is of this door, else as for all other paths."""
    words = line[:_LINE_START].split(b' ')
    path = requests.origin_form(words[1].decode('latin-1')) if len(words) > 1 else ''
    own = covers(path.partition('?')[0])
    return (refusal if own else requests.refusal)(status, phrase, reason, line)
