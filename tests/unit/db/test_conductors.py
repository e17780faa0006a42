"""What ``obmd.db.conductors`` promises; also run on real servers (tests/functional/db)."""

import dataclasses

import pytest

from obmd.db import conductors

ONE = conductors.Conductor(
    incarnation='1' * 32,
    host='host1',
    conductor_group='rack1',
    drivers=('ipmi', 'mock'),
    callback_url='https://host1:8381',
    key_ids=('k1', 'k2'),
    version='1.0',
    started_at=12.5,
)
TWO = dataclasses.replace(
    ONE, incarnation='2' * 32, host='host0', kind=conductors.ALL_IN_ONE, drivers=(), key_ids=()
)


@pytest.fixture(autouse=True)
def empty(database):
    for one in conductors.all():
        conductors.undrain(one.incarnation)
        conductors.remove(one.incarnation)


def test_what_was_registered_is_listed_by_host():
    conductors.register(ONE)
    conductors.register(TWO)
    assert conductors.all() == [TWO, ONE]


def test_a_beat_moves_only_its_own_row():
    conductors.register(ONE)
    conductors.register(TWO)
    assert conductors.beat(ONE.incarnation, 7)
    assert [one.beat for one in conductors.all()] == [0, 7]


def test_a_beat_that_was_seen_already_still_finds_its_row():
    conductors.register(ONE)
    for _ in range(2):
        assert conductors.beat(ONE.incarnation, 7)
        assert conductors.set_state(ONE.incarnation, conductors.LIVE)


def test_a_row_keeps_what_it_was_given():
    one = dataclasses.replace(
        ONE,
        host='höst 😀',
        drivers=('ipmi', '😀', '"', "'", '\\', '%s'),
        key_ids=('',),
        callback_url='',
        beat=2**62,
        started_at=1763644140.1234567,
        drained=True,
    )
    conductors.register(one)
    (kept,) = conductors.all()
    assert kept == one
    assert kept.drained is True


def test_a_dead_one_cannot_beat_again():
    conductors.register(ONE)
    assert conductors.mark_dead(ONE.incarnation)
    assert not conductors.beat(ONE.incarnation, 1)
    assert [(one.state, one.beat) for one in conductors.all()] == [(conductors.DEAD, 0)]
    assert not conductors.mark_dead(ONE.incarnation)


def test_who_has_beaten_in_between_is_not_marked_dead():
    conductors.register(ONE)
    conductors.beat(ONE.incarnation, 5)
    assert not conductors.mark_dead(ONE.incarnation, beat=4)
    assert conductors.all()[0].state == conductors.LIVE
    assert conductors.mark_dead(ONE.incarnation, beat=5)


def test_a_removed_one_neither_beats_nor_is_removed_again():
    conductors.register(ONE)
    assert conductors.remove(ONE.incarnation)
    assert not conductors.remove(ONE.incarnation)
    assert not conductors.beat(ONE.incarnation, 1)
    assert conductors.all() == []


# -- drains ---------------------------------------------------------------------------------------


def drained():
    return [(one.incarnation[0], one.state) for one in conductors.all() if one.drained]


def start(incarnation, **values):
    conductors.register(
        dataclasses.replace(ONE, incarnation=incarnation * 32, beat=0, **values),
    )


def test_a_conductor_is_drained_and_undrained_and_told_when_it_was_not():
    conductors.register(ONE)
    assert not conductors.undrain(ONE.incarnation)
    assert conductors.drain(ONE.incarnation)
    assert conductors.drain(ONE.incarnation)
    assert drained() == [('1', 'live')]
    assert conductors.undrain(ONE.incarnation)
    assert not conductors.undrain(ONE.incarnation)
    assert conductors.all() == [ONE]


def test_a_drained_one_that_leaves_is_kept_as_dead_until_its_host_starts_again():
    conductors.register(ONE)
    conductors.drain(ONE.incarnation)
    assert not conductors.remove(ONE.incarnation)
    assert not conductors.remove(ONE.incarnation)
    assert drained() == [('1', 'dead')]
    start('3')
    assert drained() == [('3', 'live')]
    assert conductors.remove(ONE.incarnation)


def test_a_drained_one_that_died_hands_its_drain_on_once():
    conductors.register(ONE)
    conductors.drain(ONE.incarnation)
    conductors.mark_dead(ONE.incarnation)
    start('3')
    conductors.undrain('3' * 32)
    conductors.mark_dead('3' * 32)
    start('4')
    assert drained() == []


@pytest.mark.parametrize(
    'values', [{'host': 'HOST1'}, {'host': 'host1 '}, {'kind': conductors.ALL_IN_ONE}]
)
def test_a_drain_is_not_of_another_host_or_of_an_all_in_one(values):
    conductors.register(ONE)
    conductors.drain(ONE.incarnation)
    conductors.remove(ONE.incarnation)
    start('3', **values)
    assert drained() == [('1', 'dead')]


def test_a_live_twin_keeps_its_drain():
    conductors.register(ONE)
    conductors.drain(ONE.incarnation)
    start('3')
    assert drained() == [('1', 'live')]


def test_a_dead_or_unknown_one_cannot_be_drained():
    conductors.register(ONE)
    conductors.mark_dead(ONE.incarnation)
    assert not conductors.drain(ONE.incarnation)
    assert not conductors.drain('9' * 32)


def test_a_drain_that_comes_while_it_leaves_is_either_kept_or_refused():
    """Whatever order the two come in."""
    conductors.register(ONE)
    conductors.remove(ONE.incarnation)
    assert not conductors.drain(ONE.incarnation)
    conductors.register(ONE)
    conductors.drain(ONE.incarnation)
    conductors.remove(ONE.incarnation)
    assert drained() == [('1', 'dead')]
