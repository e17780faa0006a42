"""Hostile input at OBMd's door: labels, bodies and requests that nobody sends by mistake only."""

import os
import socket
import time
import urllib.parse

import pytest

from tests.functional.deployment import AllInOne
from tests.functional.deployment import wait_until
from tests.functional.test_obmd_door import MOCK
from tests.functional.test_obmd_door import check_error


@pytest.fixture(scope='module')
def obmd():
    with AllInOne() as deployment:
        yield deployment


@pytest.fixture(scope='module')
def mock(obmd):
    obmd.register('mock', 'mock', {})
    return obmd.node('mock')


@pytest.fixture(autouse=True)
def alive(obmd, mock):
    """Whatever a test sends, the next caller is served, and the log has no traceback."""
    yield
    assert mock.power() == 'Mock Status'
    assert 'Traceback' not in obmd.log()


# -- labels -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'label',
    [
        'n1.example.com',
        'n1.json',
        '.',
        '..',
        '...',
        '%2e%2e',
        '50%25',
        '%2525',
        'a%20b',
        'a+b',
        'a%3Fb%23c',
        "'%3B--",
        'a%22b',
        '%3Cscript%3E',
        'caf%C3%A9',
        '%F0%9F%98%80',
        '%F0%9F%98%80' * 255,
        'x' * 255,
        'CON',
        '%7Bid%7D',
        'token',
        '%E2%80%AE',
    ],
)
def test_any_label_is_a_name_of_its_own(obmd, label):
    path = f'/node/{label}'
    assert obmd.exact('PUT', path, MOCK).status == 200
    answer = obmd.exact('POST', f'{path}/token')
    assert answer.status == 200
    token = answer.body.split(b'"')[3].decode()
    answer = obmd.exact('GET', f'{path}/power_status?token={token}', admin=False)
    assert (answer.status, answer.body) == (200, b'{"power_status":"Mock Status"}\n')
    check_error(obmd.exact('PUT', path, MOCK), 409, 'node_exists', node=urllib.parse.unquote(label))
    assert obmd.exact('DELETE', path).status == 200
    assert obmd.exact('POST', f'{path}/token').status == 404


@pytest.mark.parametrize(
    'label',
    ['a%00b', '%00', 'x' * 256, 'x' * 300, '%F0%9F%98%80' * 256, '%ff', '%C3', 'a%ED%A0%80'],
)
def test_what_is_no_label_is_400(obmd, label):
    check_error(obmd.exact('PUT', f'/node/{label}', MOCK), 400, 'invalid_input')
    check_error(obmd.exact('POST', f'/node/{label}/token'), 400, 'invalid_input')
    for method, operation in (('GET', 'power_status'), ('POST', 'power_on'), ('GET', 'console')):
        path = f'/node/{label}/{operation}?token=' + '0' * 32
        check_error(obmd.exact(method, path, admin=False), 401, 'unauthorized')


@pytest.mark.parametrize('label', ['a%0Ab', 'a%1B%5B2J', 'a%7F', 'a%C2%85b', 'a%E2%80%A8b'])
def test_a_label_that_would_forge_a_line_is_400(obmd, label):
    check_error(obmd.exact('PUT', f'/node/{label}', MOCK), 400, 'invalid_input')
    check_error(obmd.exact('POST', f'/node/{label}/token'), 404, 'not_found')


@pytest.mark.parametrize('label', ['a%2Fb', '%2F', '..%2F..%2Fetc', 'mock%2Fmore%2Fyet'])
def test_a_slash_in_a_label_is_no_label_however_it_is_written(obmd, label):
    check_error(obmd.exact('PUT', f'/node/{label}', MOCK), 404, 'not_found')


