import pytest

from obmd.common import errors
from obmd.common.deadline import Deadline
from obmd.conductor import power
from obmd.conf import CONF
from obmd.drivers import base
from tests.unit.conductor import fakes


def writes_of(driver):
    return [call for call in driver.calls if call[0] in ('power', 'boot')]


class Wall:
    """Wall time that passes when somebody sleeps."""

    def __init__(self, now=5000.0):
        self.now = now
        self.slept = []
        self.at = {}

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds
        for when in [when for when in self.at if when <= self.now]:
            self.at.pop(when)()

    def __call__(self):
        return self.now


@pytest.fixture
def wall():
    return Wall()


@pytest.fixture
def held_target(rows):
    """A target in the row, as a new owner finds it."""
    rows.row.target_power_state, rows.row.target_call_id = 'on', 'call-1'
    rows.row.target_until = 5300.0
    return rows.row


@pytest.fixture
def no_carrying_on(monkeypatch):
    """Who carries on a soft cycle is only noted."""
    started = []
    monkeypatch.setattr(power.threads, 'spawn', lambda *what: started.append(what))
    return started


# -- on, off, boot device -----------------------------------------------------------------------


@pytest.mark.parametrize('action', ['on', 'off'])
def test_power_is_set_by_the_driver(live, driver, action):
    power.set_power(live, action, Deadline(30))
    assert driver.calls == [('power', action)]


def test_what_the_driver_cannot_is_refused_without_touching_the_bmc(make_live):
    class BootOnly(base.Driver, base.BootDevice):
        def set_boot_device(self, device, deadline):
            raise AssertionError('it was asked')

    live = make_live()
    live.driver = BootOnly(base.NodeRef('n1', 'uuid-1'), {})
    live._capabilities = base.capabilities(BootOnly)
    for call in (
        lambda: power.set_power(live, 'on', Deadline(30)),
        lambda: power.cycle(live, True, Deadline(30), 'id'),
        lambda: live.read_power(Deadline(30)),
        lambda: live.require('console'),
    ):
        with pytest.raises(errors.Unsupported) as refused:
            call()
        assert refused.value.node == 'n1'


def test_a_driver_without_power_may_still_set_the_boot_device(make_live):
    class BootOnly(base.Driver, base.BootDevice):
        boot_devices = None

        def set_boot_device(self, device, deadline):
            self.device = device

    live = make_live()
    live.driver = BootOnly(base.NodeRef('n1', 'uuid-1'), {})
    live._capabilities = base.capabilities(BootOnly)
    power.set_boot_device(live, 'pxe', Deadline(30))
    assert live.driver.device == 'pxe'


def test_a_boot_device_is_one_of_the_drivers_or_the_callers_mistake(live, driver):
    power.set_boot_device(live, 'pxe', Deadline(30))
    with pytest.raises(errors.InvalidInput, match='pxe, disk'):
        power.set_boot_device(live, 'floppy', Deadline(30))
    assert driver.calls == [('boot', 'pxe')]


# -- cycles that are over at once ---------------------------------------------------------------


@pytest.mark.parametrize(
    ('state', 'force', 'action'), [('on', True, 'reset'), ('off', True, 'on'), ('off', False, 'on')]
)
def test_a_cycle_resets_what_is_on_and_turns_on_what_is_off(live, driver, state, force, action):
    driver.power = state
    power.cycle(live, force, Deadline(30), 'call-1')
    assert writes_of(driver) == [('power', action)]
    assert live.target is None


@pytest.mark.parametrize('force', [True, False])
def test_a_driver_that_cycles_itself_is_left_to_it(live, driver, force):
    driver.cycles_itself = True
    power.cycle(live, force, Deadline(30), 'call-1')
    assert driver.calls == [('power', 'cycle')]


# -- the agent that ran ---------------------------------------------------------------------------


FORGOTTEN = [('forget', 'uuid-1')]


@pytest.fixture
def expect_on_pxe():
    CONF.set_override('expect_on_pxe', True, 'agent')
    CONF.set_override('expect_timeout', 600, 'agent')
    yield
    CONF.clear_override('expect_on_pxe', 'agent')
    CONF.clear_override('expect_timeout', 'agent')


