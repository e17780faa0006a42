"""``/api/v1`` of a real service: jobs and their streams, framed consoles, access tokens."""

import base64
import json
import re
import threading

import pytest
import requests

from tests.functional.deployment import AllInOne
from tests.functional.deployment import wait_until

SCRIPTS = {
    'say': 'printf "%s:%s\\n" "$name" "$*"; echo problem >&2',
    'binary': 'printf "\\377\\000ok"',
    'steps': 'for n in 1 2 3 4 5; do echo $n; sleep 0.3; done',
    'hang': 'echo begun; exec sleep 600',
    'fail': 'case $name in node2) exit 7;; esac',
}
NODES = 'node[1-3]'


def write_commands(folder):
    for name, script in SCRIPTS.items():
        command = folder / name
        command.mkdir()
        (command / 'metadata.yaml').write_text('help: {summary: for tests}\n')
        path = command / 'default.sh'
        path.write_text(f'#!/bin/sh\n{script}\n')
        path.chmod(0o755)


@pytest.fixture(scope='module')
def obmd(tmp_path_factory):
    folder = tmp_path_factory.mktemp('commands')
    write_commands(folder)
    with AllInOne(config={'actions': {'command_dirs': folder}}) as deployment:
        for number in (1, 2, 3):
            deployment.register(f'node{number}', 'mock', {})
        yield deployment


class Caller:
    """The admin, or the holder of an access token."""

    def __init__(self, obmd, token=None):
        self._obmd = obmd
        self._auth = ('admin', obmd.admin_token) if token is None else None
        self._headers = {} if token is None else {'Authorization': f'Bearer {token}'}

    def send(self, method, path, status=200, headers=None, **options):
        headers = {**self._headers, **(headers or {})}
        answer = self._obmd.call(
            method, f'/api/v1{path}', headers=headers, auth=self._auth, **options
        )
        assert answer.status_code == status, answer.text
        return answer

    def start(self, command, nodes=NODES, **body):
        body = {'command': command, 'nodes': nodes, **body}
        return self.send('POST', '/jobs', 201, json=body).json()['id']

    def events(self, job, **options):
        """:returns: iterator of (name, data, id)."""
        return parse(self.send('GET', f'/jobs/{job}/events', stream=True, **options))


def parse(answer):
    event = {}
    for line in answer.iter_lines(chunk_size=1):
        if line.startswith(b':'):
            continue
        if line:
            field, _, value = line.decode().partition(': ')
            event[field] = value
        elif event:
            yield event['event'], json.loads(event['data']), event.get('id')
            event = {}


def written(events, node):
    """:returns: bytes that a node wrote to stdout, of parsed events."""
    parts = [
        base64.b64decode(data['base64']) if 'base64' in data else data['data'].encode()
        for name, data, _ in events
        if name == 'output' and data['node'] == node and data['stream'] == 'stdout'
    ]
    return b''.join(parts)


@pytest.fixture
def admin(obmd):
    return Caller(obmd)


@pytest.fixture
def holder(obmd, admin):
    """``holder(operations=[...])``: :class:`Caller` with a new token, and its ``jti``."""

    def make(**scopes):
        made = admin.send('POST', '/tokens', 201, json=scopes).json()
        caller = Caller(obmd, made['token'])
        caller.jti = made['jti']
        return caller

    return make


# -- jobs -----------------------------------------------------------------------------------------


def test_a_job_tells_what_each_node_wrote_and_how_it_ended(admin):
    job = admin.start('say', arguments=['a b', '$(id)'])
    told = list(admin.events(job))
    for node in ('node1', 'node2', 'node3'):
        assert written(told, node) == f'{node}:a b $(id)\n'.encode()
    assert told[-1][:2] == ('job', {'state': 'ended', 'status': 0})
    runs = admin.send('GET', f'/jobs/{job}/runs').json()['runs']
    assert [(run['node'], run['outcome'], run['status']) for run in runs] == [
        (f'node{n}', 'exited', 0) for n in (1, 2, 3)
    ]


def test_the_end_of_a_run_comes_behind_all_that_it_wrote(admin):
    told = list(admin.events(admin.start('say')))
    ended = {}
    for place, (name, data, _) in enumerate(told):
        if name == 'run' and data['state'] == 'ended':
            ended[data['node']] = place
    for place, (name, data, _) in enumerate(told):
        assert name != 'output' or place < ended[data['node']]


def test_the_status_of_a_job_is_the_largest_of_its_runs(admin):
    job = admin.start('fail')
    assert list(admin.events(job))[-1][1] == {'state': 'ended', 'status': 7}
    shown = admin.send('GET', f'/jobs/{job}').json()
    assert (shown['status'], shown['failed'], shown['counts']['ended']) == (7, 1, 3)


def test_bytes_come_through_as_they_are(admin):
    job = admin.start('binary', 'node1')
    assert written(list(admin.events(job)), 'node1') == b'\xff\x00ok'
    assert admin.send('GET', f'/jobs/{job}/runs/0/output').content == b'\xff\x00ok'


@pytest.mark.parametrize(('stream', 'found'), [('stdout', b'node2:\n'), ('stderr', b'problem\n')])
def test_the_output_of_one_run_can_be_had_alone(admin, stream, found):
    job = admin.start('say')
    answer = admin.send('GET', f'/jobs/{job}/runs/1/output', params={'stream': stream})
    assert answer.content == found


