"""One node's console over a BMC, timers and clocks that the test moves."""

import threading

import pytest

from obmd.common import errors
from obmd.common.deadline import Deadline
from obmd.conductor import console
from obmd.conf import CONF
from tests.unit.conductor import fakes

SILENT = errors.BmcSilent('the BMC did not answer', 'n1')
HELD = errors.ConsoleHeld('held by 10.0.0.9', 'n1')


class Allow:
    def allows(self, _stream):
        return True


class Log:
    def __init__(self):
        self.written = b''

        self.events = []
        self.about = None

    def open(self, _uuid, about, token):
        self.about = about | {'token': token}
        return self

    def data(self, offset, chunk):
        assert offset == len(self.written)
        self.written += chunk

    def barrier(self, offset, token):
        self.events.append(('token', offset, token))

    def up(self):
        self.events.append(('up',))

    def down(self, reason):
        self.events.append(('down', reason))

    def end(self, reason):
        self.events.append(('end', reason))


class Rig:
    """A console, and what happens to it."""

    def __init__(self, make_live, driver, rows, spawned):
        self.clock = fakes.Clock()
        self.timers = fakes.Timers()
        self.log = Log()
        self.pauses = []
        self.driver, self.rows, self.spawned = driver, rows, spawned
        self.live = make_live(self._make)
        self.console = self.live.console
        self._released = []

    def _make(self, live):
        return console.Console(live, Allow(), self.timers, self.log, self.clock, self._uniform)

    def _uniform(self, low, high):
        self.pauses.append((low, high))
        return high

    def watch(self, token='t1', replay=None, cursor=None, takeover=False, seconds=30):
        stream, self.headers = self.console.watch(
            token, replay, cursor, takeover, Deadline(seconds)
        )
        self.settle()
        return stream

    def settle(self):
        self.spawned.join()

    def data(self, chunk, sink=-1):
        self.driver.sinks[sink].data(chunk)

    def lost(self, error=SILENT, sink=-1):
        self.driver.sinks[sink].lost(error)
        self.settle()

    def fire(self):
        timer = self.timers.fire()
        self.settle()
        return timer

    def hold_open(self):
        """Make the driver wait while it opens the console.  :returns: two events: in, go on."""
        inside, go = threading.Event(), threading.Event()

        def wait():
            inside.set()
            assert go.wait(10)

        self.driver.hooks['console'] = wait
        self._released.append(go)
        return inside, go

    @property
    def opened(self):
        return [call[1] for call in self.driver.calls if call[0] == 'console']

    def release(self):
        for event in self._released:
            event.set()


@pytest.fixture
def make_rig(make_live, driver, rows, spawned):
    made = []

    def make(**options):
        for name, value in options.items():
            CONF.set_override(name, value, 'console')
        made.append(Rig(make_live, driver, rows, spawned))
        return made[-1]

    yield make
    for rig in made:
        rig.release()
    for name in ('capture', 'linger', 'retry_min', 'retry_max', 'ring_size'):
        CONF.clear_override(name, 'console')


@pytest.fixture
def rig(make_rig):
    return make_rig()


# -- viewers --------------------------------------------------------------------------------------


def test_nothing_is_opened_before_somebody_watches(rig):
    rig.console.start()
    rig.settle()
    assert rig.opened == []


def test_the_first_viewer_gets_the_first_byte(rig):
    rig.driver.hooks['console'] = None
    original = rig.driver.open_console

    def open_and_talk(sink, deadline, takeover=False):
        sink.data(b'first')  # before the driver has said that it is open
        return original(sink, deadline, takeover)

    rig.driver.open_console = open_and_talk
    stream = rig.watch()
    assert next(stream) == b'first'


def test_any_number_of_viewers_share_one_source(rig):
    streams = [rig.watch() for _ in range(5)]
    rig.data(b'x')
    assert [next(stream) for stream in streams] == [b'x'] * 5
    assert rig.opened == [False]
    assert rig.console.viewers == 5


