"""The Action door: what a ``flight-action`` client asks for and gets."""

import json
import urllib.parse

import pytest

from obmd.api import bearer
from obmd.api import following
from obmd.api import jobs as api_jobs
from obmd.api import output
from obmd.api.doors import action
from obmd.db import access_tokens
from obmd.db import audit
from obmd.db import jobs
from obmd.db import node_groups
from obmd.db import nodes
from obmd.db import runs

KEY = b'what the access tokens of these tests are signed with'
MEDIA_TYPE = 'application/vnd.api+json'


class Output:
    """Plays obmd.api.output.Output: what ``WRITTEN`` says, then the end of the job."""

    WRITTEN = []

    def __init__(self, services, job, cursor=None):
        names = {run.position: run.node_name for run in runs.of_job(job.uuid)}
        self._events = [
            output.Event(kind, position, names[position], data)
            for position, kind, data in self.WRITTEN
        ]
        self.finished = False

    def read(self, timeout):
        self.finished = True
        events, self._events = self._events, []
        return events

    def close(self):
        pass


@pytest.fixture
def written(monkeypatch):
    """Say what jobs write: ``written.append((position, 'stdout', b'...'))``."""
    monkeypatch.setattr(output, 'Output', Output)
    monkeypatch.setattr(Output, 'WRITTEN', [])
    return Output.WRITTEN


@pytest.fixture
def fleet(api):
    for number in range(1, 6):
        nodes.create(f'node0{number}', 'mock', '', 'x', 'k', '', f'uuid-{number}')
    nodes.create('-rf', 'mock', '', 'x', 'k', '', 'uuid-rf')


@pytest.fixture
def commands(tmp_path, conf):
    """A folder of commands: ``uptime``, and ``backup``, which runs on no node."""
    for name, text in (
        ('uptime', 'help: {summary: Load, description: How busy it is}'),
        ('backup', 'help: {summary: Back up, has_context: false}\nconfirmation: Sure?'),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'metadata.yaml').write_text(text)
        script = tmp_path / name / 'default.sh'
        script.write_text('#!/bin/sh\n')
        script.chmod(0o755)
    conf('actions', command_dirs=[str(tmp_path)])
    api_jobs.table.refresh()
    yield
    conf('actions', command_dirs=[])
    api_jobs.table.refresh()


@pytest.fixture
def door(api, fleet, commands, written):
    """Ask as a holder of a token: ``door('GET', '/nodes')``, ``door.told`` of the conductors."""
    api.services.jwt_key = KEY
    api.conductor.job_changed = lambda job: api.conductor.told.append(('job', job.uuid))

    def ask(method, path, document=None, token=None, status=200, **headers):
        token = ask.token if token is None else token
        headers = {'Authorization': f'Bearer {token}', **headers}
        body = b''
        if document is not None:
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            headers.setdefault('Content-Type', MEDIA_TYPE)
        response = api.app.request(
            f'/action{path}', method=method, body=body, headers=headers, expect_errors=True
        )
        assert response.status_int == status, response.body
        return response

    ask.token = issue()
    ask.told = api.conductor.told
    return ask


def issue(**scopes):
    return bearer.issue(KEY, **scopes)[0]


def ticket(command='uptime', kind='nodes', context='node01', **attributes):
    relationships = {'command': {'data': {'type': 'commands', 'id': command}}}
    if kind is not None:
        relationships['context'] = {'data': {'type': kind, 'id': context}}
    data = {'type': 'tickets', 'attributes': attributes, 'relationships': relationships}
    return {'data': data}


def error(response):
    """The one error of an answer, having checked its form."""
    assert response.headers['Content-Type'] == MEDIA_TYPE
    (one,) = response.json['errors']
    assert {'id', 'status', 'title', 'detail'} <= set(one) <= {*one, 'source'}
    assert one['status'] == str(response.status_int)
    assert 'Traceback' not in response.text
    return one


# -- who may ----------------------------------------------------------------------------------

