"""How ``obmd`` starts and ends for those who ran OBMd: its settings, its refusals, its state."""

import contextlib
import json
import os
import re
import signal
import socket
import sqlite3
import stat
import threading
import time

import pytest
import requests

from tests.functional import refusals
from tests.functional.common import certificates
from tests.functional.deployment import AllInOne
from tests.functional.deployment import wait_until
from tests.functional.services import free_port
from tests.functional.test_obmd_door import check_error

TOKEN = '0123456789abcdef0123456789abcdef'


@pytest.fixture(scope='module')
def certificate(tmp_path_factory):
    """(certificate, key): files."""
    return certificates.make(tmp_path_factory.mktemp('tls'))


# -- settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize('flag', ['-gen-token', '--gen-token'])
def test_gen_token_prints_a_fresh_token(tmp_path, flag):
    first, second = (refusals.run(tmp_path, 'obmd', flag) for _ in range(2))
    for done in (first, second):
        assert done.returncode == 0
        assert re.fullmatch('[0-9a-f]{32}\n', done.stdout)
        assert done.stderr == ''
    assert first.stdout != second.stdout
    assert os.listdir(tmp_path) == []


def test_the_variables_of_obmd(tmp_path):
    port = free_port()
    env = {
        'DB_TYPE': 'sqlite3',
        'DB_PATH': str(tmp_path / 'obmd.db'),
        'LISTEN_ADDR': f'127.0.0.1:{port}',
        'ADMIN_TOKEN': TOKEN.upper(),
    }
    with AllInOne(env, url=f'http://127.0.0.1:{port}') as obmd:
        obmd.register('n', 'mock', {})
        token = obmd.token('n')
        assert (tmp_path / 'obmd.db').exists()
        with open(f'/proc/{obmd.pid}/cmdline', 'rb') as file:
            assert TOKEN.upper().encode() not in file.read()
        assert obmd.stop() == 0
        obmd.start()
        assert obmd.node('n', token).power() == 'Mock Status'
        assert TOKEN not in obmd.log().lower()


def test_a_database_in_memory_and_an_address_without_a_host(tmp_path):
    port = free_port()
    env = {
        'DB_TYPE': 'sqlite3',
        'DB_PATH': ':memory:',
        'LISTEN_ADDR': f':{port}',
        'ADMIN_TOKEN': TOKEN,
        'INSECURE': 'T',
    }
    with AllInOne(env, url=f'http://127.0.0.1:{port}') as obmd:
        obmd.register('n', 'mock', {})
        assert obmd.node('n').power() == 'Mock Status'
        obmd.stop()
        obmd.start()
        assert obmd.as_admin('POST', '/node/n/token').status_code == 404


@pytest.mark.needs('initdb')
def test_postgresql_by_a_libpq_string(postgresql):
    postgresql.new_database('of_obmd')
    env = {
        'DB_TYPE': 'postgres',
        'DB_PATH': f"host=127.0.0.1 port={postgresql.port} user=obmd password='a b' dbname=of_obmd",
        'ADMIN_TOKEN': TOKEN,
    }
    with AllInOne(env) as obmd:
        obmd.register('n', 'mock', {})
        token = obmd.token('n')
        obmd.kill()
        obmd.start()
        assert obmd.node('n', token).power() == 'Mock Status'


def test_the_file_that_older_versions_took(tmp_path):
    """HIL's own test rig starts it so."""
    port = free_port()
    path = tmp_path / 'obmd.json'
    path.write_text(
        json.dumps(
            {
                'DBType': 'sqlite3',
                'DBPath': str(tmp_path / 'obmd.db'),
                'ListenAddr': f':{port}',
                'AdminToken': TOKEN,
            }
        )
    )
    with AllInOne(args=['-config', str(path)], url=f'http://127.0.0.1:{port}', env={}) as obmd:
        obmd.admin_token = TOKEN
        obmd.register('n', 'mock', {})
        assert obmd.node('n').power() == 'Mock Status'


def test_a_tls_listener(certificate):
    cert, key = certificate
    port = free_port()
    env = {
        'ADMIN_TOKEN': TOKEN,
        'TLS_CERT': cert,
        'TLS_KEY': key,
        'LISTEN_ADDR': f'0.0.0.0:{port}',
    }
    with AllInOne(env, url=f'https://127.0.0.1:{port}', verify=cert) as obmd:
        obmd.register('n', 'mock', {})
        node = obmd.node('n')
        with node.console() as viewer:
            viewer.wait_for(b'\n20\n')
            assert obmd.as_admin('DELETE', '/node/n/token').status_code == 200
            viewer.wait_for_end()
        with pytest.raises(requests.RequestException):
            requests.get(f'http://127.0.0.1:{port}/healthz', timeout=5)


