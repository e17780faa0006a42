"""What a listener makes of a request: where it ends, bounds on its body, what may be logged.

Where a request ends must be read as a proxy in front reads it, or the rest of one caller's request
becomes the beginning of another's (RFC 9112, section 11.2): what is in doubt is refused.
"""

import email.utils
import errno
import json
import re
import time
import urllib.parse

from obmd.common import errors

#: seconds for a request body, first to last byte
BODY_TIMEOUT = 30.0
#: bytes of a line of a chunked request body (chunk size or trailer)
CHUNK_LINE = 1024
#: query parameters whose values may stand in the access log
LOGGED_PARAMETERS = frozenset(('nodes', 'deadline', 'limit', 'replay', 'cursor', 'takeover'))

#: a header's line (RFC 9110, section 5.6.2; RFC 9112, section 5): not folded, no space before
#: the colon, no lone carriage return, which Python would take for the end of a line
_HEADER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*\r?\n")
_END_OF_HEADERS = (b'\r\n', b'\n')
_ABSOLUTE = re.compile('https?://[^/?#]*', re.IGNORECASE)


class HeaderLines:
    """The file of a request's headers.

    :ivar fault: str, what is wrong with the lines that were read, or None.
    """

    def __init__(self, file):
        self._file = file
        self._wrong = False
        self._ended = False

    def readline(self, size=-1):
        line = self._file.readline(size)
        self._ended = line in _END_OF_HEADERS
        if not self._ended and _HEADER.fullmatch(line) is None:
            self._wrong = True
        return line

    @property
    def fault(self):
        if not self._ended:
            return 'the headers broke off'
        return 'a line of the headers is not valid HTTP' if self._wrong else None


def framing_fault(headers):
    """What leaves in doubt where a request's body ends (RFC 9112, section 6.3).

    :param headers: ``email.message.Message``.  :returns: str or None.
    """
    lengths = headers.get_all('content-length', ())
    codings = headers.get_all('transfer-encoding', ())
    if any(not (length.isascii() and length.isdigit()) for length in lengths):
        return 'the Content-Length is not a number'
    if len(lengths) > 1:
        return 'there is more than one Content-Length'
    if codings and lengths:
        return 'Content-Length and Transfer-Encoding'
    if codings and [coding.strip().lower() for coding in codings] != ['chunked']:
        return 'the Transfer-Encoding is not chunked'
    return None


def origin_form(target):
    """The path and query of a request's target, which may be a whole URL (RFC 9112, 3.2.2)."""
    found = _ABSOLUTE.match(target)
    if found is None:
        return target
    rest = target[found.end() :]
    return rest if rest.startswith('/') else '/' + rest


def refusal(status, phrase, reason, line=b''):
    """The whole answer to what is no request.

    :param line: bytes, the request line as far as it was read.
    :returns: bytes.
    """
    return refused(status, phrase, _told(errors.InvalidInput(reason)))


def refused(status, phrase, body, headers=()):
    """:param headers: (name, value) pairs beside those of every refusal.  :returns: bytes."""
    lines = [
        f'HTTP/1.1 {status} {phrase}',
        'Content-Type: application/json',
        f'Content-Length: {len(body)}',
        'Connection: close',
        *(f'{name}: {value}' for name, value in headers),
    ]
    return '\r\n'.join([*lines, '', '']).encode() + body


def stream_head(status, headers, chunked):
    """:param status: str of WSGI.  :returns: bytes, what goes before a stream's first chunk."""
    lines = [
        f'HTTP/1.1 {status}',
        *(f'{name}: {value}' for name, value in headers),
        f'Date: {email.utils.formatdate(usegmt=True)}',
        *(['Transfer-Encoding: chunked'] if chunked else []),
        'Connection: close',
    ]
    return '\r\n'.join([*lines, '', '']).encode('latin-1')


def internal_error():
    """:returns: ((str status, headers), body) of WSGI for an application that failed."""
    head = '500 Internal Server Error', [('Content-Type', 'application/json')]
    return head, [_told(errors.ObmdError('internal error'))]


def _told(error):
    return json.dumps({'error': error.to_wire()}).encode() + b'\n'


def scrub_target(path, query):
    """What of a request's target may be logged: no token, no ticket, nothing unprintable.

    :param path: str, PATH_INFO.  :param query: str, as sent.
    """
    path = urllib.parse.quote(path.encode('latin-1', 'replace'), safe="/:@!$&'()*+,;=~")
    path = re.sub('/stream/.+', '/stream/***', path)
    if not query:
        return path
    shown = []
    for parameter in query.split('&'):
        name, separator, _value = parameter.partition('=')
        if name in LOGGED_PARAMETERS:
            shown.append(parameter)
        elif re.fullmatch('[a-z_]{1,20}', name) and separator:
            shown.append(name + '=***')
        else:
            shown.append('***')
    text = '&'.join(shown)[:512]
    return path + '?' + text.encode('ascii', 'backslashreplace').decode()


class BoundedLines:
    """The file of a chunked request body; eventlet reads its lines without a bound."""

    def __init__(self, file):
        self.read = file.read
        self._readline = file.readline

    def readline(self, size=-1):
        line = self._readline(CHUNK_LINE if size < 0 else size)
        if size < 0 and len(line) >= CHUNK_LINE:
            raise OSError(errno.EMSGSIZE, 'line too long in a chunked body')
        return line


class TimedInput:
    """``wsgi.input`` whose reading must end within ``BODY_TIMEOUT`` of its begin."""

    def __init__(self, source, set_due, clock=time.monotonic):
        """:param set_due: called with the time by which reading must have ended, None after."""
        self._source = source
        self._set_due = set_due
        self._clock = clock
        self._due = None

    def _timed(self, method, *args):
        if self._due is None:
            self._due = self._clock() + BODY_TIMEOUT
        self._set_due(self._due)
        try:
            return method(*args)
        finally:
            self._set_due(None)

    def read(self, *size):
        return self._timed(self._source.read, *size)

    def readline(self, *size):
        return self._timed(self._source.readline, *size)

    def readlines(self, *hint):
        return self._timed(self._source.readlines, *hint)

    def __iter__(self):
        return iter(self.readline, b'')


def was_read(source):
    """Whether a request's body was read to its end.  :param source: eventlet.wsgi.Input."""
    if source.chunked_input:
        return source.chunk_length == 0
    return source.position >= (source.content_length or 0)
