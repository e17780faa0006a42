"""Reading a job's output while it is written; the writer is a real file of the runner's."""

import os
import threading
import uuid

import pytest

from obmd.common import errors
from obmd.conductor import spool
from obmd.runner import frames
from obmd.runner import output

JOB = str(uuid.UUID(int=7))
OUT, END, GAP = spool.STDOUT, spool.END, spool.GAP


@pytest.fixture
def spools(tmp_path):
    return spool.Spools(str(tmp_path))


class Writer:
    def __init__(self, spools, job=JOB):
        self._spools = spools
        self._job = job
        self._file = output.File(spools.create(job), 0)
        self._file.begin()
        spools.wrote(job, self._file.size)

    def write(self, *batch):
        self._file.write(list(batch))
        self._spools.wrote(self._job, self._file.size)


@pytest.fixture
def writer(spools):
    return Writer(spools)


def data_of(found):
    return [frame.data for frame in found]


def test_a_reader_gets_what_is_there_and_then_what_comes(spools, writer):
    writer.write((0, OUT, b'a'))
    reader = spools.reader(JOB)
    assert reader.read(10) == [spool.Frame(0, OUT, b'a')]
    writer.write((1, spool.STDERR, b'b'))
    assert reader.read(10) == [spool.Frame(1, spool.STDERR, b'b')]


def test_ends_and_gaps_come_in_their_own_words(spools, writer):
    writer.write((0, GAP, frames.gap(5)), (0, END, frames.end('exited', 3)))
    assert data_of(spools.reader(JOB).read(10)) == [5, ('exited', 3)]


def test_a_reader_that_waits_is_woken_by_the_next_output(spools, writer):
    reader = spools.reader(JOB)
    found = []
    waiting = threading.Thread(target=lambda: found.extend(reader.read()))
    waiting.start()
    writer.write((0, OUT, b'a'))
    waiting.join(10)
    assert data_of(found) == [b'a']


def test_nothing_within_the_time_is_an_empty_list_and_no_end(spools, writer):
    reader = spools.reader(JOB)
    assert reader.read(0.01) == []
    assert not reader.ended


def test_a_cursor_resumes_where_it_was_taken(spools, writer):
    reader = spools.reader(JOB)
    writer.write((0, OUT, b'a'))
    reader.read(10)
    writer.write((0, OUT, b'b'))
    assert data_of(spools.reader(JOB, reader.cursor).read(10)) == [b'b']


def test_a_cursor_of_another_output_is_refused(spools, writer):
    other = '00000000-0000-0000-0000-000000000001'
    Writer(spools, other).write((0, OUT, b'a'))
    reader = spools.reader(other)
    reader.read(10)
    with pytest.raises(errors.InvalidInput):
        spools.reader(JOB, reader.cursor)


@pytest.mark.parametrize(
    'cursor', ['', 'x', ':16', '0' * 16 + ':', '0' * 16 + ':-1', '0' * 16 + ':15', 'a:b:c']
)
def test_what_is_no_cursor_is_refused(spools, writer, cursor):
    with pytest.raises(errors.InvalidInput):
        spools.reader(JOB, cursor)


def test_a_cursor_behind_the_end_gives_nothing(spools, writer):
    reader = spools.reader(JOB)
    writer.write((0, OUT, b'a'))
    reader.read(10)
    name = reader.cursor.split(':')[0]
    assert spools.reader(JOB, f'{name}:99999').read(0.01) == []


def test_only_the_run_that_is_asked_for_comes(spools, writer):
    writer.write((0, OUT, b'a'), (1, OUT, b'b'), (0, OUT, b'c'))
    assert data_of(spools.reader(JOB, position=1).read(10)) == [b'b']


def test_large_output_comes_in_pieces_and_whole(spools, writer):
    line = b'x' * frames.LONGEST
    writer.write(*[(0, OUT, line)] * 40)
    reader, size = spools.reader(JOB), 0
    while found := reader.read(0.01):
        assert sum(len(frame.data) for frame in found) <= spool.CHUNK
        size += sum(len(frame.data) for frame in found)
    assert size == 40 * frames.LONGEST


