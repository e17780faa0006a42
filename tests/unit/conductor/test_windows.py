"""Windows that are put off: told once, when they end, with one timer."""

import pytest

from obmd.conductor import windows
from tests.unit.conductor import fakes


class Timers(fakes.Timers):
    def __init__(self, clock):
        super().__init__()
        self._clock = clock

    def after(self, seconds, function):
        timer = super().after(seconds, function)
        timer.due = self._clock.now + seconds
        return timer


class Rig:
    def __init__(self):
        self.clock = fakes.Clock(0.0)
        self.timers = Timers(self.clock)
        self.ends = {}
        self.told = []
        self.error = None
        self.windows = windows.Windows(self.ends.get, self.tell, self.timers, self.clock)

    def tell(self, items):
        if self.error is not None:
            raise self.error
        self.told.append(items)

    def watch(self, item, end):
        self.ends[item] = end
        self.windows.watch(item)

    def run_until(self, end):
        """Let each timer go off when it is due."""
        while True:
            pending = [timer for timer in self.timers.pending if timer.due <= end]
            if not pending:
                break
            timer = min(pending, key=lambda timer: timer.due)
            self.timers.all.remove(timer)
            self.clock.now = timer.due
            timer.function()
        self.clock.now = end


@pytest.fixture
def rig():
    return Rig()


def test_each_is_told_when_it_ends(rig):
    rig.watch('late', 30)
    rig.watch('early', 10)
    rig.run_until(9)
    assert rig.told == []
    rig.run_until(10)
    assert rig.told == [['early']]
    rig.run_until(100)
    assert rig.told == [['early'], ['late']]


def test_there_is_one_timer_at_a_time(rig):
    for end in (50, 30, 40, 20, 60):
        rig.watch(end, end)
        assert len(rig.timers.pending) == 1


def test_a_window_that_was_put_off_ends_later(rig):
    rig.watch('one', 10)
    rig.ends['one'] = 25
    rig.run_until(24)
    assert rig.told == []
    rig.run_until(25)
    assert rig.told == [['one']]


def test_putting_a_window_off_costs_no_entry(rig):
    rig.watch('one', 10)
    for end in range(11, 1000):
        rig.ends['one'] = end
    assert len(rig.windows._heap) == 1


def test_what_is_not_watched_any_more_is_not_told(rig):
    rig.watch('one', 10)
    del rig.ends['one']
    rig.run_until(100)
    assert rig.told == []
    assert not rig.windows._heap


def test_what_cannot_be_told_is_told_later(rig):
    rig.watch('one', 10)
    rig.error = fakes.DOWN
    rig.run_until(11)
    rig.error = None
    rig.run_until(10 + windows.RETRY)
    assert rig.told == [['one']]


def test_a_failure_does_not_end_the_watch_over_others(rig):
    rig.watch('one', 10)
    rig.watch('two', 20)
    rig.error = ValueError('a bug')
    with pytest.raises(ValueError, match='a bug'):
        rig.run_until(10)
    rig.error = None
    rig.run_until(20)
    assert rig.told == [['two']]


def test_thousands_that_end_together_are_told_in_slices(rig, monkeypatch):
    pauses = []
    monkeypatch.setattr(windows.time, 'sleep', pauses.append)
    for item in range(3 * windows.SLICE):
        rig.watch(item, 10)
    rig.run_until(10)
    assert [len(items) for items in rig.told] == [windows.SLICE] * 3
    assert pauses == [0] * 3
