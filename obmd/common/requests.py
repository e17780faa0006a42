"""What a listener makes of a request: bounds on its body, and what of it may be logged."""

import errno
import re
import time
import urllib.parse

#: seconds for a request body, first to last byte
BODY_TIMEOUT = 30.0
#: bytes of a line of a chunked request body (chunk size or trailer)
CHUNK_LINE = 1024
#: query parameters whose values may stand in the access log
LOGGED_PARAMETERS = frozenset(('nodes', 'deadline', 'limit', 'replay', 'cursor', 'takeover'))


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