def test_many_small_frames_come_some_at_a_time(spools, writer):
    writer.write(*[(n, OUT, b'') for n in range(3 * spool.BATCH)])
    reader, seen = spools.reader(JOB), []
    while found := reader.read(0.01):
        assert len(found) <= spool.BATCH
        seen += [frame.position for frame in found]
    assert seen == list(range(3 * spool.BATCH))


def test_a_frame_that_is_being_written_is_not_read(spools, writer, tmp_path):
    writer.write((0, OUT, b'a'))
    with open(tmp_path / spool.FOLDER / JOB, 'ab') as file:
        file.write(frames.header(0, OUT, 3) + b'ab')
    reader = spools.reader(JOB)
    assert data_of(reader.read(10)) == [b'a']
    assert reader.read(0.01) == []


def test_a_settled_file_is_read_to_its_torn_end(spools, writer, tmp_path):
    writer.write((0, OUT, b'a'))
    with open(tmp_path / spool.FOLDER / JOB, 'ab') as file:
        file.write(frames.header(0, OUT, 3) + b'ab')
    spools.settle(JOB)
    reader = spools.reader(JOB)
    assert data_of(reader.read()) == [b'a']
    assert reader.read() == []
    assert reader.ended


def test_settling_ends_a_reader_that_waits(spools, writer):
    reader = spools.reader(JOB)
    found = []
    waiting = threading.Thread(target=lambda: found.append(reader.read()))
    waiting.start()
    spools.settle(JOB)
    waiting.join(10)
    assert found == [[]]
    assert reader.ended


def test_closing_ends_a_reader_that_waits(spools, writer):
    reader = spools.reader(JOB)
    waiting = threading.Thread(target=reader.read)
    waiting.start()
    reader.close()
    waiting.join(10)
    assert not waiting.is_alive()
    assert reader.read() == []


def test_what_a_process_before_this_one_wrote_is_read(spools, writer, tmp_path):
    writer.write((0, OUT, b'a'))
    later = spool.Spools(str(tmp_path))
    reader = later.reader(JOB)
    assert data_of(reader.read()) == [b'a']
    assert reader.read() == []


def test_output_that_was_removed_is_read_on_by_who_has_it_open(spools, writer):
    writer.write((0, OUT, b'a'))
    reader = spools.reader(JOB)
    spools.remove(JOB)
    assert data_of(reader.read()) == [b'a']
    with pytest.raises(errors.NotFound):
        spools.reader(JOB)


def test_removing_what_is_not_there_is_harmless(spools):
    spools.remove(JOB)


def test_the_list_has_sizes_and_times(spools, writer, tmp_path):
    writer.write((0, OUT, b'a'))
    state = os.stat(tmp_path / spool.FOLDER / JOB)
    assert spools.jobs() == {JOB: (state.st_size, state.st_mtime)}


def test_what_is_no_output_is_not_in_the_list(spools, writer, tmp_path):
    os.close(spools.open_lock())
    (tmp_path / spool.FOLDER / 'notes').write_text('')
    assert list(spools.jobs()) == [JOB]


def test_without_a_folder_the_list_is_empty(spools):
    assert spools.jobs() == {}


@pytest.mark.parametrize('job', ['', '..', '../x', 'x' * 36, JOB + '\n', JOB.upper() + 'A'])
def test_only_an_id_names_a_file(spools, job):
    with pytest.raises(errors.InvalidInput):
        spools.create(job)


def test_a_link_in_the_place_of_a_file_is_not_followed(spools, tmp_path):
    os.close(spools.open_lock())
    (tmp_path / spool.FOLDER / JOB).symlink_to(tmp_path / 'elsewhere')
    with pytest.raises(OSError):
        spools.create(JOB)
    assert not (tmp_path / 'elsewhere').exists()


def test_nobody_else_may_read_it(spools, writer, tmp_path):
    assert os.stat(tmp_path / spool.FOLDER).st_mode & 0o777 == 0o700
    assert os.stat(tmp_path / spool.FOLDER / JOB).st_mode & 0o777 == 0o600
