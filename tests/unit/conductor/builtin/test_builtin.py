import pytest

from obmd.common import callers
from obmd.common import errors
from obmd.common.deadline import Deadline
from obmd.conductor import builtin
from obmd.conductor.builtin import metadata
from obmd.drivers import base
from tests.unit.conductor import fakes

CALLER = callers.Caller(callers.ADMIN, 'req-1')


class Output:
    def __init__(self):
        self.lines = []
        self.errors = []

    def __call__(self, text, error=False):
        (self.errors if error else self.lines).append(text)


@pytest.fixture
def output():
    return Output()


@pytest.fixture
def run(live, output):
    """``run(name, *arguments)`` gives the exit status."""

    def run(name, *arguments):
        return builtin.run(name, live, list(arguments), Deadline(60), output, CALLER)

    return run


# -- what users are told ---------------------------------------------------------------------------


def test_each_that_is_told_of_can_be_run_and_the_other_way_round():
    assert metadata.METADATA.keys() == builtin._RUN.keys()


@pytest.mark.parametrize(
    ('name', 'text'),
    [
        ('power-off', 'Power off %{nodes}, confirm to proceed [y/n]?'),
        ('power-cycle', 'Power cycle %{nodes}, confirm to proceed [y/n]?'),
        (
            'estate-change',
            'Change machine type for %{nodes}. If powered on it will be rebooted. '
            'Confirm to proceed [y/n]?',
        ),
        ('power-on', None),
        ('power-status', None),
        ('estate-show', None),
        ('ipmi-sel', None),
    ],
)
def test_what_is_asked_before(name, text):
    assert metadata.METADATA[name].confirmation == text


def test_all_run_on_nodes_and_say_what_they_do():
    for one in metadata.METADATA.values():
        assert one.builtin and one.has_context and one.summary and one.description
        assert one.syntax.startswith('NAME')
        assert one.choose(['any']).executes == 'builtin'


# -- power -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('name', 'before', 'sent', 'after'),
    [
        ('power-on', 'off', ('power', 'on'), 'on'),
        ('power-off', 'on', ('power', 'off'), 'off'),
        ('power-cycle', 'on', ('power', 'reset'), 'on'),
        ('power-cycle', 'off', ('power', 'on'), 'on'),
    ],
)
def test_what_works_says_ok(run, output, driver, name, before, sent, after):
    driver.power = before
    assert run(name) == 0
    assert output.lines == ['OK']
    assert output.errors == []
    assert driver.calls[-1] == sent
    assert driver.power == after


@pytest.mark.parametrize(
    ('state', 'text', 'status'),
    [
        ('on', 'ON', 0),
        ('pending', 'PENDING', 0),
        ('off', 'OFF', 123),
        ('stopping', 'STOPPING', 123),
        ('sleeping', 'SLEEPING', 124),
    ],
)
def test_the_power_status_is_printed_and_is_the_exit_status(
    run, output, driver, state, text, status
):
    driver.power = state
    assert run('power-status') == status
    assert output.lines == [text]


def test_a_state_that_has_no_name_is_an_error(run, output, driver):
    driver.power = 'Mock Status'
    assert run('power-status') == 1
    assert output.errors == ['the power status is not known: Mock Status']
    assert output.lines == []


@pytest.mark.parametrize('name', ['power-on', 'power-off', 'power-cycle', 'power-status'])
def test_what_fails_says_why(run, output, driver, name):
    driver.errors = {'power': fakes.SILENT, 'status': fakes.SILENT}
    assert run(name) == 1
    assert output.errors == [fakes.SILENT.reason]
    assert output.lines == []


@pytest.mark.parametrize(
    'name', ['power-on', 'power-off', 'power-cycle', 'power-status', 'estate-show', 'ipmi-sel']
)
def test_a_second_node_is_not_taken_for_an_argument(run, output, driver, name):
    assert run(name, 'node\x1b02') == 2
    assert driver.calls == []
    assert output.errors == [f'{name} takes no argument after the node: node?02']


def test_a_write_names_its_caller(run, rows, timers):
    run('power-on')
    assert any('req-1' in str(write) for write in rows.writes) or timers.all


# -- no driver, broken driver ----------------------------------------------------------------------


class Plain(base.Driver):
    pass


@pytest.mark.parametrize('name', sorted(metadata.METADATA))
def test_a_driver_that_cannot_do_it_is_told_as_a_missing_rank(make_live, output, name):
    live = make_live()
    live.driver = Plain(base.NodeRef('n1', 'uuid-1'), {})
    live._capabilities = ()
    assert builtin.run(name, live, [], Deadline(60), output, CALLER) == 1
    assert output.errors == [
        f'The default script for {name} is not supported.  Specify an appropriate rank',
        'for n1.',
    ]


def test_a_driver_that_fails_is_an_internal_error(run, output, driver, caplog):
    driver.errors = {'power': ZeroDivisionError('secret')}
    assert run('power-on') == 1
    assert output.errors == ['internal error']
    assert 'ZeroDivisionError' in caplog.text


def test_any_error_is_said(run, output, driver):
    driver.errors = {'status': errors.CredentialsRefused('the BMC at 10.0.0.1 refused', 'n1')}
    assert run('power-status') == 1
    assert output.errors == ['the BMC at 10.0.0.1 refused']


# -- the event log ---------------------------------------------------------------------------------


def test_the_event_log_is_a_line_a_record(run, output, driver):
    driver.event_log = lambda deadline, limit: [
        {'id': 10, 'time': '2026-01-02T03:04:05+00:00', 'sensor': 'Fan #0x01', 'event': 'Failure'},
        {'id': 11, 'time': None, 'sensor': 'a\x1b[2J', 'event': 'b\nc'},
    ]
    assert run('ipmi-sel') == 0
    assert output.lines == [
        '   a | 2026-01-02T03:04:05+00:00 | Fan #0x01 | Failure',
        '   b | time unknown | a?[2J | b?c',
    ]


def test_an_empty_event_log_says_so(run, output):
    assert run('ipmi-sel') == 0
    assert output.lines == ['SEL has no entries']
