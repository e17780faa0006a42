import threading

import pytest

from obmd.common import errors
from obmd.conductor import revocation
from obmd.db import nodes
from obmd.streams import viewer

INTERVAL, GRACE = 5.0, 30.0


class Rig:
    """A guard whose clock and database are the test's."""

    def __init__(self, interval=INTERVAL, grace=GRACE):
        self.time = 1000.0
        self.tokens = {'n1': 't1', 'n2': 't2'}
        self.watched = ['n1', 'n2']
        self.deleted = []
        self.read = []
        self.error = None
        self.during = lambda: None
        self.asked = []
        self.guard = revocation.Revocation(
            interval,
            grace,
            lambda: self.watched,
            self.deleted.append,
            self.read.append,
            fetch=self.fetch,
            clock=lambda: self.time,
        )

    def fetch(self, uuids):
        self.asked.append(set(uuids))
        answer = {
            uuid: nodes.Standing(token, 'me', 1)
            for uuid, token in self.tokens.items()
            if uuid in uuids
        }
        self.during()
        if self.error is not None:
            raise self.error
        return answer

    def open(self, node='n1', token='t1', compared_at=None):
        stream = viewer.Stream()
        stream.node_uuid, stream.token_id = node, token
        self.guard.add(stream, self.time if compared_at is None else compared_at)
        return stream

    def allows_in_thread(self, stream):
        """Ask in a thread: what ``allows`` said, once it has, and the thread."""
        said = []
        thread = threading.Thread(target=lambda: said.append(self.guard.allows(stream)))
        thread.start()
        return said, thread

    def until_wanted(self):
        assert self.guard._wanted.wait(10)
        self.guard._wanted.clear()


@pytest.fixture
def rig():
    return Rig()


DOWN = errors.Unavailable('the database does not answer')


def test_a_stream_whose_token_is_the_rows_goes_on(rig):
    stream = rig.open()
    rig.guard.check()
    assert stream.ended is None
    assert rig.guard.allows(stream)


@pytest.mark.parametrize('now', ['t9', None])
def test_a_stream_ends_at_the_next_check_though_nobody_told(rig, now):
    stream, other = rig.open(), rig.open('n2', 't2')
    rig.tokens['n1'] = now
    rig.time += 1
    rig.guard.check()
    assert stream.ended
    assert other.ended is None


def test_a_deleted_node_ends_its_streams_and_is_told(rig):
    stream = rig.open()
    del rig.tokens['n1']
    rig.guard.check()
    assert stream.ended
    assert rig.deleted == ['n1']


def test_one_deleted_node_that_cannot_be_looked_at_keeps_no_other_stream_alive(rig):
    def fails(_uuid):
        raise DOWN

    rig.guard._on_deleted = fails
    rig.watched = ['a', 'b', 'n1', 'n2', 'z']
    streams = [rig.open(), rig.open('n2', 't2')]
    rig.tokens = {'n1': 'other', 'n2': 'other'}
    rig.guard.check()
    assert all(stream.ended for stream in streams)


def test_the_stream_of_a_node_that_is_not_held_any_more_is_still_checked(rig):
    rig.watched = []
    stream = rig.open()
    rig.tokens['n1'] = 'other'
    rig.guard.check()
    assert stream.ended


def test_a_stream_opened_while_the_answer_is_on_its_way_is_not_judged_by_it(rig):
    opened = []

    def rotate_and_open():
        rig.time += 0.1
        rig.tokens['n1'] = 't9'
        opened.append(rig.open(token='t9'))

    rig.during = rotate_and_open
    rig.guard.check()
    assert opened[0].ended is None
    rig.during = lambda: None
    rig.guard.check()
    assert opened[0].ended is None


