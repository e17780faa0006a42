"""The Action door of a split installation: tickets over several conductors, through any worker."""

import pytest

from tests.functional import flight

pytestmark = pytest.mark.needs('initdb')


@pytest.fixture(scope='module')
def client(split):
    for number in range(1, 9):
        split.register(f'act{number}', 'mock', {})
    token = split.manage('generate-token', '--nodes', 'act[1-8]', config=split.api_config).strip()
    yield flight.Flight(f'{split.url}/action', token)
    for number in range(1, 9):
        split.unregister(f'act{number}')


def test_a_ticket_runs_on_the_nodes_of_all_conductors(client):
    shown = client.run_and_print('power-on', 'act[1-8]', group=True)
    assert sorted(shown.splitlines()) == [f'act{number}: OK'.encode() for number in range(1, 9)]


def test_a_ticket_is_read_again_through_any_worker(client):
    ticket = client.run('power-on', 'act[1-4]', group=True)
    wanted = [f'act{number}: OK'.encode() for number in range(1, 5)]
    for _ in range(4):
        assert sorted(client.print(ticket).splitlines()) == wanted
    status, document = client.ask('GET', f'/tickets/{ticket["id"]}?include=jobs.node')
    assert status == 200
    ended = [one['attributes'] for one in document['included'] if one['type'] == 'jobs']
    assert [(one['status'], one['stdout']) for one in ended] == [(0, 'OK\n')] * 4


def test_the_result_is_in_the_audit_trail(client, split):
    ticket = client.run('power-on', 'act[1-4]', group=True)
    client.print(ticket)
    told = split.manage('audit', 'list', '--job', ticket['id'], '-f', 'value', '-c', 'Action')
    assert told.splitlines() == ['job end', 'command power-on']
