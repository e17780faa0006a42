"""What ``obmd.db.nodes`` promises; also run on real servers (tests/functional/db)."""

import dataclasses
import uuid

import pytest

from obmd.common import errors
from obmd.db import nodes
from obmd.db import owners

INC = 'a' * 32
OTHER = 'b' * 32


@pytest.fixture(autouse=True)
def empty(database):
    for _, node in nodes.page(0, 10000):
        nodes.delete(node.name)


def make(name='n1', group='', driver='mock', address='', clock=lambda: 1000.0):
    return nodes.create(name, driver, address, 'sealed', 'key', group, str(uuid.uuid4()), clock)


def test_a_new_node_is_owned_by_nobody_and_has_no_token():
    node = make(group='rack1', address='10.0.0.1')
    assert (node.name, node.driver, node.address) == ('n1', 'mock', '10.0.0.1')
    assert (node.sealed_info, node.key_id, node.conductor_group) == ('sealed', 'key', 'rack1')
    assert (node.owner, node.owner_epoch, node.token_hash, node.token_id) == (None, 0, None, None)
    assert node.created_at == node.updated_at == 1000.0


def test_what_was_created_is_found_by_name_and_uuid():
    node = make()
    assert nodes.get('n1') == nodes.get_by_uuid(node.uuid) == node
    assert nodes.get('n2') is None
    assert nodes.get_by_uuid(str(uuid.uuid4())) is None


def test_a_taken_name_is_refused_and_its_node_left_alone():
    node = make()
    with pytest.raises(errors.NodeExists) as caught:
        make(driver='ipmi')
    assert caught.value.node == 'n1'
    assert nodes.get('n1') == node


LABELS = ['Node1', 'node1', 'node1 ', ' node1', 'nodé1', 'node\u0301', 'NODÉ1', '😀', 'straße']
LABELS += ['STRASSE', 'a/b', '..', "'; DROP TABLE nodes; --", '%', '_', 'x' * 255, '😀' * 255]


def test_names_are_compared_as_bytes():
    made = {label: make(label) for label in LABELS}
    for label, node in made.items():
        assert nodes.get(label) == node
    assert {node.name for node in nodes.by_names(LABELS)} == set(LABELS)
    assert nodes.get('NODE1') is None
    assert nodes.get('node1  ') is None
    assert nodes.delete('node1 ').uuid == made['node1 '].uuid
    assert nodes.get('node1') == made['node1']


@pytest.mark.parametrize('name', ['', 'a\0b', 'x' * 256, '\ud800'])
def test_a_name_that_cannot_be_stored_is_the_callers_mistake(name):
    with pytest.raises(errors.InvalidInput):
        make(name)
    assert nodes.get(name) is None
    assert nodes.delete(name) is None
    assert nodes.by_names([name]) == []
    assert nodes.set_token(name, 'h', 'i') is None
    assert nodes.clear_token(name) is None
    assert nodes.retry_credentials(name) is False


def test_an_address_with_nul_is_the_callers_mistake():
    with pytest.raises(errors.InvalidInput):
        make(address='10.0.0.1\0')


@pytest.mark.parametrize('address', ['\ud800', '\udc80'])
def test_an_address_that_is_no_text_is_the_callers_mistake(address):
    with pytest.raises(errors.InvalidInput):
        make(address=address)


def test_a_deleted_node_is_returned_once():
    node = make()
    assert nodes.delete('n1') == node
    assert nodes.delete('n1') is None
    assert nodes.get('n1') is None


def test_a_name_can_be_registered_again_and_is_another_node():
    first = make()
    nodes.set_token('n1', 'hash', 'id')
    nodes.delete('n1')
    second = make()
    assert second.id != first.id or second.uuid != first.uuid
    assert second.token_hash is None
    assert nodes.standings([first.uuid]) == {}


def test_by_names_takes_more_names_than_fit_one_query(monkeypatch):
    monkeypatch.setattr(nodes, 'CHUNK', 3)
    for number in range(10):
        make(f'n{number}')
    found = nodes.by_names([f'n{number}' for number in range(20)])
    assert {node.name for node in found} == {f'n{number}' for number in range(10)}


def test_a_token_replaces_the_one_before():
    make()
    node = nodes.set_token('n1', 'hash1', 'id1', clock=lambda: 2000.0)
    assert (node.token_hash, node.token_id, node.token_issued_at) == ('hash1', 'id1', 2000.0)
    assert nodes.set_token('n1', 'hash2', 'id2').token_id == 'id2'
    assert nodes.get('n1').token_hash == 'hash2'


