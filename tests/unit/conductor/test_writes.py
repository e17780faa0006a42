import contextlib
import threading

import pytest

from obmd.common import callers
from obmd.common import errors
from obmd.common.deadline import Deadline
from obmd.conductor import writes as writes_
from tests.unit.conductor import fakes
from tests.unit.conductor.conftest import InThread


@pytest.fixture
def clock():
    return fakes.Clock()


@pytest.fixture
def writes(clock):
    return writes_.Writes(8, 'n1', clock=clock, wall_clock=lambda: clock.now)


class Queue:
    """Writes that run until they are told to end, in threads."""

    def __init__(self, writes):
        self.writes = writes
        self.order = []
        self.began = threading.Semaphore(0)
        self.end = threading.Semaphore(0)

    def put(self, name, error=None, seconds=30, caller=callers.UNKNOWN):
        def write():
            with self.writes.turn(name, Deadline(seconds), caller):
                self.order.append(name)
                self.began.release()
                assert self.end.acquire(timeout=10)
                if error is not None:
                    raise error

        held, before = self.writes._held, len(self.writes._queue)
        thread = InThread(write)
        if held:
            self.until_queued(before + 1)
        else:
            assert self.began.acquire(timeout=10)
        return thread

    def until_queued(self, count):
        for _ in range(2000):
            if len(self.writes._queue) == count:
                return
            threading.Event().wait(0.002)
        raise AssertionError('it does not wait')


@pytest.fixture
def queue(writes):
    return Queue(writes)


def test_one_runs_at_a_time_in_the_order_in_which_they_came(queue):
    threads = [queue.put(number) for number in range(9)]
    queue.end.release(9)
    for thread in threads:
        thread.result()
    assert queue.order == list(range(9))


def test_eight_wait_and_the_next_is_told_that_the_node_is_busy(queue, clock):
    threads = [queue.put(f'power {number}') for number in range(9)]
    clock.now += 7
    with pytest.raises(errors.NodeBusy) as busy:
        with queue.writes.turn('power off', Deadline(30)):
            raise AssertionError('it ran')
    assert busy.value.node == 'n1'
    assert 'busy: power 0 since 1970-01-01 00:16:40 UTC (7 s)' in busy.value.reason
    assert busy.value.reason.endswith('; 8 more wait')
    queue.end.release(9)
    for thread in threads:
        thread.result()
    with queue.writes.turn('power off', Deadline(30)):
        pass


def test_who_does_not_get_its_turn_in_time_is_told_and_does_not_keep_its_place(queue):
    first = queue.put('power on')
    with pytest.raises(errors.NodeBusy):
        with queue.writes.turn('power off', Deadline(0.01)):
            raise AssertionError('it ran')
    assert not queue.writes._queue
    queue.end.release()
    first.result()


def test_who_finds_the_node_busy_is_told_who_asked_but_not_from_where(queue):
    caller = callers.Caller(callers.ADMIN, 'req-1', '192.0.2.7')
    running = queue.put('power cycle', caller=caller)
    with pytest.raises(errors.NodeBusy) as busy:
        with queue.writes.turn('power off', Deadline(0.01)):
            raise AssertionError('it ran')
    assert busy.value.reason.endswith('(0 s), asked for by the admin (request req-1)')
    queue.end.release()
    running.result()


def test_the_one_that_has_just_got_its_turn_is_named(queue, clock):
    threads = [queue.put('first'), queue.put('second')]
    clock.now += 5
    queue.end.release()
    assert queue.began.acquire(timeout=10)
    with pytest.raises(errors.NodeBusy, match=r'second since 1970-01-01 00:16:45 UTC \(0 s\)'):
        with queue.writes.turn('third', Deadline(0.01)):
            raise AssertionError('it ran')
    queue.end.release()
    for thread in threads:
        thread.result()


def test_what_holds_the_node_is_shown_in_order(clock):
    shown = []
    writes = writes_.Writes(8, 'n1', shown.append, clock)
    with writes.turn('a', Deadline(30)):
        pass
    queue = Queue(writes)
    threads = [queue.put('b'), queue.put('c')]
    queue.end.release(2)
    for thread in threads:
        thread.result()
    assert [one and one.purpose for one in shown] == ['a', None, 'b', 'c', None]


@pytest.mark.parametrize('error', [ValueError('x'), errors.BmcRefused('no'), KeyboardInterrupt()])
def test_a_write_that_fails_lets_the_next_one_in(writes, error):
    with pytest.raises(type(error)):
        with writes.turn('a', Deadline(30)):
            raise error
    with writes.turn('b', Deadline(30)):
        pass
    assert writes._running is None


@pytest.mark.parametrize('error', [fakes.SILENT, errors.OutcomeUnknown('no answer', 'n1')])
def test_who_waited_while_the_bmc_was_silent_does_not_ask_it_again(queue, clock, error):
    first = queue.put('first', error)
    others = [queue.put(number) for number in range(3)]
    clock.now += 5
    queue.end.release()
    assert type(first.error()) is type(error)
    assert [type(other.error()) for other in others] == [errors.BmcSilent] * 3
    assert queue.order == ['first']


