"""Writing of a job's file, on real files; only the disk's faults are made up."""

import errno
import os

import pytest

from obmd.runner import frames
from obmd.runner import output

OUT, END, GAP = frames.STDOUT, frames.END, frames.GAP
DONE = frames.end('exited', 0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'job'


def opened(path, reserve=0):
    file = output.File(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), reserve)
    file.begin()
    return file


def content(path):
    found, after = frames.parse(path.read_bytes(), frames.FIRST)
    assert after == path.stat().st_size, 'a torn frame'
    return found


class Disk:
    """``os.writev`` that takes ``room`` bytes, then fails with ``error``."""

    def __init__(self, monkeypatch, error=errno.ENOSPC):
        self.room = 0
        self.error = error
        self._writev = os.writev
        monkeypatch.setattr(output.os, 'writev', self.writev)

    def writev(self, fd, buffers):
        if self.room <= 0:
            raise OSError(self.error, os.strerror(self.error))
        taken = b''.join(buffers)[: self.room]
        self.room -= len(taken)
        return self._writev(fd, [taken])


def test_a_new_file_has_a_name_before_there_is_output(path):
    assert opened(path).size == frames.FIRST
    assert frames.name_of(path.read_bytes()) is not None


def test_what_is_written_comes_back(path):
    opened(path).write([(0, OUT, b'a'), (1, OUT, b'b'), (0, END, DONE)])
    assert content(path) == [(0, OUT, b'a'), (1, OUT, b'b'), (0, END, DONE)]


def test_more_frames_than_one_call_takes_are_all_written(path):
    batch = [(n, OUT, b'x') for n in range(output.BUFFERS * 2)]
    opened(path).write(batch)
    assert content(path) == batch


def test_an_old_file_is_gone_on_with(path):
    opened(path).write([(0, OUT, b'a')])
    name = frames.name_of(path.read_bytes())
    opened(path).write([(0, OUT, b'b')])
    assert content(path) == [(0, OUT, b'a'), (0, OUT, b'b')]
    assert frames.name_of(path.read_bytes()) == name


def test_an_old_file_says_how_much_output_is_in_it(path):
    opened(path).write([(0, OUT, b'abc'), (0, frames.STDERR, b'de'), (0, END, DONE)])
    assert opened(path).found == 5


@pytest.mark.parametrize('torn', [b'\0', b'\0' * 8, frames.header(0, OUT, 5) + b'four'])
def test_what_a_crash_has_torn_is_cut_off(path, torn):
    opened(path).write([(0, OUT, b'a')])
    path.write_bytes(path.read_bytes() + torn)
    opened(path).write([(0, OUT, b'b')])
    assert content(path) == [(0, OUT, b'a'), (0, OUT, b'b')]


def test_frames_across_what_is_read_at_once_are_found(path, monkeypatch):
    monkeypatch.setattr(output, 'CHUNK', 20)
    batch = [(n, OUT, b'x' * (n % 37)) for n in range(100)]
    opened(path).write(batch)
    path.write_bytes(path.read_bytes() + b'torn')
    assert opened(path).size == path.stat().st_size
    assert content(path) == batch


def test_a_file_that_is_none_of_ours_begins_anew(path):
    path.write_bytes(b'something else')
    opened(path).write([(0, OUT, b'a')])
    assert content(path) == [(0, OUT, b'a')]


@pytest.mark.parametrize('error', [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_what_a_full_disk_did_not_take_is_counted_when_there_is_room(path, monkeypatch, error):
    file = opened(path)
    disk = Disk(monkeypatch, error)
    file.write([(0, OUT, b'lost'), (1, OUT, b'also')])
    file.write([(0, OUT, b'more')])
    disk.room = 10**6
    file.write([(0, OUT, b'kept')])
    assert content(path) == [
        (0, GAP, frames.gap(8)),
        (1, GAP, frames.gap(4)),
        (0, OUT, b'kept'),
    ]


@pytest.mark.parametrize('room', range(1, 30))
def test_a_frame_that_found_half_its_room_leaves_nothing_torn(path, monkeypatch, room):
    file = opened(path)
    disk = Disk(monkeypatch)
    disk.room = room
    file.write([(0, OUT, b'first'), (0, OUT, b'second')])
    content(path)
    disk.room = 10**6
    file.write([])
    told = content(path)
    kept = sum(len(payload) for _, kind, payload in told if kind == OUT)
    lost = sum(frames.read_gap(payload) for _, kind, payload in told if kind == GAP)
    assert kept + lost == len(b'firstsecond')


def test_an_end_is_not_lost(path, monkeypatch):
    file = opened(path)
    disk = Disk(monkeypatch)
    file.write([(0, OUT, b'lost'), (0, END, DONE)])
    assert file.owes
    disk.room = 10**6
    file.write([])
    assert content(path) == [(0, GAP, frames.gap(4)), (0, END, DONE)]
    assert not file.owes


def test_output_leaves_the_reserve_of_the_disk_alone(path):
    file = opened(path, reserve=2**62)
    file.write([(0, OUT, b'lost'), (0, END, DONE)])
    assert content(path) == [(0, GAP, frames.gap(4)), (0, END, DONE)]


def test_a_disk_that_stays_full_is_told_of_once(path, monkeypatch, capsys):
    file = opened(path)
    Disk(monkeypatch)
    for _ in range(3):
        file.write([(0, OUT, b'x')])
    assert capsys.readouterr().err.count('No space left') == 1


def test_what_waits_is_bounded_and_told(tmp_path, monkeypatch):
    monkeypatch.setattr(output, 'MOST', 10)
    monkeypatch.setattr(output.threading, 'Thread', Never)
    files = output.Files(lambda: None, 0)
    files.write('job', 0, OUT, b'x' * 11)
    assert files.crowded


class Never:
    """A thread that does not get to run."""

    def __init__(self, target, daemon):
        pass

    def start(self):
        pass


def test_the_thread_writes_tells_and_closes(path):
    told = []
    files = output.Files(lambda: told.append(1), 0)
    files.open('job', os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600))
    files.write('job', 0, OUT, b'a')
    files.write('unknown', 0, OUT, b'dropped')
    files.close('job')
    files.open('job', os.open(path, os.O_RDWR | os.O_APPEND))
    files.close('job')
    files.finish(10)
    assert content(path) == [(0, OUT, b'a')]
    assert files.written() == {'job': path.stat().st_size}
    assert files.closed() == ['job', 'job']
    assert files.found() == {'job': 1}
    assert not files.crowded
    assert told
