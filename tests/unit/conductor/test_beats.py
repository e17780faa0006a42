"""Heartbeats on their way: together, each with its own answer, and none for ever."""

import threading
import types

import pytest

from obmd.common import errors
from obmd.common import rpc
from obmd.common.deadline import Deadline
from obmd.conductor import beats
from obmd.conf import CONF

ONE = types.SimpleNamespace(incarnation='one', host='host-1')
TWO = types.SimpleNamespace(incarnation='two', host='host-2')


class Line:
    """What sends messages: each waits until the test lets it go."""

    def __init__(self):
        self.sent = []
        self.changed = threading.Condition()
        self.allowed = 0
        self.outcome = lambda beat: None

    def send(self, conductor, batch, seconds):
        with self.changed:
            self.sent.append((conductor.incarnation, [beat['n'] for beat in batch]))
            number = len(self.sent)
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: self.allowed >= number, 10)
        return [self.outcome(beat) for beat in batch]

    def wait_for(self, number):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.sent) >= number, 10)

    def let_go(self, number=1000):
        with self.changed:
            self.allowed += number
            self.changed.notify_all()


@pytest.fixture
def line():
    return Line()


@pytest.fixture
def pauses():
    """What was waited for between messages, in seconds; nobody waits here."""
    return []


@pytest.fixture
def lanes(line, spawned, pauses):
    made = beats.Beats(line.send, lambda: 0.0, pauses.append)
    yield made
    line.let_go()
    spawned.join()
    assert not made._lanes, 'a lane is left behind'


@pytest.fixture
def max_beats():
    yield lambda number: CONF.set_override('max_beats', number, 'agent')
    CONF.clear_override('max_beats', 'agent')


def wait_for_queue(lanes, length, of='one'):
    for _ in range(1000):
        if len(lanes._lanes[of].queue) == length:
            return
        threading.Event().wait(0.005)
    raise AssertionError(f'{len(lanes._lanes[of].queue)} wait')


def start(lanes, line, in_thread, numbers, conductor=ONE, seconds=10):
    return [
        in_thread(lambda n=n: lanes.take(conductor, {'n': n}, Deadline(seconds))) for n in numbers
    ]


def fill(lanes, line, in_thread, conductor=ONE):
    """Two messages under way, each with one beat."""
    first = start(lanes, line, in_thread, [0], conductor)
    line.wait_for(1)
    second = start(lanes, line, in_thread, [1], conductor)
    line.wait_for(2)
    return first + second


def test_a_beat_that_comes_alone_goes_alone(lanes, line):
    line.let_go()
    lanes.take(ONE, {'n': 1}, Deadline(10))
    assert line.sent == [('one', [1])]


def test_what_comes_while_two_messages_are_under_way_goes_in_the_next(lanes, line, in_thread):
    callers = fill(lanes, line, in_thread)
    callers += start(lanes, line, in_thread, range(2, 12))
    wait_for_queue(lanes, 10)
    assert len(line.sent) == 2
    line.let_go()
    for caller in callers:
        caller.result()
    assert sorted(line.sent[2][1]) == list(range(2, 12))
    assert len(line.sent) == 3


def test_a_beat_that_comes_alone_waits_for_nothing(lanes, line, pauses):
    began = []
    line.outcome = lambda _beat: began.extend(pauses)
    line.let_go()
    lanes.take(ONE, {'n': 1}, Deadline(10))
    assert began == []


def test_messages_to_a_conductor_are_a_gap_apart(lanes, line, in_thread, spawned, pauses):
    callers = fill(lanes, line, in_thread)
    assert pauses == [beats.GAP]
    line.let_go()
    for caller in callers:
        caller.result()
    spawned.join()
    assert pauses == [beats.GAP, 2 * beats.GAP, 3 * beats.GAP]


def test_who_waits_for_a_turn_takes_along_what_comes(line, in_thread, spawned):
    """No second thread waits for the same."""
    waits, go = threading.Event(), threading.Event()

    def pause(_seconds):
        waits.set()
        assert go.wait(10)

    lanes = beats.Beats(line.send, lambda: 0.0, pause)
    line.let_go()
    callers = start(lanes, line, in_thread, [0])
    assert waits.wait(10)
    callers += start(lanes, line, in_thread, [1, 2, 3])
    wait_for_queue(lanes, 3)
    assert lanes._lanes['one'].runners == 1
    go.set()
    for caller in callers:
        caller.result()
    spawned.join()
    assert [sorted(numbers) for _, numbers in line.sent] == [[0], [1, 2, 3]]