def test_who_comes_after_the_silence_asks(queue, clock):
    first = queue.put('first', fakes.SILENT)
    queue.end.release()
    first.error()
    clock.now += 0.1
    with queue.writes.turn('next', Deadline(30)):
        pass


def test_a_silence_is_over_with_an_answer(queue, clock):
    first = queue.put('first', fakes.SILENT)
    queue.end.release()
    first.error()
    clock.now += 0.1
    queue.order.clear()
    answered = queue.put('second')
    waiting = queue.put('third')
    queue.end.release(2)
    answered.result()
    waiting.result()


def test_a_refusal_is_no_silence(queue):
    first = queue.put('first', errors.BmcRefused('no'))
    second = queue.put('second')
    queue.end.release(2)
    first.error()
    second.result()


def test_no_two_are_ever_in_at_once_and_none_is_forgotten():
    writes = writes_.Writes(100, 'n1')
    inside, most, done = [], [], []

    def write(number):
        for turn in range(20):
            seconds = 0.0005 if (number + turn) % 3 == 0 else 30
            with contextlib.suppress(errors.NodeBusy):
                with writes.turn('x', Deadline(seconds)):
                    inside.append(number)
                    most.append(len(inside))
                    inside.pop()
            done.append(number)

    threads = [InThread(lambda n=n: write(n)) for n in range(8)]
    for thread in threads:
        thread.result()
    assert set(most) == {1}
    assert len(done) == 160
    assert not writes._held
    assert not writes._queue


# -- the node moves -------------------------------------------------------------------------------


def test_finishing_waits_for_the_write_that_runs(queue):
    running = queue.put('power on')
    finishing = InThread(lambda: queue.writes.finish(Deadline(30)))
    queue.until_queued(1)
    assert finishing.running
    queue.end.release()
    running.result()
    assert finishing.result() is True


def test_who_waits_and_who_comes_later_is_sent_to_the_next_owner(queue):
    running = queue.put('power on')
    waiting = [queue.put(number) for number in range(3)]
    finishing = InThread(lambda: queue.writes.finish(Deadline(30)))
    assert [type(one.error()) for one in waiting] == [errors.NotOwner] * 3
    with pytest.raises(errors.NotOwner):
        with queue.writes.turn('late', Deadline(30)):
            raise AssertionError('it ran')
    queue.end.release()
    running.result()
    assert finishing.result()
    with pytest.raises(errors.NotOwner):
        with queue.writes.turn('later', Deadline(30)):
            raise AssertionError('it ran')
    assert queue.order == ['power on']


def test_who_is_sent_on_is_told_what_holds_the_move_up(queue, clock):
    running = queue.put('power on')
    finishing = InThread(lambda: queue.writes.finish(Deadline(30)))
    queue.until_queued(1)
    clock.now += 9
    with pytest.raises(errors.NotOwner, match=r'moves to another conductor: power on since .*9 s'):
        with queue.writes.turn('late', Deadline(30)):
            raise AssertionError('it ran')
    queue.end.release()
    running.result()
    assert finishing.result()
    with pytest.raises(errors.NotOwner, match='hand-over to another conductor .*obmd itself'):
        with queue.writes.turn('later', Deadline(30)):
            raise AssertionError('it ran')


def test_an_idle_node_is_finished_at_once(writes):
    assert writes.finish(Deadline(0.01))
    with pytest.raises(errors.NotOwner):
        with writes.turn('late', Deadline(30)):
            raise AssertionError('it ran')


def test_a_node_that_stays_busy_goes_on_as_before(queue):
    running = queue.put('power on')
    assert queue.writes.finish(Deadline(0.01)) is False
    following = queue.put('power off')
    queue.end.release(2)
    running.result()
    following.result()
    assert queue.order == ['power on', 'power off']


def test_who_was_sent_on_is_so_though_the_move_was_given_up_meanwhile(queue, monkeypatch):
    given_up = threading.Event()
    wait = writes_._Turn.wait

    def slow(turn, seconds):
        wait(turn, seconds)
        if turn.work.purpose == 'power off':
            assert given_up.wait(10)

    monkeypatch.setattr(writes_._Turn, 'wait', slow)
    running = queue.put('power on')
    waiting = queue.put('power off')
    assert queue.writes.finish(Deadline(0.01)) is False
    given_up.set()
    assert type(waiting.error()) is errors.NotOwner
    queue.end.release()
    running.result()


def test_a_node_that_was_busy_can_be_finished_later(queue):
    running = queue.put('power on')
    assert queue.writes.finish(Deadline(0.01)) is False
    queue.end.release()
    running.result()
    assert queue.writes.finish(Deadline(1)) is True


def test_of_two_hand_overs_the_first_gives_way_to_the_second(queue, in_thread):
    running = queue.put('power on')
    first = in_thread(lambda: queue.writes.finish(Deadline(0.3)))
    queue.until_queued(1)
    second = in_thread(lambda: queue.writes.finish(Deadline(30)))
    assert first.result() is False
    queue.end.release()
    running.result()
    assert second.result() is True


def test_a_finish_that_was_for_nothing_is_taken_back(queue, writes):
    assert writes.finish(Deadline(1))
    writes.resume()
    running = queue.put('power on')
    queue.end.release()
    running.result()
