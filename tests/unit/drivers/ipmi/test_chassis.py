import pytest

from obmd.common import errors
from obmd.drivers.ipmi import chassis


@pytest.fixture
def bmc(rig):
    return rig.connect()


def control(rig):
    return [c[2][0] for c in rig.fake.commands if c[:2] == (0, 0x02)]


def round_trips(rig):
    return len(rig.fake.commands)


@pytest.mark.parametrize('on', [False, True])
def test_power_status(rig, bmc, on):
    rig.fake.on = on
    assert chassis.power_status(bmc, rig.deadline()) == ('on' if on else 'off')


@pytest.mark.parametrize('action', ['on', 'off'])
def test_a_change_that_happens_at_once_costs_two_round_trips(rig, bmc, action):
    rig.fake.on = action == 'off'
    chassis.power_status(bmc, rig.deadline())
    before, start = round_trips(rig), rig.reactor.now()
    chassis.set_power(bmc, action, rig.deadline())
    assert round_trips(rig) - before == 2
    assert rig.reactor.now() - start < 0.01
    assert rig.fake.on == (action == 'on')


def test_one_that_takes_its_time_is_waited_for(rig, bmc):
    rig.fake.power_delay = 6
    start = rig.reactor.now()
    chassis.set_power(bmc, 'on', rig.deadline(30))
    assert 6 <= rig.reactor.now() - start < 7.1
    assert control(rig) == [1]
    assert round_trips(rig) < 20


def test_one_that_never_happens_says_so_at_the_deadline(rig, bmc):
    rig.fake.power_delay = 1000
    with pytest.raises(errors.StateNotReached):
        chassis.set_power(bmc, 'off' if rig.fake.on else 'on', rig.deadline(5))


def test_a_bmc_that_falls_silent_after_taking_the_command(rig, bmc):
    chassis.power_status(bmc, rig.deadline())
    rig.fake.script[0, 0x01] = [lambda data: None] * 1000
    with pytest.raises(errors.OutcomeUnknown):
        chassis.set_power(bmc, 'on', rig.deadline(12))


def test_not_in_this_state_is_fine_if_the_state_is_right(rig, bmc):
    rig.fake.on = True
    rig.fake.script[0, 0x02] = [0xD5]
    chassis.set_power(bmc, 'on', rig.deadline())


def test_not_in_this_state_is_tried_again_until_it_is(rig, bmc):
    rig.fake.script[0, 0x02] = [0xD5, 0xD5]
    chassis.set_power(bmc, 'on', rig.deadline())
    assert control(rig) == [1, 1, 1]


def test_a_refusal_is_passed_on_in_the_bmcs_words(rig, bmc):
    rig.fake.script[0, 0x02] = [0xD4]
    with pytest.raises(errors.BmcRefused, match='Insufficient privilege'):
        chassis.set_power(bmc, 'on', rig.deadline())


@pytest.mark.parametrize(
    ('action', 'code'), [('reset', 3), ('cycle', 2), ('diag', 4), ('soft_off', 5)]
)
def test_pulses_are_sent_once(rig, bmc, action, code):
    rig.fake.on = True
    chassis.set_power(bmc, action, rig.deadline())
    assert control(rig) == [code]


@pytest.mark.parametrize('action', ['reset', 'cycle', 'diag'])
def test_pulses_need_a_node_that_is_on(rig, bmc, action):
    with pytest.raises(errors.BmcRefused, match='needs a node that is on'):
        chassis.set_power(bmc, action, rig.deadline())
    assert control(rig) == []


def test_soft_off_of_a_node_that_is_off_has_no_effect(rig, bmc):
    chassis.set_power(bmc, 'soft_off', rig.deadline())
    assert control(rig) == []


def test_a_reset_without_an_answer_is_never_sent_again(rig, bmc):
    rig.fake.on = True
    rig.fake.script[0, 0x02] = [lambda data: None]
    with pytest.raises(errors.OutcomeUnknown):
        chassis.set_power(bmc, 'reset', rig.deadline())
    assert control(rig) == [3]


def test_a_reset_after_the_bmc_restarted_leaves_no_doubt(rig, bmc):
    rig.fake.on = True
    chassis.power_status(bmc, rig.deadline())
    rig.fake.restart()
    chassis.set_power(bmc, 'reset', rig.deadline())
    assert control(rig) == [3]


@pytest.mark.parametrize(
    ('device', 'flags'),
    [('pxe', b'\xc0\x04\0\0\0'), ('disk', b'\xc0\x08\0\0\0'), ('none', b'\x80\0\0\0\0')],
)
def test_boot_device_is_set_for_all_boots(rig, bmc, device, flags):
    chassis.set_boot_device(bmc, device, rig.deadline())
    assert rig.fake.boot_flags == flags


def test_a_bmc_that_wants_set_in_progress_gets_it(rig, bmc):
    rig.fake.script[0, 0x08] = [0x80, 0x81]
    chassis.set_boot_device(bmc, 'pxe', rig.deadline())
    options = [c[2] for c in rig.fake.commands if c[:2] == (0, 0x08)]
    assert [o[:2] for o in options[-3:]] == [b'\x00\x01', b'\x05\xc0', b'\x00\x00']
    assert rig.fake.boot_flags[1] == 0x04


@pytest.mark.parametrize(
    ('flags', 'device'),
    [
        (b'\xc0\x04\0\0\0', 'pxe'),
        (b'\x80\x08\0\0\0', 'disk'),
        (b'\x80\0\0\0\0', 'none'),
        (b'\x40\x04\0\0\0', 'none'),  # not valid
        (b'\xc0\x14\0\0\0', None),  # a CD
    ],
)
def test_the_boot_device_is_read_from_the_boot_flags(rig, bmc, flags, device):
    rig.fake.script[0, 0x09] = [lambda data: b'\0\x01\x05' + flags]
    assert chassis.boot_device(bmc, rig.deadline()) == device


def test_a_bmc_that_does_not_tell_its_boot_flags_is_refused(rig, bmc):
    rig.fake.script[0, 0x09] = [lambda data: b'\0\x01']
    with pytest.raises(errors.BmcRefused):
        chassis.boot_device(bmc, rig.deadline())
