"""``obmd-manage import obmd``: switching from OBMd 0.x."""

import io
import json
import sqlite3

import pytest

from obmd.cmd.manage import app
from obmd.conf import CONF
from obmd.db import engine
from obmd.db import nodes


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command on a fresh database.  :returns: (status, stdout, stderr)."""
    CONF.clear()
    configuration = tmp_path / 'obmd.conf'
    configuration.write_text(
        f'[DEFAULT]\nstate_path = {tmp_path}/state\n[drivers]\nenabled = mock,dummy\n'
    )

    def run(*argv):
        output, errors = io.StringIO(), io.StringIO()
        monkeypatch.setattr('sys.stdout', output)
        monkeypatch.setattr('sys.stderr', errors)
        status = app.main(['--config-file', str(configuration), *argv])
        return status, output.getvalue(), errors.getvalue()

    run('db', 'upgrade')
    run('key', 'new')
    yield run
    engine.dispose()
    CONF.clear()


@pytest.fixture
def obmd_db(tmp_path):
    """:returns: function that writes OBMd's table with (label, info) rows; gives its path."""

    def write(*rows):
        path = str(tmp_path / 'old.db')
        with sqlite3.connect(path) as connection:
            connection.execute(
                'CREATE TABLE nodes (label VARCHAR(80) PRIMARY KEY, obm_info TEXT NOT NULL)'
            )
            connection.executemany('INSERT INTO nodes VALUES (?, ?)', rows)
        return path

    return write


def told(type_, **info):
    return json.dumps({'type': type_, 'info': info}).encode()


def test_the_nodes_of_obmd_are_registered(run, obmd_db):
    path = obmd_db(('n1', told('mock', addr='a')), ('n2', told('dummy', addr='h:1')))
    assert run('import', 'obmd', 'sqlite3', path) == (0, 'n1: imported\nn2: imported\n', '')
    engine.setup()
    assert {node.name: node.driver for node in nodes.by_names(['n1', 'n2'])} == {
        'n1': 'mock',
        'n2': 'dummy',
    }


def test_an_import_given_twice_changes_nothing(run, obmd_db):
    path = obmd_db(('n1', told('mock', addr='a')))
    run('import', 'obmd', 'sqlite3', path)
    assert run('import', 'obmd', 'sqlite3', path) == (0, 'n1: is registered already\n', '')


def test_a_node_that_cannot_be_taken_does_not_stop_the_others(run, obmd_db):
    path = obmd_db(('bad', b'{'), ('odd', told('dummy')), ('n1', told('mock')))
    status, output, errors = run('import', 'obmd', 'sqlite3', path)
    assert status == 1
    assert output.splitlines() == [
        'bad: not imported: its info is not what OBMd writes',
        'n1: imported',
        'odd: not imported: info.addr is missing',
    ]
    assert errors == 'obmd-manage: 2 nodes were not imported\n'


@pytest.mark.parametrize('path', ['nothing.db', '/'])
def test_what_is_no_database_of_obmd_is_refused_on_one_line(run, path):
    status, output, errors = run('import', 'obmd', 'sqlite3', path)
    assert (status, output, errors.count('\n')) == (1, '', 1)
