"""A console as framed events: what is told, in which order, and how it is resumed."""

import base64
import json
import threading

import pytest

from obmd.streams import console_events
from obmd.streams import readers
from obmd.streams import ring
from obmd.streams import viewer


class Allow:
    def allows(self, _stream):
        return True


class Rig:
    def __init__(self, size=64, replay=None, cursor=None, history=b''):
        self.up = True
        self.ring = ring.Ring(size, 'r1')
        self.ring.append(history)
        reader, gap = readers.place(self.ring, self.ring.start, replay, cursor)
        self.stream = console_events.ConsoleEvents(reader, Allow(), 'uuid', lambda: self.up, gap)

    def take(self):
        """:returns: list of the events of the next chunk."""
        return [json.loads(line) for line in next(self.stream).splitlines()]


def data(event):
    return base64.b64decode(event['data'])


@pytest.mark.parametrize('up', [True, False])
def test_the_first_thing_told_is_whether_the_source_is_there(up):
    rig = Rig(history=b'x', replay=1)
    rig.up = up
    assert rig.take() == [{'event': 'state', 'state': 'up' if up else 'down'}]


def test_bytes_are_told_with_where_they_stand_and_how_to_go_on():
    rig = Rig()
    rig.take()
    rig.ring.append(b'\x00\xff')
    (event,) = rig.take()
    assert data(event) == b'\x00\xff'
    assert (event['offset'], event['cursor']) == (0, 'r1:2')


def test_a_cursor_resumes_at_the_next_byte():
    rig = Rig(history=b'known new', cursor=('r1', 6))
    rig.take()
    (event,) = rig.take()
    assert (data(event), event['offset']) == (b'new', 6)


@pytest.mark.parametrize(('cursor', 'size'), [(('r1', 0), 8), (('another', 0), None)])
def test_what_is_missing_at_the_start_is_told_before_the_bytes(cursor, size):
    rig = Rig(size=4, history=b'123456789012', cursor=cursor)
    assert rig.take()[1:] == [{'event': 'gap', 'bytes': size}]
    assert data(rig.take()[0]) == b'9012'


def test_what_a_slow_viewer_lost_is_told_where_it_is_missing():
    rig = Rig(size=4)
    rig.take()
    rig.ring.append(b'123456')
    gap, event = rig.take()
    assert gap == {'event': 'gap', 'bytes': 2}
    assert (data(event), event['offset']) == (b'3456', 2)
    rig.ring.append(b'7')
    assert [event['event'] for event in rig.take()] == ['data']


def test_down_is_told_after_the_bytes_that_came_before():
    rig = Rig()
    rig.take()
    rig.ring.append(b'last words')
    rig.up = False
    assert data(rig.take()[0]) == b'last words'
    assert rig.take() == [{'event': 'state', 'state': 'down'}]


def test_up_is_told_before_the_bytes_that_come_then():
    rig = Rig()
    rig.up = False
    rig.take()
    rig.ring.append(b'hello')
    rig.up = True
    assert rig.take() == [{'event': 'state', 'state': 'up'}]
    assert data(rig.take()[0]) == b'hello'


def test_a_change_wakes_a_viewer_that_waits():
    rig = Rig()
    rig.take()
    got = []
    waiter = threading.Thread(target=lambda: got.append(next(rig.stream)))
    waiter.start()
    rig.up = False
    rig.stream.wake()
    waiter.join(10)
    assert json.loads(got[0]) == {'event': 'state', 'state': 'down'}


def test_a_silent_console_sends_an_empty_line_now_and_then(monkeypatch):
    monkeypatch.setattr(viewer, 'IDLE', 0.01)
    rig = Rig()
    rig.take()
    assert next(rig.stream) == b'\n'


def test_it_ends_when_it_is_ended():
    rig = Rig(history=b'x', replay=1)
    rig.stream.end('deleted')
    assert list(rig.stream) == []