def test_its_own_state_is_private():
    with AllInOne() as obmd:
        assert re.fullmatch('[0-9a-f]{32}', obmd.admin_token)
        assert stat.S_IMODE(os.stat(obmd.state).st_mode) == 0o700
        for name in ('admin-token', 'conductor.key'):
            assert stat.S_IMODE(os.stat(os.path.join(obmd.state, name)).st_mode) == 0o600


# -- refusals ---------------------------------------------------------------------------------

GOOD = {'ADMIN_TOKEN': TOKEN, 'LISTEN_ADDR': '127.0.0.1:0'}
REFUSALS = {
    'no admin token': ({'LISTEN_ADDR': ':0', 'INSECURE': '1'}, 'ADMIN_TOKEN'),
    'an empty admin token': ({'ADMIN_TOKEN': ''}, 'ADMIN_TOKEN'),
    'plain HTTP everywhere': ({'LISTEN_ADDR': ':0'}, 'plain HTTP'),
    'insecure with a certificate': (
        {'INSECURE': 'true', 'TLS_CERT': 'CERT', 'TLS_KEY': 'KEY'},
        'INSECURE',
    ),
    'insecure is no boolean': ({'INSECURE': 'maybe'}, 'INSECURE'),
    'a certificate without its key': ({'TLS_CERT': 'CERT'}, 'key'),
    'a key without its certificate': ({'TLS_KEY': 'KEY'}, 'certificate'),
    'a certificate that is not there': (
        {'TLS_CERT': '/nonexistent.pem', 'TLS_KEY': 'KEY'},
        '/nonexistent.pem',
    ),
    'a certificate that is none': ({'TLS_CERT': 'KEY', 'TLS_KEY': 'KEY'}, 'certificate'),
    'an unknown database': ({'DB_TYPE': 'oracle', 'DB_PATH': 'x'}, 'DB_TYPE'),
    'a path that cannot be': ({'DB_TYPE': 'sqlite3', 'DB_PATH': '/dev/null/db'}, '/dev/null'),
    'a server that is not there': (
        {'DB_TYPE': 'postgres', 'DB_PATH': 'host=127.0.0.1 port=1 password=hunter2 dbname=x'},
        'database',
    ),
    'a libpq string that is none': ({'DB_TYPE': 'postgres', 'DB_PATH': 'hunter2'}, 'DB_PATH'),
    'no address': ({'LISTEN_ADDR': 'nonsense'}, 'nonsense'),
    'an unknown host': ({'LISTEN_ADDR': 'nosuch.invalid:8080'}, 'nosuch.invalid'),
}


#: what "-config" may not name: content of the file and what the line says
FILES = {
    'no file': (None, 'No such file'),
    'a file that is not JSON': ('{broken', 'not JSON'),
    'a file of the wrong types': ('{"AdminToken": 5}', 'AdminToken'),
    'a file that allows no plain HTTP': (
        json.dumps({'AdminToken': TOKEN, 'ListenAddr': ':0', 'Insecure': False}),
        'plain HTTP',
    ),
}


@pytest.fixture(scope='module')
def refused(certificate, tmp_path_factory):
    files = dict(zip(('CERT', 'KEY'), certificate, strict=True))
    cases = {}
    for name, (env, _) in REFUSALS.items():
        env = {k: files.get(v, v) for k, v in (GOOD | env).items()}
        if name == 'no admin token':
            del env['ADMIN_TOKEN']
        cases[name] = ([tmp_path_factory.mktemp('refused'), 'obmd'], {'env': env})
    for name, (text, _) in FILES.items():
        folder = tmp_path_factory.mktemp('refused')
        if text is not None:
            (folder / 'config').write_text(text)
        cases[name] = ([folder, 'obmd', '-config', 'config'], {})
    return refusals.run_all(cases)


@pytest.mark.parametrize('name', REFUSALS)
def test_it_refuses_to_start_with(refused, name):
    # two at once, on a machine that may be busy with more
    refusals.check(refused[name], 'obmd', REFUSALS[name][1], limit=30)


@pytest.mark.parametrize('name', FILES)
def test_it_refuses(refused, name):
    refusals.check(refused[name], 'obmd', FILES[name][1], limit=30)


