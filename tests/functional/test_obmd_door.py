"""OBMd's API, row by row: status, body and headers as its users were promised them."""

import base64
import json
import re
import socket
import threading
import time

import pytest

from tests.functional.deployment import AllInOne
from tests.functional.viewer import Viewer

MOCK = b'{"type": "mock", "info": {}}'


@pytest.fixture(scope='module')
def obmd():
    with AllInOne() as deployment:
        yield deployment


@pytest.fixture(scope='module')
def mock(obmd):
    """A node of the mock driver and its token; tests leave its token alone."""
    obmd.register('mock', 'mock', {'addr': 'anywhere', 'NumWrites': 0})
    return obmd.node('mock')


@pytest.fixture
def name(obmd, request):
    """A name that is free, and is again after the test."""
    free = re.sub('[^a-z0-9]+', '-', request.node.name)
    yield free
    obmd.unregister(free)


def check_error(answer, status, kind=None, reason=None, node=None):
    """What every error looks like.  :param answer: requests.Response or Answer."""
    code = answer.status if hasattr(answer, 'body') else answer.status_code
    body = answer.body if hasattr(answer, 'body') else answer.content
    assert code == status, body
    assert answer.headers['Content-Type'] == 'application/json'
    assert answer.headers['Cache-Control'] == 'no-store'
    assert body.endswith(b'}}\n')
    error = json.loads(body)['error']
    assert error.keys() - {'node'} == {'kind', 'reason'}
    assert b'Traceback' not in body
    if kind:
        assert error['kind'] == kind
    if reason:
        assert reason in error['reason']
    if node:
        assert error['node'] == node
    return error


# -- registering ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'body',
    [
        MOCK,
        b'{"type": "http://schema.massopencloud.org/haas/v0/obm/mock", "info": {"addr": "x"}}',
        b'{"type": "ipmi", "info": {"addr": "127.0.0.9", "user": "u", "pass": "p"}}',
        b'{"type": "http://schema.massopencloud.org/haas/v0/obm/ipmi",'
        b' "info": {"host": "127.0.0.9", "user": "u", "password": "p"}}',
        b'{"type": "ipmi", "info": {"addr": "127.0.0.9", "user": "u", "pass": "p", "port": 6230,'
        b' "cipher_suite": 3, "privilege": "operator", "kg": "key"}}',
        b'{"type": "dummy", "info": {"addr": "any string is accepted"}}',
        b'{"type": "mock", "info": {"other": 1}, "group": "", "unknown": [1]}',
    ],
)
def test_a_registration_is_answered_200_and_nothing(obmd, name, body):
    answer = obmd.exact('PUT', f'/node/{name}', body)
    assert (answer.status, answer.body) == (200, b'')
    assert answer.headers['Content-Length'] == '0'


@pytest.mark.parametrize(
    'content_type', ['application/x-www-form-urlencoded', 'text/plain', 'application/json', 'junk']
)
def test_the_content_type_does_not_matter(obmd, name, content_type):
    answer = obmd.exact('PUT', f'/node/{name}', MOCK, headers={'Content-Type': content_type})
    assert answer.status == 200


@pytest.mark.parametrize(
    ('body', 'reason'),
    [
        (b'', 'empty'),
        (b'{', 'not JSON'),
        (b'[]', 'object'),
        (b'"text"', 'object'),
        (b'null', 'object'),
        (b'{}', 'is missing'),
        (b'{"type": "mock"}', 'info is missing'),
        (b'{"info": {}}', 'type is missing'),
        (b'{"type": "mock", "info": null}', 'info must be object'),
        (b'{"type": "mock", "info": "text"}', 'info must be object'),
        (b'{"type": 1, "info": {}}', 'type must be string'),
        (b'{"type": "nosuch", "info": {}}', 'dummy, ipmi, mock'),
        (b'{"type": "mock", "info": {"NumWrites": "1"}}', 'info.NumWrites'),
        (b'{"type": "mock", "info": {"NumWrites": -1}}', 'info.NumWrites'),
        (b'{"type": "mock", "info": {"addr": 1}}', 'info.addr'),
        (b'{"type": "dummy", "info": {}}', 'info.addr'),
        (b'{"type": "ipmi", "info": {}}', 'user'),
        (b'{"type": "ipmi", "info": {"user": "u", "pass": "p"}}', 'addr'),
        (b'{"type": "ipmi", "info": {"addr": "127.0.0.9", "user": "u"}}', 'pass'),
        (b'{"type": "ipmi", "info": {"addr": "", "user": "u", "pass": "p"}}', 'addr'),
        (b'{"type": "ipmi", "info": {"addr": "a", "user": "u", "pass": 5}}', 'pass'),
        (
            b'{"type": "ipmi", "info": {"addr": "a", "user": "u", "pass": "p", "port": 70000}}',
            'port',
        ),
        (
            b'{"type": "ipmi", "info": {"addr": "a", "user": "u", "pass": "%s"}}' % (b'x' * 21),
            'password',
        ),
    ],
)
def test_a_wrong_registration_is_400_and_names_what_is_wrong(obmd, name, body, reason):
    check_error(obmd.exact('PUT', f'/node/{name}', body), 400, 'invalid_input', reason)
    assert obmd.exact('POST', f'/node/{name}/token').status == 404


