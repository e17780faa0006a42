import types

import pytest

from obmd.common import errors
from obmd.conductor import routing
from obmd.db import conductors


def member(name, group='', drivers=('ipmi',)):
    return conductors.Conductor(name, f'host-{name}', group, drivers, 'http://x')


def node(owner=None, name='n1', group='', driver='ipmi'):
    return types.SimpleNamespace(
        name=name, uuid=f'uuid-{name}', owner=owner, conductor_group=group, driver=driver
    )


@pytest.fixture
def router():
    made = routing.Router(512, 7)
    made.look([member('a'), member('b')], [])
    return made


def test_a_call_goes_to_the_owner_in_the_row_whatever_the_ring_says(router):
    for owner in 'ab':
        for number in range(20):
            assert router.owner_of(node(owner, f'n{number}')).incarnation == owner


def test_a_node_that_nobody_owns_goes_to_whom_the_ring_proposes(router):
    chosen = {router.owner_of(node(None, f'n{number}')).incarnation for number in range(50)}
    assert chosen == {'a', 'b'}


def test_an_owner_that_does_not_live_is_never_replaced_by_a_guess(router):
    with pytest.raises(errors.Unavailable) as gone:
        router.owner_of(node('dead'))
    assert gone.value.node == 'n1'
    assert gone.value.retry_after == 7


@pytest.mark.parametrize(('group', 'driver'), [('rack1', 'ipmi'), ('', 'redfish')])
def test_without_a_fitting_conductor_the_reason_names_group_and_driver(router, group, driver):
    with pytest.raises(errors.Unavailable) as nobody:
        router.owner_of(node(None, group=group, driver=driver))
    assert driver in nobody.value.reason
    assert group in nobody.value.reason


def test_before_the_first_look_nobody_lives():
    with pytest.raises(errors.Unavailable):
        routing.Router(512, 7).owner_of(node('a'))


def test_a_look_replaces_what_was_seen(router):
    assert router.live == 2
    rings = router._rings
    router.look([member('b'), member('a')], [])
    assert router._rings is rings  # the same members: nothing is computed anew
    router.look([member('c')], [])
    assert router.live == 1
    assert router.owner_of(node(None)).incarnation == 'c'
    with pytest.raises(errors.Unavailable):
        router.owner_of(node('a'))


def test_news_go_to_the_owner_if_it_lives(router):
    assert [one.incarnation for one in router.may_hold(node('a'))] == ['a']
    assert router.may_hold(node('dead')) == []
    assert router.may_hold(node(None)) == []


def test_a_conductor_that_has_gone_is_unavailable(router):
    assert router.conductor('a').host == 'host-a'
    with pytest.raises(errors.Unavailable):
        router.conductor('dead')


def test_many_nodes_are_split_by_owner_and_the_rest_have_their_reason(router):
    nodes = [node('a', 'n1'), node('b', 'n2'), node('a', 'n3'), node('dead', 'n4')]
    by_owner, unroutable = router.split(nodes)
    assert {owner: [one.name for one in own] for owner, own in by_owner.items()} == {
        'a': ['n1', 'n3'],
        'b': ['n2'],
    }
    assert list(unroutable) == ['n4']


def test_an_owner_that_has_just_started_is_looked_for_at_once(router):
    looks = []

    def refresh():
        looks.append(1)
        router.look([member('a'), member('new')], [])

    router._clock = lambda: float('inf')
    router.refresh = refresh
    assert router.owner_of(node('new')).incarnation == 'new'
    assert router.owner_of(node('a')).incarnation == 'a'
    assert len(looks) == 1


def test_many_calls_for_an_owner_that_is_gone_cost_one_look():
    now = [100.0]
    router = routing.Router(512, 7, clock=lambda: now[0])
    looks = []

    def refresh():
        looks.append(1)
        router.look([], [])

    router.refresh = refresh
    for _ in range(10):
        with pytest.raises(errors.Unavailable):
            router.owner_of(node('dead'))
    assert len(looks) == 1
    now[0] += 1
    with pytest.raises(errors.Unavailable):
        router.owner_of(node('dead'))
    assert len(looks) == 2


def test_a_look_that_fails_leaves_the_answer_as_it_was(router):
    def refresh():
        raise errors.Unavailable('the database is gone')

    router._clock = lambda: float('inf')
    router.refresh = refresh
    with pytest.raises(errors.Unavailable) as gone:
        router.owner_of(node('dead'))
    assert 'database' not in gone.value.reason


# -- nodes that move ------------------------------------------------------------------------------


def leaving(name):
    return conductors.Conductor(name, f'host-{name}', '', ('ipmi',), 'http://x', state='leaving')


def test_a_conductor_that_leaves_is_called_for_what_it_owns_and_offered_nothing(router):
    router.look([leaving('a'), member('b')], [])
    assert router.owner_of(node('a')).incarnation == 'a'
    chosen = {router.owner_of(node(None, f'n{number}')).incarnation for number in range(20)}
    assert chosen == {'b'}


def test_who_waits_for_a_conductor_is_told_when_it_goes_and_nobody_else(router):
    told = []
    with (
        router.watched('a', lambda: told.append('a')),
        router.watched('b', lambda: told.append('b')),
    ):
        router.look([member('a'), member('b')], [])
        assert told == []
        router.look([member('b')], [])
        assert told == ['a']
    router.look([], [])
    assert told == ['a']
    assert router._watchers == {}


def test_who_waits_for_one_that_has_gone_is_told_at_once(router):
    told = []
    with router.watched('dead', lambda: told.append(1)):
        assert told == [1]


def test_one_that_leaves_is_still_waited_for(router):
    told = []
    with router.watched('a', lambda: told.append(1)):
        router.look([leaving('a'), member('b')], [])
        assert told == []


def test_a_dead_owner_is_named_and_so_is_who_comes_after_it(router):
    dead = member('dead')
    router.look([member('a')], [dead, member('a')])
    with pytest.raises(routing.OwnerGone) as gone:
        router.owner_of(node('dead'))
    assert 'the conductor host-dead is not answering; another takes' in gone.value.reason
    assert gone.value.heir
    with pytest.raises(routing.OwnerGone) as gone:
        router.owner_of(node('dead', group='rack1'))
    assert "no live conductor of group 'rack1' with driver ipmi" in gone.value.reason
    assert not gone.value.heir


def test_an_owner_that_has_gone_is_told_from_a_node_that_nobody_can_own(router):
    with pytest.raises(routing.OwnerGone):
        router.owner_of(node('dead'))
    with pytest.raises(errors.Unavailable) as nobody:
        router.owner_of(node(None, group='rack1'))
    assert not isinstance(nobody.value, routing.OwnerGone)


def test_a_large_range_is_routed_in_slices(router, monkeypatch):
    slices = []
    monkeypatch.setattr(routing.time, 'sleep', slices.append)
    many = [node('a', f'n{number}') for number in range(2 * routing.SLICE + 1)]
    by_owner, unroutable = router.split(many)
    assert len(by_owner['a']) == len(many)
    assert not unroutable
    assert slices == [0, 0, 0]
