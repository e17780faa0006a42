"""``/api/v1/jobs``: who may run what on which nodes, and what is told of it."""

import base64
import json
import uuid

import pytest

from obmd.api import job_events
from obmd.api import jobs as engine
from obmd.api import output
from obmd.common import commands
from obmd.common import errors
from obmd.db import audit
from obmd.db import jobs as job_rows
from obmd.db import node_groups
from obmd.db import nodes
from obmd.db import runs as run_rows
from tests.unit.api.conftest import error

JOBS = '/api/v1/jobs'
COMMANDS = {
    'power-off': commands.Command('power-off', 's', 'd', 'NAME', builtin=True),
    'burn': commands.Command('burn', 's', 'd', 'NAME', 'Sure?', scripts={'hot': '/x/hot.sh'}),
    'tidy': commands.Command('tidy', 's', 'd', '', has_context=False, scripts={'default': '/t'}),
}


class Table:
    def all(self):
        return [COMMANDS[name] for name in sorted(COMMANDS)]

    def get(self, name):
        if name not in COMMANDS:
            raise errors.NotFound('there is no such command')
        return COMMANDS[name]


@pytest.fixture(autouse=True)
def fleet(api, monkeypatch):
    monkeypatch.setattr(engine, 'table', Table())
    for number in range(1, 5):
        nodes.create(f'n{number}', 'mock', '', 'x', 'k', '', str(uuid.uuid4()))
    job_rows.delete([job.uuid for job in job_rows.page()])


def start(api, headers, status=201, **body):
    return api.app.post_json(JOBS, {'command': 'power-off', **body}, headers=headers, status=status)


def delete(api, path, headers, **kwargs):
    headers = {**headers, 'Content-Type': 'application/json'}
    return api.app.request(path, method='DELETE', headers=headers, **kwargs)


# -- making one -----------------------------------------------------------------------------------


def test_a_job_is_a_row_a_node_and_its_owner_is_told(api, admin):
    answer = start(api, admin, nodes='n[1-3]', arguments=['-f', '$(id)'])
    job = answer.json
    assert answer.headers['Location'].endswith(f'{JOBS}/{job["id"]}')
    assert (job['state'], job['status'], job['total'], job['nodes']) == (
        'running',
        None,
        3,
        'n[1-3]',
    )
    assert job['counts'] == {'queued': 3, 'running': 0, 'ended': 0}
    rows = run_rows.of_job(job['id'])
    assert [row.node_name for row in rows] == ['n1', 'n2', 'n3']
    assert job_rows.get(job['id']).arguments == ['-f', '$(id)']
    assert api.conductor.told == [('job_changed', job['id'])]
    assert api.app.get(f'{JOBS}/{job["id"]}', headers=admin).json == job


@pytest.fixture
def no_answer(monkeypatch):
    """The database stores a job, and its answer is lost on the way."""
    create = job_rows.create

    def silent(*args):
        create(*args)
        raise errors.Unavailable('the database does not answer', retry_after=2)

    monkeypatch.setattr(job_rows, 'create', silent)


def test_a_job_that_was_stored_without_an_answer_is_started(api, admin, no_answer):
    answer = start(api, admin, nodes='n1')
    assert [job.uuid for job in job_rows.page()] == [answer.json['id']]


def test_a_job_that_may_be_stored_is_not_asked_for_again(api, admin, no_answer, monkeypatch):
    def get(uuid):
        raise errors.Unavailable('the database does not answer', retry_after=2)

    monkeypatch.setattr(job_rows, 'get', get)
    answer = start(api, admin, status=504, nodes='n1')
    assert error(answer)['kind'] == 'outcome_unknown'
    assert job_rows.page()[0].uuid in error(answer)['reason']
    assert 'Retry-After' not in answer.headers


def test_a_job_that_was_not_stored_may_be_asked_for_again(api, admin, monkeypatch):
    def create(*args):
        raise errors.Unavailable('the database does not answer', retry_after=2)

    monkeypatch.setattr(job_rows, 'create', create)
    assert 'Retry-After' in start(api, admin, status=503, nodes='n1').headers


def test_limits_and_who_the_caller_says_to_be_are_kept(api, admin):
    said = {'limit': 2.0, 'stagger': 0.5, 'timeout': 7, 'request_username': 'bob'}
    job = start(api, admin, nodes='n1', request_uid=1000, **said).json
    assert (job['limit'], job['stagger'], job['timeout']) == (2, 0.5, 7)
    asker = job['requested_by']
    assert (asker['subject'], asker['username'], asker['uid']) == ('admin', 'bob', 1000)


def test_what_is_null_is_not_said(api, admin):
    names = ('arguments', 'limit', 'stagger', 'timeout', 'dry_run', 'request_username')
    start(api, admin, nodes='n1', request_uid=None, **dict.fromkeys(names))