def test_a_node_that_exists_is_409(obmd, mock):
    answer = obmd.exact('PUT', '/node/mock', MOCK)
    check_error(answer, 409, 'node_exists', node='mock')
    assert mock.power() == 'Mock Status'


def test_a_node_is_deleted_once_and_again(obmd, name):
    obmd.register(name, 'mock', {})
    node = obmd.node(name)
    for _ in range(2):
        answer = obmd.exact('DELETE', f'/node/{name}')
        assert (answer.status, answer.body) == (200, b'')
        assert node.call('GET', 'power_status').status_code == 401


def test_a_token_dies_with_its_node_though_the_name_comes_back(obmd, name):
    obmd.register(name, 'mock', {})
    node = obmd.node(name)
    obmd.unregister(name)
    obmd.register(name, 'mock', {})
    assert node.call('GET', 'power_status').status_code == 401


# -- tokens -----------------------------------------------------------------------------------


def test_a_token_is_32_lower_hex_digits_and_a_newline(obmd, name):
    obmd.register(name, 'mock', {})
    answer = obmd.exact('POST', f'/node/{name}/token')
    assert answer.status == 200
    assert re.fullmatch(rb'\{"token":"[0-9a-f]{32}"\}\n', answer.body)
    assert answer.headers['Content-Type'] == 'application/json'
    assert answer.headers['Cache-Control'] == 'no-store'
    assert answer.headers['Referrer-Policy'] == 'no-referrer'


def test_a_new_token_replaces_the_old_one(obmd, name):
    obmd.register(name, 'mock', {})
    first, second = obmd.node(name), obmd.node(name)
    assert first.call('GET', 'power_status').status_code == 401
    assert second.call('GET', 'power_status').status_code == 200


def test_a_token_is_taken_away_once_and_again(obmd, name):
    obmd.register(name, 'mock', {})
    node = obmd.node(name)
    for _ in range(2):
        answer = obmd.exact('DELETE', f'/node/{name}/token')
        assert (answer.status, answer.body) == (200, b'')
        assert node.call('GET', 'power_status').status_code == 401


def test_tokens_of_a_node_that_is_not_there(obmd):
    check_error(obmd.exact('POST', '/node/nosuch/token'), 404, 'not_found', node='nosuch')
    answer = obmd.exact('DELETE', '/node/nosuch/token')
    assert (answer.status, answer.body) == (200, b'')


# -- who may ----------------------------------------------------------------------------------


def basic(pair):
    return 'Basic ' + base64.b64encode(pair).decode()


@pytest.mark.parametrize(
    'authorization',
    [
        None,
        '',
        'Basic',
        'Basic !!!',
        'Basic YWRtaW4=',
        'Bearer 0123456789abcdef0123456789abcdef',
        basic(b'admin:'),
        basic(b'admin:' + b'0' * 32),
        basic(b'admin:\xff\xfe'),
        basic(b'admin:' + 'é'.encode() * 16),
        'user',
        'twice',
    ],
)
@pytest.mark.parametrize(
    ('method', 'path'),
    [
        ('PUT', '/node/n'),
        ('DELETE', '/node/mock'),
        ('POST', '/node/mock/token'),
        ('DELETE', '/node/mock/token'),
        ('GET', '/api/v1/power?nodes=mock'),
    ],
)
def test_an_admin_route_without_the_admin_is_401(obmd, mock, method, path, authorization):
    token = obmd.admin_token.encode()
    given = {'user': basic(b'root:' + token), 'twice': basic(b'admin:' + 2 * token)}
    authorization = given.get(authorization, authorization)
    headers = {} if authorization is None else {'Authorization': authorization}
    answer = obmd.exact(method, path, MOCK, admin=False, headers=headers)
    check_error(answer, 401, 'unauthorized')
    asked_for = answer.headers['WWW-Authenticate'].partition(' ')[0]
    by_token = path.startswith('/api/') and str(authorization).startswith('Bearer')
    assert asked_for == ('Bearer' if by_token else 'Basic')
    assert mock.power() == 'Mock Status'


