"""The row tells what holds a node: late, in order, and never for ever."""

import heapq
import itertools
import random
import threading

import hypothesis
import pytest
from hypothesis import strategies as st

from obmd.common import callers
from obmd.common import timers as real_timers
from obmd.conductor import shadow
from tests.unit.conductor import fakes
from tests.unit.conductor.conftest import InThread


class Timers:
    """Timers of a clock that only the test moves on."""

    def __init__(self):
        self.now = 0.0
        self._heap = []
        self._order = itertools.count()

    def after(self, seconds, function):
        timer = real_timers.Timer(function)
        heapq.heappush(self._heap, (self.now + seconds, next(self._order), timer))
        return timer

    @property
    def pending(self):
        return [entry for entry in self._heap if entry[2].function is not None]

    def advance(self, seconds):
        end = self.now + seconds
        while self._heap and self._heap[0][0] <= end:
            at, _, timer = heapq.heappop(self._heap)
            self.now = max(self.now, at)
            if timer.function is not None:
                timer.function()
        self.now = end


class Row:
    """A node's row and what was tried on it.

    ``meanwhile`` is called while a write is under way; ``lost``: the next is carried out and its
    answer does not arrive.
    """

    def __init__(self):
        self.lock = None
        self.tried = []
        self.down = self.lost = False
        self.ours = True
        self.meanwhile = lambda: None
        self.inside = self.most_inside = 0

    def record(self, work):
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            self.tried.append(work)
            self.meanwhile()
            if self.down:
                raise fakes.DOWN
            if self.ours:
                self.lock = work
            if self.lost:
                self.lost = False
                raise fakes.DOWN
            return self.ours
        finally:
            self.inside -= 1


@pytest.fixture
def row():
    return Row()


@pytest.fixture
def timers():
    return Timers()


@pytest.fixture
def shown(row, timers):
    return shadow.Shadow(row.record, timers, 'n1')


def work(name):
    return shadow.Work(str(name))


A, B = work('power on'), work('power off')
SHORT, LONG = shadow.SHOW_AFTER / 2, shadow.SHOW_AFTER * 2


def test_a_short_write_costs_the_database_nothing(shown, row, timers):
    for _ in range(100):
        shown.show(A)
        timers.advance(SHORT)
        shown.show(None)
        timers.advance(SHORT)
    timers.advance(100)
    assert row.tried == []


def test_a_long_one_is_told_and_taken_back(shown, row, timers):
    shown.show(A)
    timers.advance(LONG)
    assert row.lock is A
    shown.show(None)
    timers.advance(0)
    assert row.lock is None
    assert row.tried == [A, None]


def test_short_ones_that_follow_each_other_are_told_too(shown, row, timers):
    for number in range(10):
        shown.show(work(number))
        timers.advance(SHORT * 0.8)
    assert row.lock is not None


def test_the_row_tells_of_the_one_that_runs(shown, row, timers):
    shown.show(A)
    timers.advance(LONG)
    shown.show(B)
    timers.advance(LONG)
    assert row.lock is B


def test_what_ends_while_it_is_being_told_is_taken_back(shown, row, timers):
    row.meanwhile = lambda: shown.show(None)
    shown.show(A)
    timers.advance(LONG)
    assert row.lock is None
    assert row.tried == [A, None]


def test_a_database_that_is_down_is_asked_again_with_growing_pauses(shown, row, timers):
    shown.show(A)
    timers.advance(LONG)
    row.down = True
    shown.show(None)
    timers.advance(600)
    assert row.lock is A
    assert 600 / shadow.RETRY_MAX <= len(row.tried) < 600 / shadow.RETRY_MAX + 8
    row.down = False
    timers.advance(shadow.RETRY_MAX)
    assert row.lock is None
    assert timers.pending == []


def test_after_a_success_the_next_failure_is_tried_again_soon(shown, row, timers):
    shown.show(A)
    row.down = True
    timers.advance(600)
    row.down = False
    timers.advance(shadow.RETRY_MAX)
    row.down = True
    shown.show(None)
    timers.advance(0)
    row.down = False
    timers.advance(shadow.RETRY_MIN)
    assert row.lock is None


def test_a_timer_that_goes_off_while_it_is_cancelled_writes_nothing_by_the_way(row, timers):
    shown = shadow.Shadow(row.record, timers, 'n1')
    shown.show(A)
    late = timers.pending[0][2].function
    shown.show(None)
    late()
    assert row.tried == []
    row.meanwhile = late
    shown.show(B)
    timers.advance(LONG)
    assert row.tried == [B]


def test_what_may_have_been_written_is_taken_back(shown, row, timers):
    row.lost = True
    shown.show(A)
    timers.advance(LONG)
    shown.show(None)
    timers.advance(shadow.RETRY_MAX)
    assert row.lock is None


def test_what_an_earlier_hold_has_left_is_taken_away(row, timers):
    row.lock = A
    shadow.Shadow(row.record, timers, 'n1', doubtful=True)
    timers.advance(0)
    assert row.lock is None


