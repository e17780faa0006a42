"""What ``obmd.db.descriptions`` promises; also run on real servers (tests/functional/db)."""

import uuid

import pytest
import sqlalchemy as sa

from obmd.common import errors
from obmd.db import descriptions
from obmd.db import engine
from obmd.db import models
from obmd.db import nodes

MAC1, MAC2, MAC3 = '52:54:00:00:00:01', '52:54:00:00:00:02', '52:54:00:00:00:03'


@pytest.fixture(autouse=True)
def empty(database):
    for _, node in nodes.page(0, 10000):
        nodes.delete(node.name)


def make(name='n1'):
    return nodes.create(name, 'mock', '', 'sealed', 'key', '', str(uuid.uuid4()), lambda: 1000.0)


def test_of_a_node_that_nothing_was_said_of_all_is_empty():
    assert descriptions.get(make().uuid) == descriptions.Description()
    assert descriptions.Description() == descriptions.Description({}, {}, {}, None, None, ())


def test_what_was_put_is_read():
    node = make()
    values = {
        'properties': {'memory_mb': 512, 'é😀': [1, 2.5, None, True, {'a': []}]},
        'extra': {'note': "'; DROP TABLE nodes; --"},
        'instance_info': {'configdrive': '******'},
        'sealed_instance_info': 's' * 100_000,
        'key_id': 'k' * 16,
    }
    changed = descriptions.change(node.uuid, [MAC2, MAC1], **values)
    assert changed == descriptions.get(node.uuid)
    assert changed == descriptions.Description(**values, ports=(MAC1, MAC2))


def test_what_is_not_given_stays_as_it_is():
    node = make()
    descriptions.change(node.uuid, [MAC1], properties={'a': 1}, extra={'b': 2})
    assert descriptions.change(node.uuid, properties={'c': 3}) == descriptions.Description(
        properties={'c': 3}, extra={'b': 2}, ports=(MAC1,)
    )
    assert descriptions.change(node.uuid, []).ports == ()
    assert descriptions.get(node.uuid).extra == {'b': 2}


def test_a_change_is_seen_in_the_node_s_row():
    node = make()
    descriptions.change(node.uuid, extra={'a': 1}, clock=lambda: 2000.0)
    assert nodes.get('n1').updated_at == 2000.0


def test_another_nodes_address_is_refused_naming_both_and_nothing_is_done():
    one, other = make('n1'), make('n2')
    descriptions.change(one.uuid, [MAC1])
    descriptions.change(other.uuid, [MAC3])
    with pytest.raises(errors.MacTaken, match=f'{MAC1} is a port of node "n1"'):
        descriptions.change(other.uuid, [MAC1, MAC2], extra={'a': 1})
    assert descriptions.get(other.uuid) == descriptions.Description(ports=(MAC3,))


def test_a_nodes_own_addresses_may_be_said_again():
    node = make()
    for macs in ([MAC1, MAC2], [MAC2, MAC1], [MAC2, MAC3, MAC3], [MAC1, MAC2, MAC3]):
        assert descriptions.change(node.uuid, macs).ports == tuple(sorted(set(macs)))


def test_what_a_deleted_node_left_is_nobodys():
    one, other = make('n1'), make('n2')
    descriptions.change(one.uuid, [MAC1])
    left = [{'mac': MAC2, 'node_uuid': 'gone'}, {'mac': MAC3, 'node_uuid': 'gone'}]
    with engine.writer() as session:
        session.execute(sa.insert(models.Port.__table__), left)
    assert descriptions.change(other.uuid, [MAC2]).ports == (MAC2,)
    with engine.writer() as session:
        rows = session.execute(sa.select(models.Port.mac, models.Port.node_uuid)).all()
        session.execute(sa.delete(models.Port.__table__).where(models.Port.mac == MAC3))
    assert {tuple(row) for row in rows} == {
        (MAC1, one.uuid),
        (MAC2, other.uuid),
        (MAC3, 'gone'),
    }


def test_a_node_that_is_gone_takes_nothing():
    node = make()
    nodes.delete('n1')
    with pytest.raises(errors.NotFound):
        descriptions.change(node.uuid, [MAC1], extra={'a': 1})
    assert descriptions.get(node.uuid) == descriptions.Description()


def test_addresses_go_with_their_node():
    first = make()
    descriptions.change(first.uuid, [MAC1], extra={'a': 1})
    nodes.delete('n1')
    assert descriptions.get(first.uuid) == descriptions.Description()
    assert descriptions.change(make('n2').uuid, [MAC1]).ports == (MAC1,)


def test_what_is_sealed_to_another_key_is_found_page_by_page():
    for name in ('n1', 'n2', 'n3'):
        node = make(name)
        key = 'new' if name == 'n2' else 'old'
        descriptions.change(node.uuid, sealed_instance_info=f's-{name}', key_id=key)
    descriptions.change(make('n4').uuid, extra={})
    found, last = [], ''
    while page := descriptions.sealed_to_others('new', last, 1):
        found += page
        last = page[-1][0]
    assert sorted(row[1:] for row in found) == [('n1', 's-n1', 'old'), ('n3', 's-n3', 'old')]


def test_what_was_sealed_anew_meanwhile_is_left_alone():
    node = make()
    descriptions.change(node.uuid, sealed_instance_info='one', key_id='old')
    assert not descriptions.reseal(node.uuid, 'two', 'three', 'new')
    assert descriptions.reseal(node.uuid, 'one', 'two', 'new')
    found = descriptions.get(node.uuid)
    assert (found.sealed_instance_info, found.key_id) == ('two', 'new')


def test_parameters_are_read_of_many_nodes_at_once():
    one, two, none = make('n1'), make('n2'), make('n3')
    descriptions.change(one.uuid, parameters={'ip': '10.0.0.1', 'gpus': [1, 'é'], 'on': True})
    descriptions.change(two.uuid, extra={'a': 1})
    assert descriptions.get(one.uuid).parameters['gpus'] == [1, 'é']
    assert descriptions.get(two.uuid).parameters == descriptions.get(none.uuid).parameters == {}
    assert descriptions.parameters([one.uuid, two.uuid, none.uuid, 'gone']) == {
        one.uuid: {'ip': '10.0.0.1', 'gpus': [1, 'é'], 'on': True}
    }