def test_the_admin_token_counts_in_either_case(obmd):
    headers = {'Authorization': basic(b'admin:' + obmd.admin_token.upper().encode())}
    answer = obmd.exact('DELETE', '/node/nosuch', admin=False, headers=headers)
    assert answer.status == 200


def test_a_browser_on_another_site_may_not_write(obmd):
    for headers in ({'Sec-Fetch-Site': 'cross-site'}, {'Origin': 'http://elsewhere.example'}):
        answer = obmd.exact('DELETE', '/node/nosuch', headers=headers)
        check_error(answer, 403, 'forbidden')


OPERATIONS = [
    ('GET', 'console'),
    ('POST', 'power_cycle'),
    ('POST', 'power_on'),
    ('POST', 'power_off'),
    ('PUT', 'boot_device'),
    ('GET', 'power_status'),
]


@pytest.mark.parametrize(('method', 'operation'), OPERATIONS)
def test_a_token_route_without_the_token_is_401_before_anything_else(obmd, mock, method, operation):
    path = f'/node/mock/{operation}'
    wrong = '0' * 32
    for query in ('', '?token=', '?token=12', f'?token={mock.token}x', f'?Token={mock.token}'):
        answer = obmd.exact(method, path + query, b'{broken', admin=False)
        check_error(answer, 401, 'unauthorized')
        assert mock.token.encode() not in answer.body
    # the admin's credentials open nothing here, nor does a token elsewhere than in the query
    headers = {'Content-Type': 'application/x-www-form-urlencoded', 'X-Token': mock.token}
    body = f'token={mock.token}'.encode()
    assert obmd.exact(method, path, body, headers=headers).status == 401
    # the first value counts
    twice = f'?token={wrong}&token={mock.token}'
    assert obmd.exact(method, path + twice, admin=False).status == 401


@pytest.mark.parametrize(('method', 'operation'), OPERATIONS)
def test_a_wrong_token_and_an_unknown_node_look_the_same(obmd, mock, method, operation):
    query = '?token=' + '0' * 32
    wrong = obmd.exact(method, f'/node/mock/{operation}{query}', admin=False)
    unknown = obmd.exact(method, f'/node/nosuch/{operation}{query}', admin=False)
    own = {'Date', 'X-Openstack-Request-Id'}
    assert (wrong.status, wrong.body) == (unknown.status, unknown.body) == (401, wrong.body)
    assert {k: v for k, v in wrong.headers.items() if k not in own} == {
        k: v for k, v in unknown.headers.items() if k not in own
    }


def test_the_first_token_counts_and_authorization_does_not(obmd, mock):
    path = f'/node/mock/power_status?token={mock.token.upper()}&token=junk'
    answer = obmd.exact('GET', path, admin=False, headers={'Authorization': 'Basic junk'})
    assert (answer.status, answer.body) == (200, b'{"power_status":"Mock Status"}\n')
    assert answer.headers['Content-Type'] == 'application/json'


# -- paths and methods ------------------------------------------------------------------------


@pytest.mark.parametrize(
    'path',
    [
        '/node',
        '/node/',
        '/node/mock/',
        '/Node/mock',
        '/node/mock/Token',
        '/node/mock/token/',
        '/node/mock/token/more',
        '/node//token',
        '//node/mock',
        '/node/mock/power',
        '/node/mock/power_on/',
        '/api',
        '/api/v1',
        '/api/v1/power/',
        '/favicon.ico',
    ],
)
@pytest.mark.parametrize('method', ['GET', 'PUT', 'DELETE'])
def test_a_path_that_is_not_exact_is_404(obmd, mock, method, path):
    check_error(obmd.exact(method, path, MOCK), 404, 'not_found')


