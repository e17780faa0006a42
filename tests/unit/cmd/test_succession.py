"""One process, one conductor after another."""

import pytest

from obmd.cmd import conductor_service
from obmd.common import errors
from obmd.common import rpc


class Stop:
    """Wakes as often as the test has something to happen."""

    def __init__(self, *happens):
        self.wanted = False
        self.limits = []
        self.rests = 0
        self._happens = list(happens)

    def pause(self):
        if self._happens:
            self._happens.pop(0)()
        else:
            self.wanted = True

    def rest(self, _seconds):
        self.rests += 1

    def wake(self):
        pass

    def limit(self, seconds):
        self.limits.append(seconds)


class Bus:
    """A broker that lets us in at the n-th look."""

    def __init__(self, looks=1):
        self.looks = looks

    def reach(self, _topic, give_up):
        return all(not give_up() for _ in range(self.looks))


class Conductor:
    made = []
    refusals = []

    def __init__(self, _bus, _keyring, _url, _kind, on_lost, _version):
        self.on_lost = on_lost
        self.did = []
        self.tickets = self
        self.made.append(self)

    def start(self):
        if self.refusals:
            refusal = self.refusals.pop(0)
            if refusal is not None:
                raise refusal
        self.did.append('start')

    def abandon(self):
        self.did.append('abandon')

    def stop(self):
        self.did.append('stop')

    def redeem(self, ticket):
        return self.made.index(self), ticket


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setattr(conductor_service.service, 'Conductor', Conductor)
    monkeypatch.setattr(Conductor, 'made', [])
    monkeypatch.setattr(Conductor, 'refusals', [])

    def run(*happens, bus=None):
        stop = Stop(*happens)
        monkeypatch.setattr(conductor_service.startup, 'Stop', lambda: stop)
        succession = conductor_service._Succession(bus or Bus(), None, 'http://x')
        succession.stop = stop
        succession.run()
        return succession

    return run


def lost():
    Conductor.made[-1].on_lost()


def did():
    return [conductor.did for conductor in Conductor.made]


def test_it_starts_and_stops(run):
    run()
    assert did() == [['start', 'stop']]


def test_without_a_broker_nothing_is_registered_and_a_stop_ends_the_wait(run):
    class Refusing(Bus):
        def reach(self, _topic, give_up):
            return False

    succession = run(bus=Refusing())
    assert did() == []
    with pytest.raises(errors.NotFound):
        succession.redeem('t')


def test_one_that_was_declared_dead_is_followed_by_another(run):
    succession = run(lost, lost)
    assert did() == [['start', 'abandon'], ['start', 'abandon'], ['start', 'stop']]
    assert succession.redeem('t') == (2, 't')


def test_a_wake_for_no_reason_changes_nothing(run):
    run(lambda: None)
    assert did() == [['start', 'stop']]


def test_the_next_one_waits_for_the_database(run):
    Conductor.refusals = [None, errors.Unavailable('down'), errors.Unavailable('down')]
    succession = run(lost)
    assert did() == [['start', 'abandon'], ['abandon'], ['abandon'], ['start', 'stop']]
    assert succession.stop.rests == 2


def test_a_refusal_ends_the_process(run):
    Conductor.refusals = [None, errors.Fatal('a twin')]
    with pytest.raises(errors.Fatal):
        run(lost)
    assert did() == [['start', 'abandon'], ['stop']]


def test_the_time_for_the_end_is_bounded(run):
    succession = run()
    assert succession.stop.limits[0] > 30
    assert succession.stop.limits[-1] < 2


def test_what_closes_last_has_its_time_before_the_process_is_ended(run):
    """Listener and bus: their own limits must pass before the alarm that ends what hangs."""
    *_, last = run().stop.limits
    assert last >= 0.5 + rpc.CLOSE_LIMIT
    assert conductor_service.CLOSING >= rpc.CLOSE_LIMIT
