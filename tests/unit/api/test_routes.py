"""Paths are exact, methods are those of the table, labels are any text."""

import re
import urllib.parse

import pytest

from obmd.api import routes
from tests.unit.api.conftest import error

TOKEN_ROUTES = [
    ('GET', 'console'),
    ('POST', 'power_cycle'),
    ('POST', 'power_on'),
    ('POST', 'power_off'),
    ('PUT', 'boot_device'),
    ('GET', 'power_status'),
]
ADMIN_ROUTES = [
    ('PUT', '/node/{}'),
    ('DELETE', '/node/{}'),
    ('POST', '/node/{}/token'),
    ('DELETE', '/node/{}/token'),
]


@pytest.mark.parametrize('path', list(routes.ROUTES))
def test_each_route_of_the_table_is_found(path):
    for method, function in routes.ROUTES[path].items():
        asked = path.replace('{', '').replace('}', '')
        found, methods, variables = routes.EVERYTHING.find(asked.split('/')[1:])
        assert found == path
        assert variables == {name: name for name in re.findall(r'{(\w+)}', path)}
        assert routes.choose(method, methods) is function


def find(rows, path):
    found, _, variables = routes.Table(dict.fromkeys(rows)).find(path.split('/')[1:])
    return found, variables


def test_a_path_may_have_several_variables():
    rows = ['/jobs/{id}', '/jobs/{id}/runs', '/jobs/{id}/runs/{position}/output']
    found = find(rows, '/jobs/j1/runs/7/output')
    assert found == ('/jobs/{id}/runs/{position}/output', {'id': 'j1', 'position': '7'})


def test_a_fixed_segment_goes_before_a_variable_and_hides_no_other_row():
    rows = ['/jobs/all', '/jobs/{id}', '/jobs/{id}/runs']
    assert find(rows, '/jobs/all') == ('/jobs/all', {})
    assert find(rows, '/jobs/all/runs') == ('/jobs/{id}/runs', {'id': 'all'})


@pytest.mark.parametrize(
    'path',
    [
        '/node',
        '/node/',
        '/node//',
        '/node//token',
        '/node/n1/',
        '/node/n1/token/',
        '/node/n1/token/x',
        '/node/n1/Token',
        '/Node/n1',
        '/node/n1/power_status/',
        '//node/n1',
        '/node/n1/power%2Fstatus',
        '/node/a%2Fb',
        '/node/..%2Fn1/token',
        '/api/v1/power/',
        '/api/v1',
        '/healthz/',
        '/stream/abc',
    ],
)
@pytest.mark.parametrize('method', ['GET', 'PUT', 'POST', 'DELETE'])
def test_any_other_path_is_not_found(api, admin, method, path):
    response = api.app.request(path, method=method, headers=admin, expect_errors=True)
    assert response.status_int == 404
    assert error(response)['kind'] == 'not_found'


@pytest.mark.parametrize('path', list(routes.ROUTES))
@pytest.mark.parametrize('method', ['GET', 'HEAD', 'PUT', 'POST', 'DELETE', 'PATCH', 'OPTIONS'])
def test_another_method_is_405_and_says_which_are_right(api, path, method):
    if method in routes.ROUTES[path]:
        return
    response = api.app.request(path.replace('{id}', 'n1'), method=method, expect_errors=True)
    assert response.status_int == 405
    assert response.headers['Allow'] == ', '.join(sorted(routes.ROUTES[path]))
    if method != 'HEAD' and path not in routes.RAMDISK and not path.startswith('/action'):
        assert error(response)['kind'] == 'method_not_allowed'


@pytest.mark.parametrize(
    'label',
    [
        'n1',
        'n1.example.com',
        'node.json',
        'archive.tar.gz',
        '.',
        '..',
        'a b',
        'nodé',
        '节点',
        'demo-😀',
        'a%b',
        'a?b',
        'a#b',
        'a:b@c',
        'a\'b"c',
        'a\\b',
        '{id}',
        ' ',
        'token',
        'x' * 255,
        '😀' * 255,
        'a\u202eb[1-9],*',
        '+',
    ],
)
def test_any_label_is_a_node_of_its_own(api, admin, label):
    path = '/node/' + urllib.parse.quote(label, safe='')
    api.app.put_json(path, {'type': 'mock', 'info': {}}, headers=admin, status=200)
    token = api.app.post(path + '/token', headers=admin).json['token']
    api.app.get(f'{path}/power_status?token={token}', status=200)
    assert api.conductor.calls[-1] == ('power_status', label)
    api.app.delete(path, headers=admin, status=200)
    api.app.get(f'{path}/power_status?token={token}', status=401)


@pytest.mark.parametrize('label', ['a%0Ab', 'a%09b', 'a%1B%5B2J', 'a%C2%85b', 'a%E2%80%A8b'])
def test_a_label_that_would_forge_a_line_is_refused(api, admin, label):
    mock = {'type': 'mock', 'info': {}}
    answer = api.app.put_json(f'/node/{label}', mock, headers=admin, status=400)
    assert 'control characters' in answer.text


def test_labels_are_compared_as_bytes(api, admin):
    for label in ('Node1', 'node1', 'node1%20', 'nod%C3%A91', 'node%CC%811'):
        api.app.put_json(f'/node/{label}', {'type': 'mock', 'info': {}}, headers=admin)


BAD_LABELS = [
    '%00',
    'n%00x',
    '%FF',
    'n%C3',
    '%ED%A0%80',
    'x' * 256,
    'x' * 300,
    '%F0%9F%98%80' * 256,
]


@pytest.mark.parametrize('label', BAD_LABELS)
@pytest.mark.parametrize(('method', 'path'), ADMIN_ROUTES)
def test_a_label_that_cannot_be_is_400_to_the_admin(api, admin, method, path, label):
    body = b'{"type": "mock", "info": {}}' if method == 'PUT' else b''
    response = api.app.request(
        path.format(label), method=method, body=body, headers=admin, expect_errors=True
    )
    assert response.status_int == 400
    assert error(response)['kind'] == 'invalid_input'


@pytest.mark.parametrize('label', BAD_LABELS)
@pytest.mark.parametrize(('method', 'path'), ADMIN_ROUTES)
def test_a_label_that_cannot_be_is_401_to_anybody_else(api, method, path, label):
    response = api.app.request(path.format(label), method=method, expect_errors=True)
    assert response.status_int == 401


@pytest.mark.parametrize('label', BAD_LABELS)
@pytest.mark.parametrize(('method', 'operation'), TOKEN_ROUTES)
def test_a_label_that_cannot_be_is_401_to_a_token(api, node, method, operation, label):
    response = api.app.request(
        f'/node/{label}/{operation}?token={node}', method=method, expect_errors=True
    )
    assert response.status_int == 401


def test_a_prefix_that_a_proxy_mounts_is_not_part_of_the_path(api, node):
    response = api.app.get(
        f'/node/n1/power_status?token={node}', extra_environ={'SCRIPT_NAME': '/obm'}
    )
    assert response.status_int == 200


def test_the_form_of_an_answer_does_not_depend_on_accept(api, node):
    for accept in ('text/html', 'application/xml', 'text/plain;q=0.1', 'nonsense'):
        response = api.app.get(f'/node/n1/power_status?token={node}', headers={'Accept': accept})
        assert response.body == b'{"power_status":"on"}\n'
