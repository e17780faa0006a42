import os
import random

import pytest

from obmd.common import errors

GET_DEVICE_ID = (6, 0x01)
GET_CHASSIS_STATUS = (0, 0x01)


@pytest.mark.parametrize('suite', [3, 17])
def test_login_with_a_given_cipher_suite(rig, suite):
    rig.connect({'cipher_suite': suite})
    assert rig.call(*GET_DEVICE_ID).session.suite == suite


@pytest.mark.parametrize('suite', [3, 17])
def test_a_given_cipher_suite_is_not_replaced_by_another(rig, suite):
    rig.connect({'cipher_suite': suite}, suites=(20 - suite,))
    with pytest.raises(errors.BmcRefused, match='No Cipher suite match'):
        rig.call(*GET_DEVICE_ID)
    assert rig.fake.kinds == [0x10]


def test_without_one_17_is_proposed_first(rig):
    rig.connect()
    assert rig.call(*GET_DEVICE_ID).session.suite == 17


def test_what_the_bmc_took_is_proposed_first_at_the_next_login(rig):
    rig.connect(suites=(3,))
    assert rig.call(*GET_DEVICE_ID).session.suite == 3
    assert rig.fake.kinds.count(0x10) == 2
    rig.fake.restart()
    rig.call(*GET_DEVICE_ID)
    assert rig.fake.kinds.count(0x10) == 3


def test_a_bmc_that_ignores_an_unknown_proposal_gets_the_other(rig):
    rig.connect(suites=(3,))
    rig.reactor.fault = lambda packet, way: [] if packet[28:33] == b'\0\0\0\x08\x03' else [packet]
    assert rig.call(*GET_DEVICE_ID).session.suite == 3


def test_kg(rig):
    rig.connect({'kg': b'topkey'}, kg=b'topkey')
    assert rig.call(*GET_DEVICE_ID).code == 0


@pytest.mark.parametrize(
    ('account', 'reason'),
    [
        ({'password': b'wrong', 'kg': b'key'}, 'password is wrong'),
        ({'user': b'nobody', 'kg': b'key'}, 'Unauthorized name'),
        ({'kg': b'other'}, 'K_g is wrong'),
        ({}, 'has a K_g and none is given'),
    ],
)
def test_wrong_credentials_are_told_apart_and_name_the_bmc(rig, account, reason):
    rig.connect(account, kg=b'key')
    with pytest.raises(errors.CredentialsRefused, match=reason) as caught:
        rig.call(*GET_DEVICE_ID)
    assert '192.0.2.5:623' in caught.value.reason
    assert caught.value.node == 'n1'


def test_a_given_privilege_is_not_lowered(rig):
    rig.connect({'privilege': 4}, level=3)
    with pytest.raises(errors.BmcRefused, match='Invalid role'):
        rig.call(*GET_DEVICE_ID)


def test_without_one_operator_is_tried_after_administrator(rig):
    rig.connect(level=3)
    assert rig.call(*GET_DEVICE_ID).session.privlevel == 3


def test_a_level_that_is_granted_in_part_only_is_refused(rig):
    rig.connect({'privilege': 4})
    rig.fake.script[6, 0x3B] = [lambda data: bytes([0, 2])]
    with pytest.raises(errors.BmcRefused, match='grants privilege level 2 only'):
        rig.call(*GET_DEVICE_ID)


def test_no_session_free_is_the_bmcs_own_words(rig):
    rig.connect()
    rig.fake._open = lambda data: bytes([data[0], 1, 0, 0]) + data[4:8]
    with pytest.raises(errors.BmcRefused, match='Insufficient resources'):
        rig.call(*GET_DEVICE_ID)


def test_garbage_between_the_packets_changes_nothing(rig):
    bmc = rig.connect()
    chaos = random.Random(7)

    def fault(packet, way):
        if way == 'in':
            return [packet]
        cut = packet[: chaos.randrange(len(packet))]
        flipped = bytearray(packet)
        flipped[-1] ^= 1
        noise = packet[:4] + chaos.randbytes(40)
        # damaged before and after; a login's packets have no check of their own, so those
        # are only cut
        damaged = [cut, noise] + ([bytes(flipped)] if packet[4] == 6 and packet[5] & 0x40 else [])
        return [*damaged, packet, cut, packet]

    rig.reactor.fault = fault
    for _ in range(70):
        assert rig.call(*GET_CHASSIS_STATUS).data == bytes(3)
        assert rig.call(*GET_DEVICE_ID).data == bytes(11)
    assert bmc._session is not None


