"""A server that answers jobs as obmd's API does, when the test says so.

It stands in for obmd where a test needs an answer at a moment of its own, or a connection that
breaks off.
"""

import http.server
import json
import ssl
import threading

BREAK = 'break'


class ApiServer:
    """One job, ``j1``, whose events a test puts.

    :param nodes: list of str.  :param certificate: (certificate, key), files, or None.
    :ivar requests: list of (method, path, headers, value).
    """

    def __init__(self, nodes=('n1',), command='power-on', certificate=None):
        self.nodes = list(nodes)
        self.command = command
        self.requests = []
        self.cancelled = threading.Event()
        self._events = []
        self._more = threading.Condition()
        handler = type('Handler', (_Handler,), {'api': self})
        self._server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
        self._server.daemon_threads = True
        scheme = 'http'
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            scheme = 'https'
        self.url = f'{scheme}://127.0.0.1:{self._server.server_address[1]}'
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *unused):
        self._server.shutdown()
        self._server.server_close()

    def put(self, name, **data):
        """Let something happen."""
        with self._more:
            self._events.append((name, data))
            self._more.notify_all()

    def run(self, position, state, outcome=None, status=None, reason=None):
        self.put(
            'run',
            position=position,
            node=self.nodes[position],
            state=state,
            outcome=outcome,
            status=status,
            reason=reason,
        )

    def say(self, position, text, stream='stdout'):
        self.put('output', position=position, node=self.nodes[position], stream=stream, data=text)

    def exit(self, position, status=0):
        self.run(position, 'ended', 'exited', status)

    def end(self, status=0):
        self.put('job', state='ended', status=status)

    def break_off(self):
        """Whoever reads now is cut; who comes again reads on."""
        self.put(BREAK)

    def asked(self, method):
        return [one for one in self.requests if one[0] == method]

    @property
    def job(self):
        return {
            'id': 'j1',
            'command': self.command,
            'arguments': [],
            'nodes': ','.join(self.nodes),
            'state': 'running',
            'status': None,
            'total': len(self.nodes),
        }

    def event(self, at):
        """:returns: (name, data), waits for it."""
        with self._more:
            while at >= len(self._events):
                self._more.wait(1)
            return self._events[at]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    api = None

    def log_message(self, *unused):
        pass

    def _note(self):
        length = int(self.headers.get('Content-Length') or 0)
        value = json.loads(self.rfile.read(length)) if length else None
        path = self.path.removeprefix('/api/v1')
        self.api.requests.append((self.command, path, self.headers, value))
        return path, value

    def _answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        path, value = self._note()
        if value.get('dry_run'):
            runs = [{'position': n, 'node': node} for n, node in enumerate(self.api.nodes)]
            self._answer(200, {'command': self.api.command, 'runs': runs})
        else:
            self._answer(201, self.api.job)

    def do_DELETE(self):
        self._note()
        self.api.cancelled.set()
        self._answer(202, self.api.job)

    def do_GET(self):
        path, _ = self._note()
        if path == '/jobs/j1/events':
            self._stream()
        elif path.startswith('/nodes?'):
            self._answer(200, {'nodes': [{'name': 'n1x'}], 'next': None})
        elif path == '/jobs/j1':
            self._answer(200, self.api.job)
        else:
            self._answer(404, {'error': {'kind': 'not_found', 'reason': 'there is no such page'}})

    def _stream(self):
        self.send_response(200)
        self.send_header('Content-Type', 'text/event-stream')
        self.send_header('Transfer-Encoding', 'chunked')
        self.end_headers()
        at = int(self.headers.get('Last-Event-ID', -1)) + 1
        while True:
            name, data = self.api.event(at)
            if name == BREAK:
                # once: the next reader begins behind it
                self.api._events[at] = ('nothing', {})
                self.close_connection = True
                self.connection.close()
                return
            text = f'id: {at}\nevent: {name}\ndata: {json.dumps(data)}\n\n'.encode()
            self.wfile.write(b'%x\r\n%s\r\n' % (len(text), text))
            self.wfile.flush()
            at += 1
            if name == 'job':
                self.wfile.write(b'0\r\n\r\n')
                return
