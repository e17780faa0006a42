"""What ``obmd.db.registrations`` promises; also run on real servers (tests/functional/db)."""

import uuid

import pytest

from obmd.common import errors
from obmd.db import agents
from obmd.db import descriptions
from obmd.db import nodes
from obmd.db import owners
from obmd.db import ranks
from obmd.db import registrations

MAC1, MAC2 = '52:54:00:00:00:01', '52:54:00:00:00:02'
OBM = registrations.Obm('ipmi', 'bmc1:623', 'sealed', 'key')


@pytest.fixture(autouse=True)
def empty(database):
    for _, node in nodes.page(0, 10000):
        nodes.delete(node.name)


def make(name='n1', **beside):
    made = registrations.Beside(**beside)
    return registrations.create(name, OBM, 'rack1', str(uuid.uuid4()), made, lambda: 1000.0)


def claimed(node):
    owners.claim(node.uuid, 'c1', None, 0)
    return nodes.get(node.name)


def test_a_node_is_registered_with_what_stands_beside_it():
    node = make(
        columns={'parameters': {'a': 1}}, ports=[MAC1], ranks=['x', 'y'], expect_until=2000.0
    )
    assert (node.name, node.driver, node.conductor_group) == ('n1', 'ipmi', 'rack1')
    assert node == nodes.get('n1')
    assert descriptions.get(node.uuid) == descriptions.Description(
        parameters={'a': 1}, ports=(MAC1,)
    )
    assert ranks.get(node.uuid) == ['x', 'y']
    assert agents.get(node.uuid).expect_until == 2000.0


def test_a_node_whose_port_is_taken_is_not_registered_at_all():
    make(ports=[MAC1])
    with pytest.raises(errors.MacTaken, match='node "n1"'):
        make('n2', ports=[MAC2, MAC1], ranks=['x'])
    assert nodes.get('n2') is None
    assert ranks.members('x') == []


def test_a_name_is_registered_once():
    first = make(ranks=['x'])
    with pytest.raises(errors.NodeExists, match='"n1"'):
        make(ranks=['y'])
    assert ranks.get(first.uuid) == ['x']


def test_what_is_not_given_stays():
    node = claimed(make(columns={'extra': {'a': 1}}, ports=[MAC1], ranks=['x']))
    changed = registrations.change(node.uuid, clock=lambda: 3000.0)
    assert changed.updated_at == 3000.0
    assert (changed.owner, changed.owner_epoch) == ('c1', 1)
    beside = registrations.Beside(columns={'parameters': {'b': 2}}, ranks=[])
    registrations.change(node.uuid, beside=beside)
    assert descriptions.get(node.uuid) == descriptions.Description(
        extra={'a': 1}, parameters={'b': 2}, ports=(MAC1,)
    )
    assert ranks.get(node.uuid) == []


def test_a_new_account_raises_the_epoch_and_opens_the_gate():
    node = claimed(make())
    nodes.refuse_credentials(node.uuid, 'wrong password')
    nodes.set_sol_holder(node.uuid, 'c1', 1, 'c1 10.0.0.9:5')
    nodes.set_target(node.uuid, 'c1', 1, 'on', 2000.0, 'cycle', 'call')
    changed = registrations.change(node.uuid, obm=OBM._replace(sealed_info='other', key_id='k2'))
    assert (changed.owner, changed.owner_epoch) == ('c1', 2)
    assert (changed.sealed_info, changed.key_id) == ('other', 'k2')
    assert changed.credentials_refused is None and changed.credentials_refused_at is None
    assert (changed.sol_holder, changed.target_power_state) == ('c1 10.0.0.9:5', 'on')
    assert not nodes.set_lock(node.uuid, 'c1', 1, 'late')


def test_another_bmc_inherits_nothing_of_the_one_before():
    node = claimed(make())
    nodes.set_sol_holder(node.uuid, 'c1', 1, 'c1 10.0.0.9:5')
    nodes.set_target(node.uuid, 'c1', 1, 'on', 2000.0, 'cycle', 'call')
    changed = registrations.change(node.uuid, obm=OBM._replace(address='bmc2:623'))
    assert (changed.owner, changed.sol_holder) == ('c1', None)
    assert changed.target_power_state is None and changed.target_call_id is None


@pytest.mark.parametrize('change', [{'obm': OBM._replace(driver='mock')}, {'conductor_group': 'b'}])
def test_another_driver_or_group_makes_it_nobodys(change):
    node = claimed(make())
    changed = registrations.change(node.uuid, **change)
    assert (changed.owner, changed.owner_epoch) == (None, 2)


def test_the_same_group_changes_nothing():
    node = claimed(make())
    assert registrations.change(node.uuid, conductor_group='rack1').owner_epoch == 1


def test_a_change_is_done_whole_or_not_at_all():
    make('n1', ports=[MAC1])
    other = make('n2', ranks=['x'])
    beside = registrations.Beside(ports=[MAC1], ranks=['y'], columns={'parameters': {'a': 1}})
    with pytest.raises(errors.MacTaken):
        registrations.change(other.uuid, obm=OBM._replace(driver='mock'), beside=beside)
    assert nodes.get('n2').driver == 'ipmi'
    assert ranks.get(other.uuid) == ['x']


def test_a_node_that_is_gone_is_not_changed():
    node = make()
    nodes.delete('n1')
    with pytest.raises(errors.NotFound):
        registrations.change(node.uuid, beside=registrations.Beside(ranks=['x']))
    assert ranks.members('x') == []


def test_an_agent_is_expected_no_more():
    node = make(expect_until=2000.0)
    registrations.change(node.uuid, beside=registrations.Beside(expect_until=0))
    assert agents.get(node.uuid).expect_until is None
