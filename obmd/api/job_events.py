"""A job's output as ``/api/v1`` streams it: events (WHATWG HTML, section 9.2), or one run's bytes.

Events, each with JSON in its ``data``:

``run``
    ``position, node, state, outcome, status, reason``; all are told anew to who resumes.
``output``
    ``position, node, stream, data`` and, if the bytes are no UTF-8, ``base64``.  Its id resumes
    behind it.
``gap``
    ``position, node, bytes``: output that is gone.
``job``
    ``state, status``; the last one.

A comment now and then keeps a silent stream.
"""

import base64
import json

from obmd.api import output
from obmd.db import runs
from obmd.streams import viewer

MEDIA = 'text/event-stream'
#: seconds of silence until a comment is sent
SILENCE = 15.0
_STREAMS = {'stdout': (output.STDOUT,), 'stderr': (output.STDERR,)}
#: what ``stream`` of a run's output may be
CHOICES = (*_STREAMS, 'both')


class Events(viewer.Stream):
    """:param job: ``obmd.db.jobs.Job``.
    :param cursor: str, the id of the last event that is known, or None.
    :raises InvalidInput: that is no cursor.
    """

    write_timeout = 60.0

    def __init__(self, services, job, cursor=None):
        super().__init__()
        self._output = output.Output(services, job, cursor)

    def __next__(self):
        if self.ended is None:
            found = self._output.read(SILENCE)
            if found:
                return b''.join(map(_framed, found))
            if not self._output.closed:
                return b':\n\n'
        self.end('finished')
        raise StopIteration

    def _wake(self):
        self._output.close()


def _framed(event):
    name, data = _told(event)
    text = json.dumps(data, separators=(',', ':')).encode()
    known = b'id: %s\n' % event.cursor.encode() if event.cursor is not None else b''
    return b'%sevent: %s\ndata: %s\n\n' % (known, name, text)


def _told(event):
    """:returns: (bytes, the event's name, its data)."""
    if event.kind == output.JOB:
        return b'job', event.data
    about = {'position': event.position, 'node': event.node}
    if event.kind == output.RUN:
        return b'run', {**about, **event.data}
    if event.kind == output.GAP:
        return b'gap', {**about, 'bytes': event.data}
    about |= {'stream': event.kind, 'data': event.data.decode(errors='replace')}
    try:
        event.data.decode()
    except UnicodeDecodeError:
        about['base64'] = base64.b64encode(event.data).decode()
    return b'output', about


class Bytes(viewer.Stream):
    """What one run writes, until it has ended.

    :param position: int.  :param stream: one of ``CHOICES``.
    """

    def __init__(self, services, job, position, stream):
        super().__init__()
        self._wanted = _STREAMS.get(stream, (output.STDOUT, output.STDERR))
        self._output = output.Output(services, job, position=position)

    def __next__(self):
        while self.ended is None:
            found = self._output.read(SILENCE)
            over = any(map(_ends, found)) or (not found and self._output.closed)
            data = b''.join(event.data for event in found if event.kind in self._wanted)
            if over:
                self.end('finished')
            if data:
                return data
        raise StopIteration

    def _wake(self):
        self._output.close()


def _ends(event):
    return event.kind == output.JOB or (
        event.kind == output.RUN and event.data['state'] == runs.ENDED
    )