ASKED = [
    ('GET', '/commands'),
    ('GET', '/commands/uptime'),
    ('GET', '/nodes'),
    ('GET', '/nodes/node01'),
    ('GET', '/groups'),
    ('GET', '/groups/node01'),
    ('GET', '/groups/node01/nodes'),
    ('GET', '/tickets'),
    ('POST', '/tickets'),
    ('GET', '/tickets/x'),
    ('DELETE', '/tickets/x'),
    ('GET', '/jobs/x.0'),
    ('GET', '/streaming/tickets/x'),
]


def test_each_route_is_asked_here():
    names = {'x': '{id}', 'x.0': '{id}', 'uptime': '{id}', 'node01': '{id}'}
    asked = {
        (method, '/'.join(names.get(part, part) for part in path.split('/')))
        for method, path in ASKED
    }
    rows = {(m, path.removeprefix('/action')) for path, row in action.ROUTES.items() for m in row}
    assert asked == rows


@pytest.mark.parametrize('credentials', ['', 'Bearer', 'Bearer x.y.z', 'Basic YWRtaW46eA=='])
@pytest.mark.parametrize(('method', 'path'), ASKED)
def test_without_a_good_token_every_route_is_forbidden(door, method, path, credentials):
    response = door(method, path, Authorization=credentials, status=403)
    assert error(response)['title'] == 'Forbidden Error'


@pytest.mark.parametrize(('method', 'path'), ASKED)
def test_a_token_for_other_operations_is_forbidden(door, method, path):
    door(method, path, token=issue(operations=['status', 'nodes']), status=403)


def test_the_admins_credentials_are_no_token(door, admin):
    door('GET', '/nodes', Authorization=admin['Authorization'], status=403)


def test_a_token_is_refused_as_soon_as_it_is_revoked(door):
    token, row = bearer.issue(KEY)
    door('GET', '/nodes', token=token)
    access_tokens.revoke(row.jti, 1.0)
    door('GET', '/nodes', token=token, status=403)


# -- what there is ----------------------------------------------------------------------------


def test_commands_are_listed_as_the_client_reads_them(door):
    response = door('GET', '/commands')
    assert response.headers['Content-Type'] == MEDIA_TYPE
    found = {one['id']: one for one in response.json['data']}
    assert {'uptime', 'backup', 'power-on', 'power-off', 'estate-change'} <= set(found)
    assert found['uptime'] == {
        'type': 'commands',
        'id': 'uptime',
        'attributes': {
            'name': 'uptime',
            'summary': 'Load',
            'description': 'How busy it is',
            'confirmation': None,
            'has-context': True,
            'syntax': 'NAME',
        },
        'links': {'self': '/commands/uptime'},
    }
    backup = found['backup']['attributes']
    assert (backup['has-context'], backup['syntax']) == (False, '')
    assert (backup['confirmation'], backup['description']) == ('Sure?', 'Back up')


def test_a_command_is_shown_or_not_found(door):
    assert door('GET', '/commands/uptime').json['data']['id'] == 'uptime'
    assert error(door('GET', '/commands/zzz', status=404))['detail'] == 'Not Found: command zzz'


def test_a_token_sees_the_commands_that_it_may_run(door):
    token = issue(commands=['uptime'], nodes='node01')
    assert [one['id'] for one in door('GET', '/commands', token=token).json['data']] == ['uptime']
    door('GET', '/commands/power-off', token=token, status=404)
    scoped = {one['id'] for one in door('GET', '/commands', token=issue(nodes='x')).json['data']}
    assert 'uptime' in scoped and 'backup' not in scoped


def test_nodes_have_a_name_and_nothing_else(door):
    found = door('GET', '/nodes').json['data']
    assert [one['id'] for one in found] == ['-rf', *(f'node0{n}' for n in range(1, 6))]
    assert found[1]['attributes'] == {'name': 'node01'}
    assert door('GET', '/nodes/-rf').json['data']['links'] == {'self': '/nodes/-rf'}


def test_a_token_sees_the_nodes_that_it_is_for(door):
    token = issue(nodes='node[01-02]')
    found = door('GET', '/nodes', token=token).json['data']
    assert [one['id'] for one in found] == ['node01', 'node02']
    for path in ('/nodes/node03', '/nodes/zzz'):
        name = path.rpartition('/')[2]
        response = door('GET', path, token=token, status=404)
        assert error(response)['detail'] == f'Not Found: node {name}'


