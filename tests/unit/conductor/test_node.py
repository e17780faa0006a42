import contextlib
import time

import pytest

from obmd.common import callers
from obmd.common import errors
from obmd.common.deadline import Deadline
from obmd.conductor import node
from obmd.conductor import power
from obmd.conductor import shared_read
from obmd.conf import CONF
from tests.unit.conductor import fakes

WRONG = errors.CredentialsRefused('wrong password', 'n1')
GOING = errors.Unavailable('obmd is stopping', retry_after=5)


def ask(live):
    return live.read_power(Deadline(30))


# -- the gate -------------------------------------------------------------------------------------


def test_refused_credentials_are_not_sent_again(live, driver, rows):
    driver.errors['status'] = [WRONG]
    for _ in range(5):
        with pytest.raises(errors.CredentialsRefused, match='wrong password'):
            ask(live)
    assert driver.calls == [('status',)]
    assert rows.writes == [('refused', 'wrong password')]


@pytest.mark.parametrize(
    'call',
    [
        ask,
        lambda live: power.set_power(live, 'on', Deadline(30)),
        lambda live: power.cycle(live, True, Deadline(30), 'id'),
        lambda live: power.set_boot_device(live, 'pxe', Deadline(30)),
    ],
)
def test_no_call_of_any_kind_passes_the_gate(make_live, driver, rows, call):
    rows.row.credentials_refused = 'wrong password'
    live = make_live()
    with pytest.raises(errors.CredentialsRefused, match='wrong password') as refused:
        call(live)
    assert refused.value.node == 'n1'
    assert driver.calls == []


def test_the_gate_opens_when_the_row_is_cleared(live, driver, rows):
    driver.errors['status'] = [WRONG]
    with pytest.raises(errors.CredentialsRefused):
        ask(live)
    rows.row.credentials_refused = None
    assert ask(live) == 'on'
    assert driver.reopened == 1
    assert ask(live) == 'on'
    assert driver.reopened == 1


def test_the_driver_is_told_before_anybody_passes(live, driver, rows):
    driver.errors['status'] = [WRONG]
    with pytest.raises(errors.CredentialsRefused):
        ask(live)
    rows.row.credentials_refused = None
    seen = []
    driver.reopen = lambda: seen.append(live._refused)
    ask(live)
    assert seen == ['wrong password']


def test_credentials_that_are_still_wrong_shut_it_again(live, driver, rows):
    driver.errors['status'] = [WRONG, WRONG]
    with pytest.raises(errors.CredentialsRefused):
        ask(live)
    rows.row.credentials_refused = None
    for _ in range(3):
        with pytest.raises(errors.CredentialsRefused):
            ask(live)
    assert driver.calls == [('status',)] * 2
    assert rows.row.credentials_refused


def test_a_row_that_cannot_be_read_keeps_it_shut(make_live, driver, rows):
    rows.row.credentials_refused = 'wrong password'
    live = make_live()
    rows.down = True
    with pytest.raises(errors.Unavailable):
        ask(live)
    rows.down = False
    rows.row = None
    with pytest.raises(errors.CredentialsRefused):
        ask(live)
    assert driver.calls == []


def test_a_refusal_that_the_row_did_not_take_is_the_callers_answer_and_keeps_the_gate_shut(
    live, driver, rows
):
    driver.errors['status'] = [WRONG]
    rows.read_only = True
    for _ in range(3):
        with pytest.raises(errors.CredentialsRefused):
            ask(live)
    assert driver.calls == [('status',)]
    rows.read_only = False
    with pytest.raises(errors.CredentialsRefused):
        ask(live)
    assert rows.row.credentials_refused == 'wrong password'
    rows.row.credentials_refused = None
    assert ask(live) == 'on'


def test_a_refusal_of_anything_else_leaves_it_open(live, driver, rows):
    driver.errors['status'] = [errors.BmcRefused('privilege', 'n1')]
    with pytest.raises(errors.BmcRefused):
        ask(live)
    assert ask(live) == 'on'
    assert rows.writes == []


# -- going ----------------------------------------------------------------------------------------


def test_who_comes_or_waits_when_the_process_goes_down_is_told(live, driver, in_thread):
    live.abort(GOING)
    assert driver.aborted is GOING
    with pytest.raises(errors.Unavailable, match='stopping') as told:
        ask(live)
    assert told.value is not GOING
    with pytest.raises(errors.Unavailable):
        power.set_power(live, 'on', Deadline(30))
    assert driver.calls == []


def test_a_write_that_waited_for_its_turn_does_not_reach_the_bmc_of_a_deleted_node(
    live, driver, in_thread
):
    later = []

    def delete():
        later.append(in_thread(lambda: power.set_power(live, 'off', Deadline(30))))
        while not live._writes._queue:
            pass
        live.abort(errors.Unavailable('the node was deleted', 'n1', 1))

    driver.hooks['power', 'on'] = delete
    power.set_power(live, 'on', Deadline(30))
    assert 'deleted' in later[0].error().reason
    assert driver.calls == [('power', 'on')]


# -- places ---------------------------------------------------------------------------------------


def test_a_silent_bmc_takes_no_more_callers_than_there_are_places(live, monkeypatch):
    CONF.set_override('max_waiting', 2, 'conductor')
    try:
        with live.place(), live.place():
            live._clock = lambda: live._waiting_since + shared_read.SLOW + 1
            with pytest.raises(errors.Unavailable) as full:
                with live.place():
                    raise AssertionError('it got a place')
            assert full.value.retry_after
        with live.place():
            pass
    finally:
        CONF.clear_override('max_waiting', 'conductor')


