"""The ipmi driver against BMCs that do wrong, over real sockets, with many callers."""

import random
import subprocess
import threading
import time

import pytest

from obmd.common import errors
from obmd.common.deadline import Deadline
from obmd.conf import CONF
from tests.fake_bmc import FakeBmc
from tests.fake_bmc import UdpBmc


def info(udp):
    return {
        'name': 'n1',
        'address': udp.host,
        'port': udp.port,
        'user': 'ADMIN',
        'password': 'secret',
    }


def together(count, function):
    """Call ``function(i)`` in ``count`` threads.  :returns: list of (result, seconds)."""
    results = [None] * count

    def run(i):
        start = time.monotonic()
        try:
            result = function(i)
        except errors.ObmdError as error:
            result = error
        results[i] = (result, time.monotonic() - start)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize('suite', [3, 17])
def test_the_scripted_bmc_is_accepted_by_other_peoples_clients(suite, program):
    """Else what is shown here of suite 17 would be shown by two ends of one mistake."""
    with UdpBmc(FakeBmc(suites=(suite,))) as udp:
        command = [program('ipmitool'), '-I', 'lanplus', '-H', udp.host, '-p', str(udp.port)]
        command += ['-U', 'ADMIN', '-P', 'secret', '-C', str(suite), 'chassis', 'power', 'on']
        subprocess.run(command, check=True, capture_output=True, timeout=20)
        assert udp.bmc.on
        command = [program('ipmipower'), '-D', 'LAN_2_0', '-h', f'{udp.host}:{udp.port}']
        command += ['-u', 'ADMIN', '-p', 'secret', '-I', str(suite), '--stat']
        found = subprocess.run(command, capture_output=True, text=True, timeout=20)
        assert ': on' in found.stdout


def test_cipher_suite_17_with_commands_and_console(connect, sink):
    with UdpBmc(FakeBmc(suites=(17,))) as udp:
        driver = connect(info(udp), cipher_suite=17)
        driver.set_power('on', Deadline(5))
        driver.open_console(sink, Deadline(5))
        for i in range(20):
            udp.send(udp.bmc.say(b'line %d\n' % i))
            sink.wait_text(b'line %d\n' % i)


@pytest.mark.parametrize('seed', range(5))
def test_every_fifth_packet_lost(connect, seed):
    chaos = random.Random(seed)
    lossy = lambda packet, way: [packet] if chaos.random() > 0.2 else []  # noqa: E731
    with UdpBmc(FakeBmc(), lossy) as udp:
        driver = connect(info(udp))
        for action in ('on', 'off'):
            driver.set_power(action, Deadline(15))
            assert udp.bmc.on == (action == 'on')


def test_late_duplicates_of_every_answer(connect):
    kept = []

    def fault(packet, way):
        if way == 'in':
            return [packet]
        kept.append(packet)
        return [*random.sample(kept, min(4, len(kept))), packet, *kept[-3:]]

    with UdpBmc(FakeBmc(), fault) as udp:
        driver = connect(info(udp))
        for i in range(100):
            udp.bmc.on = bool(i % 3)
            assert driver.power_status(Deadline(5)) == ('on' if i % 3 else 'off')


def test_garbage_on_the_socket(connect):
    chaos = random.Random(1)

    def fault(packet, way):
        if way == 'in':
            return [packet]
        noise = [chaos.randbytes(chaos.randrange(1, 200)) for _ in range(3)]
        noise += [packet[:4] + chaos.randbytes(chaos.randrange(1, 200)) for _ in range(3)]
        return [*noise, packet[: chaos.randrange(4, len(packet))], packet]

    with UdpBmc(FakeBmc(), fault) as udp:
        driver = connect(info(udp))
        for _ in range(50):
            assert driver.power_status(Deadline(5)) == 'off'


def silent_bmc():
    return UdpBmc(FakeBmc(), lambda packet, way: [])


def test_many_callers_of_a_dead_bmc_share_one_login(connect):
    packets = []
    with UdpBmc(FakeBmc(), lambda packet, way: packets.append(packet) or []) as udp:
        driver = connect(info(udp))
        results = together(25, lambda i: driver.power_status(Deadline(2)))
    for result, took in results:
        assert isinstance(result, errors.BmcSilent)
        assert 1.9 < took < 2.3
    # one login sends four in two seconds, or five when the callers did not come at one moment
    assert len(packets) <= 5


