"""``[agent] listen``: a listener of its own for what ramdisks ask, and what no request reaches."""

import http.client
import json
import socket
import ssl

import pytest
import requests

from tests.functional import refusals
from tests.functional.common import certificates
from tests.functional.deployment import AllInOne
from tests.functional.deployment import Split
from tests.functional.services import free_port

VERSION = {'X-OpenStack-Ironic-API-Version': '1.72'}
MAC = '52:54:00:00:00:01'


class Door:
    """The listener of agents.  :param cafile: of its certificate, or None: plain HTTP."""

    def __init__(self, port, cafile=None):
        self.port = port
        self._cafile = cafile
        self.url = f'http{"s" if cafile else ""}://127.0.0.1:{port}'

    def ask(self, method, path, **options):
        options.setdefault('headers', VERSION)
        verify = self._cafile or True
        return requests.request(method, self.url + path, timeout=60, verify=verify, **options)

    def send(self, data):
        """:returns: the answer to bytes, whatever is wrong with them."""
        sock = socket.create_connection(('127.0.0.1', self.port), timeout=60)
        if self._cafile:
            context = ssl.create_default_context(cafile=self._cafile)
            sock = context.wrap_socket(sock, server_hostname='127.0.0.1')
        with sock:
            sock.sendall(data)
            answer = http.client.HTTPResponse(sock)
            answer.begin()
            return answer.status, dict(answer.getheaders()), answer.read()

    def report(self, node, token):
        given = {'callback_url': 'https://10.0.0.9:1', 'agent_token': token, 'agent_version': '1'}
        return self.ask('POST', f'/v1/heartbeat/{node}', json=given).status_code


@pytest.fixture(scope='module')
def one(tmp_path_factory):
    """``obmd`` with a listener for agents under TLS, and a node that expects one."""
    certificate, key = certificates.make(tmp_path_factory.mktemp('tls'))
    port = free_port()
    agent = {'listen': f'127.0.0.1:{port}', 'tls_cert': certificate, 'tls_key': key}
    with AllInOne(config={'agent': agent}) as obmd:
        obmd.door = Door(port, certificate)
        expect(obmd)
        yield obmd


def expect(obmd):
    obmd.register('n1', 'mock', {})
    patch = {'ports': [MAC], 'expect_agent': True, 'instance_info': {'configdrive': 'DRIVE'}}
    done = obmd.as_admin(
        'PATCH', '/api/v1/nodes/n1', json=patch, headers={'Content-Type': 'application/json'}
    )
    assert done.status_code == 200


def fault(body):
    return json.loads(json.loads(body)['error_message'])


def test_an_agent_finds_its_node_and_reports_there(one):
    first, second = (one.door.ask('GET', f'/v1/lookup?addresses={MAC}').json() for _ in range(2))
    token = first['config']['agent_token']
    assert len(token) == 43
    assert first['node']['instance_info'] == {'configdrive': 'DRIVE'}
    assert second['config']['agent_token'] == '******'
    assert second['node']['instance_info'] == {'configdrive': '******'}
    assert one.door.report('n1', token) == one.door.report(first['node']['uuid'], token) == 202
    assert one.door.report('n1', 'x' * 43) == 400
    agent = one.as_admin('GET', '/api/v1/nodes/n1').json()['agent']
    assert (agent['url'], agent['alive']) == ('https://10.0.0.9:1', True)
    assert token not in one.log() and 'DRIVE' not in one.log()


@pytest.mark.parametrize('path', ['/healthz', '/metrics', '/node/n1', '/api/v1/nodes/n1', '/x'])
def test_nothing_else_is_there(one, path):
    answer = one.door.ask('GET', path, auth=('admin', one.admin_token))
    assert answer.status_code == 404
    assert fault(answer.content)['faultstring'] == 'Resource could not be found.'


def test_what_is_no_request_gets_this_doors_form(one):
    macs = ','.join(f'52:54:00:{n >> 8:02x}:{n & 255:02x}:00' for n in range(10_000))
    for status, data in (
        (414, f'GET /v1/lookup?addresses={macs} HTTP/1.1\r\n\r\n'),
        (431, f'GET /v1/lookup HTTP/1.1\r\nA: {"a" * 9000}\r\n\r\n'),
        (400, 'GET /v1/lookup HTTP/1.1\r\nContent-Length: x\r\n\r\n'),
        (400, 'nonsense\r\n\r\n'),
    ):
        found, headers, body = one.door.send(data.encode())
        assert found == status
        assert fault(body)['faultcode'] == 'Client'
        assert headers['X-OpenStack-Ironic-API-Maximum-Version'] == '1.72'


def test_on_the_listener_of_everybody_the_path_decides_on_the_form(one):
    everybody = Door(one.port)
    for path, key in (('/v1/lookup', 'error_message'), ('/node/n1', 'error')):
        _, _, body = everybody.send(f'GET {path}?{"x" * 70_000} HTTP/1.1\r\n\r\n'.encode())
        assert set(json.loads(body)) == {key}
    assert everybody.ask('GET', '/').json()['default_version']['version'] == '1.72'


def test_a_body_of_10_mb_is_refused_unread(one):
    head = 'POST /v1/heartbeat/n1 HTTP/1.1\r\nX-OpenStack-Ironic-API-Version: 1.72\r\n'
    length = 'Content-Length: 10000000\r\n\r\n'
    status, _, body = one.door.send(f'{head}{length}'.encode())
    assert (status, fault(body)['faultcode']) == (413, 'Client')


@pytest.mark.needs('initdb', 'rabbitmq-server')
def test_each_worker_of_the_api_serves_it(rabbitmq, postgresql):
    port = free_port()
    config = {'agent': {'listen': f'127.0.0.1:{port}'}}
    with Split(rabbitmq, postgresql, conductors=1, config=config) as split:
        door = Door(port)
        expect(split)
        answers = [door.ask('GET', f'/v1/lookup?addresses={MAC}').json() for _ in range(8)]
        tokens = [answer['config']['agent_token'] for answer in answers]
        assert len(tokens[0]) == 43 and set(tokens[1:]) == {'******'}
        assert {door.report('n1', tokens[0]) for _ in range(8)} == {202}
        assert split.as_admin('GET', '/api/v1/nodes/n1').json()['agent']['alive'] is True
        assert split.api.stop() == 0


#: options of the group and what the line says
REFUSALS = {
    'plain HTTP': ({'listen': '0.0.0.0:0'}, 'plain HTTP'),
    'an address that is none': ({'listen': 'nonsense'}, 'nonsense'),
    'a certificate without its key': ({'listen': '127.0.0.1:0', 'tls_cert': 'x'}, 'key'),
    'a policy file that is not there': ({'policy_file': '/nonexistent.yaml'}, '/nonexistent.yaml'),
}


@pytest.fixture(scope='module')
def refused(tmp_path_factory):
    cases = {}
    for name, (options, _) in REFUSALS.items():
        env = {f'OS_AGENT__{option.upper()}': value for option, value in options.items()}
        env['OS_API__LISTEN'] = '127.0.0.1:0'
        cases[name] = ([tmp_path_factory.mktemp('refused'), 'obmd'], {'env': env})
    return refusals.run_all(cases)


@pytest.mark.parametrize('name', REFUSALS)
def test_obmd_refuses_to_start_with(refused, name):
    refusals.check(refused[name], 'obmd', REFUSALS[name][1], limit=30)
