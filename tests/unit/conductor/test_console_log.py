import errno
import os
import stat
import threading

import pytest

from obmd.common import errors
from obmd.common import threads
from obmd.common.deadline import Deadline
from obmd.conductor import console_log
from obmd.conductor import log_track
from obmd.streams import segments

FULL = OSError(errno.ENOSPC, 'No space left on device')
UUID = '00000000-0000-4000-8000-000000000001'
OTHER = '00000000-0000-4000-8000-000000000002'


class Disk:
    """The native calls of the log, which may stall or fail."""

    def __init__(self, monkeypatch):
        self.said = []
        self.error = None
        self.bad = None
        self.go = threading.Event()
        self.go.set()
        self.entered = threading.Event()
        self.stalls = set()
        #: bytes that one write takes; bytes until the disk is full
        self.short = None
        self.room = None
        for name in ('open', 'write'):
            monkeypatch.setattr(threads, f'native_{name}', getattr(self, f'_{name}'))
        monkeypatch.setattr(threads, 'native_log', self.said.append)
        for name in ('mkdir', 'unlink'):
            monkeypatch.setattr(os, name, self._stalling(name, getattr(os, name)))
        monkeypatch.setattr(console_log, 'FLUSH', 0.001)

    def _stall(self, call):
        if call in self.stalls:
            self.entered.set()
            assert self.go.wait(10)

    def _stalling(self, name, function):
        def call(*args, **options):
            self._stall(name)
            return function(*args, **options)

        return call

    def _open(self, path, *args):
        self._stall('open')
        if self.bad is not None and self.bad in path:
            raise PermissionError(errno.EACCES, 'Permission denied')
        return os.open(path, *args)

    def _write(self, fd, data):
        self._stall('write')
        if self.error is not None:
            raise self.error
        data = data[: self.short]
        if self.room is not None:
            data = data[: self.room]
            if not data:
                raise FULL
            self.room -= len(data)
        return os.write(fd, data)


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


@pytest.fixture
def make(disk, tmp_path):
    def make(queue=10**6, segment=65536, count=4, **options):
        limits = log_track.Limits(segment, count)
        return console_log.ConsoleLog(
            str(tmp_path / 'logs'), queue, limits, clock=lambda: 1000.0, **options
        )

    return make


@pytest.fixture
def log(make):
    return make()


class Source:
    """A console whose log is written."""

    def __init__(self, log, uuid=UUID, owner='i1', token='t1'):
        self.log = log
        self.node = log.open(uuid, {'node': 'n1', 'owner': owner, 'ring': f'r-{owner}'}, token)
        self.offset = 0

    def say(self, chunk, flush=True):
        self.node.data(self.offset, chunk)
        self.offset += len(chunk)
        if flush:
            self.log._flush()


def text(tmp_path, uuid=UUID):
    folder = tmp_path / 'logs' / uuid
    return b''.join(path.read_bytes() for path in sorted(folder.glob('*.log')))


def index(tmp_path, uuid=UUID):
    folder = str(tmp_path / 'logs' / uuid)
    return [
        entry
        for number in segments.numbers(folder)
        for entry in segments.read_index(folder, number)
    ]


def events(tmp_path, uuid=UUID):
    return [entry['event'] for entry in index(tmp_path, uuid) if 'event' in entry]


# -- what is written --------------------------------------------------------------------------


def test_bytes_arrive_in_their_order_each_node_in_its_folder(log, tmp_path):
    log.start()
    one, other = Source(log), Source(log, OTHER)
    one.say(b'a', flush=False)
    other.say(b'x', flush=False)
    one.say(b'b', flush=False)
    log.stop(Deadline(10), lambda _seconds: None)
    assert text(tmp_path) == b'ab'
    assert text(tmp_path, OTHER) == b'x'
    assert (log.bytes_written, log.bytes_lost, log.bytes_queued) == (3, 0, 0)


def test_a_log_is_for_its_owner_only(log, tmp_path):
    Source(log).say(b'a')
    folder = tmp_path / 'logs' / UUID
    assert [stat.S_IMODE(os.stat(path).st_mode) for path in (folder.parent, folder)] == [0o700] * 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_a_console_that_says_nothing_has_no_file(log, tmp_path):
    node = Source(log).node
    node.up()
    node.down('silent')
    node.barrier(0, 't2')
    node.end('stopped')
    log._flush()
    assert os.listdir(tmp_path / 'logs') == []