def test_a_token_can_be_taken_away_also_when_there_is_none():
    make()
    nodes.set_token('n1', 'hash', 'id')
    for _ in range(2):
        node = nodes.clear_token('n1')
        assert (node.token_hash, node.token_id, node.token_issued_at) == (None, None, None)
    assert nodes.clear_token('n2') is None
    assert nodes.set_token('n2', 'hash', 'id') is None


def test_standings_tell_no_token_from_no_node(monkeypatch):
    monkeypatch.setattr(nodes, 'CHUNK', 2)
    made = [make(f'n{number}') for number in range(5)]
    nodes.set_token('n1', 'hash', 'id')
    gone = str(uuid.uuid4())
    found = nodes.standings([node.uuid for node in made] + [gone])
    tokens = {uuid: standing.token_id for uuid, standing in found.items()}
    assert tokens == {node.uuid: ('id' if node.name == 'n1' else None) for node in made}


def test_standings_tell_the_owner_and_its_epoch():
    first, second = make('n1'), make('n2')
    owners.claim(first.uuid, INC, None, 0)
    found = nodes.standings([first.uuid, second.uuid])
    assert found[first.uuid] == nodes.Standing(None, INC, 1)
    assert found[second.uuid] == nodes.Standing(None, None, 0)


def test_what_the_owner_records_needs_its_epoch():
    node = make()
    epoch = owners.claim(node.uuid, INC, None, 0)
    assert nodes.set_sol_holder(node.uuid, INC, epoch, f'{INC} 10.0.0.2:40000')
    assert not nodes.set_sol_holder(node.uuid, INC, epoch - 1, 'foreign')
    assert not nodes.set_sol_holder(node.uuid, OTHER, epoch, 'foreign')
    assert nodes.get('n1').sol_holder == f'{INC} 10.0.0.2:40000'
    assert owners.release(node.uuid, INC, epoch)
    assert not nodes.set_sol_holder(node.uuid, INC, epoch, 'foreign')
    assert nodes.get('n1').sol_holder == f'{INC} 10.0.0.2:40000'


def test_deferred_work_is_kept_until_it_is_done_or_given_up():
    node = make()
    epoch = owners.claim(node.uuid, INC, None, 0)
    assert nodes.set_target(node.uuid, INC, epoch, 'on', 5000.5, 'soft power cycle', 'call')
    kept = nodes.get('n1')
    assert (kept.target_power_state, kept.target_until) == ('on', 5000.5)
    assert (kept.target_reason, kept.target_call_id) == ('soft power cycle', 'call')
    assert not nodes.clear_target(node.uuid, OTHER, epoch)
    assert nodes.clear_target(node.uuid, INC, epoch, 'the node\0 did not go off')
    given_up = nodes.get('n1')
    assert (given_up.target_power_state, given_up.target_until) == (None, None)
    assert given_up.last_error == 'the node did not go off'
    assert nodes.set_target(node.uuid, INC, epoch, 'on', 6000.0, 'again', 'call2')
    assert nodes.get('n1').last_error is None


def test_refused_credentials_stay_refused_until_an_operator_says_so():
    node = make()
    assert nodes.refuse_credentials(node.uuid, 'wrong password', clock=lambda: 3000.0)
    refused = nodes.get('n1')
    assert (refused.credentials_refused, refused.credentials_refused_at) == (
        'wrong password',
        3000.0,
    )
    assert nodes.retry_credentials('n1')
    assert nodes.get('n1').credentials_refused is None
    assert not nodes.retry_credentials('n2')
    assert not nodes.refuse_credentials(str(uuid.uuid4()), 'x')


def test_only_what_is_still_sealed_as_before_is_replaced():
    node = make()
    assert nodes.reseal(node.uuid, 'sealed', 'anew', 'key2')
    assert not nodes.reseal(node.uuid, 'sealed', 'late', 'key3')
    assert (nodes.get('n1').sealed_info, nodes.get('n1').key_id) == ('anew', 'key2')


def test_pages_cover_every_node_once():
    made = [make(f'n{number}') for number in range(7)]
    seen = []
    last = 0
    while page := nodes.page(last, 3):
        assert len(page) <= 3
        seen += [node for _, node in page]
        last = page[-1][0]
    assert seen == made


def test_groups_are_counted():
    for number, group in enumerate(['', '', 'rack1']):
        make(f'n{number}', group)
    assert nodes.groups() == {'': 2, 'rack1': 1}


GROUPS = ['rack1', 'Rack1', 'rack1 ', 'räck1', '', ' ', '😀' * 255]


def test_groups_are_told_apart_by_their_bytes():
    for number, group in enumerate(GROUPS):
        make(f'n{number}', group)
    assert nodes.groups() == dict.fromkeys(GROUPS, 1)
    for number, group in enumerate(GROUPS):
        assert [one.name for one in owners.claimable(group, ['mock'], [], 10)] == [f'n{number}']


