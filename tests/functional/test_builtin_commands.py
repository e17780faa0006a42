"""The built-in commands over ipmi_sim, through the Action door."""

import pytest

from tests.functional import deployment
from tests.functional import flight
from tests.functional.farm import Farm

pytestmark = pytest.mark.needs('ipmi_sim', 'ipmitool')

NODES = 'node[0001-0003]'


@pytest.fixture(scope='module')
def farm():
    with Farm(3, power_on=True) as farm:
        yield farm


@pytest.fixture(scope='module')
def one(farm):
    with deployment.AllInOne() as one:
        for bmc in farm.bmcs:
            one.register_bmc(bmc)
        yield one


@pytest.fixture(scope='module')
def client(one):
    token = flight.manage(one, 'generate-token', '--label', 'alice').strip()
    return flight.Flight(f'{one.url}/action', token)


@pytest.fixture
def run(client):
    """``run(command, nodes)`` gives (sorted lines, list of the exit statuses)."""

    def run(command, nodes, *arguments):
        ticket = client.run(command, nodes, *arguments, group=True)
        lines = sorted(client.print(ticket).decode().splitlines())
        _status, seen = client.ask('GET', f'/tickets/{ticket["id"]}?include=jobs')
        jobs = [one for one in seen['included'] if one['type'] == 'jobs']
        return lines, [one['attributes']['status'] for one in jobs]

    return run


def each(text):
    return [f'node000{number}: {text}' for number in (1, 2, 3)]


def test_power_is_turned_off_on_and_cycled_on_real_sessions(run, one):
    assert run('power-status', NODES) == (each('ON'), [0] * 3)
    assert run('power-off', NODES) == (each('OK'), [0] * 3)
    assert run('power-status', NODES) == (each('OFF'), [123] * 3)
    assert run('power-on', NODES) == (each('OK'), [0] * 3)
    assert one.node('node0001').power() == 'on'
    assert run('power-cycle', NODES) == (each('OK'), [0] * 3)
    assert run('power-status', NODES) == (each('ON'), [0] * 3)


def test_the_event_log_is_printed(run):
    lines, statuses = run('ipmi-sel', NODES)
    assert statuses == [0] * 3
    assert {line.partition(':')[0] for line in lines} == {'node0001', 'node0002', 'node0003'}


def test_a_bmc_that_has_no_machine_type_says_so(run):
    lines, statuses = run('estate-show', 'node0001')
    assert statuses == [1]
    assert 'The default script for estate-show is not supported.' in lines[0]


def test_a_silent_bmc_costs_its_own_node_an_error(run, one, farm):
    one.register('node0004', 'ipmi', {'addr': '127.0.0.1', 'port': 9, 'user': 'a', 'pass': 'b'})
    lines, statuses = run('power-status', 'node[0001-0004]')
    assert sorted(statuses) == [0, 0, 0, 1]
    (said,) = [line for line in lines if line.startswith('node0004: ')]
    assert 'BMC 127.0.0.1:9: ' in said


def test_a_word_too_many_turns_nothing_off(run, one):
    lines, statuses = run('power-off', 'node0001', 'node0002')
    assert statuses == [2]
    assert lines == ['node0001: power-off takes no argument after the node: node0002']
    assert one.node('node0001').power() == 'on'


def test_each_is_listed_with_what_is_asked_before(client):
    _status, listed = client.ask('GET', '/commands')
    found = {one['id']: one['attributes'] for one in listed['data']}
    assert found['power-off']['confirmation'] == 'Power off %{nodes}, confirm to proceed [y/n]?'
    assert found['estate-change']['syntax'] == 'NAME TYPE'
    assert found['power-status']['confirmation'] is None
    assert all(one['has-context'] for one in found.values())