def test_the_first_line_of_an_index_says_whose_bytes_follow(log, tmp_path):
    source = Source(log)
    source.node.barrier(0, 't2')
    source.say(b'a')
    head = index(tmp_path)[0]
    assert head == {
        'at': 0,
        'offset': 0,
        'time': 1000.0,
        'event': 'begin',
        'node': 'n1',
        'owner': 'i1',
        'ring': 'r-i1',
        'token': 't2',
        'source': 'up',
    }


def test_a_token_is_told_where_its_time_begins(log, tmp_path):
    source = Source(log)
    source.say(b'abc', flush=False)
    source.node.barrier(3, 't2')
    source.say(b'def')
    (told,) = [entry for entry in index(tmp_path) if entry.get('event') == 'token']
    assert (told['at'], told['offset'], told['token']) == (3, 3, 't2')


def test_the_source_is_told_when_it_comes_and_goes_and_not_each_try(log, tmp_path):
    source = Source(log)
    source.say(b'a')
    for reason in ('gone', 'silent', 'silent'):
        source.node.down(reason)
    source.say(b'b')
    source.node.end('stopping')
    log._flush()
    told = [(e['event'], e['at'], e.get('reason')) for e in index(tmp_path)[1:]]
    assert told == [('down', 1, 'gone'), ('up', 1, None), ('end', 2, 'stopping')]


def test_the_index_says_when_bytes_came_every_few_seconds(make, tmp_path):
    now = [1000.0]
    log = make()
    log.clock = lambda: now[0]
    source = Source(log)
    for _ in range(12):
        source.say(b'x')
        now[0] += 1
    marks = [(e['at'], e['time']) for e in index(tmp_path)]
    assert marks == [(0, 1000), (5, 1005), (10, 1010)]


def test_a_clock_that_goes_back_is_told(make, tmp_path):
    now = [1000.0]
    log = make()
    log.clock = lambda: now[0]
    source = Source(log)
    for now[0] in (1000.0, 500.0, 501.0):
        source.say(b'x')
    assert [(e['at'], e['time']) for e in index(tmp_path)] == [(0, 1000), (1, 500)]


# -- segments ---------------------------------------------------------------------------------


def test_a_restart_writes_a_segment_of_its_own(log, make, tmp_path):
    Source(log).say(b'a')
    Source(make(), owner='i2').say(b'b')
    assert text(tmp_path) == b'ab'
    assert sorted(os.listdir(tmp_path / 'logs' / UUID)) == [
        '00000001.index',
        '00000001.log',
        '00000002.index',
        '00000002.log',
    ]
    assert [(e['event'], e['owner']) for e in index(tmp_path)] == [('begin', 'i1'), ('begin', 'i2')]


def test_what_a_crash_left_is_not_touched(log, make, tmp_path):
    Source(log).say(b'a')
    folder = tmp_path / 'logs' / UUID
    with open(folder / '00000001.index', 'ab') as file:
        file.write(b'{"at":1,"offs')
    with open(folder / '00000001.log', 'ab') as file:
        file.write(b'more than the index says')
    (folder / '00000007.log').touch()  # its index was not made any more
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    Source(make(), owner='i2').say(b'b')
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {name: after[name] for name in before} == before
    assert after['00000008.log'] == b'b'
    assert [e['event'] for e in index(tmp_path)] == ['begin', 'begin']


def test_two_owners_in_one_folder_write_their_own_segments(make, tmp_path):
    one, other = Source(make(), owner='i1'), Source(make(), owner='i2')
    one.say(b'a1')
    other.say(b'b1')
    one.say(b'a2')
    folder = tmp_path / 'logs' / UUID
    assert (folder / '00000001.log').read_bytes() == b'a1a2'
    assert (folder / '00000002.log').read_bytes() == b'b1'


def test_full_segments_go_when_there_are_too_many(make, tmp_path):
    log = make(segment=65536, count=3)
    source = Source(log)
    for number in range(400):
        source.say(b'%05d' % number * 200)
    folder = tmp_path / 'logs' / UUID
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 3 * 65536
    assert all(path.stat().st_size <= 65536 for path in folder.iterdir())
    assert text(tmp_path).endswith(b'00399' * 200)
    assert len(text(tmp_path)) > 65536
    heads = [e for e in index(tmp_path) if e['at'] == 0]
    assert {e['event'] for e in heads} == {'continue'}
    assert [e['offset'] % 1000 for e in heads] == [0] * len(heads)


def test_small_segments_of_restarts_push_no_full_one_out(make, tmp_path):
    log = make(segment=65536, count=3)
    Source(log).say(b'x' * 60000)
    for number in range(20):
        Source(make(segment=65536, count=3), owner=f'i{number}').say(b'y')
    assert len(text(tmp_path)) == 60020