def test_any_number_may_come_at_once_to_a_bmc_that_answers(live):
    with contextlib.ExitStack() as callers:
        for _ in range(10 * CONF.conductor.max_waiting):
            callers.enter_context(live.place())


# -- what the owner records -----------------------------------------------------------------------


def test_the_sol_holder_is_written_on_change_only(live, rows):
    live.set_sol_holder('me 10.0.0.1:5')
    live.set_sol_holder('me 10.0.0.1:5')
    live.set_sol_holder(None)
    live.set_sol_holder(None)
    assert rows.writes == [('sol', 'me 10.0.0.1:5'), ('sol', None)]


def test_a_sol_holder_that_was_not_written_is_written_the_next_time(live, rows):
    rows.down = True
    with pytest.raises(errors.Unavailable):
        live.set_sol_holder('me')
    rows.down = False
    live.set_sol_holder('me')
    assert rows.row.sol_holder == 'me'


def test_a_sol_holder_that_anothers_row_did_not_take_is_not_remembered_as_written(live, rows):
    rows.row.owner = 'other'
    assert not live.set_sol_holder('me')
    assert live.sol_holder is None
    assert not live.set_sol_holder('me')


def test_a_new_owner_knows_what_the_row_says(make_live, rows):
    rows.row.sol_holder = 'other 10.0.0.1:5'
    rows.row.target_power_state, rows.row.target_until = 'on', 5.0
    rows.row.target_call_id = 'call-1'
    live = make_live()
    assert live.sol_holder == 'other 10.0.0.1:5'
    assert (live.target.state, live.target.until, live.target.call_id) == ('on', 5.0, 'call-1')


def test_a_target_is_not_set_in_memory_when_the_row_is_anothers(live, rows):
    rows.row.owner = 'other'
    with pytest.raises(errors.NotOwner):
        live.set_target('on', 1.0, 'why', 'call-1')
    assert live.target is None


def test_each_reader_of_one_answer_gets_an_exception_of_its_own(live, driver):
    driver.errors['status'] = fakes.SILENT
    caught = []
    for _ in range(2):
        with pytest.raises(errors.BmcSilent) as silent:
            ask(live)
        caught.append(silent.value)
    assert caught[0] is not caught[1]
    assert fakes.SILENT not in caught


# -- before another's session is ended ----------------------------------------------------


def test_a_driver_asks_the_row_of_now_before_it_ends_anothers_session(live, driver, rows):
    driver.authorise()
    rows.row.owner_epoch += 1
    with pytest.raises(errors.NotOwner):
        driver.authorise()
    rows.row.owner_epoch -= 1
    rows.row.owner = 'other'
    with pytest.raises(errors.NotOwner):
        driver.authorise()
    rows.down = True
    with pytest.raises(errors.Unavailable):
        driver.authorise()
    rows.down = False
    rows.row = None  # deleted: nobody's
    driver.authorise()


# -- the lock's shadow in the row -----------------------------------------------------------------

REQUEST = 'req-01234567-89ab-cdef-0123-456789abcdef'
CALLER = callers.Caller(callers.HOLDER, REQUEST, '192.0.2.7')


def locks(rows):
    return [what for what in rows.writes if what[0] == 'lock']


def test_a_write_that_lasts_stands_in_the_row_with_the_address_of_who_asked(live, rows, timers):
    before = time.time()
    with live.write('power on', Deadline(30), CALLER):
        timers.fire()
        ((_, purpose, caller, since),) = locks(rows)
    assert (purpose, caller) == ('power on', CALLER.full)
    assert '192.0.2.7' in caller
    assert before <= since <= time.time()
    timers.fire()
    assert rows.row.lock_purpose is None


def test_a_write_that_is_done_at_once_does_not(live, rows, timers):
    with live.write('power on', Deadline(30), CALLER):
        pass
    assert timers.pending == []
    assert locks(rows) == []


def test_what_an_earlier_hold_at_this_epoch_has_left_in_the_row_is_cleared(make_live, rows, timers):
    rows.row.lock_purpose = 'power on'
    make_live()
    timers.fire()
    assert rows.row.lock_purpose is None


def test_what_stood_in_the_row_that_was_claimed_is_no_concern(rows, driver, timers):
    rows.row.lock_purpose = 'power on'
    node.LiveNode(rows.row, driver, 'me', rows.row.owner_epoch + 1, lambda _live: None, timers)
    assert timers.pending == []


def test_a_node_that_is_given_up_writes_no_more(live, rows, timers):
    with live.write('power on', Deadline(30), CALLER):
        live.abort(GOING)
    assert timers.pending == []
    assert locks(rows) == []


def test_the_log_tells_of_each_write_and_of_each_that_found_the_node_busy(live, caplog):
    caplog.set_level('INFO')
    with live.write('power on', Deadline(30), CALLER):
        with pytest.raises(errors.NodeBusy):
            with live.write('power off', Deadline(0.01), callers.UNKNOWN):
                raise AssertionError('it ran')
    first, second = caplog.messages
    assert first == f'n1: power on for {CALLER.full}'
    assert second.startswith('n1: power off for a caller that is not known: the node is busy: ')
    assert '192.0.2.7' not in second
