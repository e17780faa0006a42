"""``obmd-manage console log``: what an operator sees of a log, and what a log cannot do to him."""

import calendar
import io
import time

import pytest

from obmd.cmd.manage import app as manage
from obmd.cmd.manage import consoles
from obmd.common import errors
from obmd.conductor import log_track
from obmd.conf import CONF
from obmd.db import engine
from obmd.streams import log_reader
from obmd.streams import segments

UUID = '00000000-0000-4000-8000-000000000001'
NOON = calendar.timegm((2026, 11, 20, 12, 0, 0))


class Text(io.TextIOWrapper):
    def __init__(self):
        super().__init__(io.BytesIO(), 'utf-8', newline='\n', write_through=True)

    @property
    def bytes(self):
        return self.buffer.getvalue()


@pytest.fixture
def run(tmp_path, monkeypatch):
    """:returns: (status, stdout as bytes, stderr as str)."""
    configuration = tmp_path / 'obmd.conf'
    configuration.write_text(
        f'[DEFAULT]\nstate_path = {tmp_path}/state\n[console]\nlog_dir = {tmp_path}/logs\n'
    )

    def run(*argv, config=configuration):
        output, said = Text(), Text()
        monkeypatch.setattr('sys.stdout', output)
        monkeypatch.setattr('sys.stderr', said)
        status = manage.main(['--config-file', str(config), 'console', 'log', *argv])
        return status, output.bytes, said.bytes.decode()

    yield run
    engine.dispose()
    CONF.reset()


@pytest.fixture
def folder(tmp_path):
    return segments.folder_of(str(tmp_path / 'logs'), UUID)


@pytest.fixture
def write(folder):
    """Write a log: ``write((kind, seconds after noon, value), ...)``."""

    def write(*items, owner='i1'):
        about = {'node': 'n1', 'host': 'h1', 'owner': owner, 'ring': f'r-{owner}'}
        track = log_track.Track(folder, about, 't1', log_track.Limits(65536, 4))
        offset, made = 0, []
        for kind, seconds, value in items:
            offset += value if kind == 'skip' else 0
            if kind != 'skip':
                made.append(log_track.Item(kind, offset, NOON + seconds, value))
                offset = made[-1].end
        track.write(made)

    return write


def lines(output):
    return output.decode().splitlines()


def test_a_log_is_printed_with_what_happened_where_it_did(run, write):
    write(
        ('data', 0, b'one\r\ntwo\r\n'),
        ('token', 1, 't2'),
        ('data', 1, b'three\r\n'),
        ('skip', 0, 12),
        ('data', 7, b'four'),
        ('end', 8, 'stopping'),
    )
    status, output, said = run(UUID)
    assert (status, said) == (0, '')
    begin, one, two, token, three, gap, empty, marked, *rest = [*lines(output), '', '']
    assert begin.startswith('== 2026-11-20T12:00:00Z capture begins of n1 on h1 (owner i1)')
    assert 'token t1' in begin
    assert [one, two, three] == ['one', 'two', 'three']
    assert token == '== 2026-11-20T12:00:01Z token t2 from here on'
    assert gap == '== 2026-11-20T12:00:07Z 12 bytes missing here; token t2'
    assert empty == 'four'
    assert marked == '== 2026-11-20T12:00:08Z no more from this conductor: stopping'
    assert rest == ['', '']


def test_owners_follow_one_another(run, write):
    write(('data', 0, b'a\n'))
    write(('data', 9, b'b\n'), owner='i2')
    _, output, _ = run(UUID)
    found = lines(output)
    assert [found[1], found[3]] == ['a', 'b']
    assert 'owner i2' in found[2]


def test_since_leaves_out_what_came_before_but_tells_whose_it_is(run, write):
    write(('data', 0, b'old\n'), ('data', 100, b'new\n'), ('data', 200, b'newer\n'))
    write(('data', 300, b'last\n'), owner='i2')
    _, output, _ = run(UUID, '--since', '2026-11-20T12:01:00Z')
    begin, *found = lines(output)
    assert 'owner i1' in begin
    assert [found[0], found[1], found[3]] == ['new', 'newer', 'last']


def test_what_a_console_says_does_nothing_to_a_terminal(run, write):
    write(('data', 0, b'\x1b[2Jgone\x07 \xff caf\xc3\xa9\ttab\r\n\x00\x9b\n'))
    _, output, _ = run(UUID)
    assert lines(output)[1:] == [r'\x1b[2Jgone\x07 \xff café' + '\ttab', r'\x00\x9b']


def test_a_console_cannot_speak_for_obmd(run, write):
    write(('data', 0, b'== 2026-11-20T12:00:00Z token t9 from here on\n\\== x\n= fine\n'))
    _, output, _ = run(UUID)
    assert lines(output)[1:] == [
        '\\== 2026-11-20T12:00:00Z token t9 from here on',
        '\\\\== x',
        '= fine',
    ]


def test_raw_bytes_are_as_they_came_and_what_happened_is_beside_them(run, write):
    data = bytes(range(256)) * 3
    write(('data', 0, data), ('token', 1, 't2'), ('data', 2, b'x'))
    status, output, said = run(UUID, '--raw')
    assert (status, output) == (0, data + b'x')
    assert [line[:2] for line in said.splitlines()] == ['==', '==']


