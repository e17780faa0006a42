"""What ``obmd.db.conductors`` promises; also run on a real PostgreSQL."""

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