def test_a_power_off_forgets_the_agent_once_the_bmc_has_taken_it(live, driver, agent_rows):
    live.agent = 'an agent'
    driver.hooks['power'] = lambda: agent_rows.changes.append('bmc')
    power.set_power(live, 'off', Deadline(30))
    assert agent_rows.changes == ['bmc', *FORGOTTEN]
    assert live.agent is None
    assert live.agents_forgotten == 1


def test_a_power_on_leaves_the_agent(live, agent_rows):
    live.agent = 'an agent'
    power.set_power(live, 'on', Deadline(30))
    assert agent_rows.changes == []
    assert live.agent == 'an agent'


def test_a_power_on_of_what_is_off_forgets_the_agent_first(live, driver, agent_rows):
    driver.power = 'off'
    agent_rows.token_hash = 'a' * 64
    driver.hooks['power'] = lambda: agent_rows.changes.append('bmc')
    power.set_power(live, 'on', Deadline(30))
    assert agent_rows.changes == [*FORGOTTEN, 'bmc']


def test_a_power_on_of_a_node_without_an_agent_costs_the_bmc_nothing_more(live, driver, agent_rows):
    driver.power = 'off'
    power.set_power(live, 'on', Deadline(30))
    assert driver.calls == [('power', 'on')]
    assert agent_rows.changes == []


def test_a_power_on_goes_on_where_it_is_not_known_whether_there_is_an_agent(
    live, driver, agent_rows
):
    driver.power = 'off'
    agent_rows.down = True
    power.set_power(live, 'on', Deadline(30))
    assert driver.power == 'on'


def test_what_is_off_is_not_turned_on_while_its_agent_cannot_be_forgotten(live, driver, agent_rows):
    driver.power = 'off'
    live.agent = 'an agent'
    agent_rows.down = True
    with pytest.raises(errors.Unavailable, match='its agent is not forgotten'):
        power.set_power(live, 'on', Deadline(30))
    assert driver.power == 'off'


def test_a_power_on_that_calls_a_soft_cycle_off_forgets_the_agent(
    make_live, driver, held_target, agent_rows
):
    agent_rows.token_hash = 'a' * 64
    live = make_live()
    power.set_power(live, 'on', Deadline(30))
    assert agent_rows.changes == FORGOTTEN
    assert live.target is None


@pytest.mark.parametrize('state', ['on', 'off'])
def test_a_forced_cycle_forgets_the_agent(live, driver, agent_rows, state):
    driver.power = state
    power.cycle(live, True, Deadline(30), 'call-1')
    assert agent_rows.changes == FORGOTTEN


def test_a_cycle_that_the_driver_does_itself_forgets_the_agent(live, driver, agent_rows):
    driver.cycles_itself = True
    power.cycle(live, False, Deadline(30), 'call-1')
    assert agent_rows.changes == FORGOTTEN


@pytest.mark.parametrize(
    'error', [fakes.SILENT, errors.OutcomeUnknown('?'), errors.BmcRefused('no')]
)
def test_an_agent_that_may_run_on_is_not_forgotten(live, driver, agent_rows, error):
    driver.errors['power'] = error
    with pytest.raises(type(error)):
        power.set_power(live, 'off', Deadline(30))
    assert agent_rows.changes == []


def test_a_power_off_that_the_bmc_took_and_is_slow_to_do_forgets_the_agent(
    live, driver, agent_rows
):
    driver.errors['power'] = errors.StateNotReached('it is still on')
    with pytest.raises(errors.StateNotReached):
        power.set_power(live, 'off', Deadline(30))
    assert agent_rows.changes == FORGOTTEN


ENDINGS = {
    'off': lambda live: power.set_power(live, 'off', Deadline(30)),
    'reset': lambda live: power.cycle(live, True, Deadline(30), 'id'),
}


@pytest.mark.parametrize('ending', ENDINGS)
def test_what_the_bmc_did_is_not_to_be_repeated_though_the_agent_is_not_forgotten(
    live, driver, agent_rows, ending
):
    agent_rows.down = True
    live.agent = 'an agent'
    with pytest.raises(errors.OutcomeUnknown, match='done its part .*agent is not forg') as told:
        ENDINGS[ending](live)
    assert told.value.node == 'n1'
    assert ('power', ending) in driver.calls
    assert live.agent == 'an agent'