def test_segments_are_bounded_in_number_however_small(make, monkeypatch):
    monkeypatch.setattr(log_track, 'MOST_SEGMENTS', 5)
    for number in range(10):
        log = make()
        Source(log, owner=f'i{number}').say(b'y')
    assert segments.numbers(os.path.join(log.folder, UUID)) == [6, 7, 8, 9, 10]


def test_events_alone_do_not_grow_an_index_without_bound(make, tmp_path):
    source = Source(log := make(segment=65536))
    source.say(b'a')
    for _ in range(3000):
        source.node.down('a reason that is rather long, as they are' * 3)
        source.node.up()
        log._flush()
    assert os.stat(tmp_path / 'logs' / UUID / '00000001.index').st_size <= 65536 + 300


# -- a disk that stalls -----------------------------------------------------------------------


@pytest.mark.parametrize('call', ['open', 'write', 'mkdir', 'unlink'])
def test_a_disk_that_stalls_costs_bounded_memory_and_a_marked_gap_but_no_time(
    make, disk, tmp_path, call
):
    log = make(queue=1000, segment=65536, count=2)
    for _ in range(3):  # the last segment has to go for the next one
        Source(log).say(b'x' * 30000, flush=False)
        log._flush()
    before = text(tmp_path)
    source = Source(log, owner='i2')
    disk.stalls.add(call)
    disk.go.clear()
    log.start()
    source.say(b'first\n' + b'y' * 40000, flush=False)
    assert disk.entered.wait(10), f'{call} was not called'
    for _ in range(1000):
        source.say(b'0123456789', flush=False)  # returns though the disk does not
    assert log.bytes_queued <= 45000
    lost = log.bytes_lost
    assert 9000 <= lost <= 10000
    disk.go.set()
    while log._queue or log.bytes_queued:
        pass
    source.say(b'later\n', flush=False)
    log.stop(Deadline(10), lambda _seconds: None)
    new = text(tmp_path)
    assert b'\n[obmd: %d bytes missing here]\nlater\n' % lost in new
    (gap,) = [e for e in index(tmp_path) if e.get('event') == 'gap']
    assert gap['lost'] == lost
    assert log.bytes_lost == lost
    assert before  # there was something to stall on


def test_a_gap_is_marked_though_nothing_follows(make, tmp_path):
    log = make(queue=220)
    source = Source(log)
    for _ in range(5):
        source.say(b'0123456789', flush=False)
    log._flush()
    assert text(tmp_path) == b'0123456789' * 3 + b'\n[obmd: 20 bytes missing here]\n'


def test_a_loss_between_two_pieces_is_where_it_was(make, tmp_path):
    log = make(queue=220)
    source = Source(log)
    for _ in range(5):
        source.say(b'0123456789', flush=False)
    log._flush()
    source.say(b'abc')
    assert text(tmp_path).endswith(b'missing here]\nabc')
    *_, gap, piece = index(tmp_path)
    assert piece['at'] == gap['at'] + gap['marker']
    assert piece['offset'] == gap['offset'] + gap['lost'] == 50


def test_who_holds_a_token_is_known_after_a_loss(make, tmp_path):
    log = make(queue=220)
    source = Source(log)
    for _ in range(9):
        source.node.barrier(source.offset, 'some')  # what is no data fills twice the queue
    source.say(b'lost', flush=False)
    source.node.barrier(4, 't9')
    log._flush()
    source.say(b'x')
    assert index(tmp_path)[-2]['token'] == 't9' or index(tmp_path)[-1]['token'] == 't9'


def test_the_gap_of_one_console_is_not_marked_in_anothers_log(make, tmp_path):
    log = make(queue=220)
    one, other = Source(log), Source(log, OTHER)
    for _ in range(5):
        one.say(b'0123456789', flush=False)
    log._flush()
    other.say(b'x')
    assert text(tmp_path, OTHER) == b'x'


def test_a_slow_disk_is_said_once_and_its_end_too(make, disk):
    log = make(queue=220)
    source = Source(log)
    for _ in range(50):
        source.say(b'0123456789', flush=False)
    assert log._lagging
    log._flush()
    assert disk.said == ['obmd: console logs are written again']
    assert not log._lagging


def test_a_disk_that_hangs_at_the_end_holds_nobody_longer_than_the_deadline(log, disk):
    disk.stalls.add('write')
    disk.go.clear()
    log.start()
    Source(log).say(b'a', flush=False)
    assert disk.entered.wait(10)
    log.stop(Deadline(0.02))
    disk.go.set()


