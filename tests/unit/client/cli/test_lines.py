import os

import pytest

from obmd.client import ClientError
from obmd.client.cli import lines


class Screen:
    def __init__(self):
        self.written = b''

    def write(self, stream, data):
        self.written += data


def test_a_line_without_end_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(lines, 'LONGEST', 10)
    screen = Screen()
    stream = lines.Stream(screen, named=True)
    for _ in range(3):
        stream.feed(0, 'n1', 'stdout', b'x' * 8)
    stream.end(0, 'n1')
    assert screen.written == b'n1: ' + b'x' * 16 + b'\nn1: ' + b'x' * 8 + b'\n'


def test_streams_of_a_run_are_lines_of_their_own():
    screen = Screen()
    stream = lines.Stream(screen, named=True)
    stream.feed(0, 'n1', 'stdout', b'out')
    stream.feed(0, 'n1', 'stderr', b'err\n')
    stream.feed(0, 'n1', 'stdout', b'put\n')
    assert screen.written == b'n1: err\nn1: output\n'


def test_a_node_s_name_does_not_command_the_terminal():
    screen = Screen()
    lines.Stream(screen, named=True).feed(0, 'n\x1b[2J', 'stdout', b'x\n')
    assert screen.written == b'n\\x1b[2J: x\n'


def folder(tmp_path):
    return lines.Folder(str(tmp_path / 'a' / 'b'), 'backup')


def content(tmp_path):
    where = tmp_path / 'a' / 'b'
    return {path.name: path.read_bytes() for path in where.iterdir()}


def test_each_node_has_its_files(tmp_path):
    to = folder(tmp_path)
    to.feed(0, 'n1', 'stdout', b'a\xff')
    to.feed(1, 'n2', 'stderr', b'oh')
    to.feed(0, 'n1', 'stdout', b'b')
    to.end(0, 'n1')
    to.end(1, 'n2')
    assert content(tmp_path) == {'n1.out': b'a\xffb', 'n2.out': b'', 'n2.err': b'oh'}


def test_what_an_earlier_job_left_is_replaced(tmp_path):
    first = folder(tmp_path)
    first.feed(0, 'n1', 'stdout', b'old')
    first.feed(0, 'n1', 'stderr', b'old')
    second = folder(tmp_path)
    second.end(0, 'n1')
    assert content(tmp_path) == {'n1.out': b''}


def test_a_job_without_nodes_has_a_file_too(tmp_path):
    to = folder(tmp_path)
    to.feed(0, None, 'stdout', b'x')
    assert content(tmp_path) == {'backup.out': b'x'}


@pytest.mark.parametrize(
    'node', ['../../etc/passwd', '/etc/passwd', '..', '.', '.bashrc', 'a\0b', '-rf', 'é' * 255]
)
def test_a_name_stays_in_its_folder(tmp_path, node):
    to = folder(tmp_path)
    to.feed(0, node, 'stdout', b'x')
    (name,) = content(tmp_path)
    assert os.sep not in name
    assert not name.startswith('.')


def test_long_names_that_begin_alike_have_files_of_their_own(tmp_path):
    to = folder(tmp_path)
    to.feed(0, 'x' * 250 + 'a', 'stdout', b'1')
    to.feed(1, 'x' * 250 + 'b', 'stdout', b'2')
    assert sorted(content(tmp_path).values()) == [b'1', b'2']


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / 'a').write_text('')
    with pytest.raises(ClientError, match='a/b: Not a directory'):
        folder(tmp_path)