def test_viewers_who_come_while_it_opens_share_the_opening(rig, in_thread):
    inside, go = rig.hold_open()
    viewers = [
        in_thread(lambda: rig.console.watch('t1', None, None, False, Deadline(30)))
        for _ in range(5)
    ]
    inside.wait(10)
    while rig.console.viewers < 5:
        pass
    go.set()
    for viewer in viewers:
        viewer.result()
    assert rig.opened == [False]


def test_an_opening_that_fails_is_told_to_all_who_wait_each_with_an_error_of_its_own(
    rig, in_thread
):
    inside, go = rig.hold_open()
    rig.driver.errors['console'] = [SILENT]
    viewers = [
        in_thread(lambda: rig.console.watch('t1', None, None, False, Deadline(30)))
        for _ in range(3)
    ]
    inside.wait(10)
    while rig.console.viewers < 3:
        pass
    go.set()
    failures = [viewer.error() for viewer in viewers]
    assert {type(failure) for failure in failures} == {errors.BmcSilent}
    assert len({id(failure) for failure in failures}) == 3
    rig.settle()
    assert rig.console.viewers == 0
    assert rig.opened == [False]


def test_who_joins_a_try_that_is_about_to_fail_has_one_of_its_own(rig, in_thread):
    inside, go = rig.hold_open()
    rig.driver.errors['console'] = [SILENT]
    first = in_thread(lambda: rig.console.watch('t1', None, None, False, Deadline(30)))
    inside.wait(10)
    rig.clock.now += 4
    late = in_thread(lambda: rig.console.watch('t1', None, None, False, Deadline(30)))
    while rig.console.viewers < 2:
        pass
    go.set()
    assert isinstance(first.error(), errors.BmcSilent)
    late.result()
    assert rig.opened == [False, False]


@pytest.mark.parametrize(
    'error', [SILENT, HELD, errors.CredentialsRefused('wrong', 'n1'), errors.BmcRefused('no', 'n1')]
)
def test_a_console_that_does_not_open_is_an_error_and_leaves_nothing_behind(rig, error):
    rig.driver.errors['console'] = [error]
    with pytest.raises(type(error)):
        rig.watch()
    rig.settle()
    assert rig.console.viewers == 0
    assert not rig.console._ring._bells
    for timer in rig.timers.pending:
        timer.function()
    rig.settle()
    assert len(rig.opened) == 1


def test_a_crash_of_the_driver_is_told_without_its_words(rig):
    rig.driver.errors['console'] = [ValueError('hunter2')]
    with pytest.raises(errors.ObmdError) as failed:
        rig.watch()
    assert 'hunter2' not in failed.value.reason


def test_who_has_less_time_than_the_opening_is_told_in_time(rig):
    _, go = rig.hold_open()
    with pytest.raises(errors.BmcSilent):
        rig.console.watch('t1', None, None, False, Deadline(0.01))
    assert rig.console.viewers == 0
    go.set()
    rig.settle()
    assert rig.console.up
    rig.fire()  # nobody watches: the linger
    assert not rig.console.up
    assert rig.driver.handles[0].closed == [True]


def test_the_answer_names_the_first_byte(rig):
    rig.watch()
    rig.data(b'12345')
    rig.watch()
    ring, offset = rig.headers['Obmd-Cursor'].split(':')
    assert offset == '5'
    assert 'Obmd-Gap' not in rig.headers
    rig.data(b'678')
    stream = rig.watch(cursor=(ring, 3))
    assert next(stream) == b'45678'
    rig.watch(cursor=('other', 3))
    assert rig.headers['Obmd-Gap'] == 'unknown'


# -- history --------------------------------------------------------------------------------------


