"""How many nodes move at once follows how long each was on its way."""

import pytest

from obmd.conductor import pace
from tests.unit.conductor import fakes


@pytest.fixture
def clock():
    return fakes.Clock()


@pytest.fixture
def one(clock):
    return pace.Pace(clock)


def move(one, clock, seconds, count=1):
    """``count`` nodes that are on their way together."""
    for _ in range(count):
        one.enter()
    clock.now += seconds or 0
    for _ in range(count):
        one.leave(seconds)


def test_it_grows_with_each_node_that_arrives_soon(one, clock):
    move(one, clock, pace.QUICK, pace.FIRST)
    assert one.window == 2 * pace.FIRST


def test_it_never_exceeds_the_most(one, clock):
    for _ in range(20):
        move(one, clock, 0.1, one.window)
    assert one.window == pace.MOST


def test_nodes_that_are_late_together_halve_it_once(one, clock):
    move(one, clock, pace.SLOW + 0.1, pace.FIRST)
    assert one.window == pace.FIRST // 2


def test_each_late_round_halves_it_down_to_the_least(one, clock):
    for _ in range(10):
        move(one, clock, pace.SLOW + 0.1, one.window)
    assert one.window == pace.LEAST


def test_neither_quick_nor_slow_changes_nothing(one, clock):
    move(one, clock, (pace.QUICK + pace.SLOW) / 2, pace.FIRST)
    assert one.window == pace.FIRST


def test_a_node_that_stayed_teaches_nothing(one, clock):
    move(one, clock, None, pace.FIRST)
    assert one.window == pace.FIRST


def test_who_finds_no_place_waits_for_one(one, in_thread):
    for _ in range(pace.FIRST):
        one.enter()
    waiting = in_thread(one.enter)
    assert waiting.running
    one.leave()
    waiting.result()
