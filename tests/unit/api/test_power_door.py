"""``/api/v1/nodes/{id}/power`` and ``.../boot_device``: what is asked of the node's conductor."""

import pytest

from obmd.common import errors
from obmd.db import nodes
from tests.unit.api.conftest import error

POWER = '/api/v1/nodes/n1/power'
BOOT = '/api/v1/nodes/n1/boot_device'
UUID = '6f9619ff-8b86-4d11-b42d-00c04fc964ff'


@pytest.fixture(autouse=True)
def fleet(api, node):
    nodes.create('p', 'picky', '', 'x', 'k', '', UUID)


def test_the_status_is_what_the_bmc_says(api, admin):
    api.conductor.answers['power_status'] = 'off'
    answer = api.app.get(POWER, headers=admin)
    assert answer.json == {'node': 'n1', 'power_status': 'off'}


@pytest.mark.parametrize('ident', ['p', UUID])
def test_a_node_has_its_name_and_its_uuid(api, admin, ident):
    assert api.app.get(f'/api/v1/nodes/{ident}/power', headers=admin).json['node'] == 'p'


@pytest.mark.parametrize(
    ('action', 'call', 'status'),
    [
        ('on', ('set_power', 'n1', 'on'), 'on'),
        ('off', ('set_power', 'n1', 'off'), 'off'),
        ('soft_off', ('set_power', 'n1', 'soft_off'), None),
        ('reset', ('set_power', 'n1', 'reset'), None),
        ('diag', ('set_power', 'n1', 'diag'), None),
        ('cycle', ('power_cycle', 'n1', True), None),
        ('soft_cycle', ('power_cycle', 'n1', False), None),
    ],
)
def test_an_action_is_one_call(api, admin, action, call, status):
    answer = api.app.put_json(POWER, {'action': action}, headers=admin)
    assert answer.json == {'node': 'n1', 'action': action, 'power_status': status}
    assert api.conductor.calls == [call]
    assert api.conductor.kwargs['caller'].who == 'admin'


BAD = [
    {},
    [],
    None,
    'on',
    {'action': None},
    {'action': 'ON'},
    {'action': ['on']},
    {'action': 'explode'},
    {'action': 'on', 'force': True},
]


@pytest.mark.parametrize('body', BAD)
def test_any_other_action_is_400_and_asks_nobody(api, admin, body):
    answer = api.app.put_json(POWER, body, headers=admin, status=400)
    assert error(answer)['kind'] == 'invalid_input'
    assert api.conductor.calls == []


def test_an_unknown_field_is_named(api, admin):
    answer = api.app.put_json(POWER, {'action': 'on', 'froce': 1}, headers=admin, status=400)
    assert 'froce' in error(answer)['reason']


def test_a_form_of_another_page_is_415(api, admin):
    api.app.put(POWER, '{"action": "off"}', headers=admin, status=415)
    assert api.conductor.calls == []


def test_what_the_bmc_did_is_told(api, admin):
    api.conductor.answers['set_power'] = errors.StateNotReached('it stays on')
    answer = api.app.put_json(POWER, {'action': 'off'}, headers=admin, status=504)
    assert error(answer) == {'kind': 'state_not_reached', 'reason': 'it stays on', 'node': 'n1'}


@pytest.mark.parametrize('device', ['A', 'B'])
def test_a_boot_device_is_set(api, admin, device):
    answer = api.app.put_json(BOOT, {'device': device}, headers=admin)
    assert answer.json == {'node': 'n1', 'device': device, 'devices': ['A', 'B']}
    assert api.conductor.calls == [('set_boot_device', 'n1', device)]


@pytest.mark.parametrize('body', [{}, {'device': 1}, {'device': 'C'}, {'device': None}])
def test_any_other_boot_device_is_400_and_asks_nobody(api, admin, body):
    api.app.put_json(BOOT, body, headers=admin, status=400)
    assert api.conductor.calls == []


def test_a_driver_without_boot_devices_is_400(api, admin):
    path = '/api/v1/nodes/p/boot_device'
    answer = api.app.put_json(path, {'device': 'pxe'}, headers=admin, status=400)
    assert error(answer)['kind'] == 'unsupported'


@pytest.mark.parametrize('path', [POWER, BOOT])
def test_the_tokens_of_a_node_are_for_its_own_routes(api, node, path):
    for method in ('get', 'put_json') if path == POWER else ('put_json',):
        body = ({'action': 'on', 'device': 'A'},) if method == 'put_json' else ()
        getattr(api.app, method)(f'{path}?token={node}', *body, status=401)
    assert api.conductor.calls == []


def test_an_unknown_node_is_404(api, admin):
    answer = api.app.get('/api/v1/nodes/nobody/power', headers=admin, status=404)
    assert error(answer)['node'] == 'nobody'


def test_an_unknown_parameter_is_400(api, admin):
    answer = api.app.get(f'{POWER}?dealdine=3', headers=admin, status=400)
    assert 'unknown parameter' in error(answer)['reason']
