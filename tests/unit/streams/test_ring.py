"""The ring against a plain byte string that never forgets."""

import itertools
import threading

import hypothesis
from hypothesis import strategies as st

from obmd.streams import ring

SIZE = 16

chunks = st.lists(st.binary(max_size=3 * SIZE), max_size=12)


def filled(parts, size=SIZE):
    made = ring.Ring(size, 'r')
    for part in parts:
        made.append(part)
    return made, b''.join(parts)


def test_a_holders_history_begins_when_it_came_first():
    made, _ = filled([b'old'])
    assert made.oldest_since('j1') == 3
    made.append(b'new')
    assert made.oldest_since('j1') == 3
    assert made.oldest_since('j2') == 6


def test_a_holders_history_begins_again_with_a_new_token_of_the_node():
    made, _ = filled([b'old'])
    made.oldest_since('j1')
    made.append(b'new')
    made.set_barrier('t2')
    assert made.oldest_since('j1') == 6


def test_the_holder_that_did_not_come_for_longest_is_forgotten_first():
    made, _ = filled([])
    for number in range(ring.MOST_HOLDERS):
        made.oldest_since(f'j{number}')
    made.append(b'new')
    made.oldest_since('j0')
    made.oldest_since('one more')
    assert (made.oldest_since('j0'), made.oldest_since('j1')) == (0, 3)


@hypothesis.given(chunks, st.integers(1, 3 * SIZE))
def test_it_keeps_the_last_bytes_whatever_the_chunks(parts, size):
    made, all_bytes = filled(parts, size)
    kept = all_bytes[-size:]
    assert made.end == len(all_bytes)
    assert made.start == len(all_bytes) - len(kept)
    assert made.read(made.start, 10 * SIZE) == (kept, 0)


@hypothesis.given(chunks, st.integers(0, 200), st.integers(1, 2 * SIZE))
def test_a_read_at_any_offset_gives_what_stood_there_or_tells_the_loss(parts, offset, limit):
    made, all_bytes = filled(parts)
    data, lost = made.read(offset, limit)
    first = max(offset, len(all_bytes) - SIZE, 0)
    assert lost == first - offset
    assert data == all_bytes[first : first + limit]


@hypothesis.given(st.lists(st.tuples(st.binary(max_size=2 * SIZE), st.integers(0, 3)), max_size=20))
def test_a_reader_that_follows_gets_every_byte_once_or_is_told_how_many_it_lost(steps):
    made = ring.Ring(SIZE, 'r')
    offset, seen = 0, []
    for part, reads in steps:
        made.append(part)
        for _ in range(reads):
            data, lost = made.read(offset, 7)
            seen += [None] * lost + list(data)
            offset += lost + len(data)
    wanted = list(b''.join(part for part, _ in steps))[:offset]
    assert len(seen) == len(wanted)
    assert all(got in (None, byte) for got, byte in zip(seen, wanted, strict=True))


def test_one_chunk_longer_than_the_ring_leaves_the_ring_full():
    made = ring.Ring(10, 'r')
    made.append(b'abc')
    made.append(bytes(range(15)))
    assert made.read(0, 100) == (bytes(range(5, 15)), 8)


def test_an_offset_beyond_the_end_reads_nothing_and_loses_nothing():
    made, _ = filled([b'abc'])
    assert made.read(100, 10) == (b'', 0)


def test_memory_is_that_of_the_history_and_not_more_than_its_size():
    made, _ = filled([b'x' * 5])
    assert made.end - made.start == 5
    for _ in range(100):
        made.append(b'y' * 7)
    assert made.end - made.start == SIZE


def test_bells_ring_after_the_bytes_are_there_and_stop_when_detached():
    made = ring.Ring(SIZE, 'r')
    heard = []

    def bell():
        heard.append(made.read(0, SIZE)[0])

    made.attach(bell)
    made.append(b'a')
    made.append(b'')
    made.detach(bell)
    made.detach(bell)
    made.append(b'b')
    assert heard == [b'a']


def test_history_before_a_token_is_out_of_its_holders_reach():
    made = ring.Ring(SIZE, 'r')
    made.append(b'old')
    made.set_barrier('t1')
    made.append(b'new')
    assert made.oldest_for('t1') == 3
    assert made.oldest_for('t1') == 3


def test_a_token_that_the_ring_was_not_told_of_starts_now():
    made = ring.Ring(SIZE, 'r')
    made.append(b'secret')
    assert made.oldest_for('t1') == 6
    made.append(b'more')
    assert made.oldest_for('t1') == 6


def test_a_token_that_was_taken_away_and_replaced_moves_the_barrier_twice():
    made = ring.Ring(SIZE, 'r')
    made.set_barrier('t1')
    made.append(b'one')
    made.set_barrier(None)
    made.append(b'two')
    made.set_barrier('t2')
    assert made.oldest_for('t2') == 6


@hypothesis.given(
    st.lists(
        st.one_of(st.binary(min_size=1, max_size=9), st.sampled_from(['a', 'b', None])), max_size=20
    )
)
def test_no_token_ever_reaches_a_byte_from_before_it_was_known(steps):
    made = ring.Ring(SIZE, 'r')
    known_from = 0
    current = None
    for step in steps:
        if isinstance(step, bytes):
            made.append(step)
        else:
            if step != current:
                current, known_from = step, made.end
            made.set_barrier(step)
    assert made.oldest_for(current) >= known_from


def test_readers_and_a_writer_at_once_never_see_a_torn_history():
    size = 64
    made = ring.Ring(size, 'r')
    done = threading.Event()
    wrong = []

    def write():
        for number in itertools.count():
            if done.is_set():
                return
            made.append(bytes([number % 251]) * (number % 50))
            if number % 100 == 0:
                made.oldest_for('t')

    def read():
        offset = 0
        for _ in range(3000):
            start, end = made.start, made.end
            if not 0 <= start <= end:
                wrong.append((start, end))
            data, lost = made.read(offset, 40)
            if lost < 0 or len(data) > 40:
                wrong.append((lost, len(data)))
            offset += lost + len(data)
        done.set()

    writer, reader = threading.Thread(target=write), threading.Thread(target=read)
    writer.start()
    reader.start()
    reader.join(20)
    done.set()
    writer.join(20)
    assert not wrong