@pytest.mark.parametrize('moment', [1763644140.1234567, 1e-300, 0.1 + 0.2, -1.0, 0.0])
def test_times_come_back_to_the_last_bit(moment):
    node = make(clock=lambda: moment)
    assert nodes.get('n1').created_at == node.created_at == moment
    assert nodes.set_token('n1', 'h', 'i', clock=lambda: moment).token_issued_at == moment


def test_what_is_sealed_may_be_as_long_as_a_request():
    sealed = 's' * (2 * 65536)
    node = nodes.create('n1', 'mock', 'a' * 70000, sealed, 'key', '', str(uuid.uuid4()))
    assert nodes.get('n1') == node
    assert (node.sealed_info, len(node.address)) == (sealed, 70000)


def test_a_write_that_changes_nothing_still_tells_whose_the_node_is():
    node = make()
    assert owners.claim(node.uuid, INC, None, 0) == 1
    for _ in range(2):
        assert nodes.set_sol_holder(node.uuid, INC, 1, 'foreign')
        assert nodes.refuse_credentials(node.uuid, 'no', clock=lambda: 5.0)
        assert nodes.set_token('n1', 'h', 'i', clock=lambda: 5.0).token_id == 'i'
        assert nodes.reseal(node.uuid, 'sealed', 'sealed', 'key')
    assert not nodes.set_sol_holder(node.uuid, OTHER, 1, 'foreign')


@pytest.mark.parametrize(
    'said', ['', '\\ \' " \n \x1a %s %(a)s :x', '😀', 'a\0b', '\ud800', '\udc80']
)
def test_whatever_a_bmc_says_can_be_kept(said):
    node = make()
    assert nodes.refuse_credentials(node.uuid, said)
    kept = nodes.get('n1').credentials_refused
    assert kept == said or ('?' in kept) or kept == 'ab'


def test_claimable_is_what_nobody_or_a_dead_conductor_owns():
    free, live, dead, _, _ = (
        make('free'),
        make('live'),
        make('dead'),
        make('other group', 'rack1'),
        make('other driver', driver='ipmi'),
    )
    owners.claim(live.uuid, INC, None, 0)
    owners.claim(dead.uuid, OTHER, None, 0)

    def names(*arguments, **kwargs):
        return [node.name for node in owners.claimable('', ['mock'], *arguments, **kwargs)]

    assert names([OTHER], 10) == ['free', 'dead']
    assert names([], 10) == ['free']
    assert names([OTHER], 1) == ['free']
    assert names([OTHER], 1, after_id=free.id) == ['dead']
    assert owners.claimable('', [], [OTHER], 10) == []


def test_owners_are_those_of_some_node():
    make('free')
    owners.claim(make('n1').uuid, INC, None, 0)
    owners.claim(make('n2').uuid, INC, None, 0)
    assert owners.incarnations() == {INC}
    assert owners.owns_any(INC)
    assert not owners.owns_any(OTHER)


def test_releasing_all_leaves_others_alone():
    for number in range(3):
        owners.claim(make(f'n{number}').uuid, INC, None, 0)
    other = make('other')
    owners.claim(other.uuid, OTHER, None, 0)
    assert owners.release_all(INC) == 3
    assert owners.owned_by(INC) == []
    assert [node.name for node in owners.owned_by(OTHER)] == ['other']
    assert [node.owner_epoch for _, node in nodes.page(0, 10)] == [1, 1, 1, 1]


def test_a_node_does_not_show_its_secrets():
    make()
    node = nodes.set_token('n1', 'thehash', 'theid')
    for shown in (repr(node), str(node), f'{node}'):
        assert 'thehash' not in shown
        assert 'sealed' not in shown
    with pytest.raises(dataclasses.FrozenInstanceError):
        node.owner = INC


def test_an_identity_is_a_uuid_or_else_a_name():
    node = make()
    for ident in (node.uuid, node.uuid.upper(), 'n1'):
        assert nodes.get_by_ident(ident) == node
    for ident in (node.uuid.replace('-', ''), f'{{{node.uuid}}}', 'N1', '', '\0', 'x' * 256):
        assert nodes.get_by_ident(ident) is None


def test_a_name_may_look_like_a_uuid_unless_it_is_another_nodes():
    node = make()
    name = str(uuid.uuid4())
    assert nodes.get_by_ident(make(name).name) == nodes.get(name)
    for taken in (node.uuid, node.uuid.upper()):
        with pytest.raises(errors.NodeExists, match='the uuid of another node'):
            make(taken)