def test_a_command_without_nodes_is_one_run(api, admin):
    job = start(api, admin, command='tidy').json
    assert (job['total'], job['nodes'], job['context_type']) == (1, None, None)


def test_a_group_is_its_nodes(api, admin):
    node_groups.put('pair', 'n[2-3]')
    job = start(api, admin, nodes='@pair').json
    assert [row.node_name for row in run_rows.of_job(job['id'])] == ['n2', 'n3']


@pytest.mark.parametrize(
    ('body', 'status'),
    [
        ({'nodes': 'n[1-9]'}, 404),
        ({'nodes': '@nosuch'}, 404),
        ({'command': 'nosuch', 'nodes': 'n1'}, 404),
        ({'command': '-rf', 'nodes': 'n1'}, 404),
        ({'nodes': 'n[1-'}, 400),
        ({'nodes': 'n[1-999999999]'}, 400),
        ({'nodes': ''}, 400),
        ({'nodes': 'n1!n1'}, 400),
        ({}, 400),
        ({'nodes': None}, 400),
        ({'command': 'tidy', 'nodes': 'n1'}, 400),
        ({'command': None, 'nodes': 'n1'}, 400),
        ({'command': '', 'nodes': 'n1'}, 400),
        ({'nodes': ['n1']}, 400),
        ({'nodes': 'n1', 'arguments': 'x'}, 400),
        ({'nodes': 'n1', 'arguments': [1]}, 400),
        ({'nodes': 'n1', 'arguments': ['a\0b']}, 400),
        ({'nodes': 'n1', 'arguments': ['x'] * 1001}, 400),
        ({'nodes': 'n1', 'limit': 0}, 400),
        ({'nodes': 'n1', 'limit': 1.5}, 400),
        ({'nodes': 'n1', 'limit': True}, 400),
        ({'nodes': 'n1', 'stagger': -1}, 400),
        ({'nodes': 'n1', 'timeout': 0}, 400),
        ({'nodes': 'n1', 'dry_run': 'yes'}, 400),
        ({'nodes': 'n1', 'request_uid': 'x'}, 400),
        ({'nodes': 'n1', 'request_uid': 2**32}, 400),
        ({'nodes': 'n1', 'request_username': 'a\nb'}, 400),
        ({'nodes': 'n1', 'node': 'n2'}, 400),
    ],
)
def test_a_job_that_cannot_be_is_refused_and_nothing_runs(api, admin, body, status):
    answer = start(api, admin, status=status, **body)
    assert error(answer)['reason']
    assert api.conductor.told == []
    assert job_rows.page() == []


def test_all_that_do_not_exist_are_named(api, admin):
    reason = error(start(api, admin, 404, nodes='n1,x7,y8'))['reason']
    assert 'x7' in reason and 'y8' in reason


def test_a_dry_run_tells_what_would_run_where_and_runs_nothing(api, admin):
    api.router.owners['n2'] = errors.Unavailable('nobody has it')
    planned = start(api, admin, 200, command='burn', nodes='n[1-2]', dry_run=True).json
    assert planned['command'] == 'burn'
    assert [run['node'] for run in planned['runs']] == ['n1', 'n2']
    assert planned['runs'][0]['conductor'] == 'host-c1'
    assert planned['runs'][0]['problem']
    assert job_rows.page() == []


# -- rights ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('scopes', 'body', 'status'),
    [
        ({}, {'nodes': 'n1'}, 201),
        ({'commands': ['power-off']}, {'nodes': 'n1'}, 201),
        ({'commands': ['burn']}, {'nodes': 'n1'}, 403),
        ({'nodes': 'n[1-2]'}, {'nodes': 'n[1-2]'}, 201),
        ({'nodes': 'n[1-2]'}, {'nodes': 'n[1-3]'}, 404),
        ({'nodes': 'n[1-2]'}, {'nodes': 'nobody'}, 404),
        ({'nodes': 'n1'}, {'command': 'tidy'}, 403),
        ({'nodes': 'n1', 'commands': ['tidy']}, {'command': 'tidy'}, 201),
        ({'operations': ['power', 'status']}, {'nodes': 'n1'}, 403),
        ({'operations': ['jobs']}, {'nodes': 'n1'}, 201),
    ],
)
def test_a_token_runs_its_commands_on_its_nodes(api, bearer_of, scopes, body, status):
    start(api, bearer_of(**scopes), status, **body)
    assert len(job_rows.page()) == (status == 201)


def test_a_dry_run_needs_the_same_rights(api, bearer_of):
    start(api, bearer_of(nodes='n1'), 404, nodes='n2', dry_run=True)


def test_what_is_refused_is_in_the_audit(api, bearer_of):
    headers = bearer_of(commands=['burn'])
    start(api, headers, 403, nodes='n1')
    entry = audit.page(subject=headers['X-Jti'])[0]
    assert (entry.action, entry.outcome) == ('command power-off', 'forbidden')


