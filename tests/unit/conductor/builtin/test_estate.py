import pytest

from obmd.common import callers
from obmd.common import errors
from obmd.common.deadline import Deadline
from obmd.conductor import builtin
from obmd.conductor import estate
from obmd.conf import CONF
from obmd.drivers import base
from tests.unit.conductor import fakes
from tests.unit.conductor.builtin.test_builtin import Output

CALLER = callers.Caller(callers.ADMIN, 'req-1')
TYPES = {'general-small': 't3.medium', 'general-large': 't3.2xlarge'}


class Cloud(fakes.Driver, base.MachineType):
    """An instance; ``slow`` is how often it is asked until it is off."""

    machine_types = TYPES

    def __init__(self, node=None, info=None):
        super().__init__(node, info)
        self.type = 't3.medium'
        self.slow = 0

    def machine_type(self, deadline):
        self._do('type')
        return self.type

    def set_machine_type(self, raw, deadline):
        self._do('change', raw)
        assert self.power != 'on', 'it was changed while it was on'
        self.type = raw

    def set_power(self, action, deadline):
        super().set_power(action, deadline)
        if action == 'off' and self.slow:
            self.power = 'stopping'

    def power_status(self, deadline):
        found = super().power_status(deadline)
        if found == 'stopping':
            self.slow -= 1
            if self.slow == 0:
                self.power = 'off'
        return found

    @property
    def changes(self):
        return [call for call in self.calls if call[0] in ('power', 'change')]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def driver():
    return Cloud()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def output():
    return Output()


@pytest.fixture
def run(live, output, monkeypatch, clock):
    original = estate.change
    monkeypatch.setattr(
        estate,
        'change',
        lambda *args, **more: original(*args, sleep=clock.sleep, clock=clock, **more),
    )

    def run(name, *arguments):
        return builtin.run(name, live, list(arguments), Deadline(3600), output, CALLER)

    return run


# -- estate-show -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('raw', 'text'), [('t3.2xlarge', 'general-large'), ('x9.odd', 'unknown (x9.odd)')]
)
def test_the_machine_type_has_our_name(run, output, driver, raw, text):
    driver.type = raw
    assert run('estate-show') == 0
    assert output.lines == [text]


def test_an_error_of_the_cloud_is_said(run, output, driver):
    driver.errors = {'type': errors.BmcRefused("The ec2_id for node 'n1' has not been set!")}
    assert run('estate-show') == 1
    assert output.errors == ["The ec2_id for node 'n1' has not been set!"]


# -- estate-change ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['foo'], 'Unknown machine type foo.'),
        (['t3.medium'], 'Unknown machine type t3.medium.'),
        (['a\x1bb'], 'Unknown machine type a?b.'),
        ([], 'A machine type is missing.'),
        ([''], 'A machine type is missing.'),
    ],
)
def test_a_type_that_there_is_not_is_answered_with_those_that_there_are(
    run, output, driver, arguments, said
):
    assert run('estate-change', *arguments) == 101
    assert output.errors == [
        f'{said} Available machine types:',
        'general-small',
        'general-large',
    ]
    assert driver.calls == []


def test_more_than_a_type_is_refused(run, output, driver):
    assert run('estate-change', 'general-small', 'n2') == 2
    assert driver.calls == []


def test_the_type_that_it_has_is_left(run, output, driver):
    assert run('estate-change', 'general-small') == 0
    assert output.lines == ['Machine type already general-small']
    assert driver.changes == []


def test_a_machine_that_is_off_stays_off(run, output, driver):
    driver.power = 'off'
    assert run('estate-change', 'general-large') == 0
    assert output.lines == ['Changing machine type...', 'OK']
    assert driver.changes == [('change', 't3.2xlarge')]


@pytest.mark.parametrize('slow', [0, 1, 20])
def test_a_machine_that_is_on_is_turned_off_and_on_again(run, output, driver, rows, slow):
    driver.slow = slow
    assert run('estate-change', 'general-large') == 0
    assert output.lines == ['Changing machine type...', 'OK']
    assert driver.changes == [('power', 'off'), ('change', 't3.2xlarge'), ('power', 'on')]
    assert rows.row.target_power_state is None


def test_a_machine_on_its_way_off_is_waited_for_and_left_off(run, driver):
    driver.power, driver.slow = 'stopping', 3
    assert run('estate-change', 'general-large') == 0
    assert driver.changes == [('change', 't3.2xlarge')]


def test_while_it_is_off_the_row_says_that_it_shall_be_on(run, driver, rows):
    seen = []
    driver.hooks = {'change': lambda: seen.append(rows.row.target_power_state)}
    run('estate-change', 'general-large')
    assert seen == ['on']


def test_a_machine_that_is_not_off_in_time_keeps_its_type(run, output, driver, clock, monkeypatch):
    carried_on = []
    monkeypatch.setattr(estate, '_carry_on', carried_on.append)
    driver.slow = 10**6
    assert run('estate-change', 'general-large') == 124
    assert output.lines == []
    assert output.errors == ['the machine was not off within 120 s']
    assert driver.changes == [('power', 'off')]
    assert estate.OFF_WITHIN <= clock.now < estate.OFF_WITHIN + 2 * estate.LOOK
    assert len(carried_on) == 1, 'nobody turns it on again'


def test_a_change_that_the_cloud_refuses_leaves_the_machine_on(run, output, driver):
    driver.errors = {'change': errors.BmcRefused('no such instance type here')}
    assert run('estate-change', 'general-large') == 1
    assert output.lines == ['Changing machine type...']
    assert output.errors == ['no such instance type here']
    assert driver.changes[-1] == ('power', 'on')
    assert driver.power == 'on'


def test_a_machine_that_does_not_start_again_is_said_and_tried_on(
    run, output, driver, rows, monkeypatch
):
    carried_on = []
    monkeypatch.setattr(estate, '_carry_on', carried_on.append)
    driver.errors = {('power', 'on'): errors.BmcRefused('no capacity')}
    assert run('estate-change', 'general-large') == 1
    assert output.lines == ['Changing machine type...', 'OK']
    assert output.errors == ['no capacity']
    assert rows.row.target_power_state == 'on'
    assert len(carried_on) == 1


def test_a_row_that_is_anothers_keeps_the_machine_as_it_is(run, output, driver, rows):
    rows.row.owner = 'another'
    assert run('estate-change', 'general-large') == 1
    assert driver.changes == []


def test_nobody_writes_to_the_node_meanwhile(run, driver, live, in_thread):
    CONF.set_override('power_timeout', 1, 'conductor')
    seen = []

    def write():
        with pytest.raises(errors.NodeBusy) as raised, live.write('power on', Deadline(0)):
            pass
        seen.append(raised.value.reason)

    driver.hooks = {'change': write}
    try:
        run('estate-change', 'general-large')
    finally:
        CONF.clear_override('power_timeout', 'conductor')
    assert 'change of the machine type' in seen[0]
