"""The Action door from outside: scripts and built-in commands, as a ``flight-action`` client sees
them."""

import contextlib
import http.server
import pathlib
import threading
import urllib.request

import pytest

from tests.functional import deployment
from tests.functional import flight

#: seconds that the clients here wait, and a script that is silent for longer
PATIENCE, SILENCE = 2, 3.5

SCRIPTS = {
    'hello': 'echo "$name: $*"; echo "no $command" >&2; exit 3',
    'silent': 'echo before; sleep "$1"; echo after',
    'count': 'i=0; while [ $i -lt "$1" ]; do i=$((i+1)); echo "$i"; done',
    'hang': 'echo begun; sleep 600',
    'secrets': 'env; cat /proc/$PPID/environ /proc/$PPID/cmdline 2>/dev/null; echo "user $request_'
    'username $request_uid"',
}


@pytest.fixture(scope='module')
def command_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp('commands')
    for name, text in SCRIPTS.items():
        (folder / name).mkdir()
        (folder / name / 'metadata.yaml').write_text(f'help: {{summary: {name}}}\n')
        script = folder / name / 'default.sh'
        script.write_text(f'#!/bin/sh\n{text}\n')
        script.chmod(0o755)
    return folder


@pytest.fixture(scope='module')
def one(command_dir):
    actions = {'command_dirs': str(command_dir), 'stream_timeout': PATIENCE}
    with deployment.AllInOne(config={'actions': actions}) as one:
        for number in range(1, 6):
            one.register(f'node0{number}', 'mock', {})
        yield one


@pytest.fixture(scope='module')
def token(one):
    return flight.manage(one, 'generate-token', '--label', 'alice').strip()


@pytest.fixture
def client(one, token):
    return flight.Flight(f'{one.url}/action', token, patience=30)


def test_a_group_runs_a_script_and_each_line_says_where(client):
    shown = client.run_and_print('hello', 'node[01-03]', 'a', "it's $HOME", group=True)
    assert sorted(shown.decode().splitlines()) == sorted(
        line
        for node in ('node01', 'node02', 'node03')
        for line in (f"{node}: {node}: a it's $HOME", f'{node}: no hello')
    )


def test_a_single_node_is_not_named(client):
    assert sorted(client.run_and_print('hello', 'node01').splitlines()) == [
        b'no hello',
        b'node01: ',
    ]


def test_a_ticket_tells_what_became_of_each_node(client):
    ticket = client.run('hello', 'node[01-02]', group=True)
    client.print(ticket)
    status, document = client.ask('GET', f'/tickets/{ticket["id"]}?include=jobs.node')
    assert status == 200
    found = [one for one in document['included'] if one['type'] == 'jobs']
    assert [one['attributes']['status'] for one in found] == [3, 3]
    assert [one['attributes']['stderr'] for one in found] == ['no hello\n', 'no hello\n']


def test_built_in_commands_are_there(client):
    _, document = client.ask('GET', '/commands')
    names = {one['id'] for one in document['data']}
    assert {'power-on', 'power-off', 'power-cycle', 'power-status', 'hello'} <= names
    assert client.run_and_print('power-on', 'node[01-02]', group=True) in (
        b'node01: OK\nnode02: OK\n',
        b'node02: OK\nnode01: OK\n',
    )


def test_a_client_that_comes_later_reads_all_from_the_beginning(client):
    ticket = client.run('count', 'node01', '5000')
    wanted = ''.join(f'{number}\n' for number in range(1, 5001)).encode()
    assert client.print(ticket) == wanted
    assert client.print(ticket, chunk=100) == wanted


def test_a_silent_script_is_waited_for(one, token):
    client = flight.Flight(f'{one.url}/action', token, patience=PATIENCE)
    assert client.run_and_print('silent', 'node01', str(SILENCE)) == b'before\nafter\n'
    assert client.again == 0


class _Rechunking(http.server.BaseHTTPRequestHandler):
    """A proxy that makes chunks of its own, and does not notice that a client has gone."""

    protocol_version = 'HTTP/1.1'

    def do_GET(self):
        headers = {name: self.headers[name] for name in ('Authorization', 'User-Agent')}
        asked = urllib.request.Request(self.server.upstream + self.path, headers=headers)
        with urllib.request.urlopen(asked) as answer, contextlib.suppress(OSError):
            self.send_response(answer.status)
            self.send_header('Transfer-Encoding', 'chunked')
            self.send_header('Connection', 'close')
            self.end_headers()
            while data := answer.read1(65536):
                self.wfile.write(b'%x\r\n%b\r\n' % (len(data), data))
                self.wfile.flush()
            self.wfile.write(b'0\r\n\r\n')
        self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture
def proxy(one):
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), _Rechunking)
    server.daemon_threads = True
    server.upstream = one.url
    serving = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    serving.start()
    yield f'http://127.0.0.1:{server.server_address[1]}'
    server.shutdown()
    server.server_close()


def test_behind_a_proxy_that_makes_its_own_chunks_no_line_comes_twice(client, proxy, token):
    ticket = client.run('silent', 'node[01-02]', str(SILENCE), group=True)
    behind = flight.Flight(f'{proxy}/action', token, patience=PATIENCE)
    shown = behind.print(ticket)
    assert behind.again == 1
    assert sorted(shown.splitlines()) == [
        b'node01: after',
        b'node01: before',
        b'node02: after',
        b'node02: before',
    ]


def test_a_ticket_is_cancelled_with_all_its_processes(client):
    ticket = client.run('hang', 'node[01-02]', group=True)
    read = threading.Thread(target=lambda: shown.append(client.print(ticket)))
    shown = []
    read.start()

    def begun():
        _, document = client.ask('GET', f'/tickets/{ticket["id"]}?include=jobs')
        jobs = [one for one in document['included'] if one['type'] == 'jobs']
        return all(one['attributes']['stdout'] for one in jobs)

    deployment.wait_until(begun, 20, 'the start of the scripts')
    assert client.ask('DELETE', f'/tickets/{ticket["id"]}') == (204, None)
    read.join(30)
    lines = shown[0].decode().splitlines()
    assert sorted(line for line in lines if 'begun' in line) == ['node01: begun', 'node02: begun']
    _, document = client.ask('GET', f'/tickets/{ticket["id"]}?include=jobs')
    ended = [one['attributes'] for one in document['included']]
    assert {one['outcome'] for one in ended} == {'cancelled'}
    assert 0 not in {one['status'] for one in ended}


def test_a_script_sees_who_asked_and_nothing_of_the_service(client, one, token):
    shown = client.run_and_print('secrets', 'node01').decode(errors='replace')
    assert 'user root 0' in shown
    secret = pathlib.Path(one.state, 'jwt.secret').read_text().strip()
    for hidden in (secret, token, one.admin_token, 'jwt.secret', 'OBMD_STATE_DIR'):
        assert hidden not in shown


def test_tickets_outlive_the_service(one, client):
    ticket = client.run('hello', 'node04')
    client.print(ticket)
    assert one.stop() == 0
    one.start()
    assert sorted(client.print(ticket).splitlines()) == [b'no hello', b'node04: ']