def test_a_job_is_seen_by_who_made_it_and_by_the_admin(api, admin, bearer_of):
    mine, other = bearer_of(), bearer_of()
    job = start(api, mine, nodes='n1').json['id']
    for path in ('', '/runs', '/events', '/runs/0/output'):
        api.app.get(f'{JOBS}/{job}{path}', headers=other, status=404)
    delete(api, f'{JOBS}/{job}', other, status=404)
    for who, seen in ((mine, [job]), (other, []), (admin, [job])):
        listed = api.app.get(JOBS, headers=who).json['jobs']
        assert [one['id'] for one in listed] == seen
    api.app.get(f'{JOBS}/{job}', headers=mine, status=200)


def test_commands_are_those_that_the_caller_may_run(api, admin, bearer_of):
    def names(headers):
        listed = api.app.get('/api/v1/commands', headers=headers).json['commands']
        return [command['name'] for command in listed]

    assert names(admin) == ['burn', 'power-off', 'tidy']
    assert names(bearer_of(commands=['burn'])) == ['burn']
    assert names(bearer_of(nodes='n1')) == ['burn', 'power-off']
    api.app.get('/api/v1/commands/tidy', headers=bearer_of(nodes='n1'), status=404)


def test_a_command_says_what_a_user_must_know(api, admin):
    assert api.app.get('/api/v1/commands/burn', headers=admin).json == {
        'name': 'burn',
        'summary': 's',
        'description': 'd',
        'syntax': 'NAME',
        'confirmation': 'Sure?',
        'has_context': True,
        'builtin': False,
        'ranks': ['hot'],
    }


# -- looking and cancelling -----------------------------------------------------------------------


@pytest.mark.parametrize('ident', ['nosuch', '%00', str(uuid.uuid4()), 'x' * 300])
@pytest.mark.parametrize('path', ['', '/runs', '/events', '/runs/0/output'])
def test_another_id_is_404(api, admin, ident, path):
    api.app.get(f'{JOBS}/{ident}{path}', headers=admin, status=404)


def test_jobs_come_in_pages_the_newest_first(api, admin):
    made = [start(api, admin, nodes='n1').json['id'] for _ in range(3)]
    seen, marker = [], ''
    while marker is not None:
        query = f'limit=2&marker={marker}' if marker else 'limit=2'
        page = api.app.get(f'{JOBS}?{query}', headers=admin).json
        seen += [job['id'] for job in page['jobs']]
        marker = page['next']
    assert sorted(seen) == sorted(made)
    api.app.get(f'{JOBS}?marker=nosuch', headers=admin, status=404)
    api.app.get(f'{JOBS}?state=queued', headers=admin, status=400)


def test_runs_come_in_pages_by_position(api, admin):
    job = start(api, admin, nodes='n[1-3]').json['id']
    first = api.app.get(f'{JOBS}/{job}/runs?limit=2', headers=admin).json
    rest = api.app.get(f'{JOBS}/{job}/runs?limit=2&marker={first["next"]}', headers=admin).json
    assert [run['node'] for run in first['runs'] + rest['runs']] == ['n1', 'n2', 'n3']
    assert rest['next'] is None
    assert api.app.get(f'{JOBS}/{job}/runs?state=ended', headers=admin).json['runs'] == []


def test_a_run_tells_where_it_ran_and_how_it_ended(api, admin):
    job = start(api, admin, nodes='n1').json['id']
    run_rows.start(job, [0], 'c7', 1000.0)
    run_rows.end('c7', [run_rows.End(job, 0, 'exited', 3, 'why', 12)], 1001.0)
    (run,) = api.app.get(f'{JOBS}/{job}/runs', headers=admin).json['runs']
    assert (run['conductor'], run['status'], run['reason']) == ('host-c7', 3, 'why')
    assert (run['outcome'], run['output_bytes']) == ('exited', 12)
    assert run['started_at'] == '1970-01-01T00:16:40.000+00:00'
    told = api.app.get(f'{JOBS}/{job}', headers=admin).json
    assert (told['counts']['ended'], told['failed']) == (1, 1)


def test_cancelling_is_told_to_the_owner_and_into_the_audit(api, admin):
    job = start(api, admin, nodes='n1').json['id']
    api.conductor.told.clear()
    answer = delete(api, f'{JOBS}/{job}', admin, status=202)
    assert answer.json['cancelled_at']
    assert api.conductor.told == [('job_changed', job)]
    entry = audit.page(job=job)[0]
    assert (entry.action, entry.outcome) == ('job cancel', 'ok')


@pytest.mark.parametrize('position', ['4', 'x', '-1', '99999999999', '%00', '1.0', '%D9%A3'])
def test_a_run_that_is_not_there_is_404(api, admin, position):
    job = start(api, admin, nodes='n1').json['id']
    api.app.get(f'{JOBS}/{job}/runs/{position}/output', headers=admin, status=404)


