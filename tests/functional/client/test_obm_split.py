"""``obm`` before an API of its own and two conductors: what goes away meanwhile is not seen."""

import os

import pytest

from tests.functional.client.test_with_obmd import Obm
from tests.functional.deployment import Split

pytestmark = pytest.mark.needs('initdb')

#: lines that a node writes, ten a second
LINES = 60


@pytest.fixture(scope='module')
def split(rabbitmq, postgresql, tmp_path_factory):
    folder = tmp_path_factory.mktemp('commands')
    (folder / 'count').mkdir()
    (folder / 'count' / 'metadata.yaml').write_text('help: {summary: Count}\n')
    script = folder / 'count' / 'default.sh'
    script.write_text(f'#!/bin/bash\nfor n in $(seq {LINES}); do echo $n; sleep 0.1; done\n')
    script.chmod(0o755)
    config = {'actions': {'command_dirs': str(folder), 'allow_same_user': True}}
    with Split(rabbitmq, postgresql, conductors=2, workers=1, config=config) as made:
        for number in range(1, 9):
            made.register(f'n{number}', 'mock', {})
        made.wait_for()
        made.wait_until_settled()
        yield made


@pytest.fixture
def obm(split):
    return Obm(split, split.admin_token)


def test_an_api_that_is_killed_costs_no_line(split, obm):
    with obm.start('action', 'run', 'count', 'n[1-8]') as process:
        first = [process.stdout.readline().decode() for _ in range(20)]
        split.api.kill()
        split.api.start()
        out, err = process.communicate(timeout=90)
    assert (process.returncode, err) == (0, b'')
    lines = ''.join(first) + out.decode()
    expected = [f'n{node}: {n}' for node in range(1, 9) for n in range(1, LINES + 1)]
    assert sorted(lines.splitlines()) == sorted(expected)


def test_files_are_whole_whatever_conductor_has_them(split, obm, tmp_path):
    assert obm('action', 'run', 'count', 'n[1-8]', '-o', str(tmp_path)) == (0, '', '')
    written = ''.join(f'{n}\n' for n in range(1, LINES + 1))
    assert {name: (tmp_path / name).read_text() for name in os.listdir(tmp_path)} == {
        f'n{node}.out': written for node in range(1, 9)
    }
