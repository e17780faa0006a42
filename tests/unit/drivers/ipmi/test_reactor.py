import socket

import pytest

from obmd.drivers.ipmi import reactor


class Session:
    localsid = 0x01020304
    bmc = '192.0.2.5'

    def __init__(self, error=None):
        self.fed = []
        self.error = error

    def feed(self, packet):
        self.fed.append(packet)
        if self.error:
            raise self.error


def packet(sid=Session.localsid, auth=6):
    return b'\x06\x00\xff\x07' + bytes([auth, 0xC0]) + sid.to_bytes(4, 'little') + bytes(10)


class Hub:
    READ = 'read'

    def __init__(self):
        self.listeners = []

    def add(self, *listener):
        self.listeners.append(listener)


def test_a_packet_finds_its_session_by_id():
    session = Session()
    reactor.deliver(session, packet())
    reactor.deliver(session, packet(sid=7))
    assert len(session.fed) == 1


@pytest.mark.parametrize('junk', [b'', b'\x06', bytes(40), b'\x06\x00\xff\x07\x06', b'x' * 2000])
def test_junk_reaches_nobody(junk):
    session = Session()
    reactor.deliver(session, junk)
    assert session.fed == []


def test_an_error_over_one_packet_ends_nothing():
    reactor.deliver(Session(IndexError('short')), packet())


def test_no_more_than_64_sessions_share_a_socket():
    waiting = reactor.Reactor(Hub())
    ports = [waiting.attach(Session(), socket.AF_INET, (f'192.0.2.{i}', 623)) for i in range(130)]
    assert sorted(len(p.sessions) for p in set(ports)) == [2, 64, 64]
    for port in set(ports):
        port.socket.close()


def test_two_sessions_with_one_bmc_have_a_socket_each():
    waiting = reactor.Reactor(Hub())
    peer = ('192.0.2.5', 623)
    ports = [waiting.attach(Session(), socket.AF_INET, peer) for _ in range(3)]
    assert len(set(ports)) == 3
    for port in ports:
        port.socket.close()


@pytest.mark.parametrize(
    ('host', 'family', 'peer'),
    [
        ('192.0.2.5', socket.AF_INET, ('192.0.2.5', 623)),
        ('::1', socket.AF_INET6, ('::1', 623, 0, 0)),
    ],
)
def test_a_literal_address_needs_no_resolver(host, family, peer):
    assert reactor.Reactor(Hub()).literal(host, 623) == (family, peer)


def test_a_name_is_no_literal_address():
    assert reactor.Reactor(Hub()).literal('bmc.example.com', 623) is None