def test_it_refuses_a_port_in_use(tmp_path):
    with socket.create_server(('127.0.0.1', 0)) as other:
        port = other.getsockname()[1]
        done = refusals.run(
            tmp_path, 'obmd', env={'ADMIN_TOKEN': TOKEN, 'LISTEN_ADDR': f'127.0.0.1:{port}'}
        )
    refusals.check(done, 'obmd', f'127.0.0.1:{port} is in use')


def test_it_refuses_a_database_of_something_else(tmp_path):
    with sqlite3.connect(tmp_path / 'db') as database:
        database.execute('CREATE TABLE nodes (label TEXT)')
    database.close()
    env = GOOD | {'DB_TYPE': 'sqlite3', 'DB_PATH': str(tmp_path / 'db')}
    done = refusals.run(tmp_path, 'obmd', env=env)
    refusals.check(done, 'obmd', 'database')


def test_it_refuses_a_second_one_on_the_same_state():
    with AllInOne() as obmd:
        done = refusals.run(
            obmd.folder,
            'obmd',
            env={'OBMD_STATE_DIR': obmd.state, 'OS_API__LISTEN': '127.0.0.1:0'},
        )
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert 'conductor.lock' in done.stderr
        assert obmd.call('GET', '/readyz').status_code == 200


# -- state over a restart, and the end --------------------------------------------------------


def test_tokens_survive_a_restart_however_it_came_about():
    with AllInOne() as obmd:
        obmd.register('n', 'dummy', {'addr': '127.0.0.1:1'})
        node = obmd.node('n')
        for end, expected in (
            (signal.SIGTERM, 0),
            (signal.SIGKILL, -signal.SIGKILL),
            (signal.SIGINT, 0),
        ):
            obmd.process.send(end)
            assert obmd.process.wait() == expected
            started = time.monotonic()
            obmd.start()
            assert node.power() == 'off'
            assert node.post('power_on').status_code == 200
            print(f'{end.name}: answering {time.monotonic() - started:.1f} s after the restart')


def test_calls_that_wait_for_silent_bmcs_get_503_at_sigterm():
    config = {'ipmi': {'deadline': 30}, 'console': {'connect_timeout': 30}}
    operations = ('power_status', 'power_on', 'power_cycle', 'console')
    answers, waiting = {}, []
    with contextlib.ExitStack() as stack:
        obmd = stack.enter_context(AllInOne(config=config))
        for operation in operations:
            bmc = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            bmc.bind(('127.0.0.1', 0))
            info = {'addr': '127.0.0.1', 'port': bmc.getsockname()[1], 'user': 'u', 'pass': 'p'}
            node = obmd.node(obmd.register(operation, 'ipmi', info))

            def ask(node=node, operation=operation):
                method = 'GET' if operation in ('power_status', 'console') else 'POST'
                answers[operation] = node.call(method, operation)

            waiting.append(threading.Thread(target=ask))
            waiting[-1].start()
        time.sleep(1)
        assert not answers
        obmd.process.send(signal.SIGTERM)
        started = time.monotonic()
        assert obmd.process.wait(10) == 0
        print(f'gone after {time.monotonic() - started:.2f} s')
        assert time.monotonic() - started < 5
        for thread in waiting:
            thread.join(10)
    for operation in operations:
        check_error(answers[operation], 503, 'unavailable', node=operation)
        assert int(answers[operation].headers['Retry-After']) >= 1


def test_a_console_ends_cleanly_at_sigterm():
    with AllInOne() as obmd:
        obmd.register('n', 'mock', {})
        with obmd.node('n').console() as viewer:
            viewer.wait_for(b'\n5\n')
            assert obmd.stop() == 0
            viewer.wait_for_end()


def test_a_stalled_client_does_not_hold_up_the_end():
    with AllInOne() as obmd:
        obmd.register('n', 'mock', {})
        path = f'/node/n/console?token={obmd.token("n")}'
        half = socket.create_connection(('127.0.0.1', obmd.port))
        half.sendall(b'GET /node/n/power_st')
        deaf = socket.create_connection(('127.0.0.1', obmd.port))
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        deaf.sendall(f'GET {path} HTTP/1.1\r\nHost: x\r\n\r\n'.encode())
        wait_until(lambda: deaf.recv(1), what='the answer')
        started = time.monotonic()
        assert obmd.stop() == 0
        assert time.monotonic() - started < 6
        half.close()
        deaf.close()
