import threading

import pytest

from obmd.common import errors
from obmd.conductor import membership
from obmd.db import conductors
from tests.unit.conductor import fakes

INTERVAL, TTL = 2.0, 10.0


@pytest.fixture
def clock():
    return fakes.Clock()


@pytest.fixture
def watch(clock):
    return membership.Watch(INTERVAL, TTL, clock)


def row(name, beat=0, state='live'):
    return conductors.Conductor(name, 'host', '', (), 'http://x', state=state, beat=beat)


def look(watch, clock, *rows, after=INTERVAL):
    clock.now += after
    return {row.incarnation for row in watch.see(list(rows))}


def test_who_beats_lives_for_ever(watch, clock):
    for beat in range(50):
        assert look(watch, clock, row('a', beat)) == {'a'}


def test_who_stands_still_for_a_whole_time_to_live_is_dead(watch, clock):
    for _ in range(5):  # seen first at 0, then up to 8 s
        assert look(watch, clock, row('a', 7)) == {'a'}
    assert look(watch, clock, row('a', 7)) == set()
    assert look(watch, clock, row('a', 8)) == {'a'}


def test_a_conductor_seen_for_the_first_time_lives_whatever_its_beat(watch, clock):
    for _ in range(10):
        look(watch, clock, row('a', 7))
    assert look(watch, clock, row('a', 7), row('b', 0)) == {'b'}


def test_one_that_leaves_lives_as_long_as_it_beats(watch, clock):
    for beat in range(10):
        assert look(watch, clock, row('a', beat, 'leaving')) == {'a'}
    for _ in range(6):
        seen = look(watch, clock, row('a', 10, 'leaving'))
    assert seen == set()


def test_a_row_that_was_declared_dead_is_dead(watch, clock):
    assert look(watch, clock, row('a', 1, 'dead'), row('b')) == {'b'}


def test_any_change_of_the_beat_is_life(watch, clock):
    for beat in (9, 3, 9, 3, 9, 3, 9):
        assert look(watch, clock, row('a', beat)) == {'a'}


def test_an_observer_that_was_stopped_starts_over(watch, clock):
    for _ in range(4):
        look(watch, clock, row('a', 7))
    assert look(watch, clock, row('a', 7), after=60) == {'a'}
    for _ in range(4):
        assert look(watch, clock, row('a', 7)) == {'a'}
    assert look(watch, clock, row('a', 7)) == set()


def test_a_dead_one_too_is_judged_anew_after_a_pause(watch, clock):
    for _ in range(8):
        look(watch, clock, row('a', 7))
    assert look(watch, clock, row('a', 7), after=3600) == {'a'}


@pytest.mark.parametrize(('interval', 'ttl'), [(2, 10), (2, 6), (2, 4), (0.1, 0.5), (5, 10)])
def test_an_outage_as_long_as_the_time_to_live_kills_nobody(clock, interval, ttl):
    watch = membership.Watch(interval, ttl, clock)
    look(watch, clock, row('a', 7), row('b', 7))
    assert look(watch, clock, row('a', 7), row('b', 7), after=ttl) == {'a', 'b'}


@pytest.mark.parametrize(('interval', 'ttl'), [(2, 10), (2, 6), (2, 4), (0.1, 0.5), (5, 10)])
def test_regular_looks_find_the_dead_in_a_time_to_live_and_two_looks(clock, interval, ttl):
    watch = membership.Watch(interval, ttl, clock)
    looks = int(ttl / interval) + 2
    for _ in range(looks):
        seen = look(watch, clock, row('a', 7), after=interval * 1.1)
    assert seen == set()


def test_what_is_not_in_the_table_any_more_is_forgotten(watch, clock):
    look(watch, clock, row('a', 7))
    look(watch, clock, row('b', 7))
    assert set(watch._seen) == {'b'}


# -- the observer ---------------------------------------------------------------------------------


class Table:
    """Plays ``obmd.db.conductors``."""

    ALIVE = conductors.ALIVE

    def __init__(self):
        self.rows = []
        self.error = None
        self.reads = threading.Semaphore(0)
        self.registered = []
        self.beats = []
        self.mine = True

    def all(self):
        self.reads.release()
        if self.error is not None:
            raise self.error
        return list(self.rows)

    def register(self, conductor):
        self._fail()
        self.registered.append(conductor)

    def beat(self, incarnation, beat):
        self.reads.release()
        self._fail()
        self.beats.append((incarnation, beat))
        return self.mine

    def _fail(self):
        if self.error is not None:
            raise self.error


@pytest.fixture
def table(monkeypatch):
    made = Table()
    monkeypatch.setattr(membership, 'conductors', made)
    return made


def test_the_observer_tells_the_living_and_all(table, clock):
    told = []
    table.rows = [row('a'), row('b', state='dead')]
    observer = membership.Observer(1, 5, lambda live, rows: told.append((live, rows)), clock)
    observer.look()
    assert told == [([row('a')], table.rows)]


