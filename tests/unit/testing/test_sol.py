import pytest

from obmd.testing.sol import ATTEMPTS
from obmd.testing.sol import PACKET_DATA
from obmd.testing.sol import RETRY_AFTER
from obmd.testing.sol import Sol


class Session:
    sol_handler = None

    def __init__(self):
        self.sent = []

    def send_payload(self, payload, payload_type, retry):
        assert (payload_type, retry) == (1, False)
        self.sent.append(bytes(payload))


@pytest.fixture
def session():
    return Session()


@pytest.fixture
def typed():
    return []


@pytest.fixture
def sol(session, typed):
    return Sol(session, typed.append, lambda: typed.append('break'), clock=lambda: 0.0)


def test_one_packet_is_under_way_at_a_time(sol, session):
    sol.write(b'one')
    sol.write(b'two')
    assert session.sent == [b'\x01\0\0\0one']
    session.sol_handler(b'\0\x01\x03\0')
    assert session.sent[1:] == [b'\x02\0\0\0two']


def test_long_output_goes_in_packets_of_the_announced_size(sol, session):
    sol.write(b'x' * (PACKET_DATA + 1))
    session.sol_handler(bytes((0, 1, PACKET_DATA, 0)))
    assert [len(p) - 4 for p in session.sent] == [PACKET_DATA, 1]


def test_sequence_numbers_go_from_1_to_15(sol, session):
    for number in range(17):
        sol.write(b'x')
        session.sol_handler(bytes((0, number % 15 + 1, 1, 0)))
    assert [p[0] for p in session.sent] == [*range(1, 16), 1, 2]


def test_what_was_refused_is_sent_again(sol, session):
    sol.write(b'abcdef')
    session.sol_handler(b'\0\x01\x02\x40')
    assert session.sent[-1] == b'\x02\0\0\0cdef'


def test_an_unacknowledged_packet_is_repeated_and_then_the_client_counts_as_gone(sol, session):
    sol.write(b'x')
    now = 0.0
    for _ in range(ATTEMPTS - 1):
        now += RETRY_AFTER
        assert sol.tick(now)
    assert session.sent == [b'\x01\0\0\0x'] * ATTEMPTS
    assert not sol.tick(now + RETRY_AFTER)


def test_input_is_acknowledged_and_a_repeated_packet_taken_once(sol, session, typed):
    session.sol_handler(b'\x05\0\0\0ls\r')
    session.sol_handler(b'\x05\0\0\0ls\r')
    assert typed == [b'ls\r']
    assert session.sent == [b'\0\x05\x03\0'] * 2


def test_a_break_reaches_the_machine(sol, session, typed):
    session.sol_handler(b'\x01\0\0\x10')
    assert typed == ['break']


def test_a_truncated_packet_is_ignored(sol, session, typed):
    session.sol_handler(b'\x01\0')
    assert (typed, session.sent) == ([], [])


def test_the_end_can_be_told(sol, session):
    sol.end(tell=True)
    assert session.sent == [b'\0\0\0\x10']
    assert session.sol_handler is None