def test_labels_are_compared_as_bytes(obmd):
    labels = [
        'node',
        'Node',
        'NODE',
        'node%20',
        '%20node',
        'nod%C3%A9',
        'node%CC%81',
        'node%00'[:4],
    ]
    for label in labels[:-1]:
        assert obmd.exact('PUT', f'/node/{label}', MOCK).status == 200, label
    assert obmd.exact('PUT', f'/node/{labels[-1]}', MOCK).status == 409
    for label in labels:
        assert obmd.exact('DELETE', f'/node/{label}').status == 200


def test_no_file_is_named_after_a_label(obmd):
    """Console logs are named by uuid: see [console] log_dir."""
    label = '..%5C..%5Cescape'
    assert obmd.exact('PUT', f'/node/{label}', MOCK).status == 200
    found = [name for _, _, files in os.walk(obmd.folder) for name in files]
    assert not [name for name in found if 'escape' in name]
    obmd.exact('DELETE', f'/node/{label}')


# -- bodies -----------------------------------------------------------------------------------

BODIES = {
    'not UTF-8': b'{"type": "\xff\xfe", "info": {}}',
    'UTF-16': '{"type": "mock", "info": {}}'.encode('utf-16'),
    'deep list': b'[' * 20000 + b']' * 20000,
    'deep object': b'{"a":' * 8000 + b'1' + b'}' * 8000,
    'deep info': b'{"type": "mock", "info": ' + b'{"a":' * 50 + b'1' + b'}' * 50 + b'}',
    'unclosed': b'[' * 30000,
    'NaN': b'{"type": "mock", "info": {"NumWrites": NaN}}',
    'infinity': b'{"type": "mock", "info": {"NumWrites": 1e999}}',
    'many digits': b'{"type": "mock", "info": {"NumWrites": ' + b'9' * 5000 + b'}}',
    'fraction': b'{"type": "mock", "info": {"NumWrites": 1.5}}',
    'lone surrogate': b'{"type": "mock", "info": {"addr": "\\ud800"}}',
    'NUL in a value': b'{"type": "ipmi", "info": {"addr": "a\\u0000b", "user": "u", "pass": "p"}}',
    'NUL in a type': b'{"type": "mock\\u0000", "info": {}}',
    'many fields': b'{"type": "mock", "info": {%s}}'
    % b','.join(b'"f%d": 1' % n for n in range(3000)),
    'long value': b'{"type": "mock", "info": {"addr": "%s"}}' % (b'x' * 60000),
    'line ends in an address': b'{"type": "dummy", "info": {"addr": "a\\r\\nb"}}',
    'a list for an object': b'[{"type": "mock", "info": {}}]',
    'text around': b'prefix {"type": "mock", "info": {}}',
    'a byte order mark': b'\xef\xbb\xbf{"type": "mock", "info": {}}',
}


@pytest.mark.parametrize('kind', BODIES)
def test_a_hostile_body_is_400(obmd, mock, kind):
    started = time.monotonic()
    error = check_error(obmd.exact('PUT', '/node/hostile', BODIES[kind]), 400, 'invalid_input')
    assert len(error['reason']) < 300
    for method, operation in (('POST', 'power_cycle'), ('PUT', 'boot_device')):
        path = f'/node/mock/{operation}?token={mock.token}'
        status = obmd.exact(method, path, BODIES[kind], admin=False).status
        # an object with other keys is a power cycle without "force"
        assert status == 400 or operation == 'power_cycle'
    assert time.monotonic() - started < 5
    assert obmd.exact('POST', '/node/hostile/token').status == 404


def test_a_password_is_not_repeated_in_an_error(obmd):
    body = b'{"type": "ipmi", "info": {"addr": "a", "user": "u", "pass": ["hunter2-secret"]}}'
    for sent in (body, body[:-1], body.replace(b'ipmi', b'nosuch')):
        assert b'hunter2' not in obmd.exact('PUT', '/node/hostile', sent).body
    assert 'hunter2' not in obmd.log()