@pytest.mark.parametrize('how', [{'replay': 100}, {'cursor': True}])
def test_history_is_given_though_the_source_is_down_and_then_it_waits(rig, how):
    first = rig.watch()
    cursor = tuple(rig.headers['Obmd-Cursor'].split(':'))
    rig.data(b'history')
    first.close()
    rig.lost()
    rig.timers.all.clear()
    rig.driver.errors['console'] = [SILENT]
    if 'cursor' in how:
        how = {'cursor': (cursor[0], 0)}
    stream = rig.watch(**how)
    assert next(stream) == b'history'
    rig.fire()  # the next try
    rig.data(b'more')
    assert next(stream) == b'more'


def test_history_waits_for_no_source(rig):
    rig.watch().close()
    rig.data(b'history')
    rig.lost()
    rig.timers.all.clear()
    inside, go = rig.hold_open()
    stream, _ = rig.console.watch('t1', 100, None, False, Deadline(30))
    assert next(stream) == b'history'
    assert inside.wait(10)
    go.set()
    rig.settle()
    rig.data(b'more')
    assert next(stream) == b'more'


@pytest.mark.parametrize('how', [{}, {'replay': 100}])
def test_without_history_a_source_that_is_down_is_an_error(rig, how):
    rig.driver.errors['console'] = [SILENT]
    with pytest.raises(errors.BmcSilent):
        rig.watch(**how)


def test_a_new_token_sees_nothing_from_before_it(rig):
    rig.watch()
    rig.data(b'tenant one')
    rig.console.set_barrier('t2')
    rig.data(b'two')
    stream = rig.watch('t2', replay=1000)
    assert next(stream) == b'two'


def test_what_came_before_a_viewer_whose_token_was_not_told_is_not_for_it(rig):
    rig.watch()
    rig.data(b'tenant one')
    stream = rig.watch('t2', replay=1000)
    rig.data(b'x')
    assert next(stream) == b'x'


# -- loss and return ------------------------------------------------------------------------------


def test_a_drop_keeps_the_stream_and_it_goes_on_when_the_source_is_back(rig):
    stream = rig.watch()
    rig.data(b'a')
    rig.lost()
    assert stream.ended is None
    rig.fire()
    rig.data(b'b')
    assert next(stream) == b'ab'


def test_pauses_grow_jittered_up_to_the_longest(make_rig):
    rig = make_rig(retry_min=1, retry_max=10)
    rig.driver.errors['console'] = []
    rig.watch()
    rig.driver.errors['console'] = [SILENT] * 6
    rig.lost()
    for _ in range(6):
        rig.fire()
    assert rig.pauses == [(0.5, 1), (1, 2), (2, 4), (4, 8), (5, 10), (5, 10), (5, 10)]


def test_a_minute_up_makes_them_short_again_and_less_does_not(make_rig):
    rig = make_rig(retry_min=1, retry_max=60)
    rig.watch()
    for up in (1, 1, 59.9, 60, 1):
        rig.clock.now += up
        rig.lost()
        rig.fire()
    assert [high for _, high in rig.pauses] == [1, 2, 4, 1, 2]


def test_no_pause_is_too_long_to_count(rig):
    rig.watch()
    rig.console._failures = 10**6
    rig.lost()
    assert rig.pauses[-1][1] == CONF.console.retry_max


def test_a_viewer_who_comes_does_not_wait_for_the_pause(rig):
    rig.watch()
    rig.lost()
    rig.watch()
    assert rig.console.up
    assert not [timer for timer in rig.timers.pending if timer.function == rig.console._try_again]


def test_nobody_watches_so_nothing_is_tried_again(rig):
    stream = rig.watch()
    rig.lost()
    stream.close()
    (timer,) = rig.timers.pending
    timer.function()
    rig.settle()
    assert len(rig.opened) == 1


def test_a_source_lost_while_it_opens_is_tried_again(rig):
    original = rig.driver.open_console
    lose = [True, False]

    def open_and_lose(sink, deadline, takeover=False):
        handle = original(sink, deadline, takeover)
        if lose.pop(0):
            sink.lost(SILENT)
        return handle

    rig.watch()
    rig.driver.open_console = open_and_lose
    rig.lost()
    rig.fire()
    assert not rig.console.up
    rig.fire()
    assert rig.console.up


