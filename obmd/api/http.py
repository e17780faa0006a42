"""Requests and answers as the doors see them.

The request is WebOb's with Pecan's conveniences off (:class:`Request`); the answer is made in one
step with the headers that every answer has.
"""

import json
import urllib.parse

import webob

from obmd.common import errors
from obmd.conf import CONF

#: levels that a JSON body may be nested; no door needs more than four
MAX_DEPTH = 16
#: parameters in a query
MAX_PARAMETERS = 64

#: on every answer: most carry or follow from a token (decisions in doc/security)
_HEADERS = (
    ('Cache-Control', 'no-store'),
    ('Referrer-Policy', 'no-referrer'),
    ('X-Content-Type-Options', 'nosniff'),
)


class Response(webob.Response):
    """:param body: bytes, or an iterable that is the body."""

    def __init__(self, body=b'', status=200, content_type=None, headers=()):
        headers = [*_HEADERS, *headers]
        if content_type is not None:
            headers.append(('Content-Type', content_type))
        if isinstance(body, bytes):
            headers.append(('Content-Length', str(len(body))))
            body = [body] if body else []
        super().__init__(status=status, headerlist=headers, app_iter=body)


def json_response(value, status=200, headers=()):
    """``value`` as compact JSON and a newline, as Go's encoder writes it."""
    body = json.dumps(value, separators=(',', ':')).encode() + b'\n'
    return Response(body, status, 'application/json', headers)


class _NoParameters:
    def mixed(self):
        return {}


class _AnyAnswer:
    header_value = '*/*'


class Request(webob.Request):
    """A request.

    Pecan would bind parameters from query and body to arguments, choose a content type by
    ``Accept`` and decode the path.  Here each operation reads what it takes, has one form of
    answer, and judges its label itself, because a path that is not UTF-8 is an error like others.
    """

    GET = params = _NoParameters()
    accept = _AnyAnswer()
    content_type = ''
    #: who asks, what the query says and what the body does, where the row of the table has
    #: checked them (``obmd.api.rows``)
    identity = parameters = fields = None
    _body = None

    def __init__(self, environ, **kwargs):
        super().__init__(environ, **kwargs)
        environ.setdefault('obmd.variables', {})

    @property
    def path_info(self):
        """str, percent-decoded, each character one byte (PEP 3333)."""
        return self.environ.get('PATH_INFO', '')

    @property
    def label(self):
        """The ``{id}`` of the path as str; None if it cannot be a node's name."""
        return self.variable('id')

    def variable(self, name):
        """What stands for ``{name}`` in the path: 1 to 255 characters; None: it is not such."""
        raw = self.environ['obmd.variables'].get(name)
        if raw is None:
            return None
        try:
            text = raw.encode('latin-1').decode('utf-8')
        except UnicodeError:
            return None
        return text if 0 < len(text) <= 255 and '\0' not in text else None

    def query(self):
        """:returns: dict of str to str, the first value of each parameter.

        :raises InvalidInput: too many parameters.
        """
        found = {}
        for name, value in self.query_pairs():
            found.setdefault(name, value)
        return found

    def query_pairs(self, most=MAX_PARAMETERS):
        """:returns: list of (name, value), all parameters as they come.

        :param most: parameters.
        :raises InvalidInput: too many parameters.
        """
        # what is not UTF-8 becomes U+FFFD, which nothing that is looked for contains
        try:
            return urllib.parse.parse_qsl(
                self.environ.get('QUERY_STRING', ''),
                keep_blank_values=True,
                errors='replace',
                max_num_fields=most,
            )
        except ValueError:
            raise errors.InvalidInput('the query has too many parameters') from None

    def read_body(self):
        """:returns: bytes.  :raises TooLarge: longer than ``[api] max_body``."""
        if self._body is None:
            self._body = self._read_body()
        return self._body

    def _read_body(self):
        limit = CONF.api.max_body
        too_large = errors.TooLarge(f'the body is longer than {limit} bytes')
        try:
            length = int(self.environ.get('CONTENT_LENGTH') or 0)
            if length > limit:
                raise too_large
            if self.environ.get('HTTP_TRANSFER_ENCODING', '').lower() == 'chunked':
                body = self.environ['wsgi.input'].read(limit + 1)
            else:
                body = self.environ['wsgi.input'].read(length) if length else b''
        except (OSError, ValueError):
            raise errors.InvalidInput('the body could not be read to its end') from None
        if len(body) > limit:
            raise too_large
        if len(body) < length:
            raise errors.InvalidInput('the body could not be read to its end')
        return body

    def read_json(self, empty=True):
        """:returns: what the body says; an empty body says None.

        :param empty: whether the body may be empty.
        :raises InvalidInput: it is not JSON, or holds what cannot be stored.  :raises TooLarge:
        """
        body = self.read_body()
        if not body.strip():
            if empty:
                return None
            raise errors.InvalidInput('the body is empty')
        return parse_json(body)


def number(query, name, default, least, most):
    """A whole number in a query.

    :returns: int, or ``default`` when ``query`` has no ``name``.  :raises InvalidInput:
    """
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most):
        raise errors.InvalidInput(f'{name} must be a whole number from {least} to {most}')
    return int(text)


def _refuse_number(text):
    raise ValueError('not a number of JSON')


def _float(text):
    value = float(text)
    if value in (float('inf'), float('-inf')):
        raise ValueError('too large a number')
    return value


def parse_json(body, pairs_hook=None):
    """RFC 8259, nothing more: no NaN, no lone surrogates, no UTF-16.

    :param body: bytes.
    :param pairs_hook: makes the value of an object out of its (name, value) pairs.
    :raises InvalidInput: never quoting the body, which may hold a password.
    """
    try:
        value = json.loads(
            body.decode('utf-8'),
            parse_constant=_refuse_number,
            parse_float=_float,
            object_pairs_hook=pairs_hook,
        )
        _check_depth(value)
        json.dumps(value, ensure_ascii=False).encode('utf-8')
    except UnicodeError:
        raise errors.InvalidInput('the body is not UTF-8') from None
    except RecursionError:
        raise errors.InvalidInput('the body is nested too deeply') from None
    except ValueError:
        raise errors.InvalidInput('the body is not JSON') from None
    return value


def _check_depth(value):
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return
    raise errors.InvalidInput('the body is nested too deeply')
