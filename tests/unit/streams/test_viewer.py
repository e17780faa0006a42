import collections
import threading

import pytest

from obmd.streams import readers
from obmd.streams import ring
from obmd.streams import viewer


class Guard:
    """Allows until told otherwise, and counts how often it was asked."""

    def __init__(self):
        self.answer = True
        self.asked = 0

    def allows(self, _stream):
        self.asked += 1
        return self.answer


class OneRead:
    """A reader that hands out prepared chunks and then ends its stream."""

    lost = 0

    def __init__(self, *chunks):
        self.chunks = list(chunks)
        self.stream = None
        self.closed = 0

    def read(self, _timeout):
        if self.chunks:
            return self.chunks.pop(0)
        self.stream.end('no more')
        return b''

    def close(self):
        self.closed += 1


@pytest.fixture
def guard():
    return Guard()


def console(guard, *chunks, line_chunks=False):
    reader = OneRead(*chunks)
    reader.stream = viewer.ConsoleStream(reader, guard, 'uuid', 't', line_chunks)
    return reader.stream, reader


def run(target):
    thread = threading.Thread(target=target)
    thread.start()
    return thread


def test_it_gives_chunk_by_chunk_and_asks_its_guard_for_each(guard):
    stream, _ = console(guard, b'a', b'', b'bc')
    assert list(stream) == [b'a', b'bc']
    assert guard.asked == 2


def test_what_the_guard_does_not_allow_is_not_given(guard):
    guard.answer = False
    stream, _ = console(guard, b'secret')
    assert list(stream) == []


def test_the_guard_is_asked_for_each_line_of_one_read_too(guard):
    stream, _ = console(guard, b'1\n2\n3\n', line_chunks=True)
    assert next(stream) == b'1\n'
    guard.answer = False
    assert list(stream) == []


def test_an_end_between_the_lines_of_one_read_is_an_end(guard):
    stream, _ = console(guard, b'1\n2\n', line_chunks=True)
    assert next(stream) == b'1\n'
    stream.end('revoked')
    assert list(stream) == []


def test_a_line_is_one_chunk_however_the_reads_cut_it(guard):
    stream, _ = console(guard, b'8\n9\n1', b'0', b'\n1', b'1\n', b'12\n', line_chunks=True)
    assert list(stream) == [b'8\n', b'9\n', b'10\n', b'11\n', b'12\n']


def test_a_waiting_viewer_ends_at_once_when_its_stream_does(guard):
    reader, _ = readers.start_reader(ring.Ring(64, 'r'), 't')
    stream = viewer.ConsoleStream(reader, guard, 'uuid', 't')
    got = []
    waiter = run(lambda: got.extend(stream))
    stream.end('revoked')
    waiter.join(10)
    assert not waiter.is_alive()
    assert got == []


def test_an_end_wins_over_bytes_that_are_there(guard):
    made = ring.Ring(64, 'r')
    reader, _ = readers.start_reader(made, 't')
    stream = viewer.ConsoleStream(reader, guard, 'uuid', 't')
    made.append(b'after the end of the right')
    stream.end('revoked')
    assert list(stream) == []


def test_what_a_slow_viewer_lost_is_told(guard):
    made = ring.Ring(4, 'r')
    reader, _ = readers.start_reader(made, 't')
    stream = viewer.ConsoleStream(reader, guard, 'uuid', 't')
    made.append(b'123456')
    assert next(stream) == b'3456'
    assert stream.lost == 2


def test_callbacks_run_once_whoever_ends_it_and_however_often(guard):
    stream, reader = console(guard)
    calls = []
    stream.on_end(lambda: calls.append('a'))
    stream.on_end(lambda: calls.append('b'))
    stream.end('first')
    stream.close()
    stream.end('third')
    assert calls == ['a', 'b']
    assert stream.ended == 'first'
    assert reader.closed == 1


def test_a_callback_for_what_has_ended_runs_at_once(guard):
    stream, _ = console(guard)
    stream.close()
    calls = []
    stream.on_end(lambda: calls.append('a'))
    assert calls == ['a']


def test_a_callback_may_end_the_stream_again(guard):
    stream, _ = console(guard)
    stream.on_end(stream.close)
    stream.end('x')
    assert stream.ended == 'x'


def test_callbacks_run_exactly_once_when_many_end_it_at_once(guard):
    for _ in range(50):
        stream, reader = console(guard)
        calls = []
        barrier = threading.Barrier(4)

        def end(stream=stream, barrier=barrier):
            barrier.wait()
            stream.end('x')

        def listen(stream=stream, barrier=barrier, calls=calls):
            barrier.wait()
            stream.on_end(lambda: calls.append(1))

        threads = [run(end), run(end), run(listen), run(listen)]
        for thread in threads:
            thread.join(10)
        assert calls == [1, 1]
        assert reader.closed == 1


# -- lines ------------------------------------------------------------------------------------


def test_lines_come_in_their_order_and_end_after_the_finish():
    stream = viewer.LineStream()
    stream.put(b'1\n')
    stream.put(b'2\n')
    stream.finish()
    assert b''.join(stream) == b'1\n2\n'
    assert stream.ended == 'finished'


def test_what_is_put_after_the_end_is_dropped():
    stream = viewer.LineStream()
    stream.close()
    stream.put(b'1\n')
    assert list(stream) == []
    assert not stream._lines


def test_a_line_put_right_before_the_finish_is_not_lost_between_two_looks():
    class Lines(collections.deque):
        """At the first look there is nothing; then the last line and the finish come."""

        looked = False

        def __bool__(self):
            if self.looked:
                return len(self) > 0
            self.looked = True
            self.append(b'last\n')
            stream.finish()
            return False

    stream = viewer.LineStream()
    stream._lines = Lines()
    assert b''.join(stream) == b'last\n'


def test_no_line_is_lost_when_many_threads_put():
    for _ in range(20):
        stream = viewer.LineStream()
        got = []
        taker = run(lambda stream=stream, got=got: got.extend(stream))

        def put(name, stream=stream):
            for number in range(100):
                stream.put(b'%d %d\n' % (name, number))

        putters = [run(lambda name=name: put(name)) for name in range(4)]
        for putter in putters:
            putter.join(10)
        stream.finish()
        taker.join(10)
        lines = b''.join(got).splitlines()
        assert len(lines) == 400
        for name in range(4):
            own = [line for line in lines if line.startswith(b'%d ' % name)]
            assert own == [b'%d %d' % (name, number) for number in range(100)]


def test_a_waiting_taker_of_lines_ends_at_once_when_the_client_goes():
    stream = viewer.LineStream()
    waiter = run(lambda: list(stream))
    stream.close()
    waiter.join(10)
    assert not waiter.is_alive()