def test_a_first_viewer_is_told_that_the_source_was_lost_while_it_opened(rig):
    original = rig.driver.open_console

    def open_and_lose(sink, deadline, takeover=False):
        handle = original(sink, deadline, takeover)
        sink.lost(HELD)
        return handle

    rig.driver.open_console = open_and_lose
    with pytest.raises(errors.ConsoleHeld):
        rig.watch()
    rig.settle()
    assert rig.rows.row.sol_holder == 'foreign'
    assert True not in rig.driver.handles[0].closed  # a deactivation would end the other's


def test_a_former_source_is_not_listened_to(rig):
    stream = rig.watch()
    rig.lost()
    rig.fire()
    rig.data(b'late', sink=0)
    rig.driver.sinks[0].lost(SILENT)
    rig.settle()
    assert rig.console.up
    rig.data(b'now', sink=1)
    assert next(stream) == b'now'
    assert rig.log.written == b'now'


def test_a_source_that_failed_to_open_is_not_listened_to(rig):
    sinks = []
    original = rig.driver.open_console

    def note(sink, deadline, takeover=False):
        sinks.append(sink)
        return original(sink, deadline, takeover)

    rig.driver.open_console = note
    rig.driver.errors['console'] = [SILENT]
    with pytest.raises(errors.BmcSilent):
        rig.watch()
    rig.settle()
    sinks[0].data(b'late')
    sinks[0].lost(SILENT)
    assert rig.console._ring.end == 0


# -- held by others -------------------------------------------------------------------------------


def test_a_console_that_another_holds_is_not_taken_over_unasked(rig):
    rig.driver.errors['console', False] = HELD
    with pytest.raises(errors.ConsoleHeld, match='10.0.0.9'):
        rig.watch()
    rig.settle()
    assert rig.opened == [False]


def test_it_is_taken_over_once_on_request(rig):
    rig.driver.errors['console', False] = HELD
    rig.watch(takeover=True)
    assert rig.opened == [False, True]
    assert rig.console.up


def test_a_takeover_that_fails_is_not_repeated(rig):
    rig.driver.errors['console'] = HELD
    with pytest.raises(errors.ConsoleHeld):
        rig.watch(takeover=True)
    rig.settle()
    assert rig.opened == [False, True]


def test_who_asks_for_a_takeover_while_another_opens_politely_gets_it(rig, in_thread):
    inside, go = rig.hold_open()
    rig.driver.errors['console', False] = HELD
    polite = in_thread(lambda: rig.console.watch('t1', None, None, False, Deadline(30)))
    inside.wait(10)
    firm = in_thread(lambda: rig.console.watch('t1', None, None, True, Deadline(30)))
    while rig.console.viewers < 2:
        pass
    go.set()
    assert isinstance(polite.error(), errors.ConsoleHeld)
    firm.result()
    assert rig.opened == [False, False, True]


def test_a_session_that_the_row_calls_ours_is_taken_over_once(make_rig, rows):
    rows.row.sol_holder = 'predecessor 10.0.0.1:4711'
    rig = make_rig()
    rig.driver.errors['console'] = [HELD]
    rig.watch()
    assert rig.opened == [False, True]
    assert rows.row.sol_holder == 'me 10.0.0.1:0'


def test_a_stale_session_that_cannot_be_taken_over_is_not_tried_in_a_loop(make_rig, rows):
    rows.row.sol_holder = 'predecessor 10.0.0.1:4711'
    rig = make_rig()
    rig.driver.errors['console'] = HELD
    for _ in range(3):
        with pytest.raises(errors.ConsoleHeld):
            rig.watch()
        rig.settle()
    assert rig.opened.count(True) == 1


