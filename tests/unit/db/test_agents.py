"""What ``obmd.db.agents`` promises; also run on real servers (tests/functional/db)."""

import uuid

import pytest

from obmd.db import agents
from obmd.db import descriptions
from obmd.db import nodes
from obmd.db import owners

MACS = [f'52:54:00:00:00:{number:02x}' for number in range(128)]
TOKEN, OTHER = 'a' * 64, 'b' * 64
SAID = {
    'url': 'https://10.0.0.1:9999',
    'version': '11.0.0',
    'verify_ca': '-----BEGIN CERTIFICATE-----\n' + 'x' * 70_000,
    'status': 'start',
    'status_message': 'é😀',
    'heartbeat_at': 5.5,
}


@pytest.fixture(autouse=True)
def empty(database):
    for _, node in nodes.page(0, 10000):
        nodes.delete(node.name)


def make(name='n1'):
    return nodes.create(name, 'mock', '', 'sealed', 'key', '', str(uuid.uuid4()), lambda: 1000.0)


def issued(name='n1', token=TOKEN):
    node = make(name)
    assert agents.issue_token(node.uuid, token, agents.get(node.uuid).generation, lambda: 2.5)
    return node.uuid


def test_a_node_without_a_row_expects_no_agent_and_has_none():
    found = agents.get(make().uuid)
    assert found == agents.Agent()
    assert not found.is_expected(0)


def test_an_agent_is_expected_until_then():
    node = make()
    assert agents.expect(node.uuid, 100.0)
    found = agents.get(node.uuid)
    assert found == agents.Agent(expect_until=100.0)
    assert [found.is_expected(now) for now in (99.9, 100.0, 101.0)] == [True, False, False]


def test_to_expect_an_agent_begins_anew():
    uuid = issued()
    agents.record([(uuid, TOKEN, SAID)])
    assert agents.expect(uuid, 100.0)
    assert agents.get(uuid) == agents.Agent(expect_until=100.0)
    assert agents.issue_token(uuid, OTHER, agents.get(uuid).generation)


def test_to_expect_none_leaves_the_agent_that_is_there():
    uuid = issued()
    agents.expect(uuid, None)
    assert agents.get(uuid) == agents.Agent(token_hash=TOKEN, token_issued_at=2.5)


def test_a_token_is_issued_once():
    uuid = issued()
    assert not agents.issue_token(uuid, OTHER, agents.get(uuid).generation)
    assert not agents.issue_token(uuid, TOKEN, agents.get(uuid).generation)
    assert agents.get(uuid).token_hash == TOKEN


@pytest.mark.parametrize('had_row', [True, False])
@pytest.mark.parametrize(
    'change',
    [
        agents.forget,
        lambda uuid: agents.expect(uuid, None),
        lambda uuid: agents.expect(uuid, 100.0),
        lambda uuid: [agents.expect(uuid, 100.0), agents.expect(uuid, None)],
    ],
)
def test_who_looked_before_a_change_gets_no_token_after_it(change, had_row):
    node = make()
    if had_row:
        agents.expect(node.uuid, 50.0)
    [(_, seen)] = agents.find_by_uuid(node.uuid)
    change(node.uuid)
    assert not agents.issue_token(node.uuid, TOKEN, seen.generation)
    assert agents.get(node.uuid).token_hash is None
    descriptions.change(node.uuid, MACS[:1])
    for find, by in ((agents.find_by_ident, 'n1'), (agents.find, MACS[:1])):
        [(_, seen)] = find(by)
        assert seen.generation == agents.get(node.uuid).generation > 0
    assert agents.issue_token(node.uuid, TOKEN, seen.generation)


def test_a_node_without_a_row_gives_a_token_to_who_saw_none():
    node = make()
    [(_, seen)] = agents.find_by_uuid(node.uuid)
    assert not agents.issue_token(node.uuid, TOKEN, 1)
    assert agents.issue_token(node.uuid, TOKEN, seen.generation)


def test_a_forgotten_agent_leaves_what_is_expected():
    node = make()
    agents.expect(node.uuid, 100.0)
    agents.issue_token(node.uuid, TOKEN, agents.get(node.uuid).generation)
    agents.record([(node.uuid, TOKEN, SAID)])
    assert agents.forget(node.uuid)
    assert agents.get(node.uuid) == agents.Agent(expect_until=100.0)
    assert not agents.forget(str(uuid.uuid4()))


def test_a_node_that_is_gone_takes_nothing():
    gone = issued()
    nodes.delete('n1')
    assert not agents.expect(gone, 100.0)
    assert not agents.issue_token(gone, TOKEN, agents.get(gone).generation)
    assert not agents.forget(gone)
    assert agents.record([(gone, TOKEN, SAID)]) == set()
    assert agents.get(gone) == agents.Agent()