def test_a_row_that_cannot_be_written_is_no_silence_of_the_bmc(live, driver, agent_rows, in_thread):
    agent_rows.down = True
    live.agent = 'an agent'
    waiting = []

    def queue():
        waiting.append(in_thread(lambda: power.set_power(live, 'on', Deadline(30))))
        while not live._writes._queue:
            pass

    driver.hooks['power', 'reset'] = queue
    with pytest.raises(errors.OutcomeUnknown):
        power.cycle(live, True, Deadline(30), 'id')
    waiting[0].result()
    assert live.reachability == 'reachable'


def test_a_soft_cycle_forgets_the_agent_when_the_node_is_off(
    make_live, driver, held_target, wall, agent_rows
):
    driver.power = 'off'
    driver.hooks['power'] = lambda: agent_rows.changes.append('bmc')
    power.carry_on(make_live(), sleep=wall.sleep, wall_clock=wall, clock=wall)
    assert agent_rows.changes == [*FORGOTTEN, 'bmc']


def test_a_node_is_not_turned_on_again_while_its_agent_cannot_be_forgotten(
    make_live, driver, held_target, wall, agent_rows
):
    driver.power = 'off'
    agent_rows.down = True

    def sleep(seconds):
        assert ('power', 'on') not in driver.calls
        agent_rows.down = False
        wall.sleep(seconds)

    power.carry_on(make_live(), sleep=sleep, wall_clock=wall, clock=wall)
    assert agent_rows.changes == FORGOTTEN
    assert ('power', 'on') in driver.calls


def test_a_boot_to_pxe_expects_an_agent_if_so_configured(
    live, driver, agent_rows, expect_on_pxe, monkeypatch
):
    monkeypatch.setattr(power.time, 'time', lambda: 1000.0)
    power.set_boot_device(live, 'pxe', Deadline(30))
    assert agent_rows.changes == [('expect', 'uuid-1', 1600.0)]


def test_another_boot_device_expects_none(live, agent_rows, expect_on_pxe):
    power.set_boot_device(live, 'disk', Deadline(30))
    assert agent_rows.changes == []


def test_a_boot_to_pxe_expects_none_otherwise(live, agent_rows):
    power.set_boot_device(live, 'pxe', Deadline(30))
    assert agent_rows.changes == []


def test_a_boot_device_that_the_bmc_refused_expects_none(live, driver, agent_rows, expect_on_pxe):
    driver.errors['boot'] = errors.BmcRefused('no')
    with pytest.raises(errors.BmcRefused):
        power.set_boot_device(live, 'pxe', Deadline(30))
    assert agent_rows.changes == []


# -- soft cycles ----------------------------------------------------------------------------------


def test_a_soft_cycle_is_in_the_row_before_the_bmc_hears_of_it(live, driver, rows, no_carrying_on):
    in_row = []
    driver.hooks['power', 'soft_off'] = lambda: in_row.append(rows.row.target_call_id)
    power.cycle(live, False, Deadline(30), 'call-1')
    assert in_row == ['call-1']
    assert rows.row.target_power_state == 'on'
    assert no_carrying_on == [(power.carry_on, live, 300.0)]


def test_nothing_is_sent_when_the_row_is_anothers(live, driver, rows, no_carrying_on):
    rows.row.owner_epoch += 1
    with pytest.raises(errors.NotOwner):
        power.cycle(live, False, Deadline(30), 'call-1')
    assert writes_of(driver) == []
    assert live.target is None
    assert not no_carrying_on


def test_nothing_is_sent_when_the_row_cannot_be_written(live, driver, rows, no_carrying_on):
    rows.read_only = True
    with pytest.raises(errors.Unavailable):
        power.cycle(live, False, Deadline(30), 'call-1')
    assert writes_of(driver) == []
    assert live.target is None


