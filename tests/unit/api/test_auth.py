"""Who may: Basic for the admin, the token in the query for everybody else."""

import base64

import pytest

from obmd.api import auth
from obmd.api import http
from obmd.common import errors
from obmd.common import secrets
from obmd.db import nodes
from tests.unit.api.conftest import ADMIN_TOKEN
from tests.unit.api.conftest import basic
from tests.unit.api.conftest import error
from tests.unit.api.test_routes import ADMIN_ROUTES
from tests.unit.api.test_routes import TOKEN_ROUTES


def encoded(text):
    return 'Basic ' + base64.b64encode(text).decode()


BAD_CREDENTIALS = [
    None,
    '',
    'Basic',
    'Basic ',
    'Basic !!!',
    'Basic ' + base64.b64encode(f'admin:{ADMIN_TOKEN}'.encode()).decode()[:-4],
    'Bearer ' + ADMIN_TOKEN,
    'Digest username="admin"',
    encoded(b'admin'),
    encoded(b'admin:'),
    encoded(b':' + ADMIN_TOKEN.encode()),
    encoded(b'root:' + ADMIN_TOKEN.encode()),
    encoded(b'Admin:' + ADMIN_TOKEN.encode()),
    encoded(b'admin:' + b'0' * 32),
    encoded(b'admin:' + b'f' * 32),
    encoded(b'admin:' + ADMIN_TOKEN.encode() + b'\n'),
    encoded(b'admin:' + ADMIN_TOKEN.encode() + b'00'),
    encoded(b'admin:' + ADMIN_TOKEN.encode()[:-1]),
    encoded(b'admin:' + 'é'.encode() * 16),
    encoded(b'\xff\xfe:\x00'),
    encoded(b'admin:' + b'a' * 100000),
]


@pytest.mark.parametrize('credentials', BAD_CREDENTIALS)
@pytest.mark.parametrize(('method', 'path'), ADMIN_ROUTES)
def test_an_admin_route_asks_for_credentials(api, method, path, credentials):
    headers = {} if credentials is None else {'Authorization': credentials}
    response = api.app.request(
        path.format('n1'), method=method, headers=headers, expect_errors=True
    )
    assert response.status_int == 401
    assert response.headers['WWW-Authenticate'].startswith('Basic realm="obmd"')
    assert error(response)['kind'] == 'unauthorized'


def test_credentials_are_judged_before_the_body(api):
    api.app.put('/node/n1', b'{' * 70000, status=401)


def test_the_admin_token_is_taken_in_either_case(api):
    for password in (ADMIN_TOKEN, ADMIN_TOKEN.upper()):
        api.app.delete('/node/n1', headers=basic(password=password), status=200)


def test_the_name_of_the_scheme_is_taken_in_any_case(api, admin):
    text = admin['Authorization'].split()[1]
    for scheme in ('basic', 'BASIC'):
        api.app.delete('/node/n1', headers={'Authorization': f'{scheme} {text}'}, status=200)


BAD_TOKENS = [
    '',
    'token',
    'token=',
    'token=x',
    'token=' + 'a' * 31,
    'token=' + 'a' * 33,
    'token=' + 'g' * 32,
    'token=%00' + 'a' * 31,
    'token=' + 'a' * 32 + '%0A',
    'token=%FF%FE',
    'Token=' + 'a' * 32,
    'token=&token=' + 'a' * 32,
    '&'.join(['x=1'] * 100),
]


@pytest.mark.parametrize('query', BAD_TOKENS)
@pytest.mark.parametrize(('method', 'operation'), TOKEN_ROUTES)
def test_a_missing_or_malformed_token_is_401(api, node, method, operation, query):
    response = api.app.request(f'/node/n1/{operation}?{query}', method=method, expect_errors=True)
    assert response.status_int == 401
    assert error(response)['kind'] == 'unauthorized'
    assert 'WWW-Authenticate' not in response.headers


@pytest.mark.parametrize(('method', 'operation'), TOKEN_ROUTES)
def test_a_wrong_token_and_an_unknown_node_are_one_answer(api, node, method, operation):
    answers = []
    for label in ('n1', 'nobody'):
        response = api.app.request(
            f'/node/{label}/{operation}?token={"f" * 32}',
            method=method,
            body=b'not json',
            expect_errors=True,
        )
        response.headers.pop('X-Openstack-Request-Id')
        answers.append((response.status_int, response.body, sorted(response.headers.items())))
    assert answers[0] == answers[1]
    assert answers[0][0] == 401
    assert api.conductor.calls == []


def test_an_unknown_node_costs_the_same_comparison(api, node, monkeypatch):
    compared = []
    real = secrets.matches
    monkeypatch.setattr(secrets, 'matches', lambda *a: compared.append(a) or real(*a))
    api.app.get(f'/node/n1/power_status?token={"f" * 32}', status=401)
    api.app.get(f'/node/nobody/power_status?token={"f" * 32}', status=401)
    assert [stored is None for _token, stored in compared] == [False, True]


