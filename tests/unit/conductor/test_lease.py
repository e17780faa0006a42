"""When a conductor may act, on a clock of the test's."""

import pytest

from obmd.common import errors
from obmd.conductor import lease
from tests.unit.conductor import fakes

TTL = 10.0


@pytest.fixture
def clock():
    return fakes.Clock()


@pytest.fixture
def held(clock):
    made = lease.Lease(TTL, clock)
    made.renewed(made.now())
    return made


def pass_time(held, clock, seconds):
    """As it passes for a process that runs."""
    until = clock.now + seconds
    while clock.now < until:
        clock.now = min(until, clock.now + lease.TICK)
        held.tick()


def stand_still(clock, seconds):
    """As it passes for a process that is stopped."""
    clock.now += seconds


def test_before_the_first_renewal_it_is_fenced(clock):
    assert lease.Lease(TTL, clock).state == lease.FENCED


def test_renewed_it_is_fresh_for_seven_tenths_of_the_time_to_live(held, clock):
    pass_time(held, clock, 7.0)
    assert held.state == lease.FRESH
    pass_time(held, clock, 0.1)
    assert held.state == lease.FENCED


def test_its_age_counts_from_when_the_renewal_was_sent(held, clock):
    pass_time(held, clock, 3.0)
    sent = held.now()
    pass_time(held, clock, 6.0)
    assert held.state == lease.FENCED
    held.renewed(sent)
    assert held.state == lease.FRESH
    pass_time(held, clock, 1.1)
    assert held.state == lease.FENCED


def test_a_fenced_one_is_fresh_again_with_the_next_renewal(held, clock):
    pass_time(held, clock, 60.0)
    assert held.state == lease.FENCED
    held.renewed(held.now())
    assert held.state == lease.FRESH


def test_a_tick_that_is_somewhat_late_is_nothing(held, clock):
    stand_still(clock, lease.TICK + lease.LATE)
    assert held.state == lease.FRESH


@pytest.mark.parametrize('seconds', [2.6, 5.0, 30.0, 86400.0])
@pytest.mark.parametrize('first', ['state', 'allows', 'require', 'tick', 'renewed'])
def test_whoever_comes_first_after_a_stop_notices_it(held, clock, first, seconds):
    sent = held.now()
    stand_still(clock, seconds)
    if first == 'allows':
        assert not held.allows(upkeep=True)
    elif first == 'require':
        with pytest.raises(errors.Unavailable):
            held.require()
    elif first == 'renewed':
        held.renewed(sent)
    elif first == 'tick':
        held.tick()
    assert held.state == lease.SUSPENDED


def test_a_renewal_that_was_sent_before_the_stop_does_not_end_the_suspension(held, clock):
    sent = held.now()
    stand_still(clock, 3.0)
    held.renewed(sent)
    assert held.state == lease.SUSPENDED
    held.renewed(held.now())
    assert held.state == lease.FRESH


def test_a_suspension_ends_with_no_time_only_with_a_renewal(held, clock):
    stand_still(clock, 3.0)
    held.tick()
    pass_time(held, clock, 600.0)
    assert held.state == lease.SUSPENDED


def test_a_second_stop_suspends_again(held, clock):
    for _ in range(3):
        stand_still(clock, 3.0)
        assert held.state == lease.SUSPENDED
        held.renewed(held.now())
        assert held.state == lease.FRESH


def test_what_may_be_sent(held, clock):
    assert held.allows(upkeep=False)
    assert held.allows(upkeep=True)
    pass_time(held, clock, 8.0)
    assert not held.allows(upkeep=False)
    assert held.allows(upkeep=True)
    stand_still(clock, 3.0)
    assert not held.allows(upkeep=False)
    assert not held.allows(upkeep=True)


def test_only_a_fresh_one_may_take_calls_and_the_others_say_why(held, clock):
    held.require()
    pass_time(held, clock, 8.0)
    with pytest.raises(errors.Unavailable, match='fenced') as fenced:
        held.require()
    assert fenced.value.retry_after
    stand_still(clock, 3.0)
    with pytest.raises(errors.Unavailable, match='suspended'):
        held.require()


def test_a_revoked_one_is_never_fresh_again(held):
    held.revoke()
    held.renewed(held.now())
    assert held.state == lease.SUSPENDED
    assert not held.allows(upkeep=True)
