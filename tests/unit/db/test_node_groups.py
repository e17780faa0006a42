"""What ``obmd.db.node_groups`` promises; also run on real servers (tests/functional/db)."""

import pytest

from obmd.db import node_groups


@pytest.fixture(autouse=True)
def empty(database):
    for group in node_groups.page():
        node_groups.delete(group.name)


def test_a_group_is_made_replaced_and_deleted():
    assert node_groups.get('rack1') is None
    assert node_groups.put('rack1', 'n[1-9]', clock=lambda: 1000.0)
    assert not node_groups.put('rack1', 'n[1-8]', clock=lambda: 1001.0)
    assert node_groups.get('rack1') == node_groups.Group('rack1', 'n[1-8]', 1001.0)
    assert node_groups.delete('rack1') and not node_groups.delete('rack1')
    assert node_groups.get('rack1') is None


def test_groups_are_told_apart_by_bytes_and_listed_by_name():
    names = ['Rack', 'rack', 'rack ', 'räck']
    for name in reversed(names):
        node_groups.put(name, f'of {name}')
    assert [group.name for group in node_groups.page()] == names
    assert [group.name for group in node_groups.page(after='Rack', limit=2)] == names[1:3]
    assert node_groups.get('rack ').nodes == 'of rack '


@pytest.mark.parametrize('name', ['', 'a\0b', '\ud800', 'x' * 256])
def test_what_cannot_be_a_name_is_no_group(name):
    assert node_groups.get(name) is None
    assert not node_groups.delete(name)