def test_a_message_has_no_more_than_it_may(lanes, line, in_thread, monkeypatch):
    monkeypatch.setattr(beats, 'MOST', 4)
    callers = fill(lanes, line, in_thread) + start(lanes, line, in_thread, range(2, 12))
    wait_for_queue(lanes, 10)
    line.let_go()
    for caller in callers:
        caller.result()
    assert max(len(numbers) for _, numbers in line.sent) == 4


def test_a_message_of_long_certificates_has_fewer(lanes, line, in_thread, monkeypatch):
    monkeypatch.setattr(beats, 'LARGEST', 100)
    callers = fill(lanes, line, in_thread)
    for n in range(2, 8):
        beat = {'n': n, 'verify_ca': 'x' * 60}
        callers.append(in_thread(lambda beat=beat: lanes.take(ONE, beat, Deadline(10))))
    wait_for_queue(lanes, 6)
    line.let_go()
    for caller in callers:
        caller.result()
    assert max(len(numbers) for _, numbers in line.sent) == 2


def test_a_conductor_that_is_slow_delays_no_other(lanes, line, in_thread):
    callers = fill(lanes, line, in_thread) + start(lanes, line, in_thread, [2], TWO)
    line.wait_for(3)
    assert line.sent[2] == ('two', [2])
    line.let_go()
    for caller in callers:
        caller.result()


def test_each_gets_its_own_answer(lanes, line, in_thread):
    refused = errors.InvalidInput('not this one', 'n3').to_wire()
    line.outcome = lambda beat: refused if beat['n'] == 3 else None
    callers = fill(lanes, line, in_thread) + start(lanes, line, in_thread, [2, 3, 4])
    wait_for_queue(lanes, 3)
    line.let_go()
    assert [type(caller.error()) for caller in callers] == [
        type(None),
        type(None),
        type(None),
        errors.InvalidInput,
        type(None),
    ]


def test_all_of_a_message_that_fails_are_told_why(lanes, line, in_thread):
    def fail(_beat):
        raise rpc.NoAnswer('host-1', gone=True)

    line.outcome = fail
    callers = fill(lanes, line, in_thread) + start(lanes, line, in_thread, [2, 3])
    wait_for_queue(lanes, 2)
    line.let_go()
    told = [caller.error() for caller in callers]
    assert [(type(error), error.server, error.gone) for error in told] == [
        (rpc.NoAnswer, 'host-1', True)
    ] * 4
    assert len(set(map(id, told))) == 4


def test_an_unforeseen_failure_leaves_nobody_waiting(lanes, line):
    line.let_go()
    line.outcome = lambda _beat: 1 / 0
    with pytest.raises(errors.ObmdError, match='internal error'):
        lanes.take(ONE, {'n': 1}, Deadline(10))
    line.outcome = lambda _beat: None
    lanes.take(ONE, {'n': 2}, Deadline(10))


def test_a_conductor_that_answers_for_too_few_has_failed(lanes, spawned):
    lanes._send = lambda *_: []
    with pytest.raises(errors.ObmdError, match='failed to answer'):
        lanes.take(ONE, {'n': 1}, Deadline(10))


def test_who_finds_too_many_waiting_is_told_to_come_again(lanes, line, in_thread, max_beats):
    max_beats(3)
    callers = fill(lanes, line, in_thread) + start(lanes, line, in_thread, [2, 3, 4])
    wait_for_queue(lanes, 3)
    with pytest.raises(errors.Unavailable, match='host-1') as refused:
        lanes.take(ONE, {'n': 5}, Deadline(10))
    assert refused.value.retry_after
    line.let_go()
    for caller in callers:
        caller.result()


def test_who_has_waited_long_enough_goes_and_is_not_sent(lanes, line, in_thread):
    callers = fill(lanes, line, in_thread)
    with pytest.raises(errors.Unavailable, match='in time') as late:
        lanes.take(ONE, {'n': 2}, Deadline(0.01))
    assert late.value.retry_after
    line.let_go()
    for caller in callers:
        caller.result()
    assert [numbers for _, numbers in line.sent] == [[0], [1]]
