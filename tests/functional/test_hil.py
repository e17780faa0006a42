"""HIL, played exactly: what its server sends to OBMd, and how its clients follow.

HIL keeps ``{"uri", "admin_token"}`` per node.  ``enable`` and ``disable`` it carries out itself;
every other call it answers with 307 to ``<uri>/<operation>?token=...``, which its client, Python's
requests, follows by repeating method and body.
"""

import http.server
import json
import threading
import urllib.parse

import pytest
import requests

from tests.functional.deployment import AllInOne
from tests.functional.farm import Farm

IPMI = 'http://schema.massopencloud.org/haas/v0/obm/ipmi'


class Hil:
    """HIL's API server as far as it has to do with OBMd.

    :ivar nodes: dict name -> ``{"uri", "admin_token", "token"}``, a row of its database.
    """

    def __init__(self):
        self.nodes = {}
        hil = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def answer(self):
                length = int(self.headers.get('Content-Length') or 0)
                self.rfile.read(length)
                _, _, name, operation = self.path.split('/')
                node = hil.nodes[name]
                query = urllib.parse.urlencode({'token': node['token']})
                self.send_response(307)
                self.send_header('Location', f'{node["uri"]}/{operation}?{query}')
                self.send_header('Content-Length', '0')
                self.end_headers()

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *args):
                pass

        self._server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self._server.server_port}'

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *unused):
        self._server.shutdown()
        self._server.server_close()

    def enable(self, name):
        """As ``hil.api.node_enable_obm``."""
        node = self.nodes[name]
        answer = requests.post(
            node['uri'] + '/token', auth=('admin', node['admin_token']), timeout=30
        )
        assert answer.status_code < 400
        node['token'] = answer.json()['token']

    def disable(self, name):
        """As ``hil.api.node_disable_obm``."""
        node = self.nodes[name]
        answer = requests.delete(
            node['uri'] + '/token', auth=('admin', node['admin_token']), timeout=30
        )
        assert answer.status_code < 400
        node['token'] = None


class HilClient:
    """HIL's client library: a session, relative URLs, redirects followed."""

    def __init__(self, hil):
        self._session = requests.Session()
        self._url = hil.url

    def __call__(self, method, name, operation, **data):
        body = {'data': json.dumps(data)} if data else {}
        return self._session.request(
            method, f'{self._url}/v0/{name}/{operation}', timeout=30, **body
        )

    def console(self, name):
        answer = self._session.get(f'{self._url}/v0/{name}/console', stream=True, timeout=30)
        assert answer.status_code == 200
        return answer


@pytest.fixture(scope='module')
def farm():
    with Farm(2, prefix='hil', rate=5, power_on=True) as farm:
        yield farm


SPLIT = pytest.mark.needs('initdb')


@pytest.fixture(
    scope='module',
    params=[
        'all in one',
        pytest.param('split, redirect', marks=SPLIT),
        pytest.param('split, proxy', marks=SPLIT),
    ],
)
def obmd(request):
    if request.param == 'all in one':
        with AllInOne() as deployment:
            yield deployment
        return
    split = request.getfixturevalue('split')
    yield split.through_proxy() if request.param == 'split, proxy' else split


@pytest.fixture(scope='module')
def hil(obmd, farm):
    """HIL with two nodes that its administrator has registered with OBMd by curl."""
    with Hil() as hil:
        for bmc in farm.bmcs:
            add_node(hil, obmd, obmd.url, bmc)
        yield hil
        for bmc in farm.bmcs:
            obmd.unregister(bmc['name'])


@pytest.fixture
def client(hil):
    return HilClient(hil)


def add_node(hil, obmd, base, bmc, name=None):
    name = name or bmc['name']
    uri = f'{base}/node/{name}'
    info = {'host': bmc['address'], 'user': bmc['user'], 'password': bmc['password']}
    info['port'] = bmc['port']
    answer = requests.put(
        uri,
        data=json.dumps({'type': IPMI, 'info': info}),
        headers={'Content-Type': 'application/x-www-form-urlencoded'},
        auth=obmd.admin,
        timeout=30,
    )
    assert (answer.status_code, answer.content) == (200, b'')
    hil.nodes[name] = {'uri': uri, 'admin_token': obmd.admin_token, 'token': None}
    return name


def read_bytes(answer, count):
    """As HIL's command line shows a console: one byte at a time."""
    found = b''
    for byte in answer.iter_content(chunk_size=1):
        found += byte
        if len(found) == count:
            return found
    return found


def test_a_node_is_powered_through_hil(hil, client, farm):
    bmc = farm.bmcs[0]
    hil.enable('hil0001')
    answer = client('POST', 'hil0001', 'power_off')
    assert (answer.status_code, answer.content) == (200, b'')
    assert farm.read(bmc, 'power') == '0'
    assert client('GET', 'hil0001', 'power_status').json() == {'power_status': 'off'}
    assert client('POST', 'hil0001', 'power_on').status_code == 200
    assert farm.read(bmc, 'power') == '1'
    assert client('GET', 'hil0001', 'power_status').json() == {'power_status': 'on'}