@pytest.mark.parametrize('error', [SILENT, fakes.DOWN])
def test_a_takeover_that_did_not_come_to_an_end_is_tried_again(make_rig, rows, error):
    rows.row.sol_holder = 'predecessor 10.0.0.1:4711'
    rig = make_rig()
    rig.driver.errors['console', False] = HELD
    rig.driver.errors['console', True] = [error]
    with pytest.raises(type(error)):
        rig.watch()
    rig.settle()
    assert rows.row.sol_holder == 'predecessor 10.0.0.1:4711'
    rig.watch()
    assert rig.opened == [False, True] * 2
    assert rows.row.sol_holder == 'me 10.0.0.1:0'


@pytest.mark.parametrize('error', [SILENT, errors.OutcomeUnknown('no answer', 'n1')])
def test_a_session_that_the_bmc_may_have_given_us_unheard_is_taken_over(make_rig, rows, error):
    rig = make_rig()
    rig.driver.errors['console', False] = [error, HELD]
    with pytest.raises(type(error)):
        rig.watch()
    rig.settle()
    assert rows.row.sol_holder == 'me opening'
    rig.watch()
    assert rig.opened == [False, False, True]
    assert rows.row.sol_holder == 'me 10.0.0.1:0'


def test_a_session_that_was_lost_while_it_opened_is_taken_over(rig):
    rig.driver.errors['console', False] = HELD

    def lose():
        rig.driver.errors.clear()
        rig.driver.hooks.clear()
        rig.console.source_lost(rig.console._sink, SILENT)
        rig.driver.errors['console', False] = []

    rig.driver.hooks['console'] = lose
    with pytest.raises(errors.BmcSilent):
        rig.watch()
    rig.settle()
    assert rig.rows.row.sol_holder == 'me opening'
    rig.driver.errors['console'] = [HELD]
    rig.watch()
    assert rig.opened == [False, False, True]


def test_one_who_insists_on_what_may_be_ours_is_left_alone(rig):
    rig.driver.errors['console', False] = [SILENT, HELD, HELD, HELD]
    rig.driver.errors['console', True] = HELD
    for error in (errors.BmcSilent, errors.ConsoleHeld, errors.ConsoleHeld):
        with pytest.raises(error):
            rig.watch()
        rig.settle()
    assert rig.opened == [False, False, True, False]
    assert rig.rows.row.sol_holder is None


def test_a_bmc_that_was_silent_before_it_was_asked_leaves_no_mark(rig):
    rig.driver.errors['login'] = SILENT
    with pytest.raises(errors.BmcSilent):
        rig.watch()
    rig.settle()
    assert rig.rows.row.sol_holder is None
    rig.driver.errors.clear()
    rig.driver.errors['console'] = HELD
    with pytest.raises(errors.ConsoleHeld):
        rig.watch()
    rig.settle()
    assert rig.opened == [False]


def test_the_row_says_so_before_the_bmc_is_asked(rig):
    seen = []
    rig.driver.hooks['console'] = lambda: seen.append(rig.rows.row.sol_holder)
    rig.watch()
    assert seen == ['me opening']
    assert rig.rows.row.sol_holder == 'me 10.0.0.1:0'


def test_a_bmc_is_not_asked_when_the_row_cannot_say_so(rig):
    rig.rows.read_only = True
    with pytest.raises(errors.Unavailable):
        rig.watch()
    assert rig.opened == []


def test_nor_when_the_row_is_anothers(rig):
    rig.rows.row.owner = 'other'
    with pytest.raises(errors.NotOwner):
        rig.watch()
    assert rig.opened == []


def test_a_console_that_did_not_open_is_nobodys_in_the_row(rig):
    rig.driver.errors['console'] = HELD
    with pytest.raises(errors.ConsoleHeld):
        rig.watch()
    rig.settle()
    assert rig.rows.row.sol_holder is None


def test_a_session_of_one_who_died_while_it_opened_is_taken_over(make_rig, rows):
    rows.row.sol_holder = 'predecessor opening'
    rig = make_rig()
    rig.driver.errors['console'] = [HELD]
    rig.watch()
    assert rig.opened == [False, True]


