"""One question to a BMC for all who ask it: an answer is never older than its question."""

import itertools
import threading

import pytest

from obmd.common import errors
from obmd.common.deadline import Deadline
from obmd.conductor import shared_read
from tests.unit.conductor import fakes
from tests.unit.conductor.conftest import InThread


class SlowRead:
    """A read that each time waits to be let on; answers the number of the read."""

    def __init__(self):
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.count = 0
        self.deadlines = []
        self.error = None

    def __call__(self, deadline):
        self.count += 1
        number = self.count
        self.deadlines.append(deadline)
        self.begun.release()
        assert self.go.acquire(timeout=10)
        if self.error is not None:
            raise self.error
        return number


@pytest.fixture
def read():
    return SlowRead()


@pytest.fixture
def shared(read, spawned):
    return shared_read.SharedRead(read, 10, 'n1')


def until_waiting(shared, count):
    done = threading.Event()
    for _ in range(2000):
        with shared._lock:
            if shared._waiting == count:
                return
        done.wait(0.002)
    raise AssertionError(f'{shared._waiting} wait, not {count}')


def test_one_who_asks_alone_reads_in_its_own_thread(spawned):
    where = []
    shared = shared_read.SharedRead(
        lambda _deadline: where.append(threading.get_ident()) or 'on', 5, 'n1'
    )
    assert shared.get(Deadline(5)) == 'on'
    assert where == [threading.get_ident()]


def test_who_comes_while_a_read_is_under_way_shares_the_next(shared, read, spawned):
    first = InThread(lambda: shared.get(Deadline(30)))
    read.begun.acquire()
    others = [InThread(lambda: shared.get(Deadline(30))) for _ in range(5)]
    until_waiting(shared, 6)
    read.go.release()
    assert first.result() == 1
    read.begun.acquire()
    read.go.release()
    assert [other.result() for other in others] == [2] * 5
    spawned.join()
    assert read.count == 2


def test_after_a_pause_a_new_question_is_a_new_read(shared, read):
    for number in (1, 2, 3):
        read.go.release()
        assert shared.get(Deadline(30)) == number


def test_no_more_than_the_limit_wait_for_a_slow_bmc(shared, read):
    callers = [InThread(lambda: shared.get(Deadline(30))) for _ in range(10)]
    until_waiting(shared, 10)
    shared._clock = lambda: shared._asked_at + shared_read.SLOW + 1
    with pytest.raises(errors.Unavailable) as refused:
        shared.get(Deadline(30))
    assert refused.value.node == 'n1'
    assert refused.value.retry_after
    read.go.release(2)
    for caller in callers:
        caller.result()
    read.go.release()
    assert shared.get(Deadline(30)) == 3


def test_the_read_has_the_longest_deadline_of_those_who_share_it(shared, read):
    first = InThread(lambda: shared.get(Deadline(1000)))
    read.begun.acquire()
    others = [InThread(lambda s=s: shared.get(Deadline(s))) for s in (20, 40, 30)]
    until_waiting(shared, 4)
    read.go.release(2)
    first.result()
    for other in others:
        other.result()
    assert 35 < read.deadlines[1].remaining <= 40


def test_who_has_less_time_than_the_read_takes_is_told_in_time(shared, read, spawned):
    first = InThread(lambda: shared.get(Deadline(30)))
    read.begun.acquire()
    with pytest.raises(errors.BmcSilent) as silent:
        shared.get(Deadline(0.01))
    assert silent.value.node == 'n1'
    read.go.release(2)
    assert first.result() == 1
    spawned.join()


def test_a_failure_reaches_all_who_share_it_each_as_an_error_of_its_own(shared, read, spawned):
    first = InThread(lambda: shared.get(Deadline(30)))
    read.begun.acquire()
    others = [InThread(lambda: shared.get(Deadline(30))) for _ in range(3)]
    until_waiting(shared, 4)
    read.error = errors.CredentialsRefused('wrong password', 'n1')
    read.go.release(2)
    failures = [caller.error() for caller in (first, *others)]
    assert {type(failure) for failure in failures} == {errors.CredentialsRefused}
    assert {failure.reason for failure in failures} == {'wrong password'}
    assert len({id(failure) for failure in failures}) == 4
    assert read.error not in failures


def test_a_failure_is_not_remembered(shared, read):
    read.error = fakes.SILENT
    read.go.release()
    with pytest.raises(errors.BmcSilent):
        shared.get(Deadline(30))
    read.error = None
    read.go.release()
    assert shared.get(Deadline(30)) == 2


def test_a_crash_of_the_driver_is_told_without_its_words(shared, read):
    read.error = ValueError('secret')
    read.go.release()
    with pytest.raises(errors.ObmdError) as failed:
        shared.get(Deadline(30))
    assert 'secret' not in failed.value.reason


def test_a_thread_that_is_killed_in_its_read_blocks_nobody_after_it(shared, read):
    class Killed(BaseException):
        pass

    read.error = Killed()
    read.go.release()
    with pytest.raises(Killed):
        shared.get(Deadline(30))
    read.error = None
    read.go.release()
    assert shared.get(Deadline(30)) == 2


def test_an_answer_is_never_older_than_its_question():
    """The world moves on all the time; nobody is told of a state from before it asked."""
    world = itertools.count(1)
    pause = threading.Event()

    def read(_deadline):
        seen = next(world)
        pause.wait(0.0005)
        return seen

    shared = shared_read.SharedRead(read, 100, 'n1')
    stale = []

    def ask():
        for _ in range(25):
            asked = next(world)
            seen = shared.get(Deadline(30))
            if seen <= asked:
                stale.append((asked, seen))

    callers = [InThread(ask) for _ in range(8)]
    for caller in callers:
        caller.result()
    assert not stale