@pytest.mark.parametrize(
    ('path', 'allowed'),
    [
        ('/node/mock', {'PUT', 'DELETE'}),
        ('/node/mock/token', {'POST', 'DELETE'}),
        ('/node/mock/console', {'GET'}),
        ('/node/mock/power_cycle', {'POST'}),
        ('/node/mock/power_on', {'POST'}),
        ('/node/mock/power_off', {'POST'}),
        ('/node/mock/boot_device', {'PUT'}),
        ('/node/mock/power_status', {'GET'}),
        ('/api/v1/power', {'GET'}),
    ],
)
def test_another_method_is_405_and_tells_which_are_right(obmd, mock, path, allowed):
    for method in {'GET', 'PUT', 'POST', 'DELETE', 'PATCH', 'OPTIONS'} - allowed:
        answer = obmd.exact(method, path, b'{}')
        check_error(answer, 405, 'method_not_allowed')
        assert allowed <= set(answer.headers['Allow'].split(', '))
    assert mock.power() == 'Mock Status'


# -- what the holder of a token may do --------------------------------------------------------


@pytest.mark.parametrize('operation', ['power_on', 'power_off'])
@pytest.mark.parametrize('body', [None, b'', b'{broken', b'\xff' * 100, b'{"force": 1}'])
def test_power_on_and_off_ignore_their_body(obmd, mock, operation, body):
    path = f'/node/mock/{operation}?token={mock.token}'
    answer = obmd.exact('POST', path, body, admin=False)
    assert (answer.status, answer.body) == (200, b'')


@pytest.mark.parametrize(
    'body',
    [
        None,
        b'',
        b'  ',
        b'{}',
        b'null',
        b'{"force": true}',
        b'{"force": false}',
        b'{"x": 1}',
    ],
)
def test_a_power_cycle_takes(obmd, mock, body):
    path = f'/node/mock/power_cycle?token={mock.token}'
    answer = obmd.exact('POST', path, body, admin=False)
    assert (answer.status, answer.body) == (200, b'')


@pytest.mark.parametrize(
    'body', [b'{"force": "yes"}', b'{"force": 1}', b'[]', b'true', b'{"force": true', b'{} {}']
)
def test_a_power_cycle_refuses(obmd, mock, body):
    path = f'/node/mock/power_cycle?token={mock.token}'
    check_error(obmd.exact('POST', path, body, admin=False), 400, 'invalid_input')


def test_a_boot_device_of_the_driver_is_taken(obmd, mock):
    for device in (b'A', b'B'):
        body = b'{"bootdev": "%s"}' % device
        path = f'/node/mock/boot_device?token={mock.token}'
        answer = obmd.exact('PUT', path, body, admin=False)
        assert (answer.status, answer.body) == (200, b'')


@pytest.mark.parametrize(
    'body', [b'{"bootdev": "C"}', b'{"bootdev": ""}', b'{}', b'null', b'{"bootdev": null}']
)
def test_another_boot_device_is_400_and_lists_the_legal_ones(obmd, mock, body):
    path = f'/node/mock/boot_device?token={mock.token}'
    check_error(obmd.exact('PUT', path, body, admin=False), 400, 'invalid_input', 'A, B')


@pytest.mark.parametrize('body', [b'', b'{"bootdev": 1}', b'{"bootdev": ["A"]}', b'[]', b'"A"'])
def test_a_boot_device_of_another_form_is_400(obmd, mock, body):
    path = f'/node/mock/boot_device?token={mock.token}'
    check_error(obmd.exact('PUT', path, body, admin=False), 400, 'invalid_input')


def test_an_ipmi_node_lists_its_own_boot_devices_without_asking_the_bmc(obmd, name):
    obmd.register(name, 'ipmi', {'addr': '127.0.0.9', 'user': 'u', 'pass': 'p', 'port': 9})
    started = time.monotonic()
    answer = obmd.node(name).call('PUT', 'boot_device', data='{"bootdev": "floppy"}')
    error = check_error(answer, 400, 'invalid_input', node=name)
    assert {'pxe', 'disk', 'none'} <= set(re.findall('[a-z]+', error['reason']))
    assert time.monotonic() - started < 2


# -- consoles of the test drivers -------------------------------------------------------------


def first_lines(node, count):
    """:returns: (headers, list of the first chunks, rate in lines a second)."""
    answer = node.call('GET', 'console', stream=True)
    assert answer.status_code == 200
    started, chunks = time.monotonic(), []
    for chunk in answer.raw.read_chunked():
        chunks.append(chunk)
        if len(chunks) == count:
            break
    rate = count / (time.monotonic() - started)
    Viewer(answer).close()
    return answer.headers, chunks, rate