@pytest.mark.parametrize('error', [errors.BmcRefused('no', 'n1'), fakes.SILENT, ValueError('bug')])
def test_a_soft_off_that_the_bmc_did_not_take_leaves_no_target(
    live, driver, rows, no_carrying_on, error
):
    driver.errors['power'] = [error]
    with pytest.raises(type(error)):
        power.cycle(live, False, Deadline(30), 'call-1')
    assert rows.row.target_call_id is None
    assert live.target is None
    assert not no_carrying_on


def test_a_soft_off_that_may_have_been_taken_is_carried_on(live, driver, rows, no_carrying_on):
    driver.errors['power'] = [errors.OutcomeUnknown('no answer', 'n1')]
    with pytest.raises(errors.OutcomeUnknown):
        power.cycle(live, False, Deadline(30), 'call-1')
    assert rows.row.target_call_id == 'call-1'
    assert no_carrying_on == [(power.carry_on, live, 300.0)]


def test_a_refusal_that_cannot_be_taken_back_from_the_row_is_the_callers_answer_all_the_same(
    live, driver, rows, no_carrying_on
):
    def fail_from_now():
        rows.down = True

    driver.hooks['power'] = fail_from_now
    driver.errors['power'] = [errors.BmcRefused('no', 'n1')]
    with pytest.raises(errors.BmcRefused):
        power.cycle(live, False, Deadline(30), 'call-1')
    assert no_carrying_on == [(power.carry_on, live, 300.0)]


def test_when_the_node_has_gone_off_it_is_turned_on(make_live, driver, rows, held_target, wall):
    live = make_live()
    wall.at[5003.0] = lambda: setattr(driver, 'power', 'off')
    power.carry_on(live, sleep=wall.sleep, wall_clock=wall, clock=wall)
    assert writes_of(driver) == [('power', 'on')]
    assert driver.power == 'on'
    assert rows.row.target_call_id is None
    assert rows.last_error is None
    assert live.target is None


def test_it_looks_soon_and_then_at_most_five_seconds_apart(make_live, driver, held_target, wall):
    live = make_live()
    power.carry_on(live, sleep=wall.sleep, wall_clock=wall, clock=wall)
    assert wall.slept[0] <= 0.5
    assert max(wall.slept) == 5.0
    assert len([call for call in driver.calls if call[0] == 'status']) >= 60


def test_it_is_given_up_in_time_with_the_error_in_the_row(
    make_live, driver, rows, held_target, wall
):
    live = make_live()
    power.carry_on(live, sleep=wall.sleep, wall_clock=wall, clock=wall)
    assert wall.now == 5300.0
    assert writes_of(driver) == []
    assert rows.row.target_call_id is None
    assert 'given up' in rows.last_error


class Boot(Wall):
    """The owner's own clock, and how far the wall clock is from it at some moments."""

    def __init__(self):
        super().__init__(now=100.0)
        self.shift = 4900.0

    def wall(self):
        return self.now + self.shift


@pytest.mark.parametrize('jump', [3600.0, -3600.0, 3e8, -3e8])
@pytest.mark.parametrize('left', [None, 300.0])
def test_a_wall_clock_that_jumps_ends_no_waiting_and_prolongs_none(
    make_live, driver, rows, held_target, jump, left
):
    boot = Boot()
    boot.at[130.0] = lambda: setattr(boot, 'shift', 4900.0 + jump)
    power.carry_on(make_live(), left, boot.sleep, boot.wall, boot)
    assert boot.now == 400.0
    assert 'not off within 300 s' in rows.last_error


@pytest.mark.parametrize('ahead', [3600.0, 3e8])
def test_a_target_set_by_a_clock_that_is_ahead_is_waited_for_no_longer_than_any(
    make_live, driver, rows, held_target, wall, ahead
):
    rows.row.target_until += ahead
    power.carry_on(make_live(), sleep=wall.sleep, wall_clock=wall, clock=wall)
    assert wall.now == 5300.0
    assert rows.row.target_call_id is None


def test_a_call_waits_its_whole_time_though_the_clock_jumped_before_it_began_to(
    make_live, driver, rows, held_target
):
    boot = Boot()
    boot.shift = 3e8
    power.carry_on(make_live(), 300.0, boot.sleep, boot.wall, boot)
    assert boot.now == 400.0