def test_filters_are_by_id(door):
    found = door('GET', '/nodes?filter[id]=node02,zzz,node01').json['data']
    assert [one['id'] for one in found] == ['node01', 'node02']
    found = door('GET', '/commands?filter[id]=uptime').json['data']
    assert [one['id'] for one in found] == ['uptime']


RANGES = ['node[01-03]', 'node0[1-3]', 'node01,node02,node03', 'node[01-05]!node[04-05]']


@pytest.mark.parametrize('text', [*RANGES, 'node[01-03/1]'])
def test_a_group_is_what_a_range_names(door, text):
    path = f'/groups/{urllib.parse.quote(text, safe="")}'
    group = door('GET', path).json['data']
    names = ['node01', 'node02', 'node03']
    assert (group['id'], group['attributes']) == (text, {'name': text})
    assert [one['id'] for one in group['relationships']['nodes']['data']] == names
    assert [one['id'] for one in door('GET', f'{path}/nodes').json['data']] == names
    included = door('GET', f'{path}?include=nodes').json['included']
    assert [one['id'] for one in included] == names


def test_there_are_no_groups_to_list(door):
    assert door('GET', '/groups').json['data'] == []


@pytest.mark.parametrize(
    'text',
    ['zzz', 'zzz[1-3]', 'node[1-', 'node[3-1]', 'node[01-09]', 'node01,,node02', ',', '@nobody']
    + ['n[1-999999999]', 'a' * 2000, 'node*', '%00', '$(id)', '`id`', 'node01 node02'],
)
def test_a_range_that_names_what_is_not_there_is_not_found(door, text):
    path = f'/groups/{urllib.parse.quote(text, safe="%")}'
    detail = error(door('GET', path, status=404))['detail']
    assert detail.startswith('Not Found: group ')


def test_the_missing_ones_of_a_range_are_named(door):
    response = door('GET', '/groups/node[01-07]', status=404)
    assert 'node[06-07]' in error(response)['detail']


@pytest.mark.parametrize(
    'path',
    ['/nodes?sort=name', '/nodes?page[size]=1', '/nodes?filter[name]=x', '/nodes?x=1']
    + ['/nodes?include=jobs', '/commands?include=x', '/groups/node01?include=zzz', '/groups?x']
    + ['/tickets?include=jobs', '/tickets?page[number]=1', '/groups?filter[id]=node01']
    + ['/nodes/node01?include=x', '/tickets/x?include=nodes', '/streaming/tickets/x?include=jobs'],
)
def test_a_parameter_that_means_nothing_is_400_and_named(door, path):
    one = error(door('GET', path, status=400))
    assert one['source']['parameter'] == path.partition('?')[2].partition('=')[0]


@pytest.mark.parametrize(
    ('method', 'path', 'allowed'),
    [
        ('POST', '/nodes', 'GET'),
        ('DELETE', '/commands/uptime', 'GET'),
        ('PATCH', '/tickets/x', 'DELETE, GET'),
        ('PUT', '/tickets', 'GET, POST'),
        ('POST', '/streaming/tickets/x', 'GET'),
    ],
)
def test_another_method_is_405(door, method, path, allowed):
    response = door(method, path, status=405)
    assert response.headers['Allow'] == allowed
    error(response)


@pytest.mark.parametrize('path', ['', '/', '/zzz', '/nodes/', '/tickets/x/jobs', '/node/n1'])
def test_another_path_is_404_in_the_same_form(door, path):
    error(door('GET', path, status=404))


# -- tickets ----------------------------------------------------------------------------------


def test_a_ticket_runs_its_command_on_its_nodes(door):
    response = door(
        'POST',
        '/tickets',
        ticket(
            kind='groups',
            context='node0[1-3]',
            arguments=['-n', "it's"],
            request_username='alice',
            request_uid=1001,
        ),
        status=201,
    )
    data = response.json['data']
    (job,) = [jobs.get(data['id'])]
    assert (job.command, job.arguments, job.door) == ('uptime', ['-n', "it's"], 'action')
    assert (job.context_type, job.context) == ('groups', 'node0[1-3]')
    assert (job.claimed_user, job.claimed_uid) == ('alice', 1001)
    assert [run.node_name for run in runs.of_job(job.uuid)] == ['node01', 'node02', 'node03']
    assert door.told == [('job', job.uuid)]


