import base64

import pytest
import requests

from obmd.client import BadAnswer
from obmd.client import Client
from obmd.client import ClientError
from obmd.client import Refused
from obmd.client import SettingsError
from obmd.client import Unreachable
from tests.unit.client.conftest import URL

NODE = {'name': 'n01'}
JWT = 'eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjF9.c2lnbmF0dXJl'


def authorization(api, token):
    api.on('GET', '/nodes/n01', NODE)
    with Client(URL, token, adapter=api) as client:
        client.nodes.get('n01')
    return api.requests[0].headers.get('Authorization')


def test_a_jwt_goes_as_bearer(api):
    assert authorization(api, JWT) == f'Bearer {JWT}'


def test_another_token_is_the_admin_s(api):
    pair = base64.b64encode(b'admin:0123abcd').decode()
    assert authorization(api, '0123abcd') == f'Basic {pair}'


def test_without_a_token_netrc_is_not_asked(api, monkeypatch, tmp_path):
    netrc = tmp_path / 'netrc'
    netrc.write_text('machine obmd.example.com login somebody password secret\n')
    monkeypatch.setenv('NETRC', str(netrc))
    assert authorization(api, None) is None


@pytest.mark.parametrize('url', ['', 'obmd.example.com', 'ftp://x', 'http://', 'https://x:y', None])
def test_what_is_no_url_is_refused(url):
    with pytest.raises(SettingsError):
        Client(url)


def test_credentials_in_the_url_are_refused_without_repeating_them():
    with pytest.raises(SettingsError) as caught:
        Client('https://admin:hunter2@obmd.example.com')
    assert 'hunter2' not in str(caught.value)


def test_a_token_does_not_cross_the_network_in_clear():
    with pytest.raises(SettingsError, match='not https'):
        Client('http://obmd.example.com', token='x')


@pytest.mark.parametrize(
    ('url', 'options'),
    [
        ('http://127.0.0.1:8380', {'token': 'x'}),
        ('http://[::1]:8380', {'token': 'x'}),
        ('http://localhost', {'token': 'x'}),
        ('http://obmd.example.com', {'token': 'x', 'insecure': True}),
        ('http://obmd.example.com', {}),
    ],
)
def test_http_is_taken_where_no_token_is_shown(url, options):
    Client(url, **options).close()


@pytest.mark.parametrize('token', ['', 'a b', 'a\nb', 'é'])
def test_what_is_no_token_is_refused_without_repeating_it(token):
    with pytest.raises(SettingsError, match='^the token is empty or has characters'):
        Client(URL, token=token)


def test_an_error_of_the_api_says_what_it_is(api, client):
    error = {'error': {'kind': 'bmc_silent', 'reason': 'no answer', 'node': 'n01'}}
    api.on('GET', '/nodes/n01/power', (504, error))
    with pytest.raises(Refused, match='^n01: no answer$') as caught:
        client.nodes.power('n01')
    assert (caught.value.status, caught.value.kind, caught.value.node) == (504, 'bmc_silent', 'n01')


@pytest.mark.parametrize('body', [b'<html>busy</html>', b'[]', b'{"error": "x"}', b'{}', b'\xff'])
def test_an_error_of_somebody_else_is_told_as_it_is(api, client, body):
    api.on('GET', '/nodes/n01', (500, body))
    with pytest.raises(BadAnswer, match='HTTP 500'):
        client.nodes.get('n01')


def test_an_answer_that_is_no_json_is_told(api, client):
    api.on('GET', '/nodes/n01', (200, b'<html>'))
    with pytest.raises(BadAnswer, match='not JSON'):
        client.nodes.get('n01')


def test_a_read_is_repeated_when_the_server_says_later(api, client, clock):
    busy = (503, {'error': {'kind': 'unavailable', 'reason': 'later'}}, {'Retry-After': '3'})
    api.on('GET', '/nodes/n01', busy, busy, NODE)
    assert client.nodes.get('n01') == NODE
    assert clock.pauses == [3, 3]