def test_a_row_that_is_anothers_is_left_alone(shown, row, timers):
    shown.show(A)
    row.ours = False
    timers.advance(LONG)
    assert row.tried == [A]
    for one in (B, None, A):
        shown.show(one)
        timers.advance(LONG)
    assert row.tried == [A]


def test_nothing_is_written_after_the_node_was_given_up(shown, row, timers):
    shown.show(A)
    shown.close()
    shown.show(B)
    timers.advance(100)
    assert row.tried == []


def test_what_is_being_told_when_the_node_is_given_up_is_taken_back(shown, row, timers):
    row.meanwhile = shown.close
    shown.show(A)
    timers.advance(100)
    assert row.lock is None


def test_a_database_that_is_down_is_not_asked_again_for_a_node_that_was_given_up(
    shown, row, timers
):
    row.down = True
    shown.show(A)
    timers.advance(LONG)
    shown.close()
    timers.advance(600)
    assert row.tried == [A]


def test_a_fault_of_ours_does_not_stop_it(row, timers):
    faults = [ValueError('a fault')]

    def record(one):
        if faults:
            raise faults.pop()
        return row.record(one)

    shown = shadow.Shadow(record, timers, 'n1')
    shown.show(A)
    timers.advance(LONG + shadow.RETRY_MAX)
    assert row.lock is A


_steps = st.lists(
    st.sampled_from(['begin', 'end', 'down', 'up', 'lose', 'tick', 'wait']), max_size=30
)


@hypothesis.settings(max_examples=300, deadline=None)
@hypothesis.given(_steps, st.lists(_steps, max_size=8))
def test_whatever_happens_the_last_word_is_the_last_in_the_row(steps, meanwhile):
    """``meanwhile`` is what happens while the first writes are under way."""
    row, timers = Row(), Timers()
    shown = shadow.Shadow(row.record, timers, 'n1')
    count, now, later = itertools.count(), [None], list(meanwhile)

    most_pending = [0]

    def do(step):
        most_pending[0] = max(most_pending[0], len(timers.pending))
        if step in ('begin', 'end'):
            now[0] = work(next(count)) if step == 'begin' else None
            shown.show(now[0])
        elif step in ('down', 'up'):
            row.down = step == 'down'
        elif step == 'lose':
            row.lost = True
        else:
            timers.advance(0.1 if step == 'tick' else 1.0)

    def during():
        for step in later.pop(0) if later else ():
            do(step)

    row.meanwhile = during
    for step in steps:
        do(step)
    row.down = row.lost = False
    later.clear()
    timers.advance(2 * shadow.RETRY_MAX)
    assert row.lock is now[0]
    assert row.most_inside <= 1
    assert most_pending[0] <= 1
    assert timers.pending == []
    before = len(row.tried)
    timers.advance(600)
    assert len(row.tried) == before


def test_writes_that_take_their_time_never_overtake_each_other(monkeypatch):
    """As above with threads: each write takes another time, and some fail."""
    monkeypatch.setattr(shadow, 'SHOW_AFTER', 0.001)
    monkeypatch.setattr(shadow, 'RETRY_MIN', 0.001)
    monkeypatch.setattr(shadow, 'RETRY_MAX', 0.002)
    rng, row = random.Random(7), Row()

    def meanwhile():
        threading.Event().wait(rng.random() * 0.003)
        row.down = rng.random() < 0.3

    row.meanwhile = meanwhile
    shown = shadow.Shadow(row.record, real_timers.Timers(), 'n1')
    for number in range(300):
        shown.show(work(number) if number % 3 else None)
        threading.Event().wait(rng.random() * 0.002)
    shown.show(B)
    for _ in range(1000):
        if row.lock is B and not shown._writing:
            break
        threading.Event().wait(0.005)
    assert row.lock is B
    assert row.most_inside == 1
    assert len(row.tried) > 10


def test_showing_never_waits_for_the_database(row):
    release = threading.Event()
    row.meanwhile = lambda: release.wait(10)
    shown = shadow.Shadow(row.record, real_timers.Timers(), 'n1', doubtful=True)
    for _ in range(1000):
        if row.tried:
            break
        threading.Event().wait(0.005)
    for name in range(100):
        InThread(lambda n=name: shown.show(work(n))).result()
    InThread(shown.close).result()
    assert row.inside == 1
    release.set()


def test_others_are_told_what_since_when_and_by_whom_without_an_address():
    caller = callers.Caller(callers.ADMIN, 'req-1', '192.0.2.7')
    one = shadow.Work('power cycle', caller, began=100.0, since=1795176190.0)
    assert one.told(112.4) == (
        'power cycle since 2026-11-20 12:03:10 UTC (12 s), asked for by the admin (request req-1)'
    )


def test_work_that_has_just_begun_is_no_second_old():
    assert '(0 s)' in shadow.Work('x', began=100.0).told(90.0)