def test_the_links_of_a_ticket_are_where_the_client_looks(door):
    response = door('POST', '/tickets', ticket(), status=201)
    data = response.json['data']
    assert data['links'] == {
        'self': f'/tickets/{data["id"]}',
        'output_stream': f'/streaming/tickets/{data["id"]}',
    }
    location = urllib.parse.urljoin('http://localhost/action/tickets', response.headers['Location'])
    assert location == f'http://localhost/action/tickets/{data["id"]}'
    assert data['attributes']


def test_attributes_may_have_dashes(door):
    document = ticket(**{'request-username': 'bob', 'request-uid': '7'})
    data = door('POST', '/tickets', document, status=201).json['data']
    job = jobs.get(data['id'])
    assert (job.claimed_user, job.claimed_uid) == ('bob', 7)


def test_a_command_without_nodes_runs_once(door):
    data = door('POST', '/tickets', ticket('backup', None), status=201).json['data']
    (run,) = runs.of_job(data['id'])
    assert run.node_name is None
    assert data['relationships']['context'] == {'data': None}


def test_a_context_that_is_null_is_none(door):
    document = ticket('backup', None)
    document['data']['relationships']['context'] = {'data': None}
    door('POST', '/tickets', document, status=201)


def test_a_node_twice_in_a_range_runs_once(door):
    document = ticket(kind='groups', context='node01,node01,node[01-02]')
    data = door('POST', '/tickets', document, status=201).json['data']
    assert [run.node_name for run in runs.of_job(data['id'])] == ['node01', 'node02']


def test_a_name_that_looks_like_an_option_is_a_name(door):
    door('POST', '/tickets', ticket(context='-rf'), status=201)


def count():
    return len(jobs.page(limit=10000))


REFUSED = {
    'an unknown node': (ticket(context='zzz'), 404, None, 'Not Found: node zzz'),
    'a range as a node': (ticket(context='node01,node02'), 404, None, 'node node01,node02'),
    'an unknown command': (ticket('zzz'), 404, None, 'Not Found: command zzz'),
    'some that are not there': (ticket(kind='groups', context='node[01-07]'), 404, None, '06-07'),
    'no range': (ticket(kind='groups', context='node[1-'), 404, None, 'Not Found: group node[1-'),
    'an absurd range': (ticket(kind='groups', context='n[1-999999999]'), 404, None, 'more than'),
    'no context': (ticket(kind=None), 422, '/data/attributes/context', "can't be blank"),
    'an empty context': (ticket(context=''), 422, '/data/attributes/context', "can't be blank"),
    'a foreign context': (
        ticket(kind='commands', context='uptime'),
        422,
        '/data/attributes/context',
        "can't be blank",
    ),
    'a context too many': (ticket('backup'), 422, '/data/attributes/context', 'must be blank'),
    'a uid that is none': (ticket(request_uid='x'), 422, '/data/attributes/request-uid', 'number'),
    'a uid that is true': (ticket(request_uid=True), 422, '/data/attributes/request-uid', 'number'),
    'a uid that is 1.5': (ticket(request_uid=1.5), 422, '/data/attributes/request-uid', 'number'),
    'a huge uid': (ticket(request_uid=10**30), 422, '/data/attributes/request-uid', '32 bits'),
    'a user that is none': (
        ticket(request_username=7),
        422,
        '/data/attributes/request-username',
        'text',
    ),
    'a long user': (
        ticket(request_username='x' * 256),
        422,
        '/data/attributes/request-username',
        'text',
    ),
    'arguments that are none': (
        ticket(arguments='-n'),
        422,
        '/data/attributes/arguments',
        'list',
    ),
    'an argument that is a number': (
        ticket(arguments=[1]),
        422,
        '/data/attributes/arguments',
        'list',
    ),
    'an argument with NUL': (
        ticket(arguments=['a\0']),
        422,
        '/data/attributes/arguments',
        'NUL',
    ),
    'no command': ({'data': {'type': 'tickets'}}, 422, '/data/attributes/command', 'blank'),
    'a command that is a node': (
        {
            'data': {
                'type': 'tickets',
                'relationships': {'command': {'data': {'type': 'nodes', 'id': 'uptime'}}},
            }
        },
        422,
        '/data/attributes/command',
        'blank',
    ),
    'another type': ({'data': {'type': 'jobs'}}, 409, None, 'tickets'),
    'no type': ({'data': {}}, 409, None, 'tickets'),
    'an id of its own': ({'data': {'type': 'tickets', 'id': 'x'}}, 403, None, 'id'),
    'bad JSON': (b'{"data":', 400, None, 'JSON'),
    'no body': (b'', 400, None, 'empty'),
    'not UTF-8': (b'{"data": "\xff"}', 400, None, 'UTF-8'),
    'a list': ([], 400, None, 'data'),
    'many': ({'data': []}, 400, None, 'data'),
    'attributes that are none': ({'data': {'type': 'tickets', 'attributes': 7}}, 400, None, 'obj'),
    'a relationship that is none': (
        {'data': {'type': 'tickets', 'relationships': {'command': 7}}},
        400,
        None,
        'command',
    ),
    'commands': (
        {'data': {'type': 'tickets', 'relationships': {'command': {'data': []}}}},
        400,
        None,
        'command',
    ),
    'a command id that is a number': (
        {'data': {'type': 'tickets', 'relationships': {'command': {'data': {'type': 'commands'}}}}},
        400,
        None,
        'command',
    ),
    'a huge body': (b' ' * 70000, 413, None, 'longer'),
}