def test_a_packet_with_another_session_id_is_not_ours(rig):
    bmc = rig.connect()
    session = rig.call(*GET_DEVICE_ID).session
    heard = session.heard_at
    foreign = next(iter(rig.fake.sessions.values()))
    foreign.console_sid ^= 0xFF
    rig.push(foreign.seal(0, b'\x81\x1c\x63\x20\x00\x01\0' + bytes(12)))
    assert session.heard_at == heard
    assert bmc._session is session


def test_a_late_answer_is_not_taken_for_that_of_the_next_command(rig):
    rig.connect()
    rig.call(*GET_DEVICE_ID)
    held = []
    rig.reactor.fault = lambda packet, way: [packet] if way == 'in' else held.append(packet) or []
    with pytest.raises(errors.BmcSilent):
        rig.call(*GET_DEVICE_ID, seconds=0.3)
    rig.fake.script[6, 0x01] = [0xC1]

    def late_first(packet, way):
        late, held[:] = list(held), []
        return [packet] if way == 'in' else [*late, packet]

    rig.reactor.fault = late_first
    answer = rig.bmc.command(6, 0x01, deadline=rig.deadline())
    assert answer.code == 0xC1


def test_a_lost_packet_is_sent_again(rig):
    rig.connect()
    rig.call(*GET_DEVICE_ID)
    lost = [1, 1]
    rig.reactor.fault = lambda packet, way: [] if lost and lost.pop() else [packet]
    assert rig.call(*GET_DEVICE_ID).code == 0


@pytest.mark.parametrize('seed', range(20))
def test_login_and_commands_with_every_fifth_packet_lost(rig, seed):
    rig.connect()
    chaos = random.Random(seed)
    rig.reactor.fault = lambda packet, way: [packet] if chaos.random() > 0.2 else []
    for _ in range(10):
        assert rig.call(*GET_CHASSIS_STATUS, seconds=20).code == 0


@pytest.mark.parametrize('way', [0.1, 0.3, 0.5, 0.8])
def test_a_slow_bmc_gets_the_time_it_needs(rig, way):
    """A round trip longer than our pauses must not make us begin again and again."""
    rig.connect()
    rig.reactor.way = way
    assert rig.call(*GET_DEVICE_ID, seconds=20 * way + 3).code == 0
    assert rig.call(*GET_DEVICE_ID).code == 0


def test_repeated_and_lost_messages_of_a_login_never_pass_for_wrong_credentials(rig):
    silent = 0
    for seed in range(200):
        rig.connect({'kg': b'key'}, kg=b'key')
        chaos = random.Random(seed)
        rig.reactor.fault = lambda packet, way: [packet] * chaos.choice((0, 1, 1, 2))  # noqa: B023
        rig.reactor.way = chaos.choice((0.01, 0.2, 0.4))
        try:
            assert rig.call(*GET_DEVICE_ID, seconds=60).code == 0
        except errors.BmcSilent:
            silent += 1
    assert silent < 10, silent


def test_wrong_credentials_of_a_slow_bmc_are_still_found_out(rig):
    rig.connect({'kg': b'wrong'}, kg=b'key')
    rig.reactor.way = 0.3
    with pytest.raises(errors.CredentialsRefused):
        rig.call(*GET_DEVICE_ID, seconds=20)


def test_logging_out_closes_the_session_and_leaves_sol_alone(rig):
    rig.connect()
    rig.call(*GET_DEVICE_ID)
    rig.bmc.close(rig.deadline())
    rig.reactor.run(1)
    assert not rig.fake.sessions
    assert (6, 0x49) not in [c[:2] for c in rig.fake.commands]


def test_session_ids_are_never_used_twice(rig):
    rig.connect()
    rig.reactor.random = random.Random(os.urandom(8)).random
    seen = set()
    for _ in range(20):
        rig.client()
        seen.add(rig.call(*GET_DEVICE_ID).session.localsid)
        rig.bmc.close(rig.deadline())
    assert len(seen) == 20
