"""Which nodes a range names: with groups and ranks, in its order, or with all that are missing."""

import uuid

import pytest

from obmd.api import selection
from obmd.common import errors
from obmd.db import node_groups
from obmd.db import nodes
from obmd.db import ranks


@pytest.fixture(autouse=True)
def fleet(api):
    """n1 to n5; n2 and n4 have the rank ``metal``; ``odd`` is a group."""
    for group in node_groups.page():
        node_groups.delete(group.name)
    for number in range(1, 6):
        made = nodes.create(f'n{number}', 'mock', '', 's', 'k', '', str(uuid.uuid4()))
        if number in (2, 4):
            ranks.put(made.uuid, ['x', 'metal'])
    node_groups.put('odd', 'n[1,3,5]')
    yield
    node_groups.delete('odd')
    node_groups.delete('gone')


def names(text):
    return [node.name for node in selection.select(text)]


def test_nodes_come_in_the_order_of_the_range_each_once():
    assert names('n3,n[1-2],n3') == ['n3', 'n1', 'n2']


def test_a_group_and_a_rank_name_nodes():
    assert names('@odd') == ['n1', 'n3', 'n5']
    assert names('@metal,n1') == ['n2', 'n4', 'n1']
    assert names('n[1-5]!@odd') == ['n2', 'n4']


def test_a_group_goes_before_a_rank_of_the_same_name():
    node_groups.put('gone', 'n1')
    ranks.put(nodes.get('n2').uuid, ['gone'])
    assert names('@gone') == ['n1']
    node_groups.delete('gone')
    assert names('@gone') == ['n2']


def test_all_that_do_not_exist_are_named():
    with pytest.raises(selection.Unknown, match=r'there is no such node: n\[6-9\],zz$') as caught:
        selection.select('n[4-9],zz')
    assert caught.value.names == ['n6', 'n7', 'n8', 'n9', 'zz']
    assert isinstance(caught.value, errors.NotFound)


def test_an_answer_about_thousands_stays_short():
    with pytest.raises(selection.Unknown, match=r'\(15000 in all\)') as caught:
        selection.select(
            ','.join(f'{c}{d}[1-100]x' for c in 'abcdefghij' for d in 'klmnopqrstuvwxy')
        )
    assert len(caught.value.reason) < 1100


def test_a_group_with_a_node_that_is_gone_names_it():
    node_groups.put('gone', 'n[1,77]')
    with pytest.raises(selection.Unknown, match='n77'):
        selection.select('@gone')


def test_a_group_that_does_not_exist_is_named():
    with pytest.raises(errors.NotFound, match='"@nosuch"'):
        selection.select('n1,@nosuch')


def test_a_range_of_nothing_is_refused():
    with pytest.raises(errors.InvalidInput, match='no node'):
        selection.select('n1!n1')


def test_a_rank_of_more_nodes_than_may_be_named_is_refused(conf):
    conf(max_range=1)
    with pytest.raises(errors.InvalidInput, match='more than 1 nodes'):
        selection.select('@metal')


def test_what_a_shell_would_run_is_a_name_that_does_not_exist():
    for text in ('$(id)', '-rf', '`id`', '@../etc'):
        with pytest.raises((errors.NotFound, errors.InvalidInput)):
            selection.select(text)