def test_a_disk_that_hangs_at_the_start_is_not_waited_for(make, disk, monkeypatch):
    monkeypatch.setattr(console_log, 'FIRST_TRY', 0.02)
    disk.stalls.add('mkdir')
    disk.go.clear()
    make()
    disk.go.set()


# -- a disk that fails ------------------------------------------------------------------------


def test_a_full_disk_is_said_once_and_its_end_too(log, disk):
    one, other = Source(log), Source(log, OTHER)
    disk.error = FULL
    for _ in range(5):
        one.say(b'a', flush=False)
        other.say(b'a')
    assert len(disk.said) == 1
    assert 'No space left' in disk.said[0]
    assert log.failing == 'No space left on device'
    disk.error = None
    log._flush()
    one.say(b'a')
    assert disk.said[1:] == ['obmd: console logs are written again']
    assert log.failing is None


def test_one_log_that_cannot_be_written_is_said_once_though_others_can(log, disk, tmp_path):
    disk.bad = UUID
    one, other = Source(log), Source(log, OTHER)
    for _ in range(5):
        one.say(b'a')
        other.say(b'b')
    assert len(disk.said) == 1
    assert text(tmp_path, OTHER) == b'bbbbb'


def test_a_console_that_ends_is_no_failure_any_more(log, disk):
    disk.bad = UUID
    source = Source(log)
    source.say(b'a')
    source.node.end('deleted')
    log._flush()
    assert log.failing is None


def test_what_a_failing_disk_lost_is_marked_when_it_writes_again(log, disk, tmp_path):
    source = Source(log)
    source.say(b'abc')
    disk.error = FULL
    source.say(b'12345')
    source.say(b'678')
    disk.error = None
    log._flush()
    source.say(b'x')
    assert text(tmp_path) == b'abc\n[obmd: 8 bytes missing here]\nx'
    assert log.bytes_lost == 8


@pytest.mark.parametrize('room', range(80))
def test_whatever_fits_on_a_full_disk_every_byte_is_there_once_or_counted(
    make, disk, tmp_path, room
):
    log = make()
    source = Source(log)
    source.say(b'AAAA')
    disk.room = room
    source.say(b'bbbbbbbb', flush=False)
    source.node.barrier(source.offset, 't2')
    source.say(b'cccccccc')
    source.say(b'dddd')
    disk.room = None
    source.say(b'EEEE')
    assert rebuild(tmp_path) == (b'AAAAbbbbbbbbccccccccddddEEEE', log.bytes_lost)
    assert index(tmp_path)[-1]['time'] == 1000
    assert last_token(tmp_path) == 't2'


def rebuild(tmp_path):
    """:returns: (what the source said as far as it is told, bytes told as lost)."""
    known, lost = {}, 0
    folder = str(tmp_path / 'logs' / UUID)
    for number in segments.numbers(folder):
        with open(segments.path_of(folder, number, segments.LOG), 'rb') as file:
            data = file.read()
        entries = segments.read_index(folder, number)
        for entry, after in zip(entries, [*entries[1:], None], strict=True):
            stop = after['at'] if after else len(data)
            start, offset = entry['at'], entry['offset']
            if entry.get('event') == 'gap':
                lost += entry['lost']
                offset += entry['lost']
                start += entry['marker']
            for position in range(start, stop):
                assert offset not in known, 'written twice'
                known[offset] = data[position]
                offset += 1
    whole = b'AAAAbbbbbbbbccccccccddddEEEE'
    assert all(whole[offset] == byte for offset, byte in known.items())
    assert len(known) + lost == len(whole)
    return whole, lost


def last_token(tmp_path):
    return [e['token'] for e in index(tmp_path) if 'token' in e][-1]


def test_short_writes_lose_nothing(log, disk, tmp_path):
    disk.short = 3
    Source(log).say(b'0123456789')
    assert text(tmp_path) == b'0123456789'
    assert events(tmp_path) == ['begin']


def test_a_failing_disk_fills_no_memory(log, disk):
    disk.error = OSError(errno.EIO, 'I/O error')
    source = Source(log)
    for _ in range(100):
        source.say(b'0123456789')
    assert log.bytes_queued == 0
    assert log.bytes_lost == 1000
    assert not log._queue


def test_a_full_disk_leaves_no_empty_segments(log, disk, tmp_path):
    disk.room = 0
    source = Source(log)
    for _ in range(5):
        source.say(b'0123456789')
    assert os.listdir(tmp_path / 'logs' / UUID) == []


