"""Server-sent events (WHATWG HTML, 9.2) that go on where they broke off."""

import collections
import json

from obmd.client import errors
from obmd.client import transport as transports

#: seconds without a byte after which a stream is asked for again, at the same place
SILENCE = 90.0
#: seconds for which a broken stream is asked for again before it is given up
PATIENCE = 60.0
#: bytes that one event may have
LARGEST = 16 * 1024 * 1024

#: id: str or None, name: str, data: what its JSON says
Event = collections.namedtuple('Event', 'id name data')


def parse(chunks):
    """:param chunks: iterable of bytes.  :returns: iterator of :class:`Event`.

    Comments and events without data are left out; one that is cut short is too.

    :raises BadAnswer: an event is not JSON, or without end.
    """
    rest, last, name, data = b'', None, 'message', []
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b'\n')
        if len(rest) > LARGEST:
            raise errors.BadAnswer('an event of the stream has no end')
        for line in lines:
            line = line.removesuffix(b'\r')
            if not line:
                if data:
                    yield Event(last, name, _value(b'\n'.join(data)))
                name, data = 'message', []
                continue
            field, _, value = line.partition(b':')
            value = value.removeprefix(b' ')
            if field == b'data':
                data.append(value)
            elif field == b'event':
                name = value.decode('utf-8', 'replace')
            elif field == b'id':
                last = value.decode('utf-8', 'replace')


def _value(data):
    try:
        return json.loads(data)
    except ValueError:
        raise errors.BadAnswer('an event of the stream is not JSON') from None


def follow(transport, path, is_last, cursor=None, silence=SILENCE, patience=PATIENCE):
    """Yield each :class:`Event` of a stream, asking for it again when it breaks off.

    :param transport: :class:`obmd.client.transport.Transport`.
    :param path: str below ``/api/v1``.
    :param is_last: callable that says of an event whether the stream ends with it.
    :param cursor: str, id of the last event that is known.
    :param patience: float seconds without any event until a stream that breaks is given up.
    :raises Unreachable: it was given up.  :raises Refused: the server will not give it.
    """
    given_up = None
    while True:
        try:
            headers = {'Accept': 'text/event-stream'}
            if cursor is not None:
                headers['Last-Event-ID'] = cursor
            with transport.stream(path, headers, silence) as answer:
                for event in parse(transports.chunks(answer)):
                    given_up = None
                    cursor = event.id or cursor
                    yield event
                    if is_last(event):
                        return
            problem = errors.Unreachable(f'{transport.url}: the stream ended too early')
            pause = transports.PAUSE
        except errors.Unreachable as error:
            problem, pause = error, transports.PAUSE
        except errors.Refused as refusal:
            if refusal.status not in (429, 502, 503, 504):
                raise
            problem, pause = refusal, transports.pause_after(refusal)
        now = transport.clock()
        given_up = now + patience if given_up is None else given_up
        if now + pause > given_up:
            raise problem
        transport.sleep(pause)
