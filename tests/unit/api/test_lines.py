"""Output of jobs as lines."""

import typing

import pytest

from obmd.api import lines


class Event(typing.NamedTuple):
    kind: str
    position: int | None
    node: str | None
    data: typing.Any


def out(data, position=0, kind='stdout'):
    return Event(kind, position, f'n{position}', data)


def ended(outcome='exited', reason=None, position=0):
    data = {'state': 'ended', 'outcome': outcome, 'reason': reason, 'status': 1}
    return Event('run', position, f'n{position}', data)


@pytest.fixture
def named():
    return lines.Lines(with_names=True)


@pytest.fixture
def plain():
    return lines.Lines(with_names=False)


def test_each_line_of_a_group_says_whose_it_is(named):
    assert named.of([out(b'a\nb\n'), out(b'c\n', 1)]) == b'n0: a\nn0: b\nn1: c\n'


def test_lines_of_one_node_are_as_they_are(plain):
    assert plain.of([out(b'a\n\xff\x00\n')]) == b'a\n\xff\x00\n'


def test_a_line_waits_for_its_end(named):
    assert named.of([out(b'a'), out(b'x', 1)]) == b''
    assert named.of([out(b'b\nc')]) == b'n0: ab\n'


def test_the_outputs_of_a_run_do_not_mix_within_a_line(plain):
    assert plain.of([out(b'a'), out(b'oh\n', kind='stderr'), out(b'b\n')]) == b'oh\nab\n'


def test_an_empty_line_is_a_line(named):
    assert named.of([out(b'\n\nx\n')]) == b'n0: \nn0: \nn0: x\n'


def test_a_run_that_prints_no_newline_gets_one_at_its_end(named):
    assert named.of([out(b'a'), out(b'b', kind='stderr'), ended()]) == b'n0: a\nn0: b\n'


def test_a_line_without_end_is_broken(named):
    made = named.of([out(b'x' * 50000), out(b'x' * 50000), out(b'y\n')])
    assert made == b'n0: ' + b'x' * 100000 + b'\nn0: y\n'


@pytest.mark.parametrize('outcome', ['exited', 'signalled'])
def test_a_run_that_ended_by_itself_has_said_all(named, outcome):
    assert named.of([ended(outcome, 'reason')]) == b''


def test_one_that_did_not_says_why(named):
    events = [ended('lost', 'its conductor\nwent away'), ended('timed_out', position=1)]
    assert named.of(events) == b'n0: its conductor went away\nn1: timed out\n'


def test_what_is_missing_is_counted(named):
    events = [out(b'a'), Event('gap', 0, 'n0', 7), Event('gap', 1, 'n1', None)]
    assert named.of(events) == b'n0: a\nn0: [7 bytes are missing]\nn1: [some bytes are missing]\n'


def test_a_run_without_a_node_has_no_name(named):
    assert named.of([Event('stdout', 0, None, b'a\n')]) == b'a\n'


def test_other_events_are_no_lines(named):
    running = Event('run', 0, 'n0', {'state': 'running', 'outcome': None, 'reason': None})
    assert named.of([running, Event('job', None, None, {'state': 'ended', 'status': 0})]) == b''


def test_a_name_forges_no_line(named):
    event = Event('stdout', 0, 'n1\nn2: \x1b[2J', b'a\n')
    assert named.of([event]) == b'n1\\nn2: \\x1b[2J: a\n'


def test_a_reason_forges_no_line(named):
    assert named.of([ended('failed', 'no\nn2: \x1b[2J')]) == b'n0: no n2: \\x1b[2J\n'
