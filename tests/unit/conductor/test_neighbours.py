"""Who may start beside whom; the clock is the test's, the table real."""

import pytest

from obmd.common import errors
from obmd.conductor import neighbours
from obmd.db import conductors
from tests.unit.conductor import fakes

TTL = 10.0
ONE, ALL = conductors.CONDUCTOR, conductors.ALL_IN_ONE


def row(incarnation, host='host-1', **values):
    return conductors.Conductor(incarnation, host, '', ('fake',), f'http://{host}', **values)


class Rig:
    """A start, and what happens in the table while it watches."""

    def __init__(self, **me):
        self.clock = fakes.Clock()
        self.slept = 0.0
        self.meanwhile = lambda: None
        self.neighbours = neighbours.Neighbours(
            row('me', **{'home': 'my home', **me}), TTL, self.clock, self._sleep
        )

    def _sleep(self, seconds):
        self.clock.now += seconds
        self.slept += seconds
        self.meanwhile()


@pytest.fixture(autouse=True)
def empty(database):
    """An empty table."""


def states():
    return {one.incarnation: one.state for one in conductors.all()}


def beats(incarnation):
    """It lives: its beat moves at each look."""
    count = iter(range(1, 1000))
    return lambda: conductors.beat(incarnation, next(count))


def test_alone_nothing_is_waited_for():
    rig = Rig()
    rig.neighbours.make_room()
    rig.neighbours.check()
    assert rig.slept == 0


def test_its_own_dead_predecessor_is_declared_dead_at_once():
    conductors.register(row('before', home='my home', beat=7))
    rig = Rig()
    rig.neighbours.make_room()
    assert rig.slept == 0
    assert states() == {'before': 'dead'}


def test_conductors_of_other_hosts_are_left_alone():
    conductors.register(row('a', 'host-2'))
    conductors.register(row('b', 'host-3', state=conductors.LEAVING))
    rig = Rig()
    rig.neighbours.make_room()
    rig.neighbours.check()
    assert rig.slept == 0
    assert states() == {'a': 'live', 'b': 'leaving'}


@pytest.mark.parametrize('home', ['', 'another home'])
def test_a_live_one_with_the_same_host_name_refuses_the_start_as_soon_as_it_beats(home):
    conductors.register(row('twin', home=home))
    rig = Rig()
    rig.meanwhile = beats('twin')
    with pytest.raises(errors.Fatal, match=r'conductor host-1 \(http://host-1\).*host name'):
        rig.neighbours.make_room()
    assert rig.slept < 1
    assert states() == {'twin': 'live'}


def test_one_with_the_same_host_name_that_does_not_beat_for_a_time_to_live_is_dead():
    conductors.register(row('twin', home='another home', beat=3))
    rig = Rig()
    rig.neighbours.make_room()
    assert rig.slept == pytest.approx(TTL)
    assert states() == {'twin': 'dead'}


def test_one_that_beats_in_the_last_moment_is_not_dead():
    conductors.register(row('twin'))
    rig = Rig()
    mark_dead = conductors.mark_dead

    def late(incarnation, beat=None):
        conductors.beat(incarnation, 1)
        return mark_dead(incarnation, beat)

    neighbours.conductors.mark_dead, saved = late, mark_dead
    try:
        with pytest.raises(errors.Fatal):
            rig.neighbours.make_room()
    finally:
        neighbours.conductors.mark_dead = saved


def test_one_that_goes_meanwhile_is_in_nobodys_way():
    conductors.register(row('twin'))
    rig = Rig()
    rig.meanwhile = lambda: conductors.remove('twin')
    rig.neighbours.make_room()
    assert rig.slept < 1


@pytest.mark.parametrize(
    ('mine', 'other', 'reason'),
    [
        (ALL, ONE, 'conductor host-2.*all-in-one must be alone'),
        (ONE, ALL, 'all-in-one host-2.*must be alone'),
        (ALL, ALL, 'all-in-one host-2.*must be alone'),
    ],
)
def test_an_all_in_one_is_alone_in_its_database(mine, other, reason):
    conductors.register(row('other', 'host-2', kind=other))
    rig = Rig(kind=mine)
    rig.meanwhile = beats('other')
    with pytest.raises(errors.Fatal, match=reason):
        rig.neighbours.make_room()
    assert rig.slept < 1


@pytest.mark.parametrize(('mine', 'other'), [(ALL, ONE), (ONE, ALL), (ALL, ALL)])
def test_a_dead_one_keeps_nobody_out_for_longer_than_its_time_to_live(mine, other):
    conductors.register(row('other', 'host-2', kind=other))
    rig = Rig(kind=mine)
    rig.neighbours.make_room()
    assert rig.slept == pytest.approx(TTL)
    assert states() == {'other': 'dead'}


def test_of_two_that_start_in_one_moment_not_both_go_on():
    rig = Rig()
    rig.neighbours.make_room()
    conductors.register(row('me', home='my home'))
    conductors.register(row('twin', home='another home'))
    with pytest.raises(errors.Fatal, match='host name'):
        rig.neighbours.check()
