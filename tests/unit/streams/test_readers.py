import threading

import hypothesis
import pytest
from hypothesis import strategies as st

from obmd.common import errors
from obmd.streams import readers
from obmd.streams import ring

SIZE = 32


def make_ring(*parts, token='t'):
    made = ring.Ring(SIZE, 'abc')
    made.set_barrier(token)
    for part in parts:
        made.append(part)
    return made


def drain(reader):
    read = b''
    while data := reader.read(0):
        read += data
    return read


def test_a_reader_without_wishes_starts_now():
    made = make_ring(b'old')
    reader, gap = readers.start_reader(made, 't')
    made.append(b'new')
    assert (drain(reader), gap) == (b'new', None)


@pytest.mark.parametrize(
    ('replay', 'wanted'), [(2, b'ry'), (7, b'history'), (10**9, b'history'), (0, b''), (None, b'')]
)
def test_replay_gives_as_much_history_as_there_is(replay, wanted):
    reader, gap = readers.start_reader(make_ring(b'history'), 't', replay=replay)
    assert (drain(reader), gap) == (wanted, None)


def test_replay_never_reaches_behind_the_barrier():
    made = make_ring(b'tenant one')
    made.set_barrier('t2')
    made.append(b'two')
    reader, gap = readers.start_reader(made, 't2', replay=1000)
    assert (drain(reader), gap) == (b'two', None)


def test_a_cursor_behind_the_barrier_starts_at_it_and_tells_the_gap():
    made = make_ring(b'tenant one')
    made.set_barrier('t2')
    made.append(b'two')
    reader, gap = readers.start_reader(made, 't2', cursor=('abc', 4))
    assert (drain(reader), gap) == (b'two', 6)


@pytest.mark.parametrize('cursor', [('other', 0), ('abc', 1000), ('', 0)])
def test_a_cursor_that_says_nothing_here_starts_at_the_oldest_byte(cursor):
    reader, gap = readers.start_reader(make_ring(b'history'), 't', cursor=cursor)
    assert (drain(reader), gap) == (b'history', 'unknown')


def test_a_cursor_at_the_end_waits_for_what_comes():
    made = make_ring(b'history')
    reader, gap = readers.start_reader(made, 't', cursor=('abc', 7))
    assert (drain(reader), gap) == (b'', None)


@hypothesis.given(
    st.lists(st.binary(min_size=1, max_size=20), max_size=10),
    st.integers(0, 10),
    st.integers(0, 10),
)
def test_a_reader_that_resumes_gets_exactly_what_it_missed_or_is_told_the_gap(parts, before, away):
    made = make_ring()
    reader, _ = readers.start_reader(made, 't')
    seen = b''
    for part in parts[:before]:
        made.append(part)
        seen += drain(reader)
    reader.close()
    for part in parts[before : before + away]:
        made.append(part)
    again, gap = readers.start_reader(made, 't', cursor=('abc', reader.offset))
    rest = drain(again)
    sent = b''.join(parts[: before + away])
    assert gap != 'unknown'
    assert len(seen) + (gap or 0) + len(rest) == len(sent)
    assert sent == seen + sent[len(seen) : len(seen) + (gap or 0)] + rest
    assert gap is None or len(rest) == SIZE


def test_what_a_slow_reader_lost_is_counted():
    made = make_ring()
    reader, _ = readers.start_reader(made, 't')
    made.append(b'x' * 20)
    made.append(b'y' * 20)
    assert drain(reader) == b'x' * 12 + b'y' * 20
    assert reader.lost == 8


def test_a_reader_that_waits_is_woken_by_a_byte():
    made = make_ring()
    reader, _ = readers.start_reader(made, 't')
    got = []
    waiter = threading.Thread(target=lambda: got.append(reader.read(20)))
    waiter.start()
    made.append(b'x')
    waiter.join(10)
    assert got == [b'x']


def test_a_closed_reader_does_not_wait_and_is_not_rung_any_more():
    made = make_ring()
    reader, _ = readers.start_reader(made, 't')
    reader.close()
    assert reader.read(20) == b''
    assert not made._bells


def test_no_wake_up_is_missed_however_the_writer_and_the_reader_meet():
    count = 3000
    made = ring.Ring(100000, 'abc')
    reader, _ = readers.start_reader(made, 't')
    got = []

    def follow():
        total = 0
        while total < count:
            data = reader.read(30)
            total += len(data)
        got.append(total)

    follower = threading.Thread(target=follow)
    follower.start()
    for _ in range(count):
        made.append(b'x')
    follower.join(10)
    assert got == [count]


@pytest.mark.parametrize(
    ('text', 'cursor'), [('abc:0', ('abc', 0)), ('a:b:17', ('a:b', 17)), (':5', ('', 5))]
)
def test_a_cursor_is_read_as_it_stood_in_the_header(text, cursor):
    assert readers.parse_cursor(text) == cursor


@pytest.mark.parametrize(
    'text',
    ['', 'abc', 'abc:', '12', 'abc:-1', 'abc:1.5', 'abc:²', 'abc:٣', 'abc: 1', 'a:' + '9' * 80],
)
def test_a_malformed_cursor_is_the_callers_mistake(text):
    with pytest.raises(errors.InvalidInput):
        readers.parse_cursor(text)
