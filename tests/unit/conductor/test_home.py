import json
import os

import pytest

from obmd.common import errors
from obmd.conductor import home


@pytest.fixture
def make(tmp_path):
    made = []

    def make(folder='state', host='host-1'):
        made.append(home.Home(str(tmp_path / folder), host))
        return made[-1]

    yield make
    for one in made:
        one.leave()


def identity(one):
    """:returns: what it says of itself; it is left again."""
    try:
        return one.take()
    finally:
        one.leave()


def test_each_start_of_one_folder_is_at_home(make):
    first = identity(make())
    assert len(first) == 32
    assert identity(make()) == first


@pytest.mark.parametrize('other', [{'folder': 'elsewhere'}, {'host': 'host-2'}])
def test_another_folder_or_name_is_another_home(make, other):
    assert identity(make()) != identity(make(**other))


def test_another_machine_is_another_home(make, monkeypatch, tmp_path):
    first = identity(make())
    (tmp_path / 'machine-id').write_text('0' * 32 + '\n')
    monkeypatch.setattr(home, 'MACHINE_ID', str(tmp_path / 'machine-id'))
    assert identity(make()) != first


def test_a_folder_that_was_emptied_is_another_home(make, tmp_path):
    """In a container, its path and the machine's id may be those of others."""
    first = identity(make())
    os.unlink(tmp_path / 'state' / home.LOCK_FILE)
    assert identity(make()) != first


@pytest.mark.parametrize('text', ['', 'x', '[]', '{}', '{"id": 5, "host": "a"}', '\xff', '{"id"'])
def test_a_damaged_file_is_written_anew(make, tmp_path, text):
    os.makedirs(tmp_path / 'state')
    path = tmp_path / 'state' / home.LOCK_FILE
    path.write_bytes(text.encode('latin-1'))
    first = identity(make())
    assert identity(make()) == first
    assert set(json.loads(path.read_text())) == {'id', 'host', 'pid'}


def test_a_second_one_is_refused_and_the_first_named(make):
    make().take()
    with pytest.raises(errors.Fatal, match=f'host-1, process {os.getpid()}') as taken:
        make(host='another').take()
    assert 'conductor.lock locked' in taken.value.reason


def test_what_was_left_can_be_taken_again(make):
    first = make()
    first.take()
    first.leave()
    first.leave()
    make().take()


def test_a_path_that_cannot_be_made_is_refused(make, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(errors.Fatal, match='state_path'):
        make(folder='file/state').take()
