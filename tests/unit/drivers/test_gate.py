"""The gate before every BMC, and that the function which writes to the wire asks it."""

import socket

import pytest

from obmd.drivers import gate
from obmd.drivers.ipmi import reactor


@pytest.fixture
def port():
    made = reactor.Port(socket.AF_INET)
    yield made
    made.socket.close()
    gate.close_by(None)


@pytest.fixture
def wire():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(('127.0.0.1', 0))
        made.settimeout(5)
        yield made


def arrived(wire):
    """:returns: list of bytes; an end mark goes through the wire itself."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as marker:
        marker.sendto(b'end', wire.getsockname())
    found = []
    while (packet := wire.recv(100)) != b'end':
        found.append(packet)
    return found


def send_both(port, wire):
    port.send(b'command', wire.getsockname())
    port.send(b'upkeep', wire.getsockname(), upkeep=True)


def test_it_is_open_to_all_where_there_is_no_lease(port, wire):
    send_both(port, wire)
    assert arrived(wire) == [b'command', b'upkeep']


def test_of_a_fenced_conductor_only_upkeep_gets_out(port, wire):
    gate.close_by(lambda upkeep: upkeep)
    send_both(port, wire)
    assert arrived(wire) == [b'upkeep']


def test_of_a_suspended_conductor_nothing_gets_out(port, wire):
    gate.close_by(lambda upkeep: False)
    send_both(port, wire)
    assert arrived(wire) == []


def test_it_is_asked_anew_for_each_packet(port, wire):
    answers = [True, False, True]
    gate.close_by(lambda upkeep: answers.pop(0))
    for number in range(3):
        port.send(b'%d' % number, wire.getsockname())
    assert arrived(wire) == [b'0', b'2']
