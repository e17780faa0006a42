"""The ring's simulation runs, its pictures are drawn, and what it says of the database is so, on
SQLite in one process and on PostgreSQL between real ones."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from bench import statements

ROOT = pathlib.Path(__file__).resolve().parents[2]


def _run(module, *arguments, timeout=100):
    return subprocess.run(
        [sys.executable, '-m', module, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


@pytest.fixture(scope='module')
def played(tmp_path_factory):
    path = tmp_path_factory.mktemp('ring') / 'ring.json'
    arguments = '--nodes', 2000, '--conductors', '1,2,4', '--seed', 3, '--json', path
    return _run('bench.ring', *arguments), path


def test_a_small_fleet_keeps_its_bounds(played):
    done, path = played
    assert done.returncode == 0, done.stderr
    told = json.loads(path.read_text())
    assert len(told['changes']) > 30
    for change in told['changes']:
        assert change['stray'] == 0
        assert change['moved'] <= 1.2 * change['ideal'] + 3 * change['ideal'] ** 0.5
    for word in ('growth', 'death', 'flapping', 'restart', 'racks', 'drivers', 'writes/s'):
        assert word in done.stdout
    largest = told['times'][-1]
    assert largest['conductors'] == 4
    assert 0 < largest['slice_ms'] <= largest['ring_ms']


def test_the_same_data_gives_the_same_pictures(played, tmp_path):
    _done, path = played
    drawn = []
    for name in ('one', 'two'):
        os.mkdir(tmp_path / name)
        done = _run('bench.pictures', path, tmp_path / name)
        assert done.returncode == 0, done.stderr
        drawn.append({file.name: file.read_bytes() for file in (tmp_path / name).iterdir()})
    assert len(drawn[0]) >= 4
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize(('captured', 'console'), [(True, 1), (False, 0)])
def test_the_database_writes_only_on_change(captured, console):
    """A beat is a row; a claim is the owner, who asks for SOL and who got it; a hand-over is SOL
    and the owner given back and all three again.  Looks and the check of tokens write nothing."""
    counted = {what: one['writes'] for what, one in statements.count(captured).items()}
    assert counted == {
        'claim': 1 + 2 * console,
        'heartbeat': 1,
        'look': 0,
        'token check': 0,
        'hand-over': 2 + 3 * console,
    }


def test_the_documentation_says_what_the_database_has_to_do():
    told = json.loads((ROOT / 'doc/source/scaling/ring.json').read_text())['statements']
    counted = statements.count()
    assert {what: one['writes'] for what, one in counted.items()} == {
        what: one['writes'] for what, one in told.items()
    }
    for what in ('look', 'token check', 'heartbeat'):
        assert counted[what] == told[what]


@pytest.mark.needs('initdb')
@pytest.mark.timeout(300)
def test_real_conductors_write_to_postgresql_what_was_counted():
    done = _run('bench.split', '--nodes', 30, timeout=280)
    assert done.returncode == 0, done.stderr
    found = re.findall(r'one of three (\w+): .* ([\d.]+) rows written', done.stdout)
    written = {what: float(rows) for what, rows in found}
    # PostgreSQL counts some rows late
    assert written == pytest.approx({'leaves': 2, 'joins': 2, 'dies': 1}, abs=0.3)
    assert re.search(r'[1-9]\d* calls a second', done.stdout)