@pytest.mark.parametrize('name', REFUSED)
def test_what_is_refused_says_why_and_runs_nothing(door, name):
    document, status, pointer, said = REFUSED[name]
    before = count()
    one = error(door('POST', '/tickets', document, status=status))
    assert said in one['detail']
    assert one.get('source', {}).get('pointer') == pointer
    assert count() == before and door.told == []


@pytest.mark.parametrize(
    'content_type', ['application/json', '', 'text/plain', f'{MEDIA_TYPE}; ext=x']
)
def test_another_content_type_is_415(door, content_type):
    headers = {'Content-Type': content_type}
    error(door('POST', '/tickets', ticket(), status=415, **headers))


def test_a_token_that_may_not_run_a_command_is_403_and_audited(door):
    token, row = bearer.issue(KEY, commands=['power-status'], label='eve')
    one = error(door('POST', '/tickets', ticket(), token=token, status=403))
    assert 'uptime' in one['detail']
    (entry,) = audit.page(subject=row.jti)
    assert (entry.action, entry.outcome, entry.door) == ('command uptime', 'forbidden', 'action')
    assert entry.nodes is None and entry.label == 'eve'


@pytest.mark.parametrize(
    ('kind', 'context'), [('nodes', 'node03'), ('groups', 'node03'), ('groups', 'node[01-03]')]
)
def test_nodes_that_a_token_is_not_for_are_not_there(door, kind, context):
    before = count()
    token = issue(nodes='node[01-02]')
    response = door('POST', '/tickets', ticket(kind=kind, context=context), token, status=404)
    assert 'node03' in error(response)['detail']
    assert count() == before
    door('POST', '/tickets', ticket(kind='groups', context='node[01-02]'), token, status=201)


def test_a_node_that_a_token_is_not_for_and_one_that_is_not_there_are_one_answer(door):
    token = issue(nodes='node[01-02]')
    document = ticket(kind='groups', context='node[01-07]')
    response = door('POST', '/tickets', document, token, status=404)
    assert error(response)['detail'].endswith('(there is no such node: node[03-07])')


def test_who_else_is_in_a_group_is_not_told(door):
    node_groups.put('all', 'node[01-05]')
    token = issue(nodes='node[01-02]')
    document = ticket(kind='groups', context='@all')
    detail = error(door('POST', '/tickets', document, token, status=404))['detail']
    assert 'node0' not in detail
    door('POST', '/tickets', document, issue(nodes='@all'), status=201)


def test_what_a_range_of_other_nodes_answers_does_not_tell_which_of_them_exist(door):
    token = issue(nodes='node01')
    there, mixed, nowhere = (
        error(door('GET', f'/groups/{text}', token=token, status=404))['detail']
        for text in ('node[02-03]', 'node[03-09]', 'nope[02-03]')
    )
    assert there == nowhere.replace('nope', 'node')
    assert mixed.endswith('(there is no such node: node[03-09])')


