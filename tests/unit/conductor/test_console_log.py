import errno
import os
import stat
import threading

import pytest

from obmd.common import errors
from obmd.common import threads
from obmd.common.deadline import Deadline
from obmd.conductor import console_log


class Disk:
    """The native calls of the log, which may stall or fail."""

    def __init__(self, monkeypatch):
        self.said = []
        self.error = None
        self.paths = []
        self.bad = None
        self.go = threading.Event()
        self.go.set()
        self.entered = threading.Event()
        self.short = None
        monkeypatch.setattr(threads, 'native_write', self._write)
        monkeypatch.setattr(threads, 'native_open', self._open)
        monkeypatch.setattr(threads, 'native_log', self.said.append)
        monkeypatch.setattr(console_log, 'FLUSH', 0.001)

    def _open(self, path, *args):
        self.paths.append(path)
        if self.bad is not None and self.bad in path:
            raise PermissionError(errno.EACCES, 'Permission denied')
        return os.open(path, *args)

    def _write(self, fd, data):
        self.entered.set()
        assert self.go.wait(10)
        if self.error is not None:
            raise self.error
        return os.write(fd, data[: self.short])


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


@pytest.fixture
def log(disk, tmp_path):
    return console_log.ConsoleLog(str(tmp_path / 'logs'))


def read(tmp_path, uuid='u1', suffix='.log'):
    return (tmp_path / 'logs' / (uuid + suffix)).read_bytes()


def test_bytes_arrive_in_their_order_one_file_a_node(log, tmp_path):
    log.start()
    log.write('u1', b'a')
    log.write('u2', b'x')
    log.write('u1', b'b')
    log.stop(Deadline(10), lambda _seconds: None)
    assert read(tmp_path) == b'ab'
    assert read(tmp_path, 'u2') == b'x'


def test_a_log_is_for_its_owner_only(log, tmp_path):
    log.write('u1', b'a')
    log._flush()
    assert stat.S_IMODE(os.stat(tmp_path / 'logs').st_mode) == 0o700
    assert stat.S_IMODE(os.stat(tmp_path / 'logs' / 'u1.log').st_mode) == 0o600


def test_a_restart_appends(log, tmp_path):
    log.write('u1', b'a')
    log._flush()
    again = console_log.ConsoleLog(str(tmp_path / 'logs'))
    again.write('u1', b'b')
    again._flush()
    assert read(tmp_path) == b'ab'


def test_short_writes_lose_nothing(log, disk, tmp_path):
    disk.short = 3
    log.write('u1', b'0123456789')
    log._flush()
    assert read(tmp_path) == b'0123456789'


def test_a_disk_that_stalls_costs_bounded_memory_and_a_marked_gap_but_no_time(
    log, disk, tmp_path, monkeypatch
):
    monkeypatch.setattr(console_log, 'QUEUE', 100)
    disk.go.clear()
    log.start()
    log.write('u1', b'first\n')
    assert disk.entered.wait(10)
    for _ in range(1000):
        log.write('u1', b'0123456789')  # returns though the disk does not
    assert sum(len(chunk) for _, chunk in log._queue) <= 110
    lost = log._lost['u1']
    assert lost >= 9800
    disk.go.set()
    while log._queue or log._queued != log._written:
        pass
    log.write('u1', b'later\n')
    log.stop(Deadline(10), lambda _seconds: None)
    text = read(tmp_path)
    assert b'%d bytes missing here' % lost in text
    assert text.endswith(b'later\n')
    assert len(text.replace(b'0123456789', b'')) < 200


def test_the_gap_of_one_console_is_not_marked_in_anothers_log(log, tmp_path):
    log._lost['u1'] = 5
    log.write('u2', b'x')
    log.write('u1', b'y')
    log._flush()
    assert read(tmp_path, 'u2') == b'x'
    assert b'5 bytes missing here' in read(tmp_path)


def test_a_full_disk_is_said_once_and_its_end_too(log, disk):
    disk.error = OSError(errno.ENOSPC, 'No space left on device')
    for _ in range(5):
        log.write('u1', b'a')
        log.write('u2', b'a')
        log._flush()
    assert len(disk.said) == 1
    assert 'No space left' in disk.said[0]
    disk.error = None
    log.write('u1', b'a')
    log._flush()
    log.write('u1', b'a')
    log._flush()
    assert disk.said[1:] == ['obmd: console logs are written again']


def test_one_file_that_cannot_be_written_is_said_once_though_others_can(log, disk, tmp_path):
    disk.bad = 'u1'
    for _ in range(5):
        log.write('u1', b'a')
        log.write('u2', b'b')
        log._flush()
    assert len(disk.said) == 1
    assert read(tmp_path, 'u2') == b'bbbbb'


def test_what_a_failing_disk_lost_is_marked_when_it_writes_again(log, disk, tmp_path):
    disk.error = OSError(errno.ENOSPC, 'No space left on device')
    log.write('u1', b'12345')
    log._flush()
    disk.error = None
    log.write('u1', b'x')
    log._flush()
    assert b'5 bytes missing here' in read(tmp_path)


def test_a_failing_disk_fills_no_memory(log, disk, monkeypatch):
    monkeypatch.setattr(console_log, 'QUEUE', 100)
    disk.error = OSError(errno.EIO, 'I/O error')
    for _ in range(100):
        log.write('u1', b'0123456789')
        log._flush()
    assert log._queued == log._written
    assert not log._queue


def test_a_long_file_is_kept_aside_once(log, tmp_path, monkeypatch):
    monkeypatch.setattr(console_log, 'ROTATE', 10)
    for chunk in (b'01234567', b'89abc', b'new'):
        log.write('u1', chunk)
        log._flush()
    assert read(tmp_path, suffix='.log.1') == b'0123456789abc'
    assert read(tmp_path) == b'new'


def test_a_folder_that_cannot_be_made_is_one_line_at_the_start(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(errors.Fatal, match='log_dir'):
        console_log.ConsoleLog(str(tmp_path / 'file' / 'logs'))


def test_a_log_that_never_started_is_stopped_at_once(log):
    slept = []
    log.stop(Deadline(10), slept.append)
    assert slept == []


def test_a_disk_that_hangs_at_the_end_holds_nobody_longer_than_the_deadline(log, disk):
    disk.go.clear()
    log.start()
    log.write('u1', b'a')
    assert disk.entered.wait(10)
    log.stop(Deadline(0.02))
    disk.go.set()


def test_the_native_thread_uses_no_call_that_a_patched_process_replaces(log, disk, monkeypatch):
    """eventlet replaces os.open, os.read and os.write."""

    def patched(*_args):
        raise AssertionError('a patched call')

    monkeypatch.setattr(threads, 'native_open', os.open)
    monkeypatch.setattr(threads, 'native_write', os.write)
    for name in ('open', 'read', 'write'):
        monkeypatch.setattr(os, name, patched)
    log.write('u1', b'a')
    log._flush()
    assert not disk.said
    assert not log._lost
