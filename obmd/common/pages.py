"""Answers of the small WSGI applications that stand beside the API: JSON, errors, no caching."""

import json
import math


def error(start_response, status, kind, reason, retry_after=None):
    """An error as :doc:`user/errors` has it; 405 says that only GET is taken.

    :param status: str, ``404 Not Found``.  :param retry_after: seconds (float) or None.
    :returns: list of bytes.
    """
    more = []
    if status.startswith('405'):
        more.append(('Allow', 'GET'))
    if retry_after is not None:
        more.append(('Retry-After', str(math.ceil(retry_after))))
    return json_page(start_response, status, {'error': {'kind': kind, 'reason': reason}}, more)


def json_page(start_response, status, value, more=()):
    """:param value: what JSON can say.  :param more: iterable of headers.
    :returns: list of bytes.
    """
    body = json.dumps(value).encode() + b'\n'
    return page(start_response, status, 'application/json', body, more)


def page(start_response, status, content_type, body, more=()):
    """:param body: bytes.  :returns: list of bytes."""
    headers = [
        ('Content-Type', content_type),
        ('Content-Length', str(len(body))),
        ('Cache-Control', 'no-store'),
        ('X-Content-Type-Options', 'nosniff'),
        *more,
    ]
    start_response(status, headers)
    return [body]
