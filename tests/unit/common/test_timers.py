import threading

from obmd.common import timers


class Clock:
    """Stands still until it is moved."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Rig:
    """Timers with a clock of the test's, whose loop really runs."""

    def __init__(self):
        self.clock = Clock()
        self.timers = timers.Timers(self.clock)
        self.ran = []
        self._more = threading.Semaphore(0)

    def note(self, name):
        def function():
            self.ran.append(name)
            self._more.release()

        return function

    def at(self, now):
        """Move the clock and wake the loop, as the passing of time would."""
        self.clock.now = now
        with self.timers._changed:
            self.timers._changed.notify()

    def wait(self, count=1):
        for _ in range(count):
            assert self._more.acquire(timeout=10)


def test_what_is_due_runs_in_the_order_of_its_time_not_of_its_coming():
    started, done = [], threading.Event()

    def spawn(function):
        started.append(function)
        if function == 'end':
            done.set()

    clock = Clock()
    made = timers.Timers(clock, spawn)
    for due, name in ((3, 'c'), (1, 'a'), (2, 'b'), (2, 'b, too'), (4, 'end')):
        made.after(due, name)
    clock.now = 4
    loop = started.pop()
    threading.Thread(target=loop, daemon=True).start()
    assert done.wait(10)
    assert started == ['a', 'b', 'b, too', 'c', 'end']


def test_nothing_runs_before_its_time():
    rig = Rig()
    rig.timers.after(5, rig.note('late'))
    rig.timers.after(1, rig.note('soon'))
    rig.at(4.9)
    rig.wait()
    assert rig.ran == ['soon']
    rig.at(5.0)
    rig.wait()
    assert rig.ran == ['soon', 'late']


def test_an_earlier_call_is_not_held_up_by_the_one_that_is_waited_for():
    rig = Rig()
    rig.timers.after(1000, rig.note('late'))
    rig.timers.after(0, rig.note('now'))
    rig.wait()
    assert rig.ran == ['now']


def test_a_cancelled_call_does_not_run_and_may_be_cancelled_again():
    rig = Rig()
    timer = rig.timers.after(1, rig.note('cancelled'))
    rig.timers.after(2, rig.note('other'))
    timer.cancel()
    timer.cancel()
    rig.at(2)
    rig.wait()
    assert rig.ran == ['other']


def test_a_call_that_fails_stops_no_other():
    rig = Rig()

    def breaks():
        raise ValueError('broken')

    rig.timers.after(1, breaks)
    rig.timers.after(1, rig.note('next'))
    rig.at(1)
    rig.wait()
    assert rig.ran == ['next']


def test_a_call_may_ask_for_another():
    rig = Rig()
    rig.timers.after(0, lambda: rig.timers.after(0, rig.note('second')))
    rig.wait()
    assert rig.ran == ['second']


def test_a_slow_call_delays_no_other():
    rig = Rig()
    release = threading.Event()
    rig.timers.after(0, lambda: release.wait(10))
    rig.timers.after(0, rig.note('other'))
    rig.wait()
    release.set()
    assert rig.ran == ['other']


def test_real_time_wakes_it_too():
    made = timers.Timers()
    done = threading.Event()
    made.after(0.01, done.set)
    assert done.wait(10)


def test_many_threads_may_ask_at_once():
    rig = Rig()
    threads = [
        threading.Thread(target=lambda: [rig.timers.after(0, rig.note('x')) for _ in range(50)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    rig.wait(200)
    assert len(rig.ran) == 200
