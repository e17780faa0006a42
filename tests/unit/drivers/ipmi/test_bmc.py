import pytest

from obmd.common import errors
from obmd.conf import CONF
from obmd.drivers.ipmi.account import Account
from obmd.drivers.ipmi.bmc import Bmc

GET_DEVICE_ID = (6, 0x01)
RESET = (0, 0x02, (3,))


@pytest.fixture
def option():
    """Set an option of [ipmi] for one test."""

    def override(name, value):
        CONF.set_override(name, value, 'ipmi')
        names.append(name)

    names = []
    yield override
    for name in names:
        CONF.clear_override(name, 'ipmi')


def test_one_session_serves_many_commands(rig):
    rig.connect()
    first = rig.call(*GET_DEVICE_ID).session
    assert rig.call(*GET_DEVICE_ID).session is first
    assert rig.fake.kinds.count(0x10) == 1


def test_a_silent_bmc_ends_at_the_deadline(rig):
    rig.client()
    start = rig.reactor.now()
    with pytest.raises(errors.BmcSilent):
        rig.call(*GET_DEVICE_ID, seconds=5)
    assert rig.reactor.now() - start == pytest.approx(5)
    assert rig.reactor.sent <= 7


def test_a_restarted_bmc_answers_within_the_deadline(rig):
    rig.connect()
    rig.call(*GET_DEVICE_ID)
    rig.fake.restart()
    assert rig.call(*GET_DEVICE_ID, seconds=5).code == 0


def test_a_command_that_must_not_happen_twice_is_sent_once(rig):
    rig.connect()
    rig.call(*GET_DEVICE_ID)
    rig.fake.script[0, 0x02] = [lambda data: None]
    with pytest.raises(errors.OutcomeUnknown):
        rig.call(*RESET, idempotent=False)
    assert [c for c in rig.fake.commands if c[0] == 0] == [(0, 0x02, b'\x03')]


def test_any_other_is_sent_again(rig):
    rig.connect()
    rig.call(*GET_DEVICE_ID)
    rig.fake.script[6, 0x01] = [lambda data: None, lambda data: None]
    assert rig.call(*GET_DEVICE_ID).code == 0


@pytest.mark.parametrize('idempotent', [True, False])
def test_a_busy_bmc_is_asked_again(rig, idempotent):
    rig.connect()
    rig.fake.script[6, 0x01] = [0xC0, 0xC0, 0xC0]
    assert rig.call(*GET_DEVICE_ID, idempotent=idempotent).code == 0


def test_a_bmc_that_stays_busy_is_a_refusal_at_the_deadline(rig):
    rig.connect()
    rig.fake.script[6, 0x01] = [0xC0] * 100
    start = rig.reactor.now()
    with pytest.raises(errors.BmcRefused, match='Node Busy'):
        rig.call(*GET_DEVICE_ID)
    assert 3.5 < rig.reactor.now() - start <= 5


def test_a_hurried_caller_does_not_cost_the_session(rig):
    rig.connect()
    session = rig.call(*GET_DEVICE_ID).session
    rig.fake.script[6, 0x01] = [lambda data: None]
    with pytest.raises(errors.BmcSilent):
        rig.call(*GET_DEVICE_ID, seconds=0.2)
    assert rig.call(*GET_DEVICE_ID).session is session


def test_refused_credentials_send_nothing_more_until_reopened(rig):
    bmc = rig.connect({'password': b'old'})
    with pytest.raises(errors.CredentialsRefused):
        rig.call(*GET_DEVICE_ID)
    sent = rig.reactor.sent
    for _ in range(5):
        with pytest.raises(errors.CredentialsRefused):
            rig.call(*GET_DEVICE_ID)
        rig.reactor.run(60)
    assert rig.reactor.sent == sent
    rig.fake.password = rig.fake.kg = b'old'
    bmc.reopen()
    assert rig.call(*GET_DEVICE_ID).code == 0


def test_an_idle_session_is_kept_alive(rig, option):
    option('keepalive_interval', 20)
    rig.connect()
    rig.call(*GET_DEVICE_ID)
    before = len(rig.fake.commands)
    rig.reactor.run(100)
    assert 4 <= len(rig.fake.commands) - before <= 7
    assert rig.fake.kinds.count(0x10) == 1


def test_a_session_in_use_needs_no_keepalive(rig, option):
    option('keepalive_interval', 20)
    rig.connect()
    for _ in range(30):
        rig.call(0, 0x01)
        rig.reactor.run(5)
    assert (6, 0x01, b'') not in rig.fake.commands


def test_an_idle_session_that_is_lost_is_dropped_without_a_login(rig):
    bmc = rig.connect()
    rig.call(*GET_DEVICE_ID)
    rig.fake.restart()
    rig.reactor.run(60)
    assert bmc._session is None
    assert rig.fake.kinds.count(0x10) == 1


def test_the_least_interval_is_kept(rig, option):
    option('min_interval', 0.5)
    rig.connect()
    rig.call(*GET_DEVICE_ID)
    start = rig.reactor.now()
    for _ in range(4):
        rig.call(*GET_DEVICE_ID)
    assert rig.reactor.now() - start >= 1.99


def test_abort_wakes_and_stays(rig):
    bmc = rig.client()
    gone = errors.Unavailable('going down')
    rig.reactor.call_later(1, bmc.abort, gone)
    start = rig.reactor.now()
    for _ in range(2):
        with pytest.raises(errors.Unavailable):
            rig.call(*GET_DEVICE_ID)
    assert rig.reactor.now() - start == pytest.approx(1)


def test_a_silent_bmc_never_occupies_a_place_among_the_logins(rig, option):
    option('max_logins', 1)
    silent = Bmc(Account('n2', '192.0.2.9', 623, b'ADMIN', b'secret'), rig.reactor)
    failed = []

    def ask():
        try:
            silent.session(rig.deadline(4))
        except errors.BmcSilent as error:
            failed.append(error)

    rig.reactor.call_later(0, ask)
    rig.connect()
    assert rig.call(*GET_DEVICE_ID).code == 0


def test_a_bmc_that_stalls_in_its_login_gives_its_place_back(rig, option):
    bmc = rig.connect()
    rig.fake._rakp1 = lambda data: None
    with pytest.raises(errors.BmcSilent):
        rig.call(*GET_DEVICE_ID, seconds=20)
    rig.reactor.run(10)
    assert not bmc._admission._admitted
    assert bmc._login is None