def test_a_stream_that_no_check_has_judged_is_not_taken_for_checked(rig):
    late = []

    def open_late():
        late.append(rig.open('n3', 't3', compared_at=rig.time - 4))

    rig.during = open_late
    rig.time += 10
    rig.guard.check()
    rig.time += 2
    assert late[0].checked_at == rig.time - 2 - 4
    said, thread = rig.allows_in_thread(late[0])
    rig.until_wanted()
    assert not said
    rig.during = lambda: None
    rig.tokens['n3'] = 't3'
    rig.guard.check()
    thread.join(10)
    assert said == [True]


def test_the_time_of_a_check_is_when_it_asked_not_when_it_was_answered(rig):
    stream = rig.open()

    def slow():
        rig.time += 4

    rig.during = slow
    rig.guard.check()
    rig.time += 2  # 6 s after the question
    said, thread = rig.allows_in_thread(stream)
    rig.until_wanted()
    assert not said
    rig.during = lambda: None
    rig.guard.check()
    thread.join(10)
    assert said == [True]


def test_within_the_interval_no_byte_waits(rig):
    stream = rig.open()
    rig.time += INTERVAL
    assert rig.guard.allows(stream)
    assert not rig.guard._wanted.is_set()


def test_after_a_pause_of_the_process_the_check_comes_before_the_byte(rig):
    stream = rig.open()
    rig.guard.check()
    rig.time += 60
    rig.tokens['n1'] = 'other'
    said, thread = rig.allows_in_thread(stream)
    rig.until_wanted()
    assert not said
    rig.guard.check()
    thread.join(10)
    assert said == [False]
    assert stream.ended


def test_a_pause_between_the_comparison_and_the_guard_counts(rig):
    compared_at = rig.guard.now()
    rig.time += 60
    stream = rig.open(compared_at=compared_at)
    said, thread = rig.allows_in_thread(stream)
    rig.until_wanted()
    assert not said
    stream.end('enough')
    rig.guard.check()
    thread.join(10)
    assert said == [False]


def test_a_database_slower_than_the_interval_does_not_starve_the_streams():
    rig = Rig(interval=0.1, grace=30)
    stream = rig.open()
    rig.time += 1

    def slow():
        rig.time += 0.5

    rig.during = slow
    said, thread = rig.allows_in_thread(stream)
    rig.until_wanted()
    rig.guard.check()
    thread.join(10)
    assert said == [True]


def test_when_the_database_was_asked_and_fails_a_stream_goes_on_until_the_grace(rig):
    stream = rig.open()
    rig.error = DOWN
    rig.time += 6
    rig.guard.check()
    assert rig.guard.allows(stream)
    rig.time = 1000 + GRACE
    assert rig.guard.allows(stream)
    rig.time += 0.1
    assert not rig.guard.allows(stream)
    assert stream.ended


def test_a_silent_stream_too_ends_after_the_grace(rig):
    stream = rig.open()
    rig.error = DOWN
    rig.time += GRACE + 0.1
    rig.guard.check()
    assert stream.ended == 'its token could not be checked'


def test_a_database_that_was_not_asked_gives_no_grace(rig):
    stream = rig.open()
    rig.time += 6
    said, thread = rig.allows_in_thread(stream)
    rig.until_wanted()
    assert not said
    rig.error = DOWN
    rig.guard.check()
    thread.join(10)
    assert said == [True]


def test_a_check_that_never_answers_ends_the_stream_after_the_grace(rig):
    rig.guard._interval = 0.005
    stream = rig.open()
    rig.time += 1
    said, thread = rig.allows_in_thread(stream)
    rig.until_wanted()
    rig.time += GRACE + 1
    thread.join(10)
    assert said == [False]
    assert stream.ended


def test_a_database_that_is_back_is_noticed(rig):
    stream = rig.open()
    rig.error = DOWN
    rig.time += 10
    rig.guard.check()
    rig.error = None
    rig.guard.check()
    rig.time += 6
    said, thread = rig.allows_in_thread(stream)
    rig.until_wanted()
    assert not said  # the grace is over with the failure
    rig.guard.check()
    thread.join(10)
    assert said == [True]


