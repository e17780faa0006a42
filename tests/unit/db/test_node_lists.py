"""What ``obmd.db.node_lists`` promises; also run on real servers (tests/functional/db)."""

import uuid

import pytest

from obmd.db import node_lists
from obmd.db import nodes
from obmd.db import owners
from obmd.db import ranks

NAMES = ['A', 'a', 'a ', 'b1', 'b10', 'b2', 'é']


@pytest.fixture(autouse=True)
def fleet(database):
    for _, node in nodes.page(0, 10000):
        nodes.delete(node.name)
    for name in reversed(NAMES):
        driver, group = ('mock', 'g1') if name.startswith('b') else ('ipmi', 'g2')
        nodes.create(name, driver, '', 's', 'k', group, str(uuid.uuid4()))


def names(**filters):
    return [node.name for node in node_lists.page(**filters)]


def test_nodes_come_by_the_bytes_of_their_names():
    assert names() == NAMES
    assert names(limit=2) == NAMES[:2]
    assert names(after='a', limit=2) == NAMES[2:4]
    assert names(after='zz') == ['é']
    assert names(after='é') == []


def test_filters_are_all_kept():
    b1, b2 = nodes.get('b1'), nodes.get('b2')
    ranks.put(b1.uuid, ['metal', 'x'])
    ranks.put(b2.uuid, ['Metal'])
    owners.claim(b2.uuid, 'c1', None, 0)
    assert names(driver='mock') == ['b1', 'b10', 'b2']
    assert names(conductor_group='g2', after='a') == ['a ', 'é']
    assert names(rank='metal') == ['b1'] and names(rank='Metal') == ['b2']
    assert names(owners=['c1', 'c2']) == ['b2'] and names(owners=[]) == []
    assert names(rank='metal', driver='ipmi') == []


def test_places_of_many_names():
    owners.claim(nodes.get('b2').uuid, 'c1', None, 0)
    missing = [f'm{number}' for number in range(1200)]
    found = {place.name: place for place in node_lists.places([*missing, 'b2', 'A', 'x\0', ''])}
    row = nodes.get('b2')
    assert found.keys() == {'b2', 'A'}
    assert found['b2'] == (row.uuid, 'b2', 'mock', 'g1', 'c1', 1)
