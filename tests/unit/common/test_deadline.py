from obmd.common import clock
from obmd.common import deadline


class Clock:
    now = 50.0

    def __call__(self):
        return self.now


def test_it_runs_out_by_its_own_clock_and_never_below_zero():
    now = Clock()
    made = deadline.Deadline(2, now)
    assert (made.remaining, made.expired) == (2.0, False)
    now.now += 2
    assert (made.remaining, made.expired) == (0.0, True)
    now.now += 5
    assert made.remaining == 0.0


def test_a_part_of_it_never_ends_later_than_the_whole():
    now = Clock()
    made = deadline.Deadline(10, now)
    assert made.within(3).remaining == 3.0
    assert made.within(30).remaining == 10.0
    now.now += 9
    assert made.within(3).remaining == 1.0
    now.now += 9
    assert made.within(3).expired


def test_a_deadline_of_nothing_has_expired():
    assert deadline.Deadline(0, Clock()).expired
    assert deadline.Deadline(-1, Clock()).remaining == 0.0


def test_the_clock_of_checks_counts_on():
    first = clock.boot_time()
    assert clock.boot_time() >= first > 0