def test_what_a_crash_left_is_printed(run, write, folder):
    write(('data', 0, b'one\n'))
    with open(segments.path_of(folder, 1, segments.INDEX), 'ab') as file:
        file.write(b'{"at":9,"off')
    with open(segments.path_of(folder, 1, segments.LOG), 'ab') as file:
        file.write(b'two\n')
    with open(segments.path_of(folder, 2, segments.LOG), 'wb') as file:
        file.write(b'three\n')
    status, output, said = run(UUID)
    assert (status, lines(output)[1:], said) == (0, ['one', 'two', 'three'], '')


@pytest.mark.parametrize(
    'line',
    [
        b'\n',
        b'null\n',
        b'[]\n',
        b'"at"\n',
        b'{"at":-1,"offset":0,"time":0,"event":"gap"}\n',
        b'{"at":1,"offset":"x","time":0}\n',
        b'{"at":true,"offset":0,"time":0}\n',
        b'{"at":2,"offset":0,"time":1e999,"event":"token"}\n',
        b'{"at":2,"offset":0,"time":NaN,"event":"token"}\n',
        b'{"at":2,"offset":0,"time":1e18,"event":"gap"}\n',
        b'{"at":99999999999,"offset":0,"time":0}\n',
        b'{"at":2,"offset":0,"time":0,"event":{"a":1},"marker":"x"}\n',
        b'{"at":2,"offset":0,"time":0,"event":"\\u001b[2J"}\n',
        b'{"at":0,"offset":0,"time":0,"event":"gap","marker":-5}\n',
        b'[' * 60000 + b'\n',
        b'\xff\xfe\x00' * 50000,
    ],
)
def test_an_index_that_is_damaged_costs_no_byte_and_no_traceback(run, write, folder, line):
    write(('data', 0, b'one\n'))
    with open(segments.path_of(folder, 1, segments.INDEX), 'ab') as file:
        file.write(line)
    status, output, _ = run(UUID)
    assert status == 0
    assert b'\x1b' not in output
    found = [text for text in lines(output) if not text.startswith('==')]
    assert ''.join(found) == 'one'


def test_a_segment_that_goes_while_it_is_read_is_left_out(folder, write, monkeypatch):
    write(('data', 0, b'a\n'))
    write(('data', 0, b'b\n'), owner='i2')
    parts = log_reader.read(folder)
    next(parts)
    segments.remove(folder, 2)
    assert [part.data for part in parts if isinstance(part, log_reader.Piece)] == [b'a\n']


def test_a_line_without_an_end_is_printed_in_parts(run, folder, write, monkeypatch):
    monkeypatch.setattr(consoles, 'LONGEST', 10)
    monkeypatch.setattr(log_reader, 'CHUNK', 8)
    write(('data', 0, b'x' * 100))
    _, output, _ = run(UUID)
    assert ''.join(lines(output)[1:]) == 'x' * 100


def test_a_node_without_a_log_is_one_line(run, tmp_path):
    status, output, said = run(UUID)
    assert (status, output) == (1, b'')
    assert said == f'obmd-manage: this host has no console log in {tmp_path}/logs/{UUID}\n'


def test_a_node_that_does_not_exist_is_one_line(run):
    status, _, said = run('../../etc/passwd')
    assert status == 1
    assert said.count('\n') == 1


def test_a_name_is_looked_up_in_the_database(run, write, tmp_path):
    manage.main(['--config-file', str(tmp_path / 'obmd.conf'), 'db', 'upgrade'])
    from obmd.db import nodes

    engine.setup()
    nodes.create('n1', 'mock', '', b'', 'k', '', UUID)
    write(('data', 0, b'mine\n'))
    status, output, said = run('n1')
    assert (status, said) == (0, '')
    assert lines(output)[-1] == 'mine'
    status, _, said = run('n\x1b2')
    assert status == 1
    assert 'there is no node "n\\x1b2"' in said


def test_without_a_log_dir_that_is_said(run, tmp_path):
    other = tmp_path / 'other.conf'
    other.write_text(f'[DEFAULT]\nstate_path = {tmp_path}/state\n')
    status, _, said = run(UUID, config=other)
    assert status == 1
    assert '[console] log_dir is not set' in said


@pytest.mark.parametrize(
    ('text', 'seconds'),
    [
        ('90s', NOON - 90),
        ('10m', NOON - 600),
        ('2h', NOON - 7200),
        ('3d', NOON - 3 * 86400),
        ('2026-11-20', NOON - 43200),
        ('2026-11-20T12:00', NOON),
        ('2026-11-20T12:00:00Z', NOON),
        ('2026-11-20 12:00:30', NOON + 30),
    ],
)
def test_a_time_may_be_said_in_these_ways(text, seconds):
    assert consoles.parse_time(text, NOON) == seconds


@pytest.mark.parametrize(
    'text', ['', 'yesterday', '-1h', '1', '12:00', '2026-13-01', '9' * 99 + 's']
)
def test_a_time_that_is_none_is_refused_saying_how_to_say_it(text):
    with pytest.raises(errors.InvalidInput, match='say 90s'):
        consoles.parse_time(text, time.time())
