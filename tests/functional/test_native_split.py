"""``/api/v1`` where API and conductors are separate: RabbitMQ, PostgreSQL, two workers."""

import pytest

from tests.functional.deployment import Split
from tests.functional.deployment import wait_until
from tests.functional.test_native import Caller
from tests.functional.test_native import lines
from tests.functional.test_native import write_commands
from tests.functional.test_native import written

pytestmark = pytest.mark.needs('initdb')

# so many that no ring gives all of them to one of two conductors
NODES = [f'node{n}' for n in range(1, 17)]
RANGE = 'node[1-16]'


@pytest.fixture(scope='module')
def split(rabbitmq, postgresql, tmp_path_factory):
    folder = tmp_path_factory.mktemp('commands')
    write_commands(folder)
    actions = {'command_dirs': folder, 'allow_same_user': True}
    with Split(rabbitmq, postgresql, config={'actions': actions}) as deployment:
        for name in NODES:
            deployment.register(name, 'mock', {})
        deployment.wait_until_settled()
        yield deployment


@pytest.fixture
def admin(split):
    return Caller(split)


@pytest.fixture
def holder(split, admin):
    def make(**scopes):
        made = admin.send('POST', '/tokens', 201, json=scopes).json()
        caller = Caller(split, made['token'])
        caller.jti = made['jti']
        return caller

    return make


def owners(split):
    told = split.query('SELECT name, owner FROM nodes')
    return dict(line.split('|') for line in told.splitlines())


def test_a_job_runs_once_on_each_node_at_its_own_conductor(split, admin):
    job = admin.start('say', RANGE)
    told = list(admin.events(job))
    assert {name: written(told, name) for name in NODES} == {
        name: f'{name}:\n'.encode() for name in NODES
    }
    runs = admin.send('GET', f'/jobs/{job}/runs').json()['runs']
    assert {run['conductor'] for run in runs} == {'c1', 'c2'}
    assert {run['outcome'] for run in runs} == {'exited'}


def test_the_output_of_each_run_is_found_where_it_is(admin):
    job = admin.start('say', RANGE)
    for position, name in enumerate(NODES):
        path = f'/jobs/{job}/runs/{position}/output?stream=stdout'
        assert admin.send('GET', path).content == f'{name}:\n'.encode()


def test_a_job_is_cancelled_at_every_conductor(admin):
    job = admin.start('hang', RANGE)
    events = admin.events(job)
    begun = set()
    while len(begun) < len(NODES):
        name, data, _ = next(events)
        if name == 'output':
            begun.add(data['node'])
    admin.send('DELETE', f'/jobs/{job}', 202)
    assert list(events)[-1][1]['state'] == 'ended'
    runs = admin.send('GET', f'/jobs/{job}/runs').json()['runs']
    assert {run['outcome'] for run in runs} == {'cancelled'}


def test_a_sweep_and_the_power_of_one_node(holder):
    caller = holder(operations=['status'], nodes='node[1-4]')
    answer = caller.send('GET', '/power', params={'nodes': 'node[1-4]'}, stream=True)
    assert sorted(line['node'] for line in lines(answer)) == NODES[:4]
    assert caller.send('GET', '/nodes/node4/power').json()['node'] == 'node4'
    caller.send('GET', '/nodes/node5/power', 404)


def test_the_boot_device_is_asked_for_at_the_owner(admin):
    for name in NODES:
        admin.send('PUT', f'/nodes/{name}/boot_device', json={'device': 'A'})
        assert admin.send('GET', f'/nodes/{name}/boot_device').json()['device'] == 'A'


def test_a_console_is_passed_on_from_either_conductor(split, admin):
    by_owner = {owner: name for name, owner in owners(split).items()}
    assert len(by_owner) == 2
    for name in by_owner.values():
        answer = admin.send('GET', f'/nodes/{name}/console', stream=True, allow_redirects=False)
        events = lines(answer)
        assert next(events) == {'event': 'state', 'state': 'up'}
        assert next(events)['event'] == 'data'
        answer.close()


def test_a_console_ends_with_the_access_token_wherever_that_is_revoked(admin, holder):
    caller = holder(operations=['console'])
    streams = [
        lines(caller.send('GET', f'/nodes/{name}/console', stream=True)) for name in NODES[:4]
    ]
    for events in streams:
        next(events)
    admin.send('DELETE', f'/tokens/{caller.jti}')
    for events in streams:
        for _ in events:
            pass
    caller.send('GET', f'/nodes/{NODES[0]}/console', 401)


def test_a_conductor_that_stops_hands_its_consoles_and_nodes_over(split, admin):
    name = NODES[0]
    owner = split.owner(name)
    events = lines(admin.send('GET', f'/nodes/{name}/console', stream=True))
    last = next(event for event in events if event['event'] == 'data')['cursor']
    owner.stop()
    try:
        for _ in events:
            pass

        def again():
            answer = split.as_admin(
                'GET', f'/api/v1/nodes/{name}/console', params={'cursor': last}, stream=True
            )
            return answer if answer.status_code == 200 else None

        answer = wait_until(again, what='another owner')
        told = lines(answer)
        # the ring was the other's: nobody knows what is missing
        assert next(told) == {'event': 'state', 'state': 'up'}
        assert next(told) == {'event': 'gap', 'bytes': None}
        answer.close()
        job = admin.start('say', RANGE)
        assert list(admin.events(job))[-1][1] == {'state': 'ended', 'status': 0}
    finally:
        owner.start()
        split.wait_until_settled()
