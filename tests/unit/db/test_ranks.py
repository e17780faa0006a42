"""What ``obmd.db.ranks`` promises; also run on real servers (tests/functional/db)."""

import uuid

import pytest

from obmd.common import errors
from obmd.db import nodes
from obmd.db import ranks


@pytest.fixture(autouse=True)
def empty(database):
    for _, node in nodes.page(0, 10000):
        nodes.delete(node.name)


def make(name):
    return nodes.create(name, 'mock', '', 'sealed', 'key', '', str(uuid.uuid4())).uuid


def test_ranks_keep_their_order():
    node = make('n1')
    assert ranks.get(node) == []
    ranks.put(node, ['zeta', 'Metal', 'metal', 'métal'])
    assert ranks.get(node) == ['zeta', 'Metal', 'metal', 'métal']
    ranks.put(node, ['metal'])
    assert ranks.get(node) == ['metal']
    ranks.put(node, [])
    assert ranks.get(node) == []


def test_a_change_is_seen_in_the_node_s_row():
    ranks.put(make('n1'), ['a'], clock=lambda: 2000.0)
    assert nodes.get('n1').updated_at == 2000.0


def test_members_are_told_apart_by_bytes_and_sorted_by_name():
    for name, of_node in (('n2', ['metal']), ('n10', ['x', 'metal']), ('n3', ['Metal'])):
        ranks.put(make(name), of_node)
    assert ranks.members('metal') == ['n10', 'n2']
    assert ranks.members('metal', limit=1) == ['n10']
    assert ranks.members('none') == ranks.members('a\0b') == ranks.members('') == []
    assert ranks.counts() == {'metal': 2, 'x': 1, 'Metal': 1}


def test_ranks_of_many_nodes_are_read_at_once():
    one, two, none = make('n1'), make('n2'), make('n3')
    ranks.put(one, ['b', 'a'])
    ranks.put(two, ['c'])
    assert ranks.among([one, two, none, 'gone']) == {one: ['b', 'a'], two: ['c']}


def test_ranks_go_with_their_node():
    node = make('n1')
    ranks.put(node, ['a'])
    nodes.delete('n1')
    assert ranks.get(node) == ranks.members('a') == []
    with pytest.raises(errors.NotFound):
        ranks.put(node, ['a'])
    assert ranks.get(node) == []