def test_a_console_closed_while_it_opens_leaves_no_mark_to_the_next_owner(rig, in_thread):
    inside, go = rig.hold_open()
    watching = in_thread(lambda: rig.console.watch('t1', None, None, False, Deadline(30)))
    inside.wait(10)
    closing = in_thread(lambda: rig.console.close(Deadline(30), 'it moves'))
    while not rig.console._closed:
        pass
    go.set()
    closing.result()
    assert rig.rows.row.sol_holder is None
    watching.error()


def test_a_foreign_holder_in_the_row_is_left_alone(make_rig, rows):
    rows.row.sol_holder = 'foreign'
    rig = make_rig()
    rig.driver.errors['console', False] = HELD
    with pytest.raises(errors.ConsoleHeld):
        rig.watch()
    assert rig.opened == [False]


def test_a_session_taken_from_us_is_foreign_and_never_taken_back(rig):
    stream = rig.watch()
    rig.driver.errors['console', False] = HELD
    rig.lost(HELD)
    assert rig.rows.row.sol_holder == 'foreign'
    for _ in range(5):
        rig.fire()
    assert set(rig.opened) == {False}
    assert stream.ended is None
    rig.driver.errors.clear()
    rig.fire()  # the other has gone
    assert rig.console.up
    assert rig.rows.row.sol_holder == 'me 10.0.0.1:1'


def test_who_takes_it_twice_within_a_minute_gets_the_longest_pause(make_rig):
    rig = make_rig(retry_min=1, retry_max=60)
    rig.watch()
    rig.lost(HELD)
    assert rig.pauses[-1][1] == 1
    rig.fire()
    rig.clock.now += 5
    rig.lost(HELD)
    assert rig.pauses[-1] == (30, 60)
    rig.fire()
    rig.clock.now += 60
    rig.lost(HELD)
    assert rig.pauses[-1][1] == 1


def test_our_session_that_fell_silent_and_still_holds_the_bmc_is_taken_over(rig):
    rig.watch()
    rig.lost(SILENT)
    rig.driver.errors['console'] = [HELD]
    rig.fire()
    assert rig.opened == [False, False, True]


# -- who holds it, in the row ---------------------------------------------------------------------


def test_the_row_says_who_holds_the_session(rig):
    stream = rig.watch()
    assert rig.rows.row.sol_holder == 'me 10.0.0.1:0'
    stream.close()
    rig.fire()
    assert rig.rows.row.sol_holder is None


def test_a_database_that_is_down_costs_no_console(rig):
    rig.driver.hooks['console'] = lambda: setattr(rig.rows, 'down', True)
    stream = rig.watch()
    rig.data(b'x')
    assert next(stream) == b'x'
    assert rig.rows.row.sol_holder == 'me opening'
    rig.rows.down = False
    rig.fire()
    assert rig.rows.row.sol_holder == 'me 10.0.0.1:0'
    assert not rig.timers.pending


def test_one_that_was_up_is_opened_again_while_the_database_is_down(rig):
    rig.watch()
    rig.rows.read_only = True
    rig.lost()
    rig.fire()
    assert rig.console.up


def test_the_last_word_in_the_row_is_the_last_that_was_true(rig):
    rig.driver.hooks['console'] = lambda: setattr(rig.rows, 'down', True)
    stream = rig.watch()
    stream.close()
    for timer in rig.timers.pending:
        if timer.function == rig.console._close_if_unwatched:
            timer.function()
    rig.rows.down = False
    for timer in rig.timers.pending:
        if timer.function == rig.console._record:
            timer.function()
    assert rig.rows.row.sol_holder is None


# -- the end of watching --------------------------------------------------------------------------


def test_it_stays_open_a_while_after_the_last_viewer(rig):
    one, two = rig.watch(), rig.watch()
    one.close()
    assert not rig.timers.pending
    two.close()
    assert [timer.seconds for timer in rig.timers.pending] == [CONF.console.linger]
    assert rig.console.up
    rig.fire()
    assert not rig.console.up
    assert rig.driver.handles[0].closed == [True]