def test_a_token_for_nodes_runs_no_command_without_nodes(door):
    door('POST', '/tickets', ticket('backup', None), issue(nodes='node01'), status=403)


def test_a_ticket_is_audited_with_who_asked_from_where(door):
    token, row = bearer.issue(KEY, label='alice')
    document = ticket(kind='groups', context='node0[1-4]', request_username='root', request_uid=0)
    data = door('POST', '/tickets', document, token=token, status=201).json['data']
    (entry,) = audit.page(job=data['id'])
    assert (entry.subject, entry.label, entry.door) == (row.jti, 'alice', 'action')
    assert (entry.action, entry.nodes) == ('command uptime', 'node[01-04]')
    assert (entry.claimed_user, entry.claimed_uid) == ('root', 0)
    assert entry.request_id.startswith('req-')


@pytest.fixture
def made(door):
    """A ticket over two nodes.  :returns: its resource object."""
    document = ticket(kind='groups', context='node0[1-2]')
    return door('POST', '/tickets', document, status=201).json['data']


def end(uuid, *statuses):
    """Play the conductor: the runs of a job end with these statuses."""
    jobs.claim(uuid, 'inc', None, 0)
    runs.start(uuid, range(len(statuses)), 'inc', 1.0)
    runs.end('inc', [runs.End(uuid, n, 'exited', s) for n, s in enumerate(statuses)], 2.0)
    jobs.end(uuid, 'inc', 1, 3.0)


def test_a_ticket_is_shown_with_what_is_asked_for(door, made, written):
    end(made['id'], 0, 7)
    written += [(0, 'stdout', b'up 3 days\n'), (1, 'stderr', b'no \xff\n')]
    path = f'/tickets/{made["id"]}?include=jobs.node,command,context'
    document = door('GET', path).json
    assert document['data']['attributes']['status'] == 7
    found = {(one['type'], one['id']): one for one in document['included']}
    first, second = (found['jobs', f'{made["id"]}.{n}'] for n in range(2))
    shown = {key: first['attributes'][key] for key in ('stdout', 'stderr', 'status')}
    assert shown == {'stdout': 'up 3 days\n', 'stderr': '', 'status': 0}
    assert second['attributes']['status'] == 7
    assert second['attributes']['stderr'] == 'no �\n'
    assert second['relationships']['node'] == {'data': {'type': 'nodes', 'id': 'node02'}}
    assert {key for key, _ in found} == {'jobs', 'nodes', 'commands', 'groups'}
    linked = document['data']['relationships']
    assert [one['id'] for one in linked['jobs']['data']] == [first['id'], second['id']]
    assert linked['context'] == {'data': {'type': 'groups', 'id': 'node0[1-2]'}}


def test_without_being_asked_for_nothing_is_included(door, made):
    document = door('GET', f'/tickets/{made["id"]}').json
    assert 'included' not in document and 'jobs' not in document['data']['relationships']


def test_a_run_that_has_not_ended_has_no_status(door, made):
    one = door('GET', f'/jobs/{made["id"]}.1').json['data']
    assert one['attributes']['status'] is None
    assert one['links'] == {'self': f'/jobs/{made["id"]}.1'}


@pytest.mark.parametrize('id_', ['x', 'x.0', '{}.7', '{}.-1', '{}.', '{}.0.0', '{}.99999999999'])
def test_a_run_that_is_not_there_is_404(door, made, id_):
    error(door('GET', f'/jobs/{id_.format(made["id"])}', status=404))


def test_a_long_output_is_cut_in_a_document(door, made, written):
    written.append((0, 'stdout', b'x' * 200000))
    text = door('GET', f'/jobs/{made["id"]}.0').json['data']['attributes']['stdout']
    assert len(text) < 70000 and 'cut' in text[-100:]