# -- streams --------------------------------------------------------------------------------------


class Output:
    """Plays ``obmd.api.output.Output``: gives ``batches``, then says that it is closed."""

    def __init__(self, batches):
        self.batches = list(batches)
        self.asked = None
        self.closed = False

    def __call__(self, services, job, cursor=None, position=None):
        self.asked = (job.uuid, cursor, position)
        return self

    def read(self, timeout):
        found = self.batches.pop(0) if self.batches else []
        self.closed = not self.batches
        return found

    def close(self):
        self.closed = True


def event(kind, data, position=0, cursor=None):
    return output.Event(kind, position, 'n1', data, cursor)


RUN = {'position': 0, 'node': 'n1', 'outcome': None, 'status': None, 'reason': None}
BATCHES = [
    [event('run', {**RUN, 'state': 'running'})],
    [],
    [event('stdout', b'hi\n', cursor='c1'), event('stderr', b'\xff', cursor='c2')],
    [event('gap', 7, cursor='c3')],
    [event('run', {**RUN, 'state': 'ended', 'outcome': 'exited', 'status': 0})],
    [event('job', {'state': 'ended', 'status': 0}, None)],
]


@pytest.fixture
def job(api, admin, monkeypatch):
    made = start(api, admin, nodes='n[1-2]').json['id']
    played = Output(BATCHES)
    monkeypatch.setattr(job_events.output, 'Output', played)
    return made, played


def parse(body):
    found = []
    for block in body.decode().split('\n\n'):
        lines = dict(line.split(': ', 1) for line in block.splitlines() if line != ':')
        if lines:
            found.append((lines['event'], json.loads(lines['data']), lines.get('id')))
    return found


def test_events_are_told_in_their_order_and_end_with_the_job(api, admin, job):
    answer = api.app.get(f'{JOBS}/{job[0]}/events', headers=admin)
    assert answer.headers['Content-Type'] == 'text/event-stream'
    told = parse(answer.body)
    assert [name for name, _, _ in told] == ['run', 'output', 'output', 'gap', 'run', 'job']
    assert told[-1][1] == {'state': 'ended', 'status': 0}
    assert told[3][1] == {'position': 0, 'node': 'n1', 'bytes': 7}
    assert [ident for _, _, ident in told] == [None, 'c1', 'c2', 'c3', None, None]
    assert api.services.slots.taken == 0


def test_a_silent_stream_has_a_comment_now_and_then(api, admin, job):
    assert b'\n\n:\n\n' in api.app.get(f'{JOBS}/{job[0]}/events', headers=admin).body


def test_bytes_that_are_no_text_come_as_they_are_too(api, admin, job):
    told = parse(api.app.get(f'{JOBS}/{job[0]}/events', headers=admin).body)
    assert told[1][1] == {'position': 0, 'node': 'n1', 'stream': 'stdout', 'data': 'hi\n'}
    assert told[2][1]['data'] == '\ufffd'
    assert base64.b64decode(told[2][1]['base64']) == b'\xff'


@pytest.mark.parametrize('how', ['header', 'query'])
def test_a_stream_resumes_behind_the_last_event_that_is_known(api, admin, job, how):
    headers = {**admin, 'Last-Event-ID': 'c2'} if how == 'header' else admin
    query = '?cursor=c2' if how == 'query' else ''
    api.app.get(f'{JOBS}/{job[0]}/events{query}', headers=headers)
    assert job[1].asked == (job[0], 'c2', None)


@pytest.mark.parametrize('cursor', ['x', '[]', 'e30x', '/' * 100, 'W10'])
def test_what_is_no_cursor_is_400(api, admin, cursor):
    made = start(api, admin, nodes='n1').json['id']
    api.app.get(f'{JOBS}/{made}/events?cursor={cursor}', headers=admin, status=400)
    assert api.services.slots.taken == 0


@pytest.mark.parametrize(
    ('query', 'body'),
    [('', b'hi\n\xff'), ('?stream=stdout', b'hi\n'), ('?stream=stderr', b'\xff')],
)
def test_the_output_of_a_run_is_its_bytes_until_it_ends(api, admin, job, query, body):
    answer = api.app.get(f'{JOBS}/{job[0]}/runs/1/output{query}', headers=admin)
    assert answer.body == body
    assert answer.headers['Content-Type'] == 'application/octet-stream'
    assert job[1].asked == (job[0], None, 1)
    assert api.services.slots.taken == 0


def test_streams_of_jobs_count_as_streams(api, admin, conf, job):
    conf(max_streams=1)
    api.services.slots.take()
    api.app.get(f'{JOBS}/{job[0]}/events', headers=admin, status=503)