def test_a_viewer_who_comes_back_in_time_starts_the_while_over(rig):
    rig.watch().close()
    again = rig.watch()
    assert not rig.timers.pending
    assert rig.opened == [False]
    again.close()
    assert len(rig.timers.pending) == 1


def test_a_viewer_who_comes_while_it_closes_waits_for_the_close(rig, in_thread):
    rig.watch().close()
    closing, go = threading.Event(), threading.Event()

    def slow_close():
        closing.set()
        assert go.wait(10)

    rig.driver.handles[0].on_close = slow_close
    order = []
    rig.driver.hooks['console'] = lambda: order.append('opened')
    (linger,) = rig.timers.pending
    closer = in_thread(linger.function)
    closing.wait(10)
    viewer = in_thread(lambda: rig.console.watch('t1', None, None, False, Deadline(30)))
    while rig.console._attempt is None:
        pass
    order.append('closed')
    go.set()
    closer.result()
    viewer.result()
    assert order == ['closed', 'opened']
    rig.settle()
    assert rig.console.up
    assert rig.rows.row.sol_holder == 'me 10.0.0.1:1'


def test_a_close_that_raises_blocks_no_later_viewer(rig):
    def fails():
        raise ValueError('a bug of the driver')

    rig.watch().close()
    rig.driver.handles[0].on_close = fails
    with pytest.raises(ValueError, match='bug'):
        rig.fire()
    rig.watch()
    assert rig.console.up


# -- captured always ------------------------------------------------------------------------------


def test_captured_always_it_opens_by_itself_and_stays(make_rig):
    rig = make_rig(capture='always')
    rig.console.start()
    rig.settle()
    assert rig.console.up
    rig.data(b'before anybody watched')
    stream = rig.watch(replay=100)
    assert next(stream) == b'before anybody watched'
    stream.close()
    assert not rig.timers.pending
    rig.lost()
    rig.fire()
    assert rig.console.up


def test_captured_always_it_keeps_trying_from_the_start(make_rig):
    rig = make_rig(capture='always')
    rig.driver.errors['console'] = [SILENT, SILENT]
    rig.console.start()
    rig.settle()
    rig.fire()
    rig.fire()
    assert rig.console.up


def test_a_driver_that_is_always_on_demand_is_not_captured(make_rig, driver):
    driver.always_on_demand = True
    rig = make_rig(capture='always')
    rig.console.start()
    rig.settle()
    assert rig.opened == []


# -- the end --------------------------------------------------------------------------------------


def test_a_close_ends_viewers_and_gives_the_session_back(rig):
    stream = rig.watch()
    rig.console.close(Deadline(1), 'obmd is stopping')
    assert stream.ended == 'obmd is stopping'
    assert rig.driver.handles[0].closed == [True]
    assert rig.rows.row.sol_holder is None
    rig.console.close(Deadline(1), 'again')
    assert rig.driver.handles[0].closed == [True]


def test_a_close_without_deactivation_leaves_the_row_as_it_was(rig):
    rig.watch()
    rig.console.close(Deadline(1), 'taken over', deactivate=False)
    assert rig.driver.handles[0].closed == [False]
    assert rig.rows.row.sol_holder == 'me 10.0.0.1:0'


def test_nothing_opens_after_a_close(rig):
    rig.watch()
    rig.lost()
    rig.console.close(Deadline(1), 'obmd is stopping')
    for how in ({}, {'replay': 100}):
        with pytest.raises(errors.Unavailable):
            rig.watch(**how)
    assert not rig.timers.pending
    assert rig.console.viewers == 0
    assert len(rig.opened) == 1


def test_replay_after_a_close_is_no_endless_stream(rig):
    rig.watch()
    rig.data(b'history')
    rig.console.close(Deadline(1), 'obmd is stopping')
    with pytest.raises(errors.Unavailable):
        rig.watch(replay=100)