@pytest.mark.parametrize('error', [fakes.DOWN, ValueError('bug')])
def test_an_observer_that_cannot_read_says_nothing_and_reads_on(table, error):
    told = threading.Semaphore(0)
    observer = membership.Observer(0.002, 5, lambda _live, _rows: told.release())
    table.error = error
    observer.start()
    for _ in range(3):
        assert table.reads.acquire(timeout=10)
    assert not told.acquire(blocking=False)
    table.error = None
    assert told.acquire(timeout=10)
    observer.stop()


# -- the heartbeat --------------------------------------------------------------------------------


class Heart:
    def __init__(self, table, clock, interval=INTERVAL):
        self.lost = threading.Event()
        self.lease = fakes.Lease(clock=clock)
        self.beat = membership.Heartbeat(row('me'), interval, self.lease, self.lost.set, clock)
        self.table = table


@pytest.fixture
def heart(table, clock, monkeypatch):
    monkeypatch.setattr(membership.threads, 'spawn', lambda *_: None)
    return Heart(table, clock)


def test_a_start_registers_and_counts_from_before_it_was_sent(heart, table, clock):
    original = table.register

    def slow(conductor):
        clock.now += 3
        original(conductor)

    table.register = slow
    heart.beat.start()
    assert [one.incarnation for one in table.registered] == ['me']
    assert heart.beat.renewed_at == 1000


def test_each_renewal_is_a_new_beat_and_its_age_counts_from_before_it_was_sent(heart, table, clock):
    original = table.beat

    def slow(incarnation, beat):
        clock.now += 1
        return original(incarnation, beat)

    heart.beat.start()
    table.beat = slow
    clock.now += 2
    assert heart.beat.renew()
    assert heart.beat.renew()
    assert table.beats == [('me', 1), ('me', 2)]
    assert heart.beat.renewed_at == clock.now - 1


def test_a_renewal_that_fails_renews_nothing(heart, table, clock):
    heart.beat.start()
    clock.now += 2
    table.error = fakes.DOWN
    with pytest.raises(errors.Unavailable):
        heart.beat.renew()
    assert heart.beat.renewed_at == 1000


def test_a_row_that_was_declared_dead_renews_nothing(heart, table, clock):
    heart.beat.start()
    clock.now += 2
    table.mine = False
    assert heart.beat.renew() is False
    assert heart.beat.renewed_at == 1000
    assert heart.lease.state == 'suspended'


def test_the_lease_counts_from_before_each_renewal_was_sent(heart, table, clock):
    original = table.beat

    def slow(incarnation, beat):
        clock.now += 1
        return original(incarnation, beat)

    heart.beat.start()
    table.beat = slow
    clock.now += 2
    heart.beat.renew()
    table.error = fakes.DOWN
    with pytest.raises(errors.Unavailable):
        heart.beat.renew()
    assert heart.lease.renewals == [1000, 1002]


def test_it_is_steady_since_the_first_of_an_unbroken_row_of_renewals(heart, table, clock):
    assert heart.beat.steady_for == 0
    heart.beat.start()
    for _ in range(5):
        clock.now += 2
        heart.beat.renew()
    assert heart.beat.steady_for == 10
    table.error = fakes.DOWN
    clock.now += 2
    with pytest.raises(errors.Unavailable):
        heart.beat.renew()
    assert heart.beat.steady_for == 0
    table.error = None
    clock.now += 2
    heart.beat.renew()
    clock.now += 1
    assert heart.beat.steady_for == 1


def test_a_paused_process_is_not_steady_and_counts_anew(heart, clock):
    heart.beat.start()
    clock.now += 2
    heart.beat.renew()
    clock.now += 60
    assert heart.beat.steady_for == 0
    heart.beat.renew()
    clock.now += 2
    assert heart.beat.steady_for == 2


def test_being_declared_dead_is_told_once_and_ends_it(table):
    heart = Heart(table, fakes.Clock(), 0.002)
    heart.beat.start()
    table.mine = False
    assert heart.lost.wait(10)
    beats = len(table.beats)
    assert not heart.beat._stopped.wait(0.01)
    assert len(table.beats) == beats


@pytest.mark.parametrize('error', [fakes.DOWN, ValueError('bug')])
def test_an_outage_does_not_end_it(table, error):
    heart = Heart(table, fakes.Clock(), 0.002)
    heart.beat.start()
    table.error = error
    for _ in range(3):
        assert table.reads.acquire(timeout=10)
    table.error = None
    while not table.beats:
        assert table.reads.acquire(timeout=10)
    assert not heart.lost.is_set()
    heart.beat.stop()


def test_a_stopped_one_is_not_lost_when_its_row_has_gone(table):
    heart = Heart(table, fakes.Clock(), 0.002)
    heart.beat.start()
    heart.beat.stop()
    table.mine = False
    assert not heart.lost.wait(0.02)
