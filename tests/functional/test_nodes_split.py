"""Nodes that are changed while several conductors serve them, over RabbitMQ."""

import pytest

from obmd.testing.fleet import Fleet
from tests.functional.deployment import Split
from tests.functional.deployment import wait_until
from tests.functional.test_obmd_door import check_error

pytestmark = pytest.mark.needs('initdb')

NODES = '/api/v1/nodes'
COUNT = 6


@pytest.fixture(scope='module')
def fleet():
    with Fleet(COUNT, power_on=True) as fleet:
        yield fleet


@pytest.fixture(scope='module')
def split(rabbitmq, postgresql, fleet):
    own = {'c2': {'conductor': {'group': 'rack2'}}}
    with Split(rabbitmq, postgresql, workers=2, own=own) as split:
        yield split


@pytest.fixture
def post(split, fleet):
    def post(number, **body):
        obm = {'type': 'ipmi', 'info': fleet.info(number)}
        fields = {'name': f'n{number}', 'obm': obm, **body}
        answer = split.as_admin('POST', NODES, json=fields)
        assert answer.status_code == 201, answer.text
        return answer.json()

    yield post
    for node in split.as_admin('GET', NODES).json()['nodes']:
        split.as_admin('DELETE', f'{NODES}/{node["name"]}', json={})


def patch(split, name, **body):
    answer = split.as_admin('PATCH', f'{NODES}/{name}', json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def power(split, name):
    return split.as_admin('GET', f'{NODES}/{name}/power')


def host_of(split, name):
    return split.as_admin('GET', f'{NODES}/{name}').json()['conductor']


def test_a_password_is_corrected_over_the_bus(split, fleet, post):
    post(0, obm={'type': 'ipmi', 'info': fleet.info(0) | {'pass': 'wrong'}})
    check_error(power(split, 'n0'), 502, 'credentials_refused')
    patch(split, 'n0', obm={'type': 'ipmi', 'info': fleet.info(0)})
    assert power(split, 'n0').json()['power_status'] == 'on'


def test_a_node_moves_to_the_conductors_of_another_group(split, post):
    post(1)
    assert power(split, 'n1').status_code == 200
    assert host_of(split, 'n1') == 'c1'
    patch(split, 'n1', conductor_group='rack2')
    assert power(split, 'n1').json()['power_status'] == 'on'
    wait_until(lambda: host_of(split, 'n1') == 'c2', what='the other conductor')
    found = split.as_admin('GET', NODES, params={'conductor': 'c2'})
    assert [node['name'] for node in found.json()['nodes']] == ['n1']


def test_pages_of_several_api_processes_are_one_list(split, post):
    for number in range(COUNT):
        post(number, ranks=['even' if number % 2 == 0 else 'odd'])
    seen, asked = [], {'limit': 2}
    while asked is not None:
        page = split.as_admin('GET', NODES, params=asked).json()
        seen += [node['name'] for node in page['nodes']]
        asked = {'limit': 2, 'marker': page['next']} if page['next'] else None
    assert seen == [f'n{number}' for number in range(COUNT)]
    found = split.as_admin('GET', NODES, params={'nodes': '@odd'}).json()['nodes']
    assert [node['name'] for node in found] == ['n1', 'n3', 'n5']


def test_an_import_is_noticed_by_the_conductors(split, fleet, post, tmp_path):
    post(2, obm={'type': 'ipmi', 'info': fleet.info(2) | {'pass': 'wrong'}})
    check_error(power(split, 'n2'), 502, 'credentials_refused')
    info = fleet.info(2)
    path = tmp_path / 'nodes.yaml'
    path.write_text(
        f'n2: {{ipmi_username: {info["user"]}, ipmi_password: "{info["pass"]}",'
        f' ipmi_host: {info["addr"]}, ipmi_port: {info["port"]}}}\n'
    )
    assert 'n2: changed: credentials' in split.manage('import-nodes', str(path))
    assert power(split, 'n2').json()['power_status'] == 'on'