def test_a_close_while_it_opens_gives_the_late_session_back(rig, in_thread):
    inside, go = rig.hold_open()
    viewer = in_thread(lambda: rig.console.watch('t1', None, None, False, Deadline(30)))
    inside.wait(10)
    closer = in_thread(lambda: rig.console.close(Deadline(30), 'stopping', deactivate=False))
    while not rig.console._closed:
        pass
    go.set()
    assert isinstance(viewer.error(), errors.Unavailable)
    closer.result()
    assert rig.driver.handles[0].closed == [False]
    assert not rig.console.up
    assert rig.console.viewers == 0
    rig.settle()
    assert not rig.timers.pending


def test_a_close_waits_for_the_opening_no_longer_than_its_deadline(rig, in_thread):
    inside, _ = rig.hold_open()
    viewer = in_thread(lambda: rig.console.watch('t1', None, None, False, Deadline(30)))
    inside.wait(10)
    rig.console.close(Deadline(0.01), 'stopping')
    assert viewer.running
    rig.release()
    viewer.error()


def test_a_loss_during_a_close_changes_nothing(rig):
    rig.watch()
    rig.driver.handles[0].on_close = lambda: rig.driver.sinks[0].lost(SILENT)
    rig.console.close(Deadline(1), 'stopping')
    rig.settle()
    assert not rig.timers.pending


def test_what_a_slow_viewer_lost_is_in_the_log(make_rig, caplog):
    caplog.set_level('INFO')
    rig = make_rig(ring_size=4096)
    stream = rig.watch()
    rig.data(b'x' * 5000)
    next(stream)
    stream.close()
    rig.settle()
    assert 'lost 904 bytes' in caplog.text


# -- the I/O loop ---------------------------------------------------------------------------------


def test_what_the_io_loop_calls_waits_for_nothing(rig):
    """Data and losses come while every slow thing hangs: the database, the BMC, a close."""
    rig.watch()
    rig.driver.handles[0].on_close = lambda: None
    with rig.console._recording:
        rig.driver.sinks[0].data(b'x')
        rig.driver.sinks[0].lost(SILENT)
        rig.console.set_barrier('t2')
    rig.settle()
    inside, go = rig.hold_open()
    (timer,) = rig.timers.pending
    timer.function()
    inside.wait(10)
    rig.console._sink.data(b'y')
    rig.console._sink.lost(SILENT)
    go.set()
    rig.settle()
    assert rig.log.written == b'xy'


# -- what its log is told ---------------------------------------------------------------------


def test_a_log_says_whose_console_it_is_and_in_which_tokens_time(rig):
    about = rig.log.about
    assert about['node'] == rig.live.name
    assert about['uuid'] == rig.live.uuid
    assert about['owner'] == rig.live.incarnation
    assert about['token'] == rig.live.token_id
    rig.watch()
    assert rig.headers['Obmd-Cursor'] == f'{about["ring"]}:0'


def test_a_log_is_told_of_a_new_token_before_any_byte_of_its_time(rig):
    rig.watch()
    rig.data(b'before')
    rig.console.set_barrier('t2')
    assert ('token', 6, 't2') in rig.log.events


def test_a_log_is_told_of_a_token_that_only_its_viewer_knew(rig):
    """Its news was lost: it counts from here on, in the log as in the ring."""
    rig.watch()
    rig.data(b'before')
    rig.watch('t9')
    assert ('token', 6, 't9') in rig.log.events


def test_a_log_is_told_when_the_source_comes_and_why_it_goes(rig):
    rig.watch()
    rig.lost()
    rig.console.close(Deadline(5), 'stopping')
    told = [event for event in rig.log.events if event[0] != 'token']
    assert told == [('up',), ('down', SILENT.reason), ('end', 'stopping')]


def test_a_log_is_told_why_a_console_did_not_open(rig):
    rig.driver.errors['console'] = [SILENT]
    with pytest.raises(errors.BmcSilent):
        rig.watch()
    assert ('down', SILENT.reason) in rig.log.events
