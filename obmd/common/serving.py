"""The HTTP listener of API and conductor: eventlet.wsgi with bounds, and answers that stream.

An ordinary answer goes the way of WSGI.  An answer whose body object has ``is_stream = True``
takes its connection over: headers go out at once, each item is one chunk, a client that has gone
is noticed although nothing is written, and one that never reads is cut once its stream has ended.
Such an object is

- an iterable of non-empty bytes, waiting in the ordinary way of threads,
- with ``close()``: ends the iteration, callable from anywhere, more than once, never blocking,
- with ``on_end(callback)``: ``callback()`` once the stream has ended or been closed, at once if
  it has already; called in the thread of the hub,
- with ``write_timeout``: seconds that one write may stand still, or None: for as long as the
  stream is wanted,
- with ``keepalive``: what ``obmd.common.keepalive`` takes after the socket, or None.

Under another WSGI server the same object is iterated like any body.
"""

import errno
import functools
import logging
import time

import eventlet
from eventlet import greenio
from eventlet import hubs
from eventlet import wsgi
from eventlet.green import socket
from eventlet.green import ssl

from obmd.common import exposition
from obmd.common import keepalive
from obmd.common import listening
from obmd.common import requests

LOG = logging.getLogger(__name__)
ACCESS = logging.getLogger('obmd.access')

#: bytes of a request line: a range of 16 KiB, percent-encoded
REQUEST_LINE = 56 * 1024
#: seconds from connecting to the end of the first request's headers, TLS handshake included
HEADER_TIMEOUT = 15.0
#: seconds from an answer to the end of the next request's headers on the same connection
KEEPALIVE = 60.0
#: seconds an ordinary answer may stand still while it is written
WRITE_TIMEOUT = 60.0
#: seconds a client that does not read may hold a stream that has ended
END_GRACE = 1.0
#: seconds and bytes for which a body that nobody read is taken in, so that the answer arrives
LINGER_TIME = 2.0
LINGER_BYTES = 1024 * 1024
#: accept(2) failing for want of something that comes back
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

# what eventlet.wsgi keeps of a connection, and behind it when it must have made progress
ADDRESS, SOCKET, STATE, DUE = range(4)


def bind(address, reuse_port=False):
    """:func:`obmd.common.listening.bind` with a socket that yields to other green threads."""
    return listening.bind(address, reuse_port, socket_class=socket.socket)


def tls_context(cert, key):
    """:func:`obmd.common.listening.tls_context`, green."""
    return listening.tls_context(cert, key, ssl.SSLContext)


def _without_waiting(sock, method, *args):
    """Call a method of a green socket in the hub, where it must not switch.

    :raises: BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError: it would wait.
    """
    sock.act_non_blocking = True
    try:
        return method(*args)
    finally:
        sock.act_non_blocking = False


class _Protocol(wsgi.HttpProtocol):
    """One connection.  Refusals before the application are JSON errors like all others."""

    def handle_one_request(self):
        connection = self.conn_state
        if connection[DUE] is None:
            connection[DUE] = time.monotonic() + KEEPALIVE
            # a client whose next request is there already would never let the hub run
            eventlet.sleep(0)
        self.unread_body = False
        super().handle_one_request()

    def _read_request_line(self):
        self.raw_requestline = line = super()._read_request_line()
        if len(line) >= REQUEST_LINE:
            self.refuse(414, 'URI Too Long', 'the request line is too long')
            return b''
        # a line that its client broke off asks for nothing
        return line if line.endswith(b'\n') else b''

    def parse_request(self):
        self.rfile = lines = requests.HeaderLines(self.rfile)
        try:
            if not super().parse_request():
                return False
        except (wsgi.HeaderLineTooLong, wsgi.HeadersTooLarge):
            return self.refuse(431, 'Request Header Fields Too Large', 'the headers are too large')
        fault = lines.fault or requests.framing_fault(self.headers)
        if fault is not None:
            return self.refuse(400, 'Bad Request', fault)
        # http.server joins leading slashes; here paths are exact
        self.path = requests.origin_form(self.requestline.split()[1])
        self.conn_state[DUE] = None
        return True

    def send_error(self, code, message=None, explain=None):
        self.refuse(code, self.responses.get(code, ('Error',))[0], 'the request is not valid HTTP')

    def refuse(self, status, phrase, reason):
        self.wfile.write(self.server.refusal(status, phrase, reason, self.raw_requestline))
        ACCESS.info('%s "-" %d', self.client_address[0], status)
        self.close_connection = True
        self.unread_body = True
        return False

    def get_environ(self):
        environ = super().get_environ()
        source = environ['eventlet.input']
        source.rfile = requests.BoundedLines(source.rfile)
        environ['wsgi.input'] = requests.TimedInput(source, self._set_due)
        environ['obmd.connection'] = self
        return environ

    def _set_due(self, due):
        self.conn_state[DUE] = due

    def finish(self):
        try:
            self.wfile.flush()
            if hasattr(self.connection, 'do_handshake'):
                # says that the answer is whole; the client's own farewell is not waited for
                _without_waiting(self.connection, self.connection.unwrap)
        except (OSError, ValueError):
            pass
        try:
            if getattr(self, 'unread_body', False):
                self._linger()
        except OSError:
            pass
        try:
            super().finish()
        finally:
            # what cannot be written any more left it open, and with it the descriptor
            self.rfile.close()

    def _linger(self):
        """Closing over unread bytes resets the connection, and the client loses the answer."""
        self.connection.settimeout(LINGER_TIME)
        self.conn_state[DUE] = time.monotonic() + LINGER_TIME
        self.connection.shutdown(socket.SHUT_WR)
        taken = 0
        while taken < LINGER_BYTES:
            try:
                received = self.connection.recv(65536)
            except BlockingIOError:
                continue  # eventlet raises it for what was TLS once, after it has waited
            if not received:
                return
            taken += len(received)


