"""Callers and viewers on plain sockets: little work a byte, so that the load is not the limit.

:func:`exchange` is one blocking request.  A :class:`Loop` drives thousands of :class:`Viewer` and
:class:`Caller` from one thread with epoll.
"""

import base64
import collections
import json
import select
import socket
import time

#: seconds that any single answer may take before the benchmark itself gives up
PATIENCE = 60.0
_READ = 65536
#: the end of a chunked answer (RFC 9112, section 7.1), alone or behind another chunk
_LAST_CHUNK = b'0\r\n\r\n'

Answer = collections.namedtuple('Answer', 'status headers body')


class BadAnswer(Exception):
    """obmd said something else than what was asked for; a number would mean nothing."""


def request(method, path, admin_token=None, body=None, host='bench', headers=None):
    """:param body: what becomes JSON, or None.  :returns: bytes, a whole HTTP/1.1 request."""
    lines = [f'{method} {path} HTTP/1.1', f'Host: {host}']
    lines += [f'{name}: {value}' for name, value in (headers or {}).items()]
    if admin_token:
        pair = base64.b64encode(f'admin:{admin_token}'.encode()).decode()
        lines.append(f'Authorization: Basic {pair}')
    content = b''
    if body is not None:
        content = json.dumps(body).encode()
        lines += ['Content-Type: application/json', f'Content-Length: {len(content)}']
    return '\r\n'.join(lines).encode() + b'\r\n\r\n' + content


def parse_head(data):
    """:param data: bytes, an answer so far.

    :returns: (status, headers with lower-case names, bytes after the head) or None.
    """
    head, end, rest = data.partition(b'\r\n\r\n')
    if not end:
        return None
    lines = head.decode('latin-1').split('\r\n')
    pairs = (line.partition(':') for line in lines[1:])
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    return int(lines[0].split()[1]), headers, rest


class Connection:
    """A blocking, kept-alive connection."""

    def __init__(self, address):
        self._socket = socket.create_connection(address, PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, data):
        """:param data: bytes of :func:`request`.  :returns: :class:`Answer`, of known length."""
        self._socket.sendall(data)
        received = b''
        while (found := parse_head(received)) is None:
            received += self._receive()
        status, headers, body = found
        length = int(headers['content-length'])
        while len(body) < length:
            body += self._receive()
        return Answer(status, headers, body)

    def follow(self, data):
        """Ask for a stream.  :returns: iterator of (monotonic time, bytes with chunk frames)."""
        self._socket.sendall(data)
        received = b''
        while (found := parse_head(received)) is None:
            received += self._receive()
        if found[0] != 200:
            raise BadAnswer(received[:500])
        if found[2]:
            yield time.monotonic(), found[2]
        while received := self._socket.recv(_READ):
            yield time.monotonic(), received

    def _receive(self):
        data = self._socket.recv(_READ)
        if not data:
            raise BadAnswer('the connection was closed within an answer')
        return data

    def close(self):
        self._socket.close()


def exchange(address, data, expected=200):
    """One request on a connection of its own.  :returns: :class:`Answer`."""
    connection = Connection(address)
    try:
        answer = connection.ask(data)
    finally:
        connection.close()
    if answer.status != expected:
        raise BadAnswer(f'{answer.status}: {answer.body[:500]}')
    return answer


def lines_of(stream):
    """The JSON lines of a chunked stream as they come.

    :param stream: of :meth:`Connection.follow`.
    :returns: list of (monotonic time, dict); the last time is that of the stream's end.
    """
    found, text, last = [], b'', None
    for last, data in stream:  # noqa: B007  the end's time is wanted
        text += data
        *whole, text = text.split(b'\n')
        # a chunk's frame is on lines of its own, and no JSON object
        found += [(last, json.loads(line)) for line in whole if line.startswith(b'{')]
    return found, last


class Viewer:
    """Follows a stream.

    :param on_data: called with (viewer, wall time, bytes) for what comes after the head, or None.
    :ivar ended: monotonic time of the end, or None.  :ivar clean: the last chunk said so.
    """

    source = None

    def __init__(self, address, data, on_data=None):
        self.address = address
        self.data = data
        self.headers = None
        self.status = None
        self.bytes = 0
        self.ended = None
        self.clean = False
        self._on_data = on_data
        self._head = b''

    def readable(self, loop, sock):
        data = sock.recv(_READ)
        if not data:
            self.ended = self.ended or time.monotonic()
            loop.remove(sock)
            return
        if self.headers is None:
            self._head += data
            found = parse_head(self._head)
            if found is None:
                return
            self.status, self.headers, data = found
            if self.status != 200:
                raise BadAnswer(f'a viewer got {self.status}: {data[:300]}')
        self.bytes += len(data)
        if data == _LAST_CHUNK or data.endswith(b'\r\n' + _LAST_CHUNK):
            self.ended, self.clean = time.monotonic(), True
        if self._on_data is not None and data:
            self._on_data(self, time.time(), data)


class Caller:
    """Asks, and when it is answered asks again, on one kept-alive connection.

    :param expected: set of int, statuses that are answers.
    :param again: bool; else it asks once.
    :ivar times: list of seconds that answers took.
    """

    source = None

    def __init__(self, address, data, expected=frozenset((200,)), again=True):
        self.address = address
        self.data = data
        self.times = []
        self._expected = expected
        self._again = again
        self._received = b''
        self._asked = time.monotonic()

    def readable(self, loop, sock):
        data = sock.recv(_READ)
        if not data:
            raise BadAnswer('a caller was cut off')
        self._received += data
        found = parse_head(self._received)
        if found is None or len(found[2]) < int(found[1]['content-length']):
            return
        if found[0] not in self._expected:
            raise BadAnswer(f'a caller got {found[0]}: {found[2][:300]}')
        now = time.monotonic()
        self.times.append(now - self._asked)
        self._received = b''
        if self._again:
            self._asked = now
            sock.sendall(self.data)
        else:
            loop.remove(sock)


class Loop:
    """Drives clients until told otherwise; a context manager."""

    def __init__(self):
        self._poll = select.epoll()
        self._clients = {}

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        for sock, _ in self._clients.values():
            sock.close()
        self._clients.clear()
        self._poll.close()

    def __len__(self):
        return len(self._clients)

    def add(self, client):
        """Connect and ask.

        :param client: with ``source``, (address, port) that it comes from, or None: any.
        :returns: ``client``.
        """
        sock = socket.create_connection(client.address, PATIENCE, client.source)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(client.data)
        sock.setblocking(False)
        self._clients[sock.fileno()] = (sock, client)
        self._poll.register(sock.fileno(), select.EPOLLIN)
        return client

    def remove(self, sock):
        del self._clients[sock.fileno()]
        self._poll.unregister(sock.fileno())
        sock.close()

    def run(self, seconds, until=None):
        """Serve the clients for ``seconds``, or until ``until()``.

        :returns: bool, whether ``until()`` came true.
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if until is not None and until():
                return True
            for number, _ in self._poll.poll(min(left, 0.2), 256):
                sock, client = self._clients[number]
                try:
                    client.readable(self, sock)
                except BlockingIOError:
                    pass
        return until is not None and until()
