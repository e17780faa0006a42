import json

import pytest


@pytest.fixture
def check(run, tmp_path, monkeypatch):
    """``check()`` gives (status, {command: row}); ``check.folder`` holds the commands."""
    folder = tmp_path / 'commands'
    folder.mkdir()

    def check(*folders):
        monkeypatch.setenv('OS_ACTIONS__COMMAND_DIRS', ','.join(map(str, folders or [folder])))
        status, output, said = run('action', 'check', '-f', 'json')
        assert said == ''
        return status, {row['Command']: row for row in json.loads(output)}

    check.folder = folder
    return check


def add(folder, name, metadata='help: {summary: S}', **scripts):
    made = folder / name
    made.mkdir()
    (made / 'metadata.yaml').write_text(metadata)
    for script, mode in scripts.items():
        (made / f'{script}.sh').write_text('#!/bin/sh\n')
        (made / f'{script}.sh').chmod(mode)


def test_whole_commands_and_their_ranks_are_listed_and_all_is_well(check):
    add(check.folder, 'load', default=0o755, aws=0o755)
    status, rows = check()
    assert status == 0
    assert rows['load'] == {
        'Command': 'load',
        'Ranks': 'aws, default',
        'Where': str(check.folder),
        'Problem': '',
    }
    assert rows['power-off']['Ranks'] == '(built in)'


@pytest.mark.parametrize(
    ('metadata', 'scripts', 'problem'),
    [
        ('x', {'default': 0o755}, 'not listed: metadata.yaml is not a map'),
        ('help: {summary: S}', {'default': 0o644}, 'not listed: its default script is not exe'),
        ('help: {summary: S}', {'default': 0o755, 'a': 0o600}, 'a.sh is not executable'),
    ],
)
def test_what_is_wrong_is_named_and_is_the_exit_status(check, metadata, scripts, problem):
    add(check.folder, 'bad', metadata, **scripts)
    status, rows = check()
    assert status == 1
    assert rows['bad']['Problem'].startswith(problem)


def test_a_folder_that_is_not_there_is_named(check):
    status, rows = check('/nonexistent')
    assert status == 1
    assert (rows['']['Where'], rows['']['Problem']) == ('/nonexistent', 'there is no such folder')


def test_a_command_that_another_hides_is_told_and_no_fault(check, tmp_path):
    add(check.folder, 'load', default=0o755)
    other = tmp_path / 'other'
    other.mkdir()
    add(other, 'load', default=0o755)
    status, _rows = check(check.folder, other)
    assert status == 0


def test_no_database_is_needed(check, monkeypatch):
    monkeypatch.setenv('OS_DATABASE__CONNECTION', 'nonsense')
    assert check()[0] == 0