class _Streaming:
    """A stream on its way to one client, on the connection that it took over."""

    def __init__(self, protocol, stream):
        self._protocol = protocol
        self._socket = protocol.connection
        self._stream = stream
        self._watch = None
        self._timer = self._keepalive = None
        self._finished = False
        self.sent = 0

    def run(self, status, headers):
        """Write headers, chunks and end; returns when the connection is to be closed."""
        chunked = self._protocol.request_version == 'HTTP/1.1'
        sock, send = self._socket, self._socket.sendall
        sock.settimeout(self._stream.write_timeout)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        hub = hubs.get_hub()
        self._watch = hub.add(hub.READ, sock.fileno(), self._readable, self._gone, self._gone)
        self._stream.on_end(self._ended)
        try:
            send(requests.stream_head(status, headers, chunked))
            if chunked and self._stream.keepalive is not None:
                self._keepalive = keepalive.Keepalive(sock.sendall, *self._stream.keepalive)
                send = self._keepalive.send
            for data in self._stream:
                if data:
                    send(b'%x\r\n%b\r\n' % (len(data), data) if chunked else data)
                    self.sent += len(data)
            if chunked:
                send(b'0\r\n\r\n')
                # of many that end at once, all are told before the first is cleared away
                eventlet.sleep(0)
        except OSError as e:
            LOG.debug('A client of a stream has gone: %s', e)
        finally:
            self._finished = True
            self._unwatch()
            for ticking in filter(None, (self._timer, self._keepalive)):
                ticking.cancel()
            self._stream.close()

    def _readable(self, _fileno):
        """In the hub: what a client sends now is dropped; its end ends the stream."""
        try:
            gone = not _without_waiting(self._socket, self._socket.recv, 65536)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except (OSError, ValueError):
            gone = True
        if gone:
            self._gone()

    def _gone(self, *_args):
        self._unwatch()
        greenio.shutdown_safe(self._socket)
        hubs.get_hub().schedule_call_global(0, self._stream.close)

    def _unwatch(self):
        # a socket at its end stays readable: the hub would call back in a loop
        watch, self._watch = self._watch, None
        if watch is not None and not watch.spent:
            hubs.get_hub().remove(watch)

    def _ended(self):
        if not self._finished:
            self._timer = hubs.get_hub().schedule_call_global(END_GRACE, self._cut)

    def _cut(self):
        if not self._finished:
            greenio.shutdown_safe(self._socket)

    def end(self):
        self._stream.close()


