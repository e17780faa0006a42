"""Zeros ahead of a chunk's size, while a stream is silent."""

import pytest

from obmd.common import keepalive


class Clock:
    """Time, and the timers that are due in it."""

    def __init__(self):
        self.now = 100.0
        self.due = []

    def __call__(self):
        return self.now

    def after(self, seconds, function):
        timer = keepalive.timers.Timer(function)
        self.due.append((self.now + seconds, timer))
        return timer

    def pass_(self, seconds):
        end = self.now + seconds
        while waiting := [one for one in self.due if one[0] <= end and one[1].function]:
            first = min(waiting, key=lambda one: one[0])
            self.due.remove(first)
            self.now = max(self.now, first[0])
            first[1].function()
        self.now = end


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def sent():
    return []


@pytest.fixture
def alive(clock, sent):
    return keepalive.Keepalive(sent.append, 25, 3, clock, clock)


def test_a_silent_stream_sends_a_zero_in_each_pause(alive, clock, sent):
    clock.pass_(24.9)
    assert sent == []
    clock.pass_(0.2)
    assert sent == [b'0']
    clock.pass_(25)
    assert sent == [b'0', b'0']


def test_what_is_sent_begins_the_silence_anew(alive, clock, sent):
    clock.pass_(20)
    alive.send(b'x')
    clock.pass_(24.9)
    assert sent == [b'x']
    clock.pass_(0.2)
    assert sent == [b'x', b'0']


def test_a_chunk_has_so_many_zeros_at_most(alive, clock, sent):
    clock.pass_(1000)
    assert sent == [b'0'] * 3
    alive.send(b'x')
    clock.pass_(1000)
    assert sent == [b'0'] * 3 + [b'x'] + [b'0'] * 3


def test_many_chunks_keep_one_timer(alive, clock):
    for _ in range(1000):
        alive.send(b'x')
    assert len(clock.due) == 1


def test_nothing_is_sent_after_the_end(alive, clock, sent):
    alive.cancel()
    clock.pass_(1000)
    assert sent == [] and not any(timer.function for _, timer in clock.due)


def test_nothing_is_sent_into_a_chunk_that_is_on_its_way(clock):
    sent = []

    def slow(data):
        sent.append(data)
        if data == b'chunk':
            clock.pass_(100)

    keepalive.Keepalive(slow, 25, 3, clock, clock).send(b'chunk')
    assert sent == [b'chunk']
    clock.pass_(25)
    assert sent == [b'chunk', b'0']


def test_a_client_that_has_gone_is_nobody_elses_trouble(clock):
    tried = []

    def gone(data):
        tried.append(data)
        raise BrokenPipeError

    keepalive.Keepalive(gone, 25, 3, clock, clock)
    clock.pass_(1000)
    assert tried == [b'0']


def test_by_default_a_size_keeps_to_the_sixteen_digits_that_clients_read():
    assert keepalive.DIGITS + len(b'%x' % (1024 * 1024 - 1)) <= 16
