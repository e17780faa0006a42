import logging
import os
import threading

import pytest

from obmd.common import command_table
from obmd.common import commands
from obmd.common import errors
from obmd.conf import CONF

BUILTIN = {'power-off': commands.Command('power-off', 'Off', 'Off!', 'NAME', builtin=True)}


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Looks:
    """Looks that are made at once, or when the test says so."""

    def __init__(self):
        self.held = None
        self.count = 0

    def __call__(self, run):
        self.count += 1
        if self.held is None:
            run()
        else:
            self.held.append(run)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def looks():
    return Looks()


@pytest.fixture
def first(tmp_path):
    return _folder(tmp_path / 'first')


@pytest.fixture
def second(tmp_path):
    return _folder(tmp_path / 'second')


def _folder(path):
    path.mkdir()
    return path


@pytest.fixture
def table(first, second, clock, looks):
    CONF.set_override('command_dirs', [str(first), str(second)], 'actions')
    yield command_table.Table(BUILTIN, clock, clock.sleep, looks)
    CONF.clear_override('command_dirs', 'actions')


def add(folder, name, summary='S', mode=0o755):
    made = folder / name
    made.mkdir(exist_ok=True)
    (made / 'metadata.yaml').write_text(f'help: {{summary: {summary}}}\n')
    (made / 'default.sh').write_text('#!/bin/sh\n')
    (made / 'default.sh').chmod(mode)
    return made


def names(table):
    return [one.name for one in table.all()]


def test_built_in_commands_and_those_of_all_folders_are_there_by_name(table, first, second):
    add(second, 'load')
    add(first, 'uptime')
    assert names(table) == ['load', 'power-off', 'uptime']
    assert table.get('load').root == str(second)


def test_the_first_folder_that_has_a_name_decides(table, first, second):
    add(first, 'load', 'first')
    add(second, 'load', 'second')
    assert table.get('load').summary == 'first'
    assert [one.reason for one in table.snapshot().faults] == [command_table.HIDDEN]


def test_an_invalid_command_takes_no_other_down_and_is_named(table, first, second):
    add(first, 'bad', mode=0o644)
    add(second, 'bad')
    add(first, 'good')
    assert names(table) == ['good', 'power-off']
    with pytest.raises(errors.NotFound):
        table.get('bad')
    faults = {str(one) for one in table.snapshot().faults}
    assert f'{first}/bad: its default script is not executable' in faults


def test_what_nobody_thought_of_takes_no_other_down(table, first, monkeypatch):
    add(first, 'bad')
    add(first, 'good')
    read = commands.read

    def fail(root, name, *args):
        if name == 'bad':
            raise KeyError('x')
        return read(root, name, *args)

    monkeypatch.setattr(commands, 'read', fail)
    assert names(table) == ['good', 'power-off']
    assert [one.reason for one in table.snapshot().faults] == ['it cannot be read (KeyError)']


def test_an_invalid_folder_of_a_built_in_hides_it(table, first):
    add(first, 'power-off', mode=0o644)
    assert names(table) == []


@pytest.mark.parametrize('name', ['zzz', '', '../first/load', 'a/b', 'x' * 5000, '\0'])
def test_what_there_is_not_is_not_found(table, first, name):
    add(first, 'load')
    with pytest.raises(errors.NotFound):
        table.get(name)


def test_files_and_hidden_folders_are_no_commands(table, first):
    (first / 'README').write_text('x')
    add(first, '.git')
    assert names(table) == ['power-off']
    assert table.snapshot().faults == ()


def test_a_folder_that_is_not_there_is_told_and_harms_nothing(table, first, second):
    add(second, 'load')
    first.rmdir()
    assert names(table) == ['load', 'power-off']
    (fault,) = table.snapshot().faults
    assert (fault.name, fault.where, fault.reason) == (None, str(first), command_table.MISSING)


def test_a_folder_with_too_many_is_told(table, first, monkeypatch):
    monkeypatch.setattr(command_table, 'MOST', 1)
    add(first, 'a')
    add(first, 'b')
    assert names(table) == ['power-off']


def test_a_folder_that_everybody_may_change_is_told(table, first, second):
    first.chmod(0o777)
    add(second, 'load').chmod(0o777)
    assert [(one.where, one.reason) for one in table.snapshot().faults] == [
        (str(first), commands.OPEN)
    ]
    assert table.get('load').notes == (commands.OPEN,)


