"""Who passes a row of ``/api/v1``, and what of a query reaches its function."""

import pytest

from obmd.api import v1
from obmd.common import errors
from obmd.db import access_tokens
from obmd.db import audit
from obmd.db import node_groups
from tests.unit.api.conftest import error

#: path with names in it, method, body
REQUESTS = {
    (path, method): (path.format(id='n1', position=0), row)
    for path, methods in v1.ROUTES.items()
    for method, row in methods.items()
}
PROTECTED = [key for key, (_, row) in REQUESTS.items() if row.operations is not None]
FOR_TOKENS = [key for key in PROTECTED if REQUESTS[key][1].operations]
ADMINS = [key for key in PROTECTED if not REQUESTS[key][1].operations]
#: a query that each may have
QUERY = {'/api/v1/power': '?nodes=n1'}


def send(api, key, headers=None):
    path, _ = REQUESTS[key]
    method = key[1]
    headers = {**(headers or {}), 'Content-Type': 'application/json'}
    return api.app.request(
        path + QUERY.get(key[0], ''),
        method=method,
        body=b'{}' if method in ('POST', 'PUT', 'PATCH') else b'',
        headers=headers,
        expect_errors=True,
    )


@pytest.mark.parametrize('key', PROTECTED)
def test_nobody_passes_without_credentials(api, node, key):
    answer = send(api, key)
    assert answer.status_int == 401
    assert error(answer)['kind'] == 'unauthorized'
    assert answer.headers['WWW-Authenticate']
    assert api.conductor.calls == []


@pytest.mark.parametrize('key', PROTECTED)
@pytest.mark.parametrize('text', ['', 'x', 'a.b.c', 'e30.e30.'])
def test_a_token_that_is_none_is_401(api, node, key, text):
    assert send(api, key, {'Authorization': f'Bearer {text}'}).status_int == 401


@pytest.mark.parametrize('key', FOR_TOKENS)
def test_a_token_for_other_operations_is_403(api, node, bearer_of, key):
    wanted = REQUESTS[key][1].operations
    others = sorted({'status', 'power', 'boot', 'console', 'nodes', 'jobs'} - set(wanted))
    if not others:
        return
    answer = send(api, key, bearer_of(operations=others))
    assert answer.status_int == 403
    assert wanted[0] in error(answer)['reason']
    assert api.conductor.calls == []


@pytest.mark.parametrize('key', FOR_TOKENS)
def test_a_token_for_one_of_its_operations_passes(api, node, bearer_of, key):
    for operation in REQUESTS[key][1].operations:
        assert send(api, key, bearer_of(operations=[operation])).status_int not in (401, 403)


@pytest.mark.parametrize('key', ADMINS)
def test_what_is_the_admins_is_no_tokens(api, node, bearer_of, key):
    everything = ['status', 'power', 'boot', 'console', 'nodes', 'jobs']
    assert send(api, key, bearer_of(operations=everything)).status_int == 403


NODE_REQUESTS = [key for key in FOR_TOKENS if key[0].startswith('/api/v1/nodes/{id}')]
BODIES = {'power': b'{"action": "on"}', 'boot_device': b'{"device": "A"}'}


@pytest.mark.parametrize('key', NODE_REQUESTS)
def test_a_node_that_a_token_is_not_for_is_as_one_that_is_not_there(api, node, bearer_of, key):
    headers = bearer_of(operations=[REQUESTS[key][1].operations[0]], nodes='m[1-3]')
    headers['Content-Type'] = 'application/json'
    last = key[0].rpartition('/')[2]
    answers = []
    for name in ('n1', 'nobody'):
        path = key[0].format(id=name)
        body = BODIES.get(last, b'{}') if key[1] in ('PUT', 'PATCH') else b''
        answer = api.app.request(
            path, method=key[1], body=body, headers=headers, expect_errors=True
        )
        assert answer.status_int == 404
        answers.append(answer.text.replace(name, '...'))
    assert answers[0] == answers[1]
    assert api.conductor.calls == []


def test_a_sweep_over_nodes_that_a_token_is_not_for_is_404(api, node, bearer_of):
    headers = bearer_of(operations=['status'], nodes='n1')
    answer = api.app.get('/api/v1/power?nodes=n[1-2]', headers=headers, status=404)
    assert 'n2' in error(answer)['reason']


def test_a_sweep_over_a_group_does_not_tell_who_is_in_it(api, node, bearer_of):
    node_groups.put('sec', 'n[1-2]')
    headers = bearer_of(operations=['status'], nodes='n1')
    answer = api.app.get('/api/v1/power?nodes=@sec', headers=headers, status=404)
    node_groups.delete('sec')
    assert 'n2' not in error(answer)['reason']


def test_a_token_that_was_revoked_is_refused_at_once(api, node, bearer_of):
    headers = bearer_of(operations=['status'])
    api.app.get('/api/v1/nodes/n1/power', headers=headers, status=200)
    access_tokens.revoke(headers['X-Jti'], 1.0)
    api.app.get('/api/v1/nodes/n1/power', headers=headers, status=401)


def test_the_conductor_is_told_that_a_token_asks(api, node, bearer_of):
    headers = bearer_of(operations=['power'])
    api.app.put_json('/api/v1/nodes/n1/power', {'action': 'on'}, headers=headers)
    assert api.conductor.kwargs['caller'].who == 'bearer'


def test_a_write_is_in_the_audit_with_who_and_how_it_went(api, node, bearer_of):
    headers = bearer_of(operations=['power'], label='ops')
    api.app.put_json('/api/v1/nodes/n1/power', {'action': 'off'}, headers=headers)
    entry = audit.page(subject=headers['X-Jti'])[0]
    told = (entry.action, entry.nodes, entry.label, entry.outcome, entry.door)
    assert told == ('power off', 'n1', 'ops', 'ok', 'native')


def test_a_write_that_failed_is_in_the_audit_with_why(api, node, admin):
    api.conductor.answers['set_boot_device'] = errors.BmcSilent('no answer')
    path = '/api/v1/nodes/n1/boot_device'
    api.app.put_json(path, {'device': 'A'}, headers=admin, status=504)
    entry = audit.page(subject='admin')[0]
    told = (entry.action, entry.outcome, entry.detail)
    assert told == ('boot device A', 'bmc_silent', 'no answer')


@pytest.mark.parametrize(
    'query',
    [
        'replay=-1',
        'replay=x',
        'replay=1.5',
        'replay=' + '9' * 30,
        'replay=',
        'cursor=',
        'cursor=x',
        'cursor=a:b',
        'cursor=a:1:2%00',
        'takeover=yes',
        'takeover=',
        'takover=true',
        '%00=1',
        '&'.join(['replay=1'] * 100),
    ],
)
def test_a_wrong_parameter_is_400_and_asks_nobody(api, node, admin, query):
    answer = api.app.get(f'/api/v1/nodes/n1/console?{query}', headers=admin, status=400)
    assert error(answer)['kind'] == 'invalid_input'
    assert api.conductor.calls == []
    assert api.services.slots.taken == 0