def test_a_power_cycle_keeps_its_body_through_the_redirect(hil, client, farm):
    hil.enable('hil0001')
    assert client('POST', 'hil0001', 'power_cycle', force=True).status_code == 200
    assert client('POST', 'hil0001', 'power_cycle', force='yes').status_code == 400
    assert farm.read(farm.bmcs[0], 'power') == '1'


def test_a_power_cycle_without_a_body_is_taken(hil, client):
    hil.enable('hil0002')
    client('POST', 'hil0002', 'power_off')
    assert client('POST', 'hil0002', 'power_cycle').status_code == 200
    assert client('GET', 'hil0002', 'power_status').json() == {'power_status': 'on'}


def test_a_boot_device_is_set(hil, client, farm):
    hil.enable('hil0001')
    assert client('PUT', 'hil0001', 'boot_device', bootdev='pxe').status_code == 200
    assert farm.read(farm.bmcs[0], 'boot') == 'pxe'
    assert client('PUT', 'hil0001', 'boot_device', bootdev='none').status_code == 200


def test_a_console_is_read_one_byte_at_a_time(hil, client):
    hil.enable('hil0001')
    client('POST', 'hil0001', 'power_on')
    answer = client.console('hil0001')
    assert answer.headers['Content-Type'] == 'application/octet-stream'
    text = read_bytes(answer, 120)
    answer.close()
    assert len(text) == 120
    assert b'hil0001' in text


def test_a_second_enable_ends_the_first_ones_rights(hil, client):
    hil.enable('hil0001')
    first = hil.nodes['hil0001']['token']
    answer = client.console('hil0001')
    hil.enable('hil0001')
    for _ in answer.iter_content(chunk_size=1):
        pass  # ends, and cleanly: requests would raise
    uri = hil.nodes['hil0001']['uri']
    assert requests.get(f'{uri}/power_status?token={first}', timeout=30).status_code == 401
    assert client('GET', 'hil0001', 'power_status').status_code == 200


def test_disable_twice_and_of_a_node_that_obmd_does_not_know(hil, client):
    hil.enable('hil0002')
    token = hil.nodes['hil0002']['token']
    hil.disable('hil0002')
    hil.disable('hil0002')
    hil.nodes['hil0002']['token'] = token
    assert client('GET', 'hil0002', 'power_status').status_code == 401
    hil.nodes['gone'] = hil.nodes['hil0002'] | {
        'uri': hil.nodes['hil0002']['uri'].replace('hil0002', 'gone')
    }
    hil.disable('gone')


def test_a_disable_ends_the_console(hil, client):
    hil.enable('hil0001')
    answer = client.console('hil0001')
    hil.disable('hil0001')
    for _ in answer.iter_content(chunk_size=1):
        pass


# -- behind a proxy with a path prefix --------------------------------------------------------


class PrefixProxy:
    """A reverse proxy that serves ``base`` under ``/obm/v1``, bytes as they come."""

    def __init__(self, base):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def pass_on(self):
                assert self.path.startswith('/obm/v1/')
                length = int(self.headers.get('Content-Length') or 0)
                headers = {k: v for k, v in self.headers.items() if k.lower() != 'host'}
                answer = requests.request(
                    self.command,
                    base + self.path.removeprefix('/obm/v1'),
                    data=self.rfile.read(length),
                    headers=headers,
                    allow_redirects=False,
                    stream=True,
                    timeout=30,
                )
                self.send_response(answer.status_code)
                for name, value in answer.headers.items():
                    if name.lower() not in ('connection', 'transfer-encoding', 'server', 'date'):
                        self.send_header(name, value)
                self.send_header('Connection', 'close')
                self.end_headers()
                self.close_connection = True
                for chunk in answer.iter_content(1024):
                    self.wfile.write(chunk)
                    self.wfile.flush()

            do_GET = do_POST = do_PUT = do_DELETE = pass_on

            def log_message(self, *args):
                pass

        self._server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self._server.handle_error = lambda *_: None  # a viewer that goes away is no error
        self.url = f'http://127.0.0.1:{self._server.server_port}/obm/v1'

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *unused):
        self._server.shutdown()
        self._server.server_close()


def test_the_uri_may_be_behind_a_path_prefix(hil, client, obmd, farm):
    with PrefixProxy(obmd.url) as proxy:
        name = add_node(hil, obmd, proxy.url, farm.bmcs[1], 'behind')
        try:
            hil.enable(name)
            assert client('GET', name, 'power_status').status_code == 200
            assert client('POST', name, 'power_on').status_code == 200
            assert client('PUT', name, 'boot_device', bootdev='disk').status_code == 200
            answer = client.console(name)
            assert len(read_bytes(answer, 60)) == 60
            answer.close()
            hil.disable(name)
        finally:
            obmd.unregister(name)
