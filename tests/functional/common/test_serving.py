"""The listener over real sockets, with and without TLS."""

import contextlib
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import time

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(__file__))))


class Service:
    def __init__(self, folder, certificate=None, **environ):
        self.log = folder / 'log'
        self._certificate = certificate
        with self.log.open('w') as log:
            self.process = subprocess.Popen(
                [sys.executable, '-W', 'ignore', '-m', 'tests.functional.common.served']
                + list(certificate or ()),
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, **environ},
                text=True,
            )
        self.port = int(self.process.stdout.readline())

    def connect(self, receive_buffer=None):
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(5)
        sock.connect(('127.0.0.1', self.port))
        if self._certificate:
            context = ssl.create_default_context(cafile=self._certificate[0])
            sock = context.wrap_socket(sock, server_hostname='localhost')
        return sock

    def send(self, data, **kwargs):
        sock = self.connect(**kwargs)
        sock.sendall(data)
        return sock

    def ask(self, path, body=b'', headers=b''):
        """One request on a connection of its own.  :returns: (int status, bytes body)."""
        with self.send(
            b'POST %b HTTP/1.1\r\nConnection: close\r\nContent-Length: %d\r\n%b\r\n%b'
            % (path.encode(), len(body), headers, body)
        ) as sock:
            return parse(receive_all(sock))

    def state(self):
        return json.loads(self.ask('/state')[1])

    def stream(self, name, version=b'1.1', **kwargs):
        sock = self.send(b'GET /stream/%b HTTP/%b\r\n\r\n' % (name, version), **kwargs)
        return sock, receive_until(sock, b'\r\n\r\n')

    def wait(self, condition, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition(self.state()):
                return True
            time.sleep(0.02)
        return False

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()


def receive_all(sock):
    received = b''
    with contextlib.suppress(ConnectionResetError):
        while data := sock.recv(65536):
            received += data
    return received


def receive_until(sock, end):
    received = b''
    while end not in received:
        data = sock.recv(65536)
        assert data, received
        received += data
    return received


def parse(answer):
    head, _, body = answer.partition(b'\r\n\r\n')
    return int(head.split()[1]), body


@pytest.fixture(scope='session')
def certificate(tmp_path_factory):
    from tests.functional.common import certificates

    return certificates.make(tmp_path_factory.mktemp('tls'))


@pytest.fixture(scope='module', params=['plain', 'tls'])
def service(request, tmp_path_factory, certificate):
    made = Service(
        tmp_path_factory.mktemp('served'), certificate if request.param == 'tls' else None
    )
    yield made
    made.stop()


def test_ordinary_answers_share_a_connection(service):
    with service.connect() as sock:
        for _ in range(3):
            sock.sendall(b'GET /state HTTP/1.1\r\n\r\n')
            head, _, body = receive_until(sock, b'}').partition(b'\r\n\r\n')
            assert b'Content-Length: %d' % len(body) in head
            assert b'Connection: close' not in head


def test_a_client_that_asks_without_a_pause_lets_others_in(service):
    before = service.state()['asked']
    with service.send(1000 * b'GET /state HTTP/1.1\r\n\r\n'):
        assert service.state()['asked'] - before < 500


def test_headers_of_a_stream_come_before_its_first_byte(service):
    sock, head = service.stream(b'head')
    assert head.startswith(b'HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n')
    assert b'Transfer-Encoding: chunked\r\nConnection: close\r\n' in head
    assert head.endswith(b'\r\n\r\n')
    sock.close()


def test_each_item_is_a_chunk_and_the_end_is_clean(service):
    sock, _ = service.stream(b'chunks')
    for item in (b'a', b'bc\n', b'\x00' * 100):
        service.ask('/put/chunks', item)
        expected = b'%x\r\n%b\r\n' % (len(item), item)
        assert receive_until(sock, expected) == expected
    service.ask('/end/chunks')
    assert receive_all(sock) == b'0\r\n\r\n'


def test_zeros_ahead_of_a_chunk_keep_a_silent_stream_alive_and_are_not_seen(service):
    sock, head = service.stream(b'zeros?9')
    received = head.partition(b'\r\n\r\n')[2]
    while received != b'0' * 9:
        received += sock.recv(1)
    service.ask('/put/zeros', b'line\n')
    received = receive_until(sock, b'line\n\r\n0')
    assert received.startswith(b'5\r\nline\n\r\n0')
    service.ask('/end/zeros')
    end = received.removeprefix(b'5\r\nline\n\r\n') + receive_all(sock)
    assert re.fullmatch(rb'0{1,10}\r\n\r\n', end), end


def test_clients_read_a_stream_that_is_kept_alive(service, certificate):
    context = ssl.create_default_context(cafile=certificate[0])
    arguments = {'context': context} if service._certificate else {}
    kind = http.client.HTTPSConnection if service._certificate else http.client.HTTPConnection
    connection = kind('localhost', service.port, timeout=5, **arguments)
    connection.request('GET', '/stream/read?9')
    answer = connection.getresponse()
    for number in range(3):
        time.sleep(0.2)
        service.ask('/put/read', b'line %d\n' % number)
        assert answer.readline() == b'line %d\n' % number
    service.ask('/end/read')
    assert answer.read() == b''
    connection.close()


def test_http_1_0_is_not_kept_alive(service):
    sock, _ = service.stream(b'old?9', version=b'1.0')
    time.sleep(0.3)
    service.ask('/put/old', b'line\n')
    assert receive_until(sock, b'\n') == b'line\n'
    service.ask('/end/old')
    assert receive_all(sock) == b''


def test_http_1_0_gets_no_chunks(service):
    sock, head = service.stream(b'old', b'1.0')
    assert b'chunked' not in head
    service.ask('/put/old', b'abc')
    service.ask('/end/old')
    assert receive_all(sock) == b'abc'


@pytest.mark.parametrize('goes', ['close', 'reset', 'half'])
def test_a_client_that_goes_is_noticed_on_a_silent_stream(service, goes):
    name = f'gone-{goes}'
    sock, _ = service.stream(name.encode())
    if goes == 'reset':
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
    if goes == 'half':
        sock.shutdown(socket.SHUT_WR)
    else:
        sock.close()
    assert service.wait(lambda state: name in state['ended'], 1)
    sock.close()


def test_what_a_client_sends_into_a_stream_is_dropped_and_costs_nothing(service):
    sock, _ = service.stream(b'chatty')
    sock.sendall(b'GET / HTTP/1.1\r\n\r\n' * 1000)
    before = service.state()['cpu']
    time.sleep(0.5)
    assert service.state()['cpu'] - before < 0.2
    service.ask('/put/chatty', b'x')
    assert receive_until(sock, b'\r\nx\r\n') == b'1\r\nx\r\n'
    sock.close()


def test_a_client_that_never_reads_is_cut_once_its_stream_has_ended(service):
    sock, _ = service.stream(b'deaf', receive_buffer=4096)
    for _ in range(100):
        service.ask('/put/deaf', b'x' * 100000)
    time.sleep(0.3)
    assert 'deaf' not in service.state()['ended']
    before = service.state()['streams']
    service.ask('/end/deaf')
    assert service.wait(lambda state: state['streams'] == before - 1, 2)
    sock.close()


@pytest.mark.parametrize(
    ('request_', 'status'),
    [
        (b'GARBAGE\r\n\r\n', 400),
        (b'GET / HTTP/9.9\r\n\r\n', 505),
        (b'\x16\x03\x01\x00\xa5' * 10 + b'\r\n\r\n', 400),
        (b'GET /' + b'a' * 70000 + b' HTTP/1.1\r\n\r\n', 414),
        (b'GET / HTTP/1.1\r\nA: ' + b'a' * 9000 + b'\r\n\r\n', 431),
        (b'GET / HTTP/1.1\r\n' + b'A: a\r\n' * 200 + b'\r\n', 431),
        (b'GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n', 400),
        (b'GET / HTTP/1.1\r\nContent-Length: 1_0\r\n\r\n', 400),
        (b'GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n', 400),
        (b'GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n', 400),
        (b'GET / HTTP/1.1\r\nContent-Length : 1\r\n\r\n', 400),
        (b'GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n', 400),
        (b'GET / HTTP/1.1\r\nno header\r\nConnection: close\r\n\r\n', 400),
    ],
)
def test_what_is_not_http_is_a_json_error(service, request_, status):
    with service.send(request_) as sock:
        answer = receive_all(sock)
    got, body = parse(answer)
    assert got == status
    assert json.loads(body)['error']['kind'] == 'invalid_input'
    assert b'Content-Type: application/json' in answer


def test_a_chunked_body_is_read_and_bounded(service):
    head = b'POST /state HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n'
    with service.send(head + b'5\r\nhello\r\n0\r\n\r\n') as sock:
        assert json.loads(parse(receive_all(sock))[1])['read'] == 5
    with service.send(head + b'5;' + b'x' * 5000) as sock:
        assert b' 200 ' not in receive_all(sock)


def test_an_answer_before_the_body_arrives_whole(service):
    status, body = service.ask('/unread', b'x' * 300000)
    assert status == 200
    assert json.loads(body)['read'] == 0


def test_a_request_that_broke_off_asks_for_nothing(tmp_path):
    service = Service(tmp_path)
    try:
        for line in (b'POST /state', b'POST /state HTTP/1.1\r\nContent-Le', b'GET / HTTP/1.1\r\n'):
            with service.send(line) as sock:
                sock.shutdown(socket.SHUT_WR)
                assert b' 200 ' not in receive_all(sock)
        assert service.state()['asked'] == 0
    finally:
        service.stop()


def test_the_target_may_be_a_whole_url(service):
    with service.send(b'GET http://x:1/state HTTP/1.1\r\nConnection: close\r\n\r\n') as sock:
        assert parse(receive_all(sock))[0] == 200


def test_an_error_of_the_application_tells_nothing(service):
    status, body = service.ask('/fail')
    assert status == 500
    assert json.loads(body)['error']['kind'] == 'internal'
    assert b'hunter2' not in body


def test_the_path_reaches_the_application_as_it_was_sent(service):
    with service.send(b'GET //fail HTTP/1.1\r\nConnection: close\r\n\r\n') as sock:
        assert parse(receive_all(sock))[0] == 200


def test_the_access_log_has_neither_tokens_nor_tickets(service):
    service.ask('/state?token=5ecret5ecret&nodes=n[1-3]&t%6Fken=5ecret')
    sock, _ = service.stream(b'5ecretticket')
    sock.close()
    service.wait(lambda state: '5ecretticket' in state['ended'], 1)
    text = service.log.read_text()
    assert '/state?token=***&nodes=n[1-3]&***' in text
    assert '/stream/***' in text
    assert '5ecret' not in text


def test_a_slow_request_is_cut(tmp_path):
    service = Service(tmp_path, BOUNDS='HEADER_TIMEOUT=1.0 KEEPALIVE=1.0')
    try:
        with service.connect() as sock:
            sent = 0
            with contextlib.suppress(OSError):
                for sent in range(40):  # noqa: B007
                    sock.sendall(b'G' if sent == 0 else b'E')
                    time.sleep(0.1)
            assert 8 < sent < 30
    finally:
        service.stop()


def test_a_connection_that_was_cut_leaves_no_descriptor(tmp_path):
    service = Service(tmp_path, BOUNDS='HEADER_TIMEOUT=1.0')
    descriptors = f'/proc/{service.process.pid}/fd'
    try:
        before = len(os.listdir(descriptors))
        begun = [service.send(b'GET /st') for _ in range(10)]
        end = time.monotonic() + 6
        while len(os.listdir(descriptors)) > before and time.monotonic() < end:
            time.sleep(0.1)
        assert len(os.listdir(descriptors)) <= before
        for sock in begun:
            sock.close()
    finally:
        service.stop()


@pytest.mark.parametrize('over', ['plain', 'tls'])
def test_lines_are_not_kept_for_ever_for_a_client_that_never_reads(tmp_path, certificate, over):
    service = Service(tmp_path, certificate if over == 'tls' else None, LINES_WAIT='1.0')
    try:
        sock, _ = service.stream(b'deaf', receive_buffer=4096)
        for _ in range(100):
            service.ask('/put/deaf', b'x' * 100000)
        assert service.wait(lambda state: 'deaf' in state['ended'], 5)
        sock.close()
    finally:
        service.stop()


def test_idle_connections_make_room_for_new_ones(tmp_path):
    service = Service(tmp_path, CONNECTIONS='20')
    try:
        idle = [service.connect() for _ in range(20)]
        time.sleep(0.1)
        assert service.ask('/state')[0] == 200
        for sock in idle:
            sock.close()
    finally:
        service.stop()


def test_a_stop_ends_streams_cleanly(tmp_path):
    service = Service(tmp_path)
    sock, _ = service.stream(b'open')
    service.stop()
    assert receive_all(sock) == b'0\r\n\r\n'
    assert service.process.returncode == 0


def test_many_viewers_cost_little_memory(tmp_path):
    service = Service(tmp_path, CONNECTIONS='3000')
    try:
        before = _resident(service.process.pid)
        count = 500
        sockets = [service.stream(b's%d' % number)[0] for number in range(count)]
        each = (_resident(service.process.pid) - before) / count
        for sock in sockets:
            sock.close()
        assert service.wait(lambda state: len(state['ended']) == count, 2)
        assert each < 100 * 1024
    finally:
        service.stop()


def _resident(pid):
    with open(f'/proc/{pid}/status') as status:
        return int(re.search(r'VmRSS:\s+(\d+) kB', status.read())[1]) * 1024