def test_a_folder_that_was_removed_is_made_again_and_nothing_is_lost(log, tmp_path):
    source = Source(log)
    source.say(b'a')
    for path in (tmp_path / 'logs' / UUID).iterdir():
        path.unlink()
    (tmp_path / 'logs' / UUID).rmdir()
    (tmp_path / 'logs').rmdir()
    source.say(b'b')
    assert text(tmp_path) == b'b'
    assert log.bytes_lost == 0
    assert [(e['event'], e['offset']) for e in index(tmp_path)] == [('continue', 1)]
    assert stat.S_IMODE(os.stat(tmp_path / 'logs').st_mode) == 0o700


def test_an_index_that_was_removed_costs_no_byte_and_none_is_there_twice(log, tmp_path):
    source = Source(log)
    source.say(b'a')
    (tmp_path / 'logs' / UUID / '00000001.index').unlink()
    source.node.barrier(1, 't2')
    source.say(b'b')
    source.say(b'c')
    assert text(tmp_path) == b'abc'
    assert last_token(tmp_path) == 't2'


def test_a_link_in_the_place_of_a_segment_is_not_followed(log, tmp_path):
    source = Source(log)
    source.say(b'a')
    target = tmp_path / 'target'
    target.write_bytes(b'')
    path = tmp_path / 'logs' / UUID / '00000001.log'
    path.unlink()
    path.symlink_to(target)
    source.say(b'b')
    assert target.read_bytes() == b''
    assert log.failing


@pytest.mark.parametrize('uuid', ['../up', 'a/b', '', '.', '..', 'a\0b', 'x' * 65, 'né'])
def test_what_is_no_uuid_names_no_folder(log, uuid):
    assert log.open(uuid, {}, None) is None


def test_a_folder_that_cannot_be_made_is_one_line_at_the_start(make, tmp_path):
    (tmp_path / 'logs').write_text('')
    with pytest.raises(errors.Fatal, match='log_dir'):
        make()


def test_a_log_that_never_started_is_stopped_at_once(log):
    slept = []
    log.stop(Deadline(10), slept.append)
    assert slept == []


def test_the_native_thread_uses_no_call_that_a_patched_process_replaces(log, disk, monkeypatch):
    """eventlet replaces these of os."""

    def patched(*_args):
        raise AssertionError('a patched call')

    monkeypatch.setattr(threads, 'native_open', os.open)
    monkeypatch.setattr(threads, 'native_write', os.write)
    for name in ('open', 'read', 'write', 'fdopen'):
        monkeypatch.setattr(os, name, patched)
    Source(log).say(b'a')
    assert not disk.said
    assert (log.bytes_written, log.bytes_lost) == (1, 0)


# -- what is old ------------------------------------------------------------------------------


def age(tmp_path, uuid, seconds):
    for path in (tmp_path / 'logs' / uuid).iterdir():
        os.utime(path, (1000 - seconds, 1000 - seconds))


def test_segments_that_are_old_go_and_their_folder_with_them(make, tmp_path):
    log = make(keep=100)
    Source(log).say(b'a')
    Source(log, OTHER).say(b'b')
    age(tmp_path, UUID, 101)
    age(tmp_path, OTHER, 99)
    log._keeping.step()
    assert os.listdir(tmp_path / 'logs') == [OTHER]
    assert text(tmp_path, OTHER) == b'b'


def test_what_is_not_a_log_stays_however_old(make, tmp_path):
    log = make(keep=100)
    strange = [tmp_path / 'logs' / 'lost+found', tmp_path / 'logs' / UUID / 'notes.txt']
    for path in strange:
        path.parent.mkdir(exist_ok=True)
        path.write_text('mine')
        os.utime(path, (1, 1))
    log._keeping.step()
    assert [path.read_text() for path in strange] == ['mine'] * 2


def test_a_console_whose_old_log_went_is_written_on(make, tmp_path):
    log = make(keep=100)
    source = Source(log)
    source.say(b'a')
    age(tmp_path, UUID, 101)
    log._keeping.step()
    source.say(b'b')
    assert text(tmp_path) == b'b'
    assert log.bytes_lost == 0


def test_old_logs_are_looked_for_a_few_folders_at_a_time_and_seldom(make, tmp_path):
    log = make(keep=100)
    for number in range(50):
        Source(log, f'u{number}').say(b'a')
        age(tmp_path, f'u{number}', 101)
    left = []
    for _ in range(4):
        log._keeping.step()
        left.append(len(os.listdir(tmp_path / 'logs')))
    assert left == [30, 10, 0, 0]
    Source(log).say(b'a')
    age(tmp_path, UUID, 101)
    log._keeping.step()
    assert os.listdir(tmp_path / 'logs') == [UUID]