def test_a_target_whose_time_is_over_is_given_up_without_touching_the_node(
    make_live, driver, rows, held_target, wall
):
    driver.power = 'off'  # perhaps by hand, since
    wall.now = 9000.0
    power.carry_on(make_live(), sleep=wall.sleep, wall_clock=wall, clock=wall)
    assert driver.calls == []
    assert 'its time was over' in rows.last_error
    assert 'clocks' in rows.last_error


@pytest.mark.parametrize('error', [fakes.SILENT, errors.BmcRefused('busy', 'n1')])
def test_a_look_that_fails_is_repeated(make_live, driver, rows, held_target, wall, error):
    driver.errors['status'] = [error, error]
    driver.power = 'off'
    power.carry_on(make_live(), sleep=wall.sleep, wall_clock=wall, clock=wall)
    assert driver.power == 'on'
    assert rows.row.target_call_id is None


def test_a_second_half_that_fails_is_repeated(make_live, driver, rows, held_target, wall):
    driver.errors['power', 'on'] = [fakes.SILENT]
    driver.power = 'off'
    power.carry_on(make_live(), sleep=wall.sleep, wall_clock=wall, clock=wall)
    assert driver.power == 'on'
    assert rows.last_error is None


def test_a_forced_call_calls_it_off(make_live, driver, rows, held_target, wall):
    live = make_live()
    wall.at[5002.0] = lambda: power.cycle(live, True, Deadline(30), 'call-2')
    power.carry_on(live, sleep=wall.sleep, wall_clock=wall, clock=wall)
    assert writes_of(driver) == [('power', 'reset')]
    assert rows.row.target_call_id is None
    assert wall.now < 5010


def test_a_power_off_calls_it_off_and_the_node_stays_off(
    make_live, driver, rows, held_target, wall
):
    live = make_live()
    wall.at[5002.0] = lambda: power.set_power(live, 'off', Deadline(30))
    power.carry_on(live, sleep=wall.sleep, wall_clock=wall, clock=wall)
    assert writes_of(driver) == [('power', 'off')]
    assert driver.power == 'off'
    assert rows.row.target_call_id is None


def test_a_call_off_that_comes_between_the_look_and_the_turn_wins(
    make_live, driver, rows, held_target, wall
):
    live = make_live()
    driver.power = 'off'
    driver.hooks['status'] = lambda: live.clear_target('call-1')
    power.carry_on(live, sleep=wall.sleep, wall_clock=wall, clock=wall)
    assert writes_of(driver) == []


def test_a_target_that_the_row_still_has_is_not_forgotten_by_a_failed_call_off(
    make_live, driver, rows, held_target
):
    """Else a later owner would turn on a node that was turned off since."""
    live = make_live()
    rows.read_only = True
    with pytest.raises(errors.Unavailable):
        power.set_power(live, 'off', Deadline(30))
    assert writes_of(driver) == []
    rows.read_only = False
    power.set_power(live, 'off', Deadline(30))
    assert rows.row.target_call_id is None
    assert writes_of(driver) == [('power', 'off')]


def test_a_cycle_that_is_done_is_not_done_again_because_the_row_could_not_be_cleared(
    make_live, driver, rows, held_target, wall
):
    live = make_live()
    driver.power = 'off'

    def outage():
        rows.read_only = True
        wall.at[wall.now + 60] = lambda: (
            setattr(rows, 'read_only', False),
            setattr(driver, 'power', 'off'),
        )

    driver.hooks['power', 'on'] = outage
    power.carry_on(live, sleep=wall.sleep, wall_clock=wall, clock=wall)
    assert writes_of(driver) == [('power', 'on')]
    assert rows.row.target_call_id is None
    assert rows.last_error is None


def turn_on_and_die(live, driver, rows, wall):
    """Turn the node on and be gone before the row is cleared."""

    def outage():
        rows.read_only = True
        wall.at[wall.now + 5] = lambda: (live.drop_target(), setattr(rows, 'read_only', False))

    driver.power = 'off'
    driver.hooks['power', 'on'] = outage
    power.carry_on(live, sleep=wall.sleep, wall_clock=wall, clock=wall)
    driver.hooks.clear()
    assert driver.power == 'on'
    assert rows.row.target_call_id == 'call-1'