class Listener:
    """Serves one WSGI application on one listening socket.

    :param sock: from :func:`bind`.
    :param app: WSGI application; it may answer with streams (see the module).
    :param name: str, for logs.
    :param tls: SSL context of :func:`tls_context`, or None.
    :param max_connections: open at once, idle ones and streams included; when they are all taken
        the longest idle ones make room, and else the next wait in the kernel's queue.
    :param refusal: what makes the whole answer to what is no request, as ``requests.refusal``.
    """

    def __init__(self, sock, app, name, tls=None, max_connections=1024, refusal=requests.refusal):
        self.name = name
        self._socket = sock
        self._app = app
        self._tls = tls
        self._pool = pool = eventlet.GreenPool(max_connections)
        exposition.watch_pool(f'listener_{name}', lambda: (pool.running(), pool.size))
        self._connections = {}
        self._streams = set()
        self._loops = []
        self._stopping = False
        # the protocol asks this object for its settings; its own accept loop is not used: it
        # ends for good when descriptors run out once
        self._server = wsgi.Server(
            sock,
            sock.getsockname(),
            self._answer,
            log_output=False,
            keepalive=KEEPALIVE,
            url_length_limit=REQUEST_LINE + 1,
            debug=False,
            socket_timeout=WRITE_TIMEOUT,
            environ={'wsgi.url_scheme': 'https', 'HTTPS': 'on'} if tls else None,
        )
        self._server.refusal = refusal

    @property
    def address(self):
        """(host, port) that it is bound to."""
        return self._socket.getsockname()[:2]

    @property
    def streams(self):
        """Streams under way."""
        return len(self._streams)

    def start(self):
        """Accept connections from now on; returns at once."""
        self._loops = [eventlet.spawn(self._accept), eventlet.spawn(self._reap)]
        LOG.info('%s listens on %s', self.name, listening.display(self.address))

    def stop(self, grace=0.0):
        """Accept no more, end streams cleanly, let requests end for ``grace`` seconds, cut."""
        self._stopping = True
        for loop in self._loops:
            loop.kill()
        self._socket.close()
        for connection in list(self._connections.values()):
            if connection[STATE] == wsgi.STATE_IDLE:
                greenio.shutdown_safe(connection[SOCKET])
            connection[STATE] = wsgi.STATE_CLOSE
        for streaming in list(self._streams):
            streaming.end()
        end = time.monotonic() + grace
        while self._connections and time.monotonic() < end:
            eventlet.sleep(0.02)
        for connection in list(self._connections.values()):
            greenio.shutdown_safe(connection[SOCKET])

    def _accept(self):
        while True:
            try:
                client, address = self._socket.accept()
            except OSError as e:
                if e.errno == errno.EBADF:
                    return
                if e.errno in EXHAUSTED:
                    LOG.error('%s cannot accept a connection: %s', self.name, e)
                    self._close_idle()
                    eventlet.sleep(0.2)
                continue
            if not self._pool.free():
                self._close_idle()
            due = time.monotonic() + HEADER_TIMEOUT
            connection = [address, client, wsgi.STATE_IDLE, due]
            self._connections[id(connection)] = connection
            self._pool.spawn_n(self._serve, connection)

    def _serve(self, connection):
        try:
            if self._tls is not None:
                self._handshake(connection)
            _Protocol(connection, self._server)
        except (OSError, EOFError) as e:
            LOG.debug('Connection of %s ended: %s', connection[ADDRESS][0], e)
        except Exception:
            LOG.exception('Connection of %s failed', connection[ADDRESS][0])
        finally:
            del self._connections[id(connection)]
            try:
                greenio.shutdown_safe(connection[SOCKET])
            except OSError:
                pass
            connection[SOCKET].close()

    def _handshake(self, connection):
        sock = self._tls.wrap_socket(
            connection[SOCKET],
            server_side=True,
            do_handshake_on_connect=False,
            suppress_ragged_eofs=True,
        )
        connection[SOCKET] = sock
        sock.settimeout(HEADER_TIMEOUT)
        sock.do_handshake()

    def _reap(self):
        """Cut those who take too long to ask: a byte now and then holds no connection."""
        while True:
            eventlet.sleep(1.0)
            now = time.monotonic()
            for connection in list(self._connections.values()):
                if connection[DUE] is not None and connection[DUE] < now:
                    greenio.shutdown_safe(connection[SOCKET])

    def _close_idle(self, count=32):
        idle = [c for c in self._connections.values() if c[STATE] == wsgi.STATE_IDLE]
        idle.sort(key=lambda c: c[DUE] or 0)
        for connection in idle[:count]:
            greenio.shutdown_safe(connection[SOCKET])

    def _answer(self, environ, start_response):
        """The WSGI application between eventlet and ours."""
        started = time.monotonic()
        protocol = environ['obmd.connection']
        source = environ['eventlet.input']
        target = functools.partial(
            requests.scrub_target, environ['PATH_INFO'], environ.get('QUERY_STRING', '')
        )
        head = []

        def note(status, headers, exc_info=None):
            head[:] = [status, headers]

        try:
            body = self._app(environ, note)
        except OSError as e:
            # the client went away while its request was read
            LOG.debug('Request of %s broke off: %s', protocol.client_address[0], e)
            protocol.close_connection = True
            wsgi.WSGI_LOCAL.already_handled = True
            return []
        except Exception:
            LOG.exception('Request %s %s failed', environ['REQUEST_METHOD'], target())
            head, body = requests.internal_error()
        status, headers = head
        number = environ.get('openstack.request_id', '-')

        def log(_environ, sent):
            ACCESS.info(
                '%s "%s %s" %s %s %.4f %s',
                protocol.client_address[0],
                protocol.command,
                target(),
                status[:3],
                sent,
                time.monotonic() - started,
                number,
            )

        if getattr(body, 'is_stream', False):
            log(None, self._stream(environ, protocol, status, headers, body))
            wsgi.WSGI_LOCAL.already_handled = True
            body = []
        else:
            if not requests.was_read(source):
                # reading on for the sake of the next request could take for ever
                protocol.unread_body = True
                protocol.close_connection = True
            if self._stopping:
                protocol.close_connection = True
            sent = sum(map(len, body)) if hasattr(body, '__len__') else '-'
            # the caller does not wait for the line
            environ['eventlet.posthooks'].append((log, (sent,), {}))
            start_response(status, headers)
        return body

    def _stream(self, environ, protocol, status, headers, body):
        # thousands of these wait at once: let go of what only the request needed
        environ.clear()
        environ['eventlet.posthooks'] = []
        protocol.conn_state[STATE] = wsgi.STATE_REQUEST
        self._streams.add(streaming := _Streaming(protocol, body))
        if self._stopping:
            streaming.end()
        try:
            streaming.run(status, headers)
        finally:
            self._streams.discard(streaming)
        return streaming.sent