def test_a_huge_body_is_413_and_not_read(obmd, mock):
    started = time.monotonic()
    headers = {'Content-Length': str(10**12)}
    for method, path, admin in (
        ('PUT', '/node/hostile', True),
        ('POST', f'/node/mock/power_cycle?token={mock.token}', False),
    ):
        answer = obmd.exact(method, path, None, admin=admin, headers=headers)
        check_error(answer, 413, 'too_large')
    answer = obmd.exact('PUT', '/node/hostile', b'"' + b'x' * 5_000_000 + b'"')
    check_error(answer, 413, 'too_large')
    assert time.monotonic() - started < 10


def test_power_on_does_not_wait_for_a_body_that_it_ignores(obmd, mock):
    path = f'/node/mock/power_on?token={mock.token}'
    answer = obmd.exact('POST', path, None, admin=False, headers={'Content-Length': '1000'})
    assert answer.status == 200


def say(obmd, data, timeout=10):
    """:returns: bytes, all that comes back for ``data`` until the other end closes."""
    with socket.create_connection(('127.0.0.1', obmd.port), timeout) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        found = b''
        try:
            while chunk := connection.recv(65536):
                found += chunk
        except ConnectionResetError:
            pass
        return found


@pytest.mark.parametrize(
    'body',
    [
        b'1\r\n',
        b'zz\r\n{}\r\n0\r\n\r\n',
        b'-5\r\n{}\r\n0\r\n\r\n',
        b'ffffffffffffffff\r\n{}\r\n0\r\n\r\n',
        b'3;' + b'x' * 100000 + b'\r\n{}\n\r\n0\r\n\r\n',
    ],
)
def test_a_broken_chunked_body_gives_an_error_and_no_hang(obmd, mock, body):
    head = (
        f'POST /node/mock/power_cycle?token={mock.token} HTTP/1.1\r\n'
        'Host: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n'
    )
    answer = say(obmd, head.encode() + body)
    assert not answer or answer.split()[1][:1] == b'4', answer[:200]


def test_a_chunked_body_is_read(obmd, mock):
    head = (
        f'POST /node/mock/power_cycle?token={mock.token} HTTP/1.1\r\n'
        'Host: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n'
    )
    answer = say(obmd, head.encode() + b'7\r\n{"force\r\n8\r\n": true}\r\n0\r\n\r\n')
    assert answer.startswith(b'HTTP/1.1 200 ')


@pytest.mark.parametrize(
    'data',
    [
        b'\r\n\r\n',
        b'\x16\x03\x01\x02\x00\x01\x00',
        b'GET\r\n\r\n',
        b'GET /readyz HTTP/9.9\r\n\r\n',
        b'GET /' + b'x' * 100000 + b' HTTP/1.1\r\nHost: x\r\n\r\n',
        b'GET /readyz HTTP/1.1\r\n' + b'X: y\r\n' * 5000 + b'\r\n',
        b'GET /readyz HTTP/1.1\r\nX: ' + b'y' * 200000 + b'\r\n\r\n',
        b'GET /node/\xff\x00 HTTP/1.1\r\nHost: x\r\n\r\n',
        b'POST /node/a/token HTTP/1.1\r\nHost: x\r\nContent-Length: junk\r\n\r\n',
        b'POST /node/a/token HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n',
    ],
)
def test_what_is_hardly_http_is_refused_without_a_traceback(obmd, data):
    answer = say(obmd, data)
    assert b'Traceback' not in answer
    status = answer.split()[1] if answer else b''
    assert status[:1] in (b'', b'4') or status == b'505', answer[:200]


def test_a_query_of_many_parameters_is_refused(obmd, mock):
    path = f'/node/mock/power_status?{"a=b&" * 500}token={mock.token}'
    assert obmd.exact('GET', path, admin=False).status in (400, 401)


def test_no_token_is_in_the_log(obmd, mock):
    mock.power()
    wait_until(lambda: '/node/mock/power_status?token=***' in obmd.log(), 5, 'the line')
    log = obmd.log()
    assert mock.token not in log
    assert obmd.admin_token not in log