def test_a_mock_console_counts_one_line_a_chunk_and_goes_on_counting(obmd, name):
    obmd.register(name, 'mock', {'NumWrites': 7})
    node = obmd.node(name)
    headers, chunks, rate = first_lines(node, 40)
    assert headers['Content-Type'] == 'application/octet-stream'
    assert headers['Transfer-Encoding'] == 'chunked'
    assert re.fullmatch('[0-9A-Za-z_-]+:0', headers['Obmd-Cursor'])
    assert chunks == [b'%d\n' % n for n in range(7, 47)]
    assert 20 <= rate <= 1000
    _, chunks, _ = first_lines(node, 5)
    assert int(chunks[0]) >= 46
    assert [int(chunk) for chunk in chunks] == list(range(int(chunks[0]), int(chunks[0]) + 5))


def test_any_number_of_viewers_see_the_same(obmd, name):
    obmd.register(name, 'mock', {})
    node = obmd.node(name)
    viewers = [node.console() for _ in range(5)]
    for viewer in viewers:
        viewer.wait_for(b'\n60\n')
    tails = {v.data[v.data.index(b'\n50\n') : v.data.index(b'\n60\n')] for v in viewers}
    assert len(tails) == 1
    for viewer in viewers:
        viewer.close()


@pytest.mark.parametrize(
    'query',
    [
        'replay=-1',
        'replay=x',
        'replay=1.5',
        'replay=',
        'replay=' + '9' * 30,
        'cursor=x',
        'cursor=:1',
        'cursor=a:b',
        'cursor=a:' + '9' * 40,
        'cursor=%00:1',
        'takeover=1',
        'takeover=',
    ],
)
def test_a_console_with_a_wrong_parameter_is_400(obmd, mock, query):
    path = f'/node/mock/console?token={mock.token}&{query}'
    check_error(obmd.exact('GET', path, admin=False), 400, 'invalid_input')


class Tcp:
    """Something with a console on a TCP port."""

    def __init__(self):
        self._listener = socket.create_server(('127.0.0.1', 0))
        self.addr = f'127.0.0.1:{self._listener.getsockname()[1]}'
        self.peers = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                self.peers.append(self._listener.accept()[0])
            except OSError:
                return

    def say(self, data):
        self.peers[-1].sendall(data)

    def close(self):
        self._listener.close()
        for peer in self.peers:
            peer.close()


def test_a_dummy_node_starts_off_and_does_what_it_is_told(obmd, name):
    obmd.register(name, 'dummy', {'addr': '127.0.0.1:1'})
    node = obmd.node(name)
    seen = [node.power()]
    for operation in ('power_on', 'power_off', 'power_cycle', 'power_off', 'power_cycle'):
        assert node.post(operation).status_code == 200
        seen.append(node.power())
    assert seen == ['off', 'on', 'off', 'on', 'off', 'on']
    assert node.call('PUT', 'boot_device', data='{"bootdev": "anything"}').status_code == 200


def test_a_dummy_console_streams_what_comes(obmd, name):
    source = Tcp()
    obmd.register(name, 'dummy', {'addr': source.addr})
    with obmd.node(name).console() as viewer:
        assert viewer.status == 200
        assert viewer.headers['Content-Type'] == 'application/octet-stream'
        for text in (b'first\r\n', b'\x00\xff\x80 raw bytes', b'last\n'):
            source.say(text)
            viewer.wait_for(text)
        assert viewer.data == b'first\r\n\x00\xff\x80 raw byteslast\n'
    source.close()


@pytest.mark.parametrize('addr', ['127.0.0.1:1', 'no address', '127.0.0.1:', '192.0.2.1:80'])
def test_a_dummy_console_that_cannot_be_reached_is_502(obmd, name, addr):
    obmd.register(name, 'dummy', {'addr': addr})
    answer = obmd.node(name).call('GET', 'console')
    check_error(answer, 502, 'bmc_refused', node=name)


def test_headers_come_before_the_first_byte(obmd, name):
    source = Tcp()
    obmd.register(name, 'dummy', {'addr': source.addr})
    started = time.monotonic()
    viewer = obmd.node(name).console()
    assert viewer.status == 200
    assert time.monotonic() - started < 5
    assert viewer.data == b''
    viewer.close()
    source.close()
