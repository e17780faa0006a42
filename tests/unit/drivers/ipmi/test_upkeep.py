"""Which packets only keep open what is open; and a closed gate costs nothing that was open."""

import pytest

from obmd.common import errors
from obmd.conf import CONF
from obmd.drivers import gate
from obmd.drivers.ipmi import sol
from tests.unit.drivers.ipmi.test_sol import Sink
from tests.unit.drivers.ipmi.test_sol import activations
from tests.unit.drivers.ipmi.test_sol import allowed

GET_DEVICE_ID = (6, 0x01)


@pytest.fixture(autouse=True)
def _open_again():
    yield
    gate.close_by(None)


@pytest.fixture
def sink():
    return Sink()


@pytest.fixture
def console(rig, sink):
    opened = sol.open_console(rig.connect(), sink, rig.deadline(), False, allowed)
    rig.reactor.upkeep.clear()
    return opened


def fence():
    gate.close_by(lambda upkeep: upkeep)


def suspend():
    gate.close_by(lambda upkeep: False)


def test_a_login_and_a_command_are_no_upkeep(rig):
    rig.connect()
    rig.call(*GET_DEVICE_ID)
    assert rig.reactor.upkeep
    assert not any(rig.reactor.upkeep)


def test_an_acknowledgement_is(rig, console):
    rig.push(rig.fake.say(b'line'))
    assert rig.reactor.upkeep == [True]


def test_a_keepalive_is(rig):
    rig.connect()
    rig.call(*GET_DEVICE_ID)
    rig.reactor.upkeep.clear()
    rig.reactor.run(CONF.ipmi.keepalive_interval + 1)
    assert rig.reactor.upkeep
    assert all(rig.reactor.upkeep)


def test_a_probe_of_a_silent_console_is(rig, console):
    rig.reactor.run(2 * CONF.ipmi.sol_probe_interval)
    assert rig.reactor.upkeep
    assert all(rig.reactor.upkeep)


def test_a_command_after_upkeep_is_none(rig, console):
    rig.reactor.run(2 * CONF.ipmi.sol_probe_interval)
    rig.push(rig.fake.say(b'line'))
    rig.reactor.upkeep.clear()
    rig.call(*GET_DEVICE_ID)
    assert rig.reactor.upkeep == [False]


def test_a_deactivation_and_a_goodbye_are_none(rig, console):
    console.close(rig.deadline())
    assert rig.reactor.upkeep == [False]
    rig.bmc.close(rig.deadline())
    assert rig.reactor.upkeep == [False, False]


def test_a_fenced_console_goes_on_for_as_long_as_it_takes(rig, sink, console):
    fence()
    for number in range(20):
        rig.reactor.run(10)
        rig.push(rig.fake.say(b'%d ' % number))
    assert sink.error is None
    assert sink.text == b''.join(b'%d ' % number for number in range(20))


def test_a_call_to_a_fenced_conductors_bmc_is_refused_and_costs_no_console(rig, sink, console):
    fence()
    before = list(rig.fake.commands)
    with pytest.raises(errors.Unavailable):
        rig.call(*GET_DEVICE_ID)
    rig.reactor.run(30)
    assert sink.error is None
    assert [c for c in rig.fake.commands[len(before) :] if c[1] != sol.GET_INSTANCE_INFO] == []


def test_a_call_that_the_fence_cuts_off_costs_no_console(rig, sink, console):
    rig.fake.script[GET_DEVICE_ID] = [lambda data: None] * 50
    rig.reactor.call_later(0.2, fence)
    with pytest.raises(errors.ObmdError):
        rig.call(*GET_DEVICE_ID)
    rig.push(rig.fake.say(b'still here'))
    assert sink.text == b'still here'
    assert sink.error is None


def test_a_console_that_a_fenced_conductor_loses_is_not_opened_again(rig, sink, console):
    fence()
    console.session_lost(console._session, errors.BmcSilent('gone'))
    with pytest.raises(errors.Unavailable):
        sol.open_console(rig.bmc, Sink(), rig.deadline(), True, allowed)
    assert activations(rig) == [0x48]


def test_a_fenced_close_ends_nobodys_console(rig, console):
    fence()
    console.close(rig.deadline())
    rig.bmc.close(rig.deadline())
    assert activations(rig) == [0x48]


def test_a_short_suspension_costs_no_console(rig, sink, console):
    suspend()
    rig.reactor.run(3 * CONF.ipmi.sol_probe_interval)
    assert sink.error is None
    sent = rig.reactor.sent
    assert rig.push(rig.fake.say(b'unheard')) is None
    assert rig.reactor.sent == sent
    gate.close_by(None)
    rig.push(rig.fake.say(b'unheard', again=True))
    assert sink.text == b'unheard'
    assert rig.fake.acknowledged[-1:] == [(1, 7)]