# -- what changes ----------------------------------------------------------------------------------


def change_script(folder, mode):
    (folder / 'default.sh').chmod(mode)


@pytest.mark.parametrize(
    'change',
    [
        lambda folder: (folder / 'default.sh').chmod(0o644),
        lambda folder: (folder / 'default.sh').unlink(),
        lambda folder: (folder / 'metadata.yaml').write_text('help: {}'),
        lambda folder: folder.rename(folder.parent / '.gone'),
    ],
    ids=['mode', 'script', 'metadata', 'folder'],
)
def test_a_change_is_seen_some_seconds_later(table, first, clock, change):
    folder = add(first, 'load')
    assert names(table) == ['load', 'power-off']
    change(folder)
    clock.now += command_table.AGAIN
    assert names(table) == ['power-off']


def test_folders_are_looked_at_once_in_some_seconds(table, first, clock, looks):
    for _ in range(100):
        table.all()
    assert looks.count == 1
    clock.now += command_table.AGAIN
    table.all()
    assert looks.count == 2


def test_what_has_not_changed_is_not_read_again(table, first, clock, monkeypatch):
    add(first, 'load')
    read = []
    monkeypatch.setattr(
        commands, 'read', lambda *args, made=commands.read: read.append(args[1]) or made(*args)
    )
    table.all()
    add(first, 'more')
    clock.now += command_table.AGAIN
    assert names(table) == ['load', 'more', 'power-off']
    assert read == ['load', 'more']


def test_while_a_disk_is_slow_the_last_look_is_what_there_is(table, first, clock, looks):
    add(first, 'load')
    table.all()
    looks.held = []
    add(first, 'more')
    clock.now += command_table.AGAIN
    before = clock.now
    assert names(table) == ['load', 'power-off']
    waited = clock.now - before
    assert command_table.PATIENCE <= waited < 2 * command_table.PATIENCE
    assert names(table) == ['load', 'power-off']
    assert clock.now - before == waited, 'who asks later waits again for the same look'
    clock.now += command_table.AGAIN
    assert len(looks.held) == 1, 'a second look began before the first was over'
    looks.held[0]()
    assert names(table) == ['load', 'more', 'power-off']


def test_before_the_first_look_is_over_there_are_the_built_in_ones(table, first, looks):
    add(first, 'load')
    looks.held = []
    assert names(table) == ['power-off']


def test_a_look_that_fails_leaves_what_was_seen(table, first, clock, monkeypatch):
    add(first, 'load')
    table.all()

    def fail(*_args):
        raise MemoryError

    monkeypatch.setattr(commands, 'files', fail)
    clock.now += command_table.AGAIN
    with pytest.raises(MemoryError):  # a thread of its own would log it
        table.all()
    assert names(table) == ['load', 'power-off']


def test_a_fault_is_logged_once_and_again_when_it_comes_back(table, first, clock, caplog):
    caplog.set_level(logging.WARNING)
    folder = add(first, 'load', mode=0o644)
    for mode in (None, 0o755, 0o644):
        if mode is not None:
            change_script(folder, mode)
        for _ in range(3):
            clock.now += command_table.AGAIN
            table.all()
    said = [r.getMessage() for r in caplog.records]
    assert said == [f'commands: {first}/load: its default script is not executable'] * 2


def test_a_name_of_any_bytes_can_be_logged(table, first, caplog):
    os.mkdir(os.fsencode(first) + b'/a\xff\nb')
    table.all()
    assert 'a\\udcff\\nb' in caplog.text


def test_a_refresh_looks_at_once(table, first, looks):
    table.all()
    add(first, 'load')
    assert 'load' in table.refresh().commands
    assert names(table) == ['load', 'power-off']
    assert looks.count == 1


def test_by_itself_it_looks_in_a_thread_of_its_own(first, table):
    add(first, 'load')
    mine = threading.get_ident()
    seen = []
    own = command_table.Table(BUILTIN)
    original = command_table._Look.run

    def run(look):
        seen.append(threading.get_ident())
        original(look)

    command_table._Look.run = run
    try:
        while 'load' not in own.snapshot().commands:
            pass
    finally:
        command_table._Look.run = original
    assert seen and mine not in seen
