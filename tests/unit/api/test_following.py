"""The stream of a ticket, and the place of a client that comes back."""

import threading

import pytest

from obmd.api import following
from obmd.common import keepalive
from tests.unit.api.test_lines import ended
from tests.unit.api.test_lines import out


class Clock:
    def __init__(self):
        self.now = 1000.0
        self.due = []

    def __call__(self):
        return self.now

    def after(self, seconds, function):
        self.due.append((self.now + seconds, function))

    def pass_(self, seconds):
        self.now += seconds
        due = [one for one in self.due if one[0] <= self.now]
        self.due = [one for one in self.due if one not in due]
        for _, function in due:
            function()


class Output:
    """Plays obmd.api.output.Output: ``events`` is a list of what each read gives."""

    def __init__(self, *events, clock=None):
        self.events = list(events)
        self.finished = False
        self.closed = threading.Event()
        self.during = lambda: None

    def read(self, timeout):
        self.during()
        found = self.events.pop(0) if self.events else []
        self.finished = not self.events
        return found

    def close(self):
        self.closed.set()


class Silent(Output):
    """One that says nothing for a while, in which ``during`` happens, and goes on."""

    def read(self, timeout):
        self.during()
        if self.events:
            return self.events.pop(0)
        return []


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def places(clock):
    return following.Places(clock)


@pytest.fixture
def follow(clock, places):
    def follow(output, key='key', place=None, source=None):
        place = place or following.Place(output, with_names=False)
        return following.Following(place, key, places, source, clock)

    return follow


def leave(clock, stream, seconds):
    """What the client of a stream does after so long a silence."""

    def during():
        clock.pass_(seconds)
        stream.close()

    return during


def test_it_gives_all_lines_and_ends(follow):
    output = Output([out(b'a\n')], [], [out(b'b\n'), ended()])
    assert b''.join(follow(output)) == b'a\nb\n'
    assert output.closed.wait(10)


def test_a_client_that_left_after_a_long_silence_goes_on_where_it_was(follow, clock, places):
    output = Silent([out(b'a\n')])
    stream = follow(output)
    assert next(stream) == b'a\n'
    output.during = leave(clock, stream, 55)
    assert list(stream) == []
    output.during, output.events = lambda: None, [[out(b'b\n')]]
    again = follow(None, place=places.take('key'))
    assert next(again) == b'b\n'


def test_what_comes_as_the_client_leaves_is_the_first_that_it_gets_then(follow, clock, places):
    output = Silent([out(b'a\n')])
    stream = follow(output)
    output.during = leave(clock, stream, 55)
    assert list(stream) == []
    output.during = lambda: None
    assert next(follow(None, place=places.take('key'))) == b'a\n'


def test_half_a_line_is_kept_with_the_place(follow, clock, places):
    output = Silent([out(b'ab')])
    stream = follow(output)
    output.during = leave(clock, stream, 55)
    assert list(stream) == []
    output.during, output.events = lambda: None, [[out(b'c\n')]]
    assert next(follow(None, place=places.take('key'))) == b'abc\n'


def test_a_client_that_left_before_begins_anew(follow, clock, places):
    output = Silent()
    stream = follow(output)
    output.during = leave(clock, stream, 50)
    assert list(stream) == []
    assert places.take('key') is None
    assert output.closed.wait(10)


def test_a_place_is_anothers_only(follow, clock, places):
    output = Silent()
    stream = follow(output)
    output.during = leave(clock, stream, 55)
    assert list(stream) == []
    assert places.take('other') is None
    assert places.take('key') is not None
    assert places.take('key') is None


def test_a_place_is_kept_for_as_long_as_a_client_waits(follow, clock, places):
    output = Silent()
    stream = follow(output)
    output.during = leave(clock, stream, 55)
    assert list(stream) == []
    clock.pass_(59)
    assert not output.closed.is_set()
    clock.pass_(1)
    assert output.closed.wait(10)
    assert places.take('key') is None


def test_a_place_that_was_taken_is_not_closed_when_its_time_is_over(follow, clock, places):
    output = Silent()
    stream = follow(output)
    output.during = leave(clock, stream, 55)
    assert list(stream) == []
    assert places.take('key') is not None
    clock.pass_(100)
    assert not output.closed.wait(0.05)


def test_places_are_bounded(clock):
    places = following.Places(clock, most=2)
    outputs = [Silent() for _ in range(3)]
    for number, output in enumerate(outputs):
        places.keep(number, following.Place(output, False), 60)
    assert outputs[0].closed.wait(10)
    assert places.take(0) is None and places.take(2) is not None


def test_a_client_is_kept_alive_in_time(follow):
    assert follow(Output()).keepalive == (24.0, keepalive.DIGITS)


def test_it_can_be_switched_off(follow, conf, clock, places):
    conf('actions', stream_timeout=0)
    output = Silent()
    stream = follow(output)
    output.during = leave(clock, stream, 500)
    assert list(stream) == []
    assert stream.keepalive is None and places.take('key') is None


def test_a_client_whose_leaving_nobody_told_goes_on_where_it_was(follow, clock, places):
    output = Silent([out(b'a\n')])
    stream = follow(output, source='10.0.0.1')
    assert next(stream) == b'a\n'
    clock.pass_(60)
    again = follow(None, place=places.take('key', '10.0.0.1'), source='10.0.0.1')
    assert list(stream) == []
    output.events = [[out(b'b\n')]]
    assert next(again) == b'b\n'
    assert not output.closed.is_set()


@pytest.mark.parametrize(
    ('key', 'source', 'silence'),
    [
        ('other', '10.0.0.1', 60),
        ('key', '10.0.0.2', 60),
        ('key', None, 60),
        ('key', '10.0.0.1', 50),
    ],
)
def test_a_stream_is_not_taken_from_somebody_else(follow, clock, places, key, source, silence):
    output = Silent()
    stream = follow(output, source='10.0.0.1')
    clock.pass_(silence)
    assert places.take(key, source) is None
    assert stream.ended is None


def test_a_stream_that_ended_is_not_to_be_taken(follow, clock, places):
    stream = follow(Output([ended()]), source='10.0.0.1')
    list(stream)
    clock.pass_(60)
    assert places.take('key', '10.0.0.1') is None
    assert places._open == {}


def test_clients_that_ask_again_take_any_number_of_zeros(follow):
    assert follow(Output(), source='10.0.0.1').keepalive == (24.0, keepalive.MANY)
