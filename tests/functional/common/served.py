"""A service to test the listener with: ``python -m tests.functional.common.served [CERT KEY]``.

It prints its port.  ``/stream/NAME`` is a stream that ``/put/NAME`` feeds and ``/end/NAME`` ends;
``?ZEROS`` has it kept alive by so many.  ``/state`` tells how it goes.
"""

import eventlet

eventlet.monkey_patch()

import itertools  # noqa: E402
import json  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import resource  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402

from obmd.common import listening  # noqa: E402
from obmd.common import serving  # noqa: E402
from obmd.streams import viewer  # noqa: E402

STREAMS = {}
ENDED = []
ASKED = itertools.count()


def answer(environ, start_response):
    _, action, *rest = environ['PATH_INFO'].split('/')
    name = rest[0] if rest else ''
    body = environ['wsgi.input'].read() if action != 'unread' else b''
    if action == 'stream':
        stream = STREAMS[name] = viewer.LineStream()
        stream.on_end(lambda: ENDED.append(name))
        if query := environ.get('QUERY_STRING'):
            stream.keepalive = 0.05, int(query)
        start_response('200 OK', [('Content-Type', 'application/octet-stream')])
        return stream
    if action == 'put':
        STREAMS[name].put(body)
    elif action == 'end':
        STREAMS[name].end('revoked')
    elif action == 'fail':
        raise ValueError('hunter2')
    elif action == 'exit':
        threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGTERM)).start()
    state = {
        'asked': next(ASKED),
        'ended': ENDED,
        'streams': LISTENER.streams,
        'read': len(body),
        'cpu': sum(resource.getrusage(resource.RUSAGE_SELF)[:2]),
        'scheme': environ['wsgi.url_scheme'],
    }
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [json.dumps(state).encode()]


logging.basicConfig(level=logging.INFO)
listening.raise_file_limit()
for bound in os.environ.get('BOUNDS', '').split():
    option, value = bound.split('=')
    setattr(serving, option, float(value))
if 'LINES_WAIT' in os.environ:
    viewer.LineStream.write_timeout = float(os.environ['LINES_WAIT'])
TLS = serving.tls_context(*sys.argv[1:3]) if len(sys.argv) > 1 else None
LISTENER = serving.Listener(
    serving.bind(('127.0.0.1', 0)),
    answer,
    'test',
    tls=TLS,
    max_connections=int(os.environ.get('CONNECTIONS', '1000')),
)
LISTENER.start()
print(LISTENER.address[1], flush=True)
DONE = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: DONE.set())
while not DONE.wait(0.05):
    pass
LISTENER.stop(grace=1)
