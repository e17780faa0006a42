"""The ipmi driver against OpenIPMI's ``ipmi_sim``, which shares no code with it."""

import socket
import subprocess
import time

import pytest

from obmd.common import errors
from obmd.common import threads
from obmd.common.deadline import Deadline
from tests.functional.drivers.conftest import Sink
from tests.functional.farm import Farm

pytestmark = pytest.mark.needs('ipmi_sim')


def ipmitool(program, bmc, *words):
    command = [program('ipmitool'), '-I', 'lanplus', '-C', '3', '-H', bmc['address']]
    command += ['-p', str(bmc['port']), '-U', bmc['user'], '-P', bmc['password'], *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout


def test_power(farm, bmc, connect):
    driver = connect(bmc)
    for action in ('on', 'off', 'on'):
        driver.set_power(action, Deadline(5))
        assert farm.read(bmc, 'power') == ('1' if action == 'on' else '0')
        assert driver.power_status(Deadline(5)) == action
    driver.set_power('reset', Deadline(5))
    assert driver.power_status(Deadline(5)) == 'on'
    driver.set_power('soft_off', Deadline(5))
    assert driver.power_status(Deadline(5)) == 'off'


def test_power_agrees_with_ipmitool(bmc, connect, program):
    driver = connect(bmc)
    driver.set_power('on', Deadline(5))
    assert 'is on' in ipmitool(program, bmc, 'chassis', 'power', 'status')
    ipmitool(program, bmc, 'chassis', 'power', 'off')
    assert driver.power_status(Deadline(5)) == 'off'


def test_power_on_costs_two_round_trips(bmc, connect):
    driver = connect(bmc)
    trips = []
    for _ in range(20):
        start = time.monotonic()
        driver.power_status(Deadline(5))
        trips.append(time.monotonic() - start)
    took = []
    for _ in range(5):
        driver.set_power('off', Deadline(5))
        start = time.monotonic()
        driver.set_power('on', Deadline(5))
        took.append(time.monotonic() - start)
    assert sorted(took)[2] < 3 * sorted(trips)[10] + 0.02


@pytest.mark.parametrize(
    ('device', 'seen'), [('pxe', 'pxe'), ('disk', 'default'), ('none', 'none')]
)
def test_boot_device(farm, bmc, connect, device, seen):
    connect(bmc).set_boot_device(device, Deadline(5))
    assert farm.read(bmc, 'boot') == seen


def test_event_log(bmc, connect):
    (event,) = connect(bmc).event_log(Deadline(5), 10)
    assert event['id'] == 1
    assert event['event'] == 'OEM boot event'


def test_console_shows_the_boot(farm, connect, sink):
    bmc = farm.bmcs[1]
    driver = connect(bmc)
    driver.set_power('off', Deadline(5))
    handle = driver.open_console(sink, Deadline(5))
    assert handle.peer.startswith('127.')
    driver.set_power('on', Deadline(5))
    sink.wait_text(b'SimBIOS 1.0')
    sink.wait_text(b'login:')
    for n in range(1, 6):
        sink.wait_text(b'line %d ' % n)
        assert driver.power_status(Deadline(5)) == 'on'
    handle.close(Deadline(5))
    told = len(sink.text)
    time.sleep(0.5)
    assert len(sink.text) == told
    assert sink.error is None


def test_two_clients_and_one_console(farm, connect, sink):
    bmc = farm.bmcs[1]
    mine, other = connect(bmc), connect(bmc)
    mine.set_power('on', Deadline(5))
    mine.open_console(sink, Deadline(5))
    theirs = Sink()
    with pytest.raises(errors.ConsoleHeld, match=bmc['address']):
        other.open_console(theirs, Deadline(5))
    handle = other.open_console(theirs, Deadline(5), takeover=True)
    assert isinstance(sink.wait_lost(5), errors.ConsoleHeld)
    theirs.wait_text(b'line')
    handle.close(Deadline(5))
    mine.open_console(sink, Deadline(5))


def test_taken_away_by_ipmitool(farm, connect, sink, program):
    bmc = farm.bmcs[1]
    driver = connect(bmc)
    driver.open_console(sink, Deadline(5))
    ipmitool(program, bmc, 'sol', 'deactivate')
    assert sink.wait_lost(6) is not None


def test_a_request_after_a_restart_of_the_bmc_is_answered(farm, connect):
    bmc = farm.bmcs[2]
    driver = connect(bmc)
    driver.power_status(Deadline(5))
    farm.kill(bmc)
    farm.start(bmc)
    start = time.monotonic()
    assert driver.power_status(Deadline(5)) in ('on', 'off')
    assert time.monotonic() - start < 4


def test_a_request_during_a_restart_of_the_bmc_is_answered(farm, connect):
    bmc = farm.bmcs[2]
    driver = connect(bmc)
    driver.power_status(Deadline(5))
    farm.kill(bmc)
    threads.spawn(lambda: (time.sleep(1), farm.start(bmc)))
    assert driver.power_status(Deadline(5)) in ('on', 'off')


def test_the_loss_of_a_console_is_noticed_in_seconds(farm, connect, sink):
    bmc = farm.bmcs[2]
    driver = connect(bmc)
    driver.set_power('on', Deadline(5))
    driver.open_console(sink, Deadline(5))
    sink.wait_text(b'line')
    farm.kill(bmc)
    start = time.monotonic()
    assert isinstance(sink.wait_lost(8), errors.BmcSilent)
    assert time.monotonic() - start < 7
    farm.start(bmc)
    again = Sink()
    driver.open_console(again, Deadline(5))
    again.wait_text(b'line', 15)  # ipmi_sim looks for its serial port every 10 s


def test_a_hung_bmc_is_a_504_within_the_deadline_and_no_more(farm, connect):
    bmc = farm.bmcs[2]
    driver = connect(bmc)
    driver.power_status(Deadline(5))
    farm.stop(bmc)
    try:
        start = time.monotonic()
        with pytest.raises(errors.BmcSilent):
            driver.power_status(Deadline(3))
        assert 2.9 < time.monotonic() - start < 3.2
    finally:
        farm.resume(bmc)
    assert driver.power_status(Deadline(5)) in ('on', 'off')


@pytest.mark.parametrize('wrong', [{'pass': 'wrong'}, {'user': 'nobody'}, {'kg': 'nosuchkey'}])
def test_wrong_credentials_are_said_at_once(bmc, connect, wrong):
    start = time.monotonic()
    with pytest.raises(errors.CredentialsRefused):
        connect(bmc, **wrong).power_status(Deadline(5))
    assert time.monotonic() - start < 1


def test_wrong_credentials_send_no_further_packet(bmc, connect):
    with Relay(bmc) as relay:
        driver = connect(relay.bmc, **{'pass': 'wrong'})
        with pytest.raises(errors.CredentialsRefused):
            driver.power_status(Deadline(5))
        time.sleep(0.3)
        first = relay.count
        for _ in range(3):
            with pytest.raises(errors.CredentialsRefused):
                driver.power_status(Deadline(5))
            time.sleep(0.3)
        assert relay.count == first
        driver.reopen()
        with pytest.raises(errors.CredentialsRefused):
            driver.power_status(Deadline(5))
        assert relay.count > first


@pytest.mark.parametrize(
    'info', [{'cipher_suite': 3}, {'privilege': 'operator', 'user': 'OPERATOR'}]
)
def test_login_options(bmc, connect, info):
    driver = connect(bmc, **info)
    driver.set_power('on', Deadline(5))
    assert driver.power_status(Deadline(5)) == 'on'


def test_cipher_suite_17_is_not_replaced_by_3(bmc, connect):
    with pytest.raises(errors.BmcRefused, match='algorithm'):
        connect(bmc, cipher_suite=17).power_status(Deadline(5))


def test_a_user_may_look_and_not_touch(bmc, connect):
    driver = connect(bmc, privilege='user')
    assert driver.power_status(Deadline(5)) in ('on', 'off')
    with pytest.raises(errors.BmcRefused, match='privilege'):
        driver.set_power('on', Deadline(5))


def test_kg(connect, sink):
    with Farm(1, kg='Sesame', power_on=True, rate=5) as farm:
        bmc = farm.bmcs[0]
        assert connect(bmc, kg='Sesame').power_status(Deadline(5)) == 'on'
        for wrong in ({}, {'kg': 'sesame'}):
            with pytest.raises(errors.CredentialsRefused):
                connect(bmc, **wrong).power_status(Deadline(5))
        connect(bmc, kg='Sesame').open_console(sink, Deadline(5))
        sink.wait_text(b'line')


def test_ipv6(connect, sink):
    with Farm(1, layout='port', base_addr='::1', power_on=True, rate=5) as farm:
        driver = connect(farm.bmcs[0])
        assert driver.power_status(Deadline(5)) == 'on'
        handle = driver.open_console(sink, Deadline(5))
        assert handle.peer.startswith('[::1]:')
        sink.wait_text(b'line')


def test_a_host_name(connect):
    with Farm(1, layout='port', base_addr='127.0.0.1', port=9700, tty_port=9800) as farm:
        assert connect(farm.bmcs[0], addr='localhost').power_status(Deadline(5)) == 'off'


class Relay:
    """Between us and a BMC, counting our packets."""

    def __init__(self, bmc):
        self._ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._ours.bind(('127.0.0.1', 0))
        self._its = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._its.connect((bmc['address'], bmc['port']))
        self.bmc = bmc | dict(zip(('address', 'port'), self._ours.getsockname(), strict=True))
        self.count = 0
        self._client = None

    def __enter__(self):
        threads.spawn(self._there)
        threads.spawn(self._back)
        return self

    def __exit__(self, *exc_info):
        for sock in (self._ours, self._its):
            sock.close()

    def _there(self):
        try:
            while True:
                packet, self._client = self._ours.recvfrom(2048)
                self.count += 1
                self._its.send(packet)
        except OSError:
            pass

    def _back(self):
        try:
            while True:
                self._ours.sendto(self._its.recv(2048), self._client)
        except OSError:
            pass
