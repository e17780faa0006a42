"""The callback URL: ``GET /stream/<ticket>`` and nothing else.

A WSGI application that ``obmd.common.serving`` serves on ``[conductor] listen``.  A ticket is
all that a caller shows; it never reaches a log.
"""

import json
import math

from obmd.common import errors

#: path under which streams are served, below the callback URL
PREFIX = '/stream/'

_STATUS = {
    'not_found': '404 Not Found',
    'unauthorized': '401 Unauthorized',
    'unavailable': '503 Service Unavailable',
}


def make_app(tickets):
    """:param tickets: :class:`obmd.streams.tickets.Tickets`.  :returns: WSGI application."""

    def app(environ, start_response):
        path = environ.get('PATH_INFO', '')
        if environ['REQUEST_METHOD'] != 'GET':
            return _refuse(
                start_response, '405 Method Not Allowed', 'method_not_allowed', 'GET only'
            )
        if not path.startswith(PREFIX):
            return _refuse(start_response, '404 Not Found', 'not_found', 'no such page')
        try:
            stream, headers = tickets.redeem(path[len(PREFIX) :])
        except errors.ObmdError as error:
            status = _STATUS.get(error.kind, '500 Internal Server Error')
            return _refuse(start_response, status, error.kind, error.reason, error.retry_after)
        start_response('200 OK', list(headers.items()))
        return stream

    return app


def _refuse(start_response, status, kind, reason, retry_after=None):
    body = json.dumps({'error': {'kind': kind, 'reason': reason}}).encode() + b'\n'
    headers = [
        ('Content-Type', 'application/json'),
        ('Content-Length', str(len(body))),
        ('Cache-Control', 'no-store'),
    ]
    if status.startswith('405'):
        headers.append(('Allow', 'GET'))
    if retry_after is not None:
        headers.append(('Retry-After', str(math.ceil(retry_after))))
    start_response(status, headers)
    return [body]
