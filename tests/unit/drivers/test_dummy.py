import contextlib
import socket
import threading

import pytest

from obmd.common import errors
from obmd.common.deadline import Deadline
from obmd.conf import CONF
from obmd.drivers import base
from obmd.drivers import dummy


class Sink(base.ConsoleSink):
    def __init__(self):
        self.chunks = []
        self.got = threading.Semaphore(0)
        self.error = None
        self.down = threading.Event()

    def data(self, chunk):
        self.chunks.append(chunk)
        self.got.release()

    def lost(self, error):
        self.error = error
        self.down.set()


@pytest.fixture
def server():
    listener = socket.create_server(('127.0.0.1', 0))
    with contextlib.closing(listener):
        yield listener


def make(addr):
    return dummy.DummyDriver(base.NodeRef('n1', 'uuid-1'), {'addr': addr})


def port_of(listener):
    return listener.getsockname()[1]


def test_power_starts_off_and_follows_what_is_asked():
    driver = make('anything')
    assert driver.power_status(None) == 'off'
    for action, state in (('on', 'on'), ('off', 'off'), ('cycle', 'on'), ('soft_off', 'off')):
        driver.set_power(action, None)
        assert driver.power_status(None) == state


def test_any_boot_device_will_do():
    driver = make('anything')
    assert driver.boot_devices is None
    driver.set_boot_device('floppy', None)


def test_the_console_streams_what_comes_and_tells_the_end(server):
    sink = Sink()
    make(f'127.0.0.1:{port_of(server)}').open_console(sink, Deadline(5))
    connection, _ = server.accept()
    connection.sendall(b'hello')
    assert sink.got.acquire(timeout=10)
    connection.close()
    assert sink.down.wait(10)
    assert b''.join(sink.chunks) == b'hello'
    assert isinstance(sink.error, errors.BmcSilent)
    assert sink.error.node == 'n1'


def test_a_closed_console_is_no_loss(server):
    sink = Sink()
    handle = make(f'127.0.0.1:{port_of(server)}').open_console(sink, Deadline(5))
    connection, _ = server.accept()
    handle.close(Deadline(1))
    handle.close(Deadline(1))
    assert connection.recv(1) == b''
    connection.close()
    assert not sink.down.wait(0.005)


def test_a_name_with_several_addresses_is_tried_at_each(server, monkeypatch):
    """localhost is ::1 first on most machines, and the server listens on 127.0.0.1 only."""
    monkeypatch.setattr(
        socket,
        'getaddrinfo',
        lambda _host, port, *_args: [
            (socket.AF_INET, socket.SOCK_STREAM, 6, '', ('127.0.0.2', port)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, '', ('127.0.0.1', port)),
        ],
    )
    original = socket.create_connection
    tried = []

    def connect(address, timeout):
        tried.append(address[0])
        if address[0] == '127.0.0.2':
            raise ConnectionRefusedError(111, 'Connection refused')
        sock = socket.socket()
        sock.connect(address)
        return sock

    monkeypatch.setattr(socket, 'create_connection', connect)
    make(f'localhost:{port_of(server)}').open_console(Sink(), Deadline(5)).close(Deadline(1))
    assert tried == ['127.0.0.2', '127.0.0.1']
    assert original is not connect


@pytest.mark.parametrize(
    'addr',
    [
        '',
        'nothing',
        ':',
        '127.0.0.1',
        '127.0.0.1:',
        '127.0.0.1:http',
        '127.0.0.1:99999',
        '127.0.0.1:²',
        '127.0.0.1:' + '9' * 30,
        '127.0.0.1:' + '9' * 5000,
        'no such host.invalid:80',
        'a\0b:80',
        'é' * 100 + ':80',
    ],
)
def test_an_address_that_is_none_is_refused_when_a_console_is_opened(addr):
    with pytest.raises(errors.BmcRefused) as refused:
        make(addr).open_console(Sink(), Deadline(5))
    assert refused.value.node == 'n1'


def test_a_port_where_nobody_listens_is_refused(server):
    port = port_of(server)
    server.close()
    with pytest.raises(errors.BmcRefused, match='refused'):
        make(f'127.0.0.1:{port}').open_console(Sink(), Deadline(5))


def test_a_host_that_does_not_answer_is_silent(monkeypatch):
    def connect(address, timeout):
        raise TimeoutError('timed out')

    monkeypatch.setattr(socket, 'create_connection', connect)
    with pytest.raises(errors.BmcSilent):
        make('127.0.0.1:80').open_console(Sink(), Deadline(5))


@pytest.mark.parametrize(
    'addr', ['192.0.2.1:80', '[2001:db8::1]:80', '0.0.0.0:80', '169.254.1.1:80']
)
def test_what_is_not_loopback_is_connected_to_only_where_it_is_allowed(addr, monkeypatch):
    tried = []

    def connect(address, timeout):
        tried.append(address)
        raise ConnectionRefusedError(111, 'Connection refused')

    monkeypatch.setattr(socket, 'create_connection', connect)
    with pytest.raises(errors.BmcRefused, match='loopback'):
        make(addr).open_console(Sink(), Deadline(5))
    assert tried == []
    CONF.set_override('allow', True, 'dummy')
    try:
        with pytest.raises(errors.BmcRefused, match='refused'):
            make(addr).open_console(Sink(), Deadline(5))
    finally:
        CONF.clear_override('allow', 'dummy')
    assert tried