def test_a_dead_bmc_delays_no_other(connect):
    with silent_bmc() as dead, UdpBmc(FakeBmc()) as udp:
        silent, good = connect(info(dead)), connect(info(udp))

        def ask(i):
            return (silent if i % 2 else good).power_status(Deadline(2))

        results = together(200, ask)
    good_ones = [r for i, r in enumerate(results) if not i % 2]
    assert all(result == 'off' for result, _ in good_ones)
    assert max(took for _, took in good_ones) < 1


def test_many_callers_of_one_bmc_are_served_in_turn(connect):
    with UdpBmc(FakeBmc()) as udp:
        driver = connect(info(udp))
        results = together(100, lambda i: driver.power_status(Deadline(5)))
        assert [r for r, _ in results] == ['off'] * 100
        assert udp.bmc.kinds.count(0x10) == 1


def test_abort_ends_every_wait_now(connect):
    with silent_bmc() as dead:
        driver = connect(info(dead))
        gone = errors.Unavailable('going down')
        threading.Timer(0.3, driver.abort, [gone]).start()
        results = together(10, lambda i: driver.power_status(Deadline(10)))
    assert all(isinstance(r, errors.Unavailable) and took < 1 for r, took in results)


def test_a_bmc_that_dies_in_the_middle_of_a_command(connect):
    with UdpBmc(FakeBmc()) as udp:
        driver = connect(info(udp))
        driver.set_power('on', Deadline(5))
        udp.bmc.script[0, 0x02] = [lambda data: udp.bmc.restart()]
        with pytest.raises(errors.OutcomeUnknown):
            driver.set_power('reset', Deadline(3))
        assert [c for c in udp.bmc.commands if c[:2] == (0, 2)][1:] == [(0, 2, b'\x03')]
        assert driver.power_status(Deadline(5)) == 'on'


def test_a_wrong_fleet_password_is_tried_on_one_bmc_at_a_time(connect):
    under_way, most = set(), [0]

    def watch(n):
        def fault(packet, way):
            if packet[4] == 6 and packet[5] == 0x10 and way == 'in':
                under_way.add(n)
                most.append(len(under_way))
                time.sleep(0.01)
            if packet[4] == 6 and packet[5] == 0x13:
                under_way.discard(n)
            return [packet]

        return fault

    bmcs = [UdpBmc(FakeBmc(), watch(n)).__enter__() for n in range(20)]
    try:
        drivers = [connect(info(b), **{'pass': 'spring2019'}) for b in bmcs]
        for driver in drivers[:3]:
            with pytest.raises(errors.CredentialsRefused):
                driver.power_status(Deadline(5))
        most.clear()
        results = together(17, lambda i: drivers[3 + i].power_status(Deadline(10)))
        assert all(isinstance(r, errors.CredentialsRefused) for r, _ in results)
        assert max(most) == 1
    finally:
        for b in bmcs:
            b.__exit__()


def test_the_number_of_logins_at_once_is_bounded(connect):
    CONF.set_override('max_logins', 4, 'ipmi')
    under_way, most = set(), []

    def watch(n):
        def fault(packet, way):
            if packet[4] == 6 and packet[5] == 0x10 and way == 'in':
                under_way.add(n)
                most.append(len(under_way))
                time.sleep(0.02)
            if packet[4] == 6 and packet[5] == 0x15:
                under_way.discard(n)
            return [packet]

        return fault

    bmcs = [UdpBmc(FakeBmc(), watch(n)).__enter__() for n in range(20)]
    dead = [silent_bmc().__enter__() for _ in range(10)]
    try:
        drivers = [connect(info(b)) for b in dead + bmcs]
        results = together(30, lambda i: drivers[i].power_status(Deadline(4)))
        assert [r for r, _ in results[10:]] == ['off'] * 20
        assert max(took for _, took in results[10:]) < 2
        assert 2 <= max(most) <= 4
    finally:
        CONF.clear_override('max_logins', 'ipmi')
        for b in bmcs + dead:
            b.__exit__()
