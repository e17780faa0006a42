import json

import pytest

from tests.unit.client.fake import a_job

RUN = {'node': 'n1', 'state': 'ended', 'outcome': 'lost', 'status': 1, 'reason': 'gone'}
TOKEN = {'jti': 't1', 'state': 'good', 'commands': None, 'nodes': 'n[1-3]', 'operations': ['jobs']}
ENTRY = {'at': '2026-11-20T10:00:00Z', 'subject': 't1', 'label': 'bob', 'action': 'node create'}


@pytest.mark.parametrize(
    ('words', 'path', 'answer', 'expected'),
    [
        ('job list', '/jobs', {'jobs': [a_job()], 'next': None}, {'Id': 'j1', 'State': 'running'}),
        ('job runs j1', '/jobs/j1/runs', {'runs': [RUN], 'next': None}, {'Outcome': 'lost'}),
        ('token list', '/tokens', {'tokens': [TOKEN], 'next': None}, {'Nodes': 'n[1-3]'}),
        ('audit list', '/audit', {'audit': [ENTRY], 'next': 7}, {'Subject': 'bob'}),
        (
            'group list',
            '/groups',
            {'groups': [{'name': 'g', 'nodes': 'n1'}], 'next': None},
            {'Nodes': 'n1'},
        ),
        (
            'driver list',
            '/drivers',
            {'drivers': [{'name': 'ipmi', 'capabilities': ['power']}]},
            {'Capabilities': ['power']},
        ),
        (
            'node events n1',
            '/nodes/n1/event_log',
            {'events': [{'id': 1, 'time': None, 'sensor': 's', 'event': 'Power off'}]},
            {'Event': 'Power off'},
        ),
    ],
)
def test_what_there_is_is_listed(api, obm, words, path, answer, expected):
    api.on('GET', path, answer)
    more = ['--most', '1'] if words == 'audit list' else []
    assert obm.run(*words.split(), *more, '-f', 'json') == 0
    (row,) = json.loads(obm.out)
    assert expected.items() <= row.items()


@pytest.mark.parametrize('page', [{}, [], {'jobs': [{}], 'next': None}, {'jobs': 5}])
def test_an_answer_that_lacks_something_is_told(api, obm, page):
    api.on('GET', '/jobs', (200, page))
    assert obm.run('job', 'list', '-f', 'json') == 1
    assert obm.err == 'obm: the answer is not as it should be: is this obmd, and as new as obm?\n'


def test_an_audit_is_asked_for_what_was_said(api, obm):
    api.on('GET', '/audit', {'audit': [], 'next': None})
    obm.run('audit', 'list', '--since', '2026-11-20', '--node', 'n1')
    (request,) = api.requests
    assert request.query == {'since': '2026-11-20', 'node': 'n1'}


def test_a_job_is_shown_with_its_counts(api, obm):
    api.on('GET', '/jobs/j1', a_job(counts={'queued': 1, 'running': 2, 'ended': 3}, links={}))
    obm.run('job', 'show', 'j1', '-f', 'json')
    shown = json.loads(obm.out)
    assert (shown['runs_running'], 'links' in shown) == (2, False)


@pytest.mark.parametrize(
    ('words', 'node', 'query'),
    [(['n2'], 'n2', 'both'), (['n2', '--stream', 'stderr'], 'n2', 'stderr'), ([], None, 'both')],
)
def test_what_one_node_wrote_is_printed(api, obm, words, node, query):
    runs = [{'node': 'n1', 'position': 0}, {'node': node, 'position': 1}]
    api.on('GET', '/jobs/j1/runs', {'runs': runs, 'next': None})
    api.on('GET', '/jobs/j1/runs/1/output', [b'a\xff', b'b'])
    assert obm.run('job', 'output', 'j1', *words) == 0
    assert obm.stdout.buffer.getvalue() == b'a\xffb'
    assert api.requests[-1].query == {'stream': query}


def test_a_terminal_does_not_obey_what_a_node_wrote(api, obm, monkeypatch):
    api.on('GET', '/jobs/j1/runs', {'runs': [{'node': None, 'position': 0}], 'next': None})
    api.on('GET', '/jobs/j1/runs/0/output', [b'\x1b]52;c;cm0=\x07\xc3', b'\xa4\n'])
    monkeypatch.setattr(obm.stdout, 'isatty', lambda: True)
    assert obm.run('job', 'output', 'j1') == 0
    told = obm.stdout.buffer.getvalue()
    assert b'\x1b' not in told and b'\x07' not in told
    assert told.endswith('ä\n'.encode())


@pytest.mark.parametrize(('words', 'told'), [(['zzz'], 'no node zzz'), ([], 'nodes: say which')])
def test_a_node_that_a_job_does_not_have_is_told(api, obm, words, told):
    api.on('GET', '/jobs/j1/runs', {'runs': [{'node': 'n1', 'position': 0}], 'next': None})
    assert obm.run('job', 'output', 'j1', *words) == 1
    assert told in obm.err


def test_a_job_is_cancelled(api, obm):
    api.on('DELETE', '/jobs/j1', (202, a_job()))
    assert obm.run('job', 'cancel', 'j1') == 0
    assert len(api.requests) == 1


def test_a_token_is_printed_alone(api, obm):
    api.on('POST', '/tokens', (201, {**TOKEN, 'token': 'a.b.c'}))
    words = ['--days', '7', '--label', 'bob', '--commands', 'power-on', 'power-off']
    assert obm.run('token', 'issue', *words, '--nodes', '@lab') == 0
    assert obm.out == 'a.b.c\n'
    assert api.requests[0].value == {
        'days': 7,
        'label': 'bob',
        'commands': ['power-on', 'power-off'],
        'nodes': '@lab',
    }


def test_a_token_is_revoked(api, obm):
    api.on('DELETE', '/tokens/t1', TOKEN)
    assert obm.run('token', 'revoke', 't1') == 0


def test_a_group_is_set_and_deleted(api, obm):
    api.on('PUT', '/groups/lab', (201, {'name': 'lab', 'nodes': 'n[1-3]'}))
    api.on('DELETE', '/groups/lab', (204, b''))
    assert obm.run('group', 'set', 'lab', 'n[1-3]') == 0
    assert obm.run('group', 'delete', 'lab') == 0
    assert [(one.method, one.value) for one in api.requests][0] == ('PUT', {'nodes': 'n[1-3]'})


def test_boot_devices_of_several_are_named(api, obm):
    api.on('GET', '/nodes', {'nodes': [{'name': 'n1'}, {'name': 'n2'}], 'next': None})
    for node in ('n1', 'n2'):
        api.on('PUT', f'/nodes/{node}/boot_device', {'node': node, 'device': 'pxe'})
    assert obm.run('boot', 'set', 'n[1-2]', 'pxe') == 0
    assert sorted(obm.out.splitlines()) == ['n1: pxe', 'n2: pxe']