def test_a_read_is_given_up_after_a_while(api, client, clock):
    api.refuse('GET', '/nodes/n01', 503, 'unavailable', 'later')
    with pytest.raises(Refused, match='later'):
        client.nodes.get('n01')
    assert 25 <= sum(clock.pauses) <= 30


def test_a_wish_to_wait_for_an_hour_is_not_granted(api, client, clock):
    busy = (503, {'error': {'kind': 'unavailable', 'reason': 'later'}}, {'Retry-After': '3600'})
    api.on('GET', '/nodes/n01', busy, NODE)
    client.nodes.get('n01')
    assert clock.pauses == [10]


@pytest.mark.parametrize('status', [400, 401, 404, 409, 500, 502, 504])
def test_a_read_is_not_repeated_after_another_error(api, client, status):
    api.refuse('GET', '/nodes/n01', status, 'some_kind', 'no')
    with pytest.raises(Refused):
        client.nodes.get('n01')
    assert len(api.requests) == 1


@pytest.mark.parametrize('status', [500, 502, 503, 504])
def test_a_write_is_never_repeated(api, client, status):
    api.refuse('PUT', '/nodes/n01/power', status, 'unavailable', 'later')
    with pytest.raises(Refused):
        client.nodes.set_power('n01', 'cycle')
    assert len(api.requests) == 1


def test_a_write_that_broke_off_is_in_doubt(api, client):
    api.on('PUT', '/nodes/n01/power', requests.exceptions.ConnectionError('reset by peer'))
    with pytest.raises(Unreachable, match='whether the request was carried out is not known'):
        client.nodes.set_power('n01', 'off')


def test_a_write_that_found_nobody_is_in_no_doubt(api, client):
    refused = requests.exceptions.ConnectionError(ConnectionRefusedError(111, 'Connection refused'))
    api.on('PUT', '/nodes/n01/power', refused)
    with pytest.raises(Unreachable) as caught:
        client.nodes.set_power('n01', 'off')
    assert 'not known' not in str(caught.value)


@pytest.mark.parametrize('name', ['a/b', '-rf', '%2e%2e', '$(id)', 'n 1', 'é', '?x', '#'])
def test_a_name_is_one_segment_of_the_path(api, client, name):
    with pytest.raises(Refused):
        client.nodes.get(name)
    (request,) = api.requests
    assert request.path.count('/') == 2
    assert request.query == {}


@pytest.mark.parametrize('name', ['', '.', '..'])
def test_a_name_that_would_be_another_path_is_refused(api, client, name):
    with pytest.raises(ClientError):
        client.nodes.delete(name)
    assert api.requests == []


def test_a_write_follows_no_redirect(api, client):
    api.on('POST', '/jobs', (307, b'', {'Location': 'https://elsewhere.example.com/'}))
    with pytest.raises(BadAnswer, match='elsewhere'):
        client.jobs.start('power-off', 'n01')
    assert len(api.requests) == 1


def test_neither_repr_nor_errors_show_the_token(api):
    api.refuse('GET', '/nodes/n01', 401, 'unauthorized', 'credentials are needed')
    with Client(URL, token='0123secret', adapter=api) as client:
        with pytest.raises(Refused) as caught:
            client.nodes.get('n01')
        assert '0123secret' not in f'{client!r} {client.transport!r} {caught.value!r}'


def test_pages_are_one_list(api, client):
    first = {'nodes': [{'name': 'n1'}], 'next': 'n1'}
    api.on('GET', '/nodes', first, {'nodes': [{'name': 'n2'}], 'next': None})
    assert [node['name'] for node in client.nodes.list(nodes='n[1-2]')] == ['n1', 'n2']
    assert [request.query for request in api.requests] == [
        {'nodes': 'n[1-2]'},
        {'nodes': 'n[1-2]', 'marker': 'n1'},
    ]