def test_only_who_has_the_token_is_recorded():
    one, other, without = issued('n1'), issued('n2', OTHER), make('n3').uuid
    beats = [(one, TOKEN, SAID), (other, TOKEN, SAID), (without, TOKEN, SAID)]
    assert agents.record(beats) == {one}
    assert agents.get(one) == agents.Agent(token_hash=TOKEN, token_issued_at=2.5, **SAID)
    assert agents.get(other) == agents.Agent(token_hash=OTHER, token_issued_at=2.5)
    assert agents.get(without) == agents.Agent()


def test_no_token_is_nobodys():
    node = make()
    agents.expect(node.uuid, 100.0)
    assert agents.record([(node.uuid, None, SAID)]) == set()


def test_each_column_that_is_not_given_stays():
    uuid = issued()
    agents.record([(uuid, TOKEN, SAID)])
    assert agents.record([(uuid, TOKEN, {'heartbeat_at': 9.0})]) == {uuid}
    assert agents.record([(uuid, TOKEN, {})]) == {uuid}
    assert agents.get(uuid).heartbeat_at == 9.0
    assert agents.get(uuid).url == SAID['url']


def test_many_are_recorded_each_with_its_own():
    uuids = [issued(f'n{number}') for number in range(12)]
    beats = [(uuid, TOKEN, {'heartbeat_at': float(n % 5)}) for n, uuid in enumerate(uuids)]
    assert agents.record(beats) == set(uuids)
    assert [agents.get(uuid).heartbeat_at for uuid in uuids] == [float(n % 5) for n in range(12)]
    assert agents.record([]) == set()


def test_what_no_text_can_hold_spoils_nobody_elses():
    one, other = issued('n1'), issued('n2')
    beats = [(one, TOKEN, {'status_message': 'a\0\ud800b'}), (other, TOKEN, {'status': 'ok'})]
    assert agents.record(beats) == {one, other}
    assert agents.get(one).status_message == 'a?b'
    assert agents.get(other).status == 'ok'


def test_nodes_are_found_by_their_addresses():
    one, other = make('n1'), make('n2')
    descriptions.change(one.uuid, MACS[:64])
    descriptions.change(other.uuid, MACS[64:])
    assert [node.name for node, _ in agents.find(MACS[:64])] == ['n1']
    assert [node.name for node, _ in agents.find([MACS[64]])] == ['n2']
    assert {node.name for node, _ in agents.find(MACS)} == {'n1', 'n2'}
    assert agents.find(['52:54:00:00:01:00']) == agents.find([]) == []


def test_a_node_is_found_by_uuid_or_name_with_what_decides_on_its_agent():
    one, other = make('n1'), issued('n2')
    agents.expect(one.uuid, 100.0)
    [(node, agent)] = agents.find_by_uuid(one.uuid)
    assert (node.name, agent) == ('n1', agents.Agent(expect_until=100.0))
    assert agents.find_by_uuid('n1') == agents.find_by_uuid(str(uuid.uuid4())) == []
    for ident in ('n2', other, other.upper()):
        [(node, agent)] = agents.find_by_ident(ident)
        assert (node.name, agent) == ('n2', agents.Agent(token_hash=TOKEN))
    for ident in ('N2', 'n2 ', str(uuid.uuid4()), '', 'n\0', '\ud800'):
        assert agents.find_by_ident(ident) == []


def test_a_uuid_counts_before_the_name_of_another():
    ident = str(uuid.uuid4())
    make(ident)
    nodes.create('n2', 'mock', '', 'sealed', 'key', '', ident)
    assert [node.name for node, _ in agents.find_by_ident(ident)] == ['n2']


def test_no_more_than_two_of_them_are_read():
    for number in range(4):
        descriptions.change(make(f'n{number}').uuid, [MACS[number]])
    assert len(agents.find(MACS)) == 2


def test_neither_token_nor_certificate_is_in_what_is_printed():
    assert TOKEN not in repr(agents.Agent(token_hash=TOKEN))


def test_who_owns_the_node_records_and_nobody_else():
    one, other = issued('n1'), issued('n2', OTHER)
    owners.claim(one, 'me', None, 0)
    owners.claim(other, 'another', None, 0)
    beats = [(one, TOKEN, SAID), (other, OTHER, SAID)]
    assert agents.record(beats, 'me') == {one}
    assert agents.get(other).url is None


def test_many_are_read_at_once():
    one, other = issued('n1'), issued('n2', OTHER)
    without = make('n3').uuid
    found = agents.among([one, other, without, 'no such node'])
    assert found == {one: agents.get(one), other: agents.get(other)}
    assert agents.among([]) == {}
