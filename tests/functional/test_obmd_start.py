"""How ``obmd`` starts and ends for those who ran OBMd: its settings, its refusals, its state."""

import json
import os
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import threading
import time

import pytest
import requests

from tests.functional.common import certificates
from tests.functional.deployment import BIN
from tests.functional.deployment import AllInOne
from tests.functional.deployment import environment
from tests.functional.deployment import wait_until
from tests.functional.services import free_port
from tests.functional.test_obmd_door import check_error

TOKEN = '0123456789abcdef0123456789abcdef'


def run(folder, *args, env=None):
    """Run ``obmd`` until it ends by itself.  :returns: CompletedProcess with ``seconds``."""
    started = time.monotonic()
    done = subprocess.run(
        [os.path.join(BIN, 'obmd'), *args],
        cwd=folder,
        env=environment(**(env or {})),
        capture_output=True,
        text=True,
        timeout=30,
    )
    done.seconds = time.monotonic() - started
    return done


@pytest.fixture(scope='module')
def certificate(tmp_path_factory):
    """(certificate, key): files."""
    return certificates.make(tmp_path_factory.mktemp('tls'))


# -- settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize('flag', ['-gen-token', '--gen-token'])
def test_gen_token_prints_a_fresh_token(tmp_path, flag):
    first, second = run(tmp_path, flag), run(tmp_path, flag)
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


@pytest.fixture(scope='module')
def refusals(certificate, tmp_path_factory):
    """All of them at once: dict of name -> CompletedProcess."""
    files = dict(zip(('CERT', 'KEY'), certificate, strict=True))
    done, limit = {}, threading.Semaphore(2)

    def refuse(name, env):
        env = {k: files.get(v, v) for k, v in (GOOD | env).items()}
        if name == 'no admin token':
            del env['ADMIN_TOKEN']
        with limit:
            done[name] = run(tmp_path_factory.mktemp('refused'), env=env)

    threads = [
        threading.Thread(target=refuse, args=(name, env)) for name, (env, _) in REFUSALS.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done


def check_refusal(done, reason, limit=10):
    assert done.returncode == 1, done.stderr
    assert done.stdout == ''
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith('obmd: ')
    assert reason in lines[0]
    assert done.seconds < limit
    assert 'hunter2' not in done.stderr


@pytest.mark.parametrize('name', REFUSALS)
def test_it_refuses_to_start_with(refusals, name):
    # two at once, on a machine that may be busy with more
    check_refusal(refusals[name], REFUSALS[name][1], 30)


def test_it_refuses_a_port_in_use(tmp_path):
    with socket.create_server(('127.0.0.1', 0)) as other:
        port = other.getsockname()[1]
        done = run(tmp_path, env={'ADMIN_TOKEN': TOKEN, 'LISTEN_ADDR': f'127.0.0.1:{port}'})
    check_refusal(done, f'127.0.0.1:{port} is in use')


def test_it_refuses_a_database_of_something_else(tmp_path):
    with sqlite3.connect(tmp_path / 'db') as database:
        database.execute('CREATE TABLE nodes (label TEXT)')
    database.close()
    env = GOOD | {'DB_TYPE': 'sqlite3', 'DB_PATH': str(tmp_path / 'db')}
    check_refusal(run(tmp_path, env=env), 'database')


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        (None, 'No such file'),
        ('{broken', 'not JSON'),
        ('[]', 'object'),
        ('{"AdminToken": 5}', 'AdminToken'),
        ('{"ListenAddr": "127.0.0.1:0"}', 'ADMIN_TOKEN'),
        (json.dumps({'AdminToken': TOKEN, 'ListenAddr': ':0', 'Insecure': False}), 'plain HTTP'),
    ],
)
def test_it_refuses_a_file(tmp_path, text, reason):
    if text is not None:
        (tmp_path / 'config').write_text(text)
    check_refusal(run(tmp_path, '-config', 'config'), reason)


def test_it_refuses_a_second_one_on_the_same_state():
    with AllInOne() as obmd:
        done = run(
            obmd.folder,
            env={'OBMD_STATE_DIR': obmd.state, 'OS_API__LISTEN': '127.0.0.1:0'},
        )
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert 'conductor.lock' in done.stderr
        assert obmd.call('GET', '/readyz').status_code == 200


# -- state over a restart, and the end --------------------------------------------------------


@pytest.mark.parametrize('end', [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_tokens_survive_a_restart(end):
    with AllInOne() as obmd:
        obmd.register('n', 'dummy', {'addr': '127.0.0.1:1'})
        token = obmd.token('n')
        obmd.process.send(end)
        status = obmd.process.wait()
        assert status == (-signal.SIGKILL if end == signal.SIGKILL else 0)
        started = time.monotonic()
        obmd.start()
        node = obmd.node('n', token)
        assert node.power() == 'off'
        assert node.post('power_on').status_code == 200
        print(f'answering {time.monotonic() - started:.1f} s after the restart')


@pytest.fixture
def silent_bmc():
    """An address that takes every packet and answers none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bmc:
        bmc.bind(('127.0.0.1', 0))
        yield {'addr': '127.0.0.1', 'port': bmc.getsockname()[1], 'user': 'u', 'pass': 'p'}


@pytest.mark.parametrize('operation', ['power_status', 'power_on', 'power_cycle', 'console'])
def test_a_call_that_waits_for_a_silent_bmc_gets_503_at_sigterm(silent_bmc, operation):
    with AllInOne(config={'ipmi': {'deadline': 30}, 'console': {'connect_timeout': 30}}) as obmd:
        obmd.register('n', 'ipmi', silent_bmc)
        node, answers = obmd.node('n'), []
        method = 'GET' if operation in ('power_status', 'console') else 'POST'
        waiting = threading.Thread(target=lambda: answers.append(node.call(method, operation)))
        waiting.start()
        time.sleep(1)
        assert not answers
        obmd.process.send(signal.SIGTERM)
        started = time.monotonic()
        assert obmd.process.wait(10) == 0
        print(f'gone after {time.monotonic() - started:.2f} s')
        assert time.monotonic() - started < 5
        waiting.join(10)
        check_error(answers[0], 503, 'unavailable')
        assert int(answers[0].headers['Retry-After']) >= 1


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