def test_tickets_are_for_the_token_that_made_them(door, made):
    other = issue()
    for method, path in (
        ('GET', f'/tickets/{made["id"]}'),
        ('DELETE', f'/tickets/{made["id"]}'),
        ('GET', f'/streaming/tickets/{made["id"]}'),
        ('GET', f'/jobs/{made["id"]}.0'),
    ):
        detail = error(door(method, path, token=other, status=404))['detail']
        assert detail.startswith('Not Found: ')
    assert door('GET', '/tickets', token=other).json['data'] == []
    assert jobs.get(made['id']).cancelled_at is None


def test_a_token_lists_its_tickets_newest_first(door):
    token = issue()
    made = [door('POST', '/tickets', ticket(), token, status=201).json['data'] for _ in range(3)]
    document = door('GET', '/tickets?include=command,context', token=token).json
    assert {one['id'] for one in document['data']} == {one['id'] for one in made}
    assert [(one['type'], one['id']) for one in document['included']] == [
        ('commands', 'uptime'),
        ('nodes', 'node01'),
    ]
    one = door('GET', f'/tickets?filter[id]={made[0]["id"]}', token=token).json['data']
    assert [found['id'] for found in one] == [made[0]['id']]


def test_a_ticket_can_be_cancelled(door, made):
    response = door('DELETE', f'/tickets/{made["id"]}', status=204)
    assert response.body == b''
    assert jobs.get(made['id']).cancelled_at is not None
    assert [entry.action for entry in audit.page(job=made['id'])][0] == 'job cancel'


def test_one_that_has_ended_is_cancelled_without_effect(door, made):
    end(made['id'], 0, 0)
    door('DELETE', f'/tickets/{made["id"]}', status=204)
    assert jobs.get(made['id']).cancelled_at is None


@pytest.mark.parametrize('id_', ['x', '11111111-1111-1111-1111-111111111111', '%00', '%FF' * 3])
def test_a_ticket_that_is_not_there_is_404(door, id_):
    status = 400 if 'F' in id_ else 404
    door('GET', f'/tickets/{id_}', status=status)
    door('GET', f'/streaming/tickets/{id_}', status=status)


# -- the stream -------------------------------------------------------------------------------


def test_a_stream_is_plain_text_that_proxies_do_not_hold_back(door, made, written):
    written += [(0, 'stdout', b'a\n'), (1, 'stdout', b'b\n')]
    response = door('GET', f'/streaming/tickets/{made["id"]}', Accept='*/*')
    assert response.headers['Content-Type'] == 'text/plain'
    assert response.headers['X-Accel-Buffering'] == 'no'
    assert response.body == b'node01: a\nnode02: b\n'


def test_lines_of_a_single_node_have_no_name(door, written):
    written.append((0, 'stdout', b'a\n'))
    data = door('POST', '/tickets', ticket(), status=201).json['data']
    assert door('GET', f'/streaming/tickets/{data["id"]}').body == b'a\n'


def test_a_group_of_one_node_has_its_name(door, written):
    written.append((0, 'stdout', b'a\n'))
    document = ticket(kind='groups', context='node01')
    data = door('POST', '/tickets', document, status=201).json['data']
    assert door('GET', f'/streaming/tickets/{data["id"]}').body == b'node01: a\n'


def test_streams_are_counted_and_bounded(door, api, made, conf):
    door('GET', f'/streaming/tickets/{made["id"]}')
    assert api.services.slots.taken == 0
    conf(max_streams=1)
    api.services.slots.take()
    response = door('GET', f'/streaming/tickets/{made["id"]}', status=503)
    assert response.headers['Retry-After']
    error(response)


def test_a_stream_is_watched_for_the_end_of_its_token(door, api, made, monkeypatch):
    watched = []
    monkeypatch.setattr(api.services.vigil, 'add', lambda *args: watched.append(args))
    door('GET', f'/streaming/tickets/{made["id"]}')
    ((stream, identity),) = watched
    assert isinstance(stream, following.Following)
    assert identity.subject == jobs.get(made['id']).subject


def test_a_stream_that_cannot_be_opened_takes_no_place(door, api, made, monkeypatch):
    def away(*args):
        raise action.errors.Unavailable('the database does not answer')

    monkeypatch.setattr(output, 'Output', away)
    door('GET', f'/streaming/tickets/{made["id"]}', status=503)
    assert api.services.slots.taken == 0