def test_a_node_that_a_predecessor_has_turned_on_is_done_without_an_error(
    make_live, driver, rows, held_target, wall
):
    turn_on_and_die(make_live(), driver, rows, wall)
    began = wall.now
    power.carry_on(make_live(), sleep=wall.sleep, wall_clock=wall, clock=wall)
    assert wall.now == began
    assert writes_of(driver) == [('power', 'on')]
    assert rows.row.target_call_id is None
    assert rows.last_error is None


def test_a_node_that_a_predecessor_was_about_to_turn_on_is_turned_on(
    make_live, driver, rows, held_target, wall
):
    rows.row.target_reason = power.TURNING_ON
    driver.power = 'off'
    power.carry_on(make_live(), sleep=wall.sleep, wall_clock=wall, clock=wall)
    assert writes_of(driver) == [('power', 'on')]
    assert rows.row.target_call_id is None


def test_a_turning_on_whose_answer_was_lost_is_done_when_the_node_is_on(
    make_live, driver, rows, held_target, wall
):
    driver.power = 'off'
    driver.hooks['power', 'on'] = lambda: setattr(driver, 'power', 'on')
    driver.errors['power', 'on'] = [errors.OutcomeUnknown('no answer', 'n1')]
    power.carry_on(make_live(), sleep=wall.sleep, wall_clock=wall, clock=wall)
    assert wall.now < 5010
    assert writes_of(driver) == [('power', 'on')]
    assert rows.last_error is None


def test_nothing_is_turned_on_before_the_row_says_so(make_live, driver, rows, held_target, wall):
    driver.power = 'off'
    rows.read_only = True
    wall.at[5060.0] = lambda: setattr(rows, 'read_only', False)
    said = []
    driver.hooks['power', 'on'] = lambda: said.append((wall.now >= 5060, rows.row.target_reason))
    power.carry_on(make_live(), sleep=wall.sleep, wall_clock=wall, clock=wall)
    assert said == [(True, power.TURNING_ON)]


def test_a_target_that_was_dropped_while_it_was_recorded_stays_dropped(
    make_live, driver, rows, held_target, wall, monkeypatch
):
    live = make_live()
    written = rows.set_target

    def drop(*what):
        live.drop_target()
        return written(*what)

    monkeypatch.setattr(rows, 'set_target', drop)
    driver.power = 'off'
    power.carry_on(live, sleep=wall.sleep, wall_clock=wall, clock=wall)
    assert writes_of(driver) == []
    assert live.target is None
    assert rows.row.target_call_id == 'call-1'


def test_a_second_soft_cycle_takes_the_place_of_the_first(
    make_live, driver, rows, held_target, no_carrying_on, wall
):
    live = make_live()
    power.cycle(live, False, Deadline(30), 'call-2')
    assert live.target.call_id == 'call-2'
    assert rows.row.target_call_id == 'call-2'
    live.clear_target('call-1', 'late')
    assert rows.row.target_call_id == 'call-2'


def test_the_same_work_is_carried_on_once(make_live, driver, held_target, wall):
    live = make_live()
    assert live.follow('call-1')
    power.carry_on(live, sleep=wall.sleep, wall_clock=wall, clock=wall)
    assert driver.calls == []
    live.unfollow('call-1')
    assert live.follow('call-1')


def test_a_conductor_that_stops_leaves_the_row_to_the_next_owner(
    make_live, driver, rows, held_target, wall
):
    live = make_live()
    wall.at[5002.0] = live.drop_target
    power.carry_on(live, sleep=wall.sleep, wall_clock=wall, clock=wall)
    assert rows.row.target_call_id == 'call-1'
    assert rows.last_error is None
    assert writes_of(driver) == []


def test_reads_do_not_wait_for_a_soft_cycle(make_live, driver, held_target, wall):
    live = make_live()
    seen = []
    wall.at[5002.0] = lambda: seen.append(live.read_power(Deadline(1)))
    wall.at[5004.0] = live.drop_target
    power.carry_on(live, sleep=wall.sleep, wall_clock=wall, clock=wall)
    assert seen == ['on']