def test_who_comes_back_misses_nothing_and_hears_no_output_twice(admin):
    job = admin.start('steps', 'node1')
    first, last = [], None
    answer = admin.send('GET', f'/jobs/{job}/events', stream=True)
    for event in parse(answer):
        first.append(event)
        if event[0] == 'output':
            last = event[2]
        if len(written(first, 'node1')) >= 4:
            break
    answer.close()
    again = list(admin.events(job, headers={'Last-Event-ID': last}))
    assert written(first + again, 'node1') == b'1\n2\n3\n4\n5\n'
    assert list(admin.events(job, params={'cursor': again[-3][2] or last}))[-1][0] == 'job'


def test_a_job_that_is_cancelled_ends_and_says_so(admin):
    job = admin.start('hang')
    events = admin.events(job)
    begun = set()
    for name, data, _ in events:
        if name == 'output':
            begun.add(data['node'])
        if len(begun) == 3:
            break
    admin.send('DELETE', f'/jobs/{job}', 202)
    assert list(events)[-1][1]['state'] == 'ended'
    runs = admin.send('GET', f'/jobs/{job}/runs').json()['runs']
    assert {run['outcome'] for run in runs} == {'cancelled'}
    admin.send('DELETE', f'/jobs/{job}', 200)


def test_a_reader_who_leaves_gives_his_place_back(admin, obmd):
    def nobody_reads():
        page = requests.get(f'{obmd.url}/metrics', timeout=30).text
        return re.search(r'^obmd_pool_used\{pool="streams"\} 0', page, re.MULTILINE)

    job = admin.start('hang', 'node1')
    for _ in range(3):
        answer = admin.send('GET', f'/jobs/{job}/events', stream=True)
        events = parse(answer)
        next(events)
        assert not nobody_reads()
        answer.close()
    wait_until(nobody_reads, what='the end of the streams')
    admin.send('DELETE', f'/jobs/{job}', 202)


def test_a_dry_run_runs_nothing(admin):
    before = [job['id'] for job in admin.send('GET', '/jobs').json()['jobs']]
    body = {'command': 'say', 'nodes': NODES, 'dry_run': True}
    planned = admin.send('POST', '/jobs', 200, json=body).json()['runs']
    assert [(run['node'], run['executes']) for run in planned] == [
        (f'node{n}', 'default.sh') for n in (1, 2, 3)
    ]
    assert [job['id'] for job in admin.send('GET', '/jobs').json()['jobs']] == before


def test_a_token_sees_its_own_jobs_alone(admin, holder):
    mine, other = holder(commands=['say']), holder()
    job = mine.start('say', 'node1')
    assert list(mine.events(job))[-1][0] == 'job'
    other.send('GET', f'/jobs/{job}', 404)
    other.send('GET', f'/jobs/{job}/events', 404)
    mine.send('POST', '/jobs', 403, json={'command': 'hang', 'nodes': 'node1'})
    entries = admin.send('GET', '/audit', params={'subject': mine.jti}).json()['audit']
    assert {(entry['action'], entry['outcome']) for entry in entries} >= {
        ('command hang', 'forbidden')
    }


# -- nodes ----------------------------------------------------------------------------------------


def test_power_and_boot_device_by_an_access_token(holder):
    caller = holder(operations=['power', 'boot'], nodes='node[1-2]')
    done = caller.send('PUT', '/nodes/node1/power', json={'action': 'on'}).json()
    assert done == {'node': 'node1', 'action': 'on', 'power_status': 'on'}
    caller.send('PUT', '/nodes/node2/boot_device', json={'device': 'B'})
    assert caller.send('GET', '/nodes/node2/boot_device').json()['device'] == 'B'
    caller.send('PUT', '/nodes/node3/power', 404, json={'action': 'on'})
    caller.send('GET', '/nodes/node1/power', 403)


def lines(answer):
    return (json.loads(line) for line in answer.iter_lines(chunk_size=1) if line)


def test_a_console_goes_on_where_it_was_left(admin):
    answer = admin.send('GET', '/nodes/node1/console', stream=True)
    events = lines(answer)
    assert next(events) == {'event': 'state', 'state': 'up'}
    first = next(event for event in events if event['event'] == 'data')
    answer.close()
    answer = admin.send(
        'GET', '/nodes/node1/console', stream=True, params={'cursor': first['cursor']}
    )
    told = next(event for event in lines(answer) if event['event'] == 'data')
    answer.close()
    assert told['offset'] == first['offset'] + len(base64.b64decode(first['data']))


def test_a_console_ends_when_the_token_that_it_is_read_with_is_revoked(admin, holder):
    caller = holder(operations=['console'])
    events = lines(caller.send('GET', '/nodes/node2/console', stream=True))
    next(events)
    ended = threading.Event()

    def read():
        for _ in events:
            pass
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    assert not ended.is_set()
    admin.send('DELETE', f'/tokens/{caller.jti}')
    assert ended.wait(30)
    caller.send('GET', '/nodes/node2/console', 401)


def test_a_console_outlives_the_tokens_of_its_node(admin, obmd):
    answer = admin.send('GET', '/nodes/node3/console', stream=True)
    events = lines(answer)
    next(events)
    obmd.token('node3')
    obmd.token('node3')
    assert [next(events)['event'] for _ in range(300)]
    answer.close()