def test_the_first_token_counts(api, node):
    wrong = 'f' * 32
    api.app.get(f'/node/n1/power_status?token={node}&token={wrong}', status=200)
    api.app.get(f'/node/n1/power_status?token={wrong}&token={node}', status=401)


def test_a_token_is_taken_in_either_case(api, node):
    api.app.get(f'/node/n1/power_status?token={node.upper()}', status=200)


def test_a_token_is_read_from_the_query_only(api, node, admin):
    api.app.post('/node/n1/power_on', {'token': node}, status=401)
    api.app.get('/node/n1/power_status', headers={'Cookie': f'token={node}'}, status=401)
    api.app.get('/node/n1/power_status', headers=admin, status=401)


@pytest.mark.parametrize('credentials', BAD_CREDENTIALS[1:])
def test_an_unrelated_authorization_header_is_ignored(api, node, credentials):
    headers = {'Authorization': credentials}
    api.app.get(f'/node/n1/power_status?token={node}', headers=headers, status=200)


def test_a_new_token_replaces_the_old_at_once(api, node, admin):
    fresh = api.app.post('/node/n1/token', headers=admin).json['token']
    assert fresh != node
    api.app.get(f'/node/n1/power_status?token={node}', status=401)
    api.app.get(f'/node/n1/power_status?token={fresh}', status=200)


def test_the_token_of_another_node_is_wrong(api, node, admin):
    api.app.put_json('/node/n2', {'type': 'mock', 'info': {}}, headers=admin)
    api.app.get(f'/node/n2/power_status?token={node}', status=401)


def test_only_a_hash_of_the_token_is_stored(api, node):
    assert node not in repr(nodes.get('n1'))
    assert nodes.get('n1').token_hash == secrets.token_hash(node)


FOREIGN = [
    {'Sec-Fetch-Site': 'cross-site'},
    {'Sec-Fetch-Site': 'same-site'},
    {'Origin': 'https://evil.example'},
    {'Origin': 'null'},
    {'Origin': 'http://localhost:81'},
    {'Origin': 'http://['},
]


@pytest.mark.parametrize('headers', FOREIGN)
@pytest.mark.parametrize(('method', 'path'), ADMIN_ROUTES)
def test_a_write_for_a_foreign_page_is_forbidden(api, node, admin, method, path, headers):
    response = api.app.request(
        path.format('n1'), method=method, headers={**admin, **headers}, expect_errors=True
    )
    assert response.status_int == 403
    assert error(response)['kind'] == 'forbidden'
    assert nodes.get('n1').token_hash == secrets.token_hash(node)


@pytest.mark.parametrize('headers', FOREIGN)
def test_a_foreign_page_without_credentials_learns_only_that(api, headers):
    api.app.post('/node/n1/token', headers=headers, status=401)


@pytest.mark.parametrize(
    'headers',
    [
        {},
        {'Sec-Fetch-Site': 'same-origin'},
        {'Sec-Fetch-Site': 'none'},
        {'Origin': 'http://localhost:80'},
        {'Origin': 'https://localhost:80'},
    ],
)
def test_a_write_for_an_own_page_or_a_program_passes(api, node, admin, headers):
    api.app.post('/node/n1/token', headers={**admin, **headers}, status=200)


@pytest.mark.parametrize('headers', FOREIGN)
def test_a_read_for_a_foreign_page_is_forbidden(api, node, admin, headers):
    path = '/api/v1/nodes/n1/console?takeover=true'
    api.app.get(path, headers={**admin, **headers}, status=403)
    assert api.conductor.calls == []
    assert api.services.slots.taken == 0


def test_a_request_by_an_access_token_passes_whatever_page_it_is_for(api, node, bearer_of):
    headers = {**bearer_of(operations=['nodes']), 'Sec-Fetch-Site': 'cross-site'}
    api.app.get('/api/v1/nodes/n1', headers=headers, status=200)


@pytest.mark.parametrize('path', ['/node/n1/token', '/node/n1'])
def test_answers_about_tokens_are_not_kept_or_referred_to(api, node, admin, path):
    for response in (
        api.app.post('/node/n1/token', headers=admin),
        api.app.get(f'/node/n1/power_status?token={node}', expect_errors=True),
        api.app.post('/node/n1/token', expect_errors=True),
    ):
        assert response.headers['Cache-Control'] == 'no-store'
        assert response.headers['Referrer-Policy'] == 'no-referrer'


@pytest.mark.parametrize(
    'content_type', ['', 'text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data']
)
def test_a_write_to_the_native_api_says_that_it_is_json(content_type):
    request = http.Request({'REQUEST_METHOD': 'POST', 'CONTENT_TYPE': content_type})
    with pytest.raises(errors.ObmdError) as caught:
        auth.require_json(request)
    assert caught.value.kind == 'unsupported_media_type'
    for right in ('application/json', 'Application/JSON; charset=utf-8'):
        auth.require_json(http.Request({'REQUEST_METHOD': 'POST', 'CONTENT_TYPE': right}))
