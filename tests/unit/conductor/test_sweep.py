import json
import threading

import pytest

from obmd.common import errors
from obmd.conductor import sweep
from tests.unit.conductor import fakes


class Live:
    def __init__(self, name, answer='on', wait=None):
        self.name = name
        self.answer = answer
        self.wait = wait
        self.deadline = None

    def read_power(self, deadline):
        self.deadline = deadline
        if self.wait is not None:
            assert self.wait.wait(10)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def lines(stream):
    return [json.loads(line) for line in b''.join(stream).splitlines()]


def test_each_node_has_one_line(spawned):
    lives = [Live(f'n{number}', 'on' if number % 2 else 'off') for number in range(30)]
    got = {line['node']: line['power_status'] for line in lines(sweep.start(lives, {}, 5))}
    assert got == {live.name: live.answer for live in lives}


def test_lines_come_as_the_answers_do(spawned):
    slow = threading.Event()
    stream = sweep.start([Live('slow', wait=slow), Live('quick')], {}, 5)
    assert json.loads(next(stream))['node'] == 'quick'
    slow.set()
    assert json.loads(next(stream))['node'] == 'slow'
    assert list(stream) == []


@pytest.mark.parametrize(
    'error', [fakes.SILENT, errors.CredentialsRefused('wrong', 'n1'), fakes.DOWN]
)
def test_an_error_is_a_line_with_its_kind_and_reason(spawned, error):
    (line,) = lines(sweep.start([Live('n1', error)], {}, 5))
    assert line == {'node': 'n1', 'error': {'kind': error.kind, 'reason': error.reason}}


def test_a_crash_is_a_line_without_its_words(spawned):
    (line,) = lines(sweep.start([Live('n1', ValueError('hunter2'))], {}, 5))
    assert line['error']['kind'] == 'internal'
    assert 'hunter2' not in str(line)


def test_nodes_that_cannot_be_asked_are_lines_too(spawned):
    missing = {'gone': errors.NotOwner('not ours', 'gone')}
    got = lines(sweep.start([Live('n1')], missing, 5))
    assert {line['node'] for line in got} == {'gone', 'n1'}
    got = lines(sweep.start([], missing, 5))
    assert [line['node'] for line in got] == ['gone']


def test_a_sweep_of_nothing_ends(spawned):
    assert lines(sweep.start([], {}, 5)) == []


def test_all_share_one_deadline(spawned):
    lives = [Live(f'n{number}') for number in range(3)]
    lines(sweep.start(lives, {}, 5))
    assert len({id(live.deadline) for live in lives}) == 1
    assert 0 < lives[0].deadline.remaining <= 5


def test_names_of_any_kind_stay_one_line(spawned):
    name = 'a"b\\c\nd é\u2028'
    stream = sweep.start([Live(name)], {}, 5)
    body = b''.join(stream)
    assert body.count(b'\n') == 1
    assert json.loads(body)['node'] == name


def test_a_client_that_goes_away_leaves_nothing_waiting(spawned):
    slow = threading.Event()
    stream = sweep.start([Live('slow', wait=slow)], {}, 5)
    stream.close()
    slow.set()
    spawned.join()
    assert not stream._lines