def test_any_other_failure_of_a_check_counts_as_one_and_wakes_who_waits(rig):
    stream = rig.open()
    rig.time += 6
    rig.error = ValueError('a bug')
    said, thread = rig.allows_in_thread(stream)
    rig.until_wanted()
    rig.guard.check()
    thread.join(10)
    assert said == [True]


def test_the_grace_is_never_below_the_interval():
    rig = Rig(interval=5, grace=1)
    stream = rig.open()
    rig.error = DOWN
    rig.time += 5
    rig.guard.check()
    assert stream.ended is None
    assert rig.guard.allows(stream)


def test_being_told_ends_the_streams_of_the_old_token_only(rig):
    old, new, other = rig.open(), rig.open(token='t9'), rig.open('n2', 't2')
    rig.guard.cut('n1', 't9')
    assert old.ended
    assert new.ended is None
    assert other.ended is None


def test_being_told_that_there_is_no_token_ends_all(rig):
    streams = [rig.open(), rig.open(token='t9')]
    rig.guard.cut('n1', None)
    assert all(stream.ended for stream in streams)


def test_a_waiting_writer_ends_when_its_stream_is_cut(rig):
    stream = rig.open()
    rig.time += 6
    said, thread = rig.allows_in_thread(stream)
    rig.until_wanted()
    rig.guard.cut('n1', None)
    rig.guard.check()
    thread.join(10)
    assert said == [False]


def test_open_streams_are_counted_and_those_that_ended_forgotten(rig):
    streams = [rig.open(), rig.open(), rig.open('n2', 't2')]
    assert len(rig.guard) == 3
    for stream in streams:
        stream.close()
        stream.close()
    assert len(rig.guard) == 0
    assert not rig.guard._streams


def test_a_stream_that_has_ended_already_is_not_kept(rig):
    stream = viewer.Stream()
    stream.node_uuid, stream.token_id = 'n1', 't1'
    stream.close()
    rig.guard.add(stream, rig.time)
    assert len(rig.guard) == 0


def test_one_query_asks_for_all(rig):
    rig.open()
    rig.open('n2', 't2')
    rig.guard.check()
    assert rig.asked == [{'n1', 'n2'}]


def test_what_was_read_is_told_on_and_a_failure_is_not(rig):
    rig.guard.check()
    assert rig.read == [{'n1': ('t1', 'me', 1), 'n2': ('t2', 'me', 1)}]
    rig.error = DOWN
    rig.guard.check()
    assert len(rig.read) == 1


def test_it_checks_by_itself_and_stops():
    checked = threading.Semaphore(0)
    guard = revocation.Revocation(
        0.01, 1, list, lambda _uuid: None, fetch=lambda _uuids: checked.release() or {}
    )
    guard.start()
    for _ in range(3):
        assert checked.acquire(timeout=10)
    guard.stop()


def test_streams_may_open_and_end_while_it_checks(rig):
    rig.time = 0
    stop = threading.Event()
    failed = []

    def churn():
        while not stop.is_set():
            rig.open().close()

    threads = [threading.Thread(target=churn) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(200):
            rig.guard.check()
    except RuntimeError as error:
        failed.append(error)
    stop.set()
    for thread in threads:
        thread.join(10)
    assert not failed
    assert len(rig.guard) == 0


def open_without_token(rig):
    stream = rig.open(token=None)
    stream.is_by_token = False
    return stream


def test_a_viewer_without_a_token_outlives_the_tokens_of_the_node():
    rig = Rig()
    stream = open_without_token(rig)
    rig.guard.cut('n1', 't9')
    rig.guard.cut('n1', None)
    rig.tokens['n1'] = 't9'
    rig.guard.check()
    assert stream.ended is None


def test_a_viewer_without_a_token_ends_with_the_node():
    rig = Rig()
    told = open_without_token(rig)
    rig.guard.cut('n1', None, 'deleted')
    assert told.ended
    found = open_without_token(rig)
    del rig.tokens['n1']
    rig.guard.check()
    assert found.ended
