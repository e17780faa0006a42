import collections
import types
import uuid

import hypothesis
import pytest
from hypothesis import strategies as st

from obmd.conductor import ownership
from obmd.db import conductors

PARTITIONS = 512


def member(name, group='', drivers=('ipmi',)):
    return conductors.Conductor(name, 'host', group, drivers, 'http://x')


def node(number, group='', driver='ipmi'):
    return types.SimpleNamespace(
        uuid=str(uuid.UUID(int=number * 7919)), conductor_group=group, driver=driver
    )


def owners(rings, nodes):
    return [rings.propose(one) for one in nodes]


NODES = [node(number) for number in range(1000)]
names = st.sets(st.text('0123456789abcdef', min_size=4, max_size=8), min_size=2, max_size=6)
few = hypothesis.settings(max_examples=15, deadline=None)


@few
@hypothesis.given(names, st.randoms(use_true_random=False))
def test_the_same_members_give_the_same_owners_in_whatever_order_they_are_seen(members, random):
    members = [member(name) for name in sorted(members)]
    mixed = list(members)
    random.shuffle(mixed)
    one = ownership.Rings(members, PARTITIONS)
    two = ownership.Rings(mixed, PARTITIONS)
    assert one == two
    assert owners(one, NODES) == owners(two, NODES)


@few
@hypothesis.given(names)
def test_a_join_moves_nodes_to_the_one_who_joins_only(members):
    *old, new = sorted(members)
    before = owners(ownership.Rings([member(name) for name in old], PARTITIONS), NODES)
    after = owners(ownership.Rings([member(name) for name in (*old, new)], PARTITIONS), NODES)
    moved = {now for was, now in zip(before, after, strict=True) if was != now}
    assert moved <= {new}


@few
@hypothesis.given(names)
def test_a_leave_moves_the_nodes_of_the_one_who_leaves_only(members):
    *rest, gone = sorted(members)
    before = owners(ownership.Rings([member(name) for name in (*rest, gone)], PARTITIONS), NODES)
    after = owners(ownership.Rings([member(name) for name in rest], PARTITIONS), NODES)
    moved = {was for was, now in zip(before, after, strict=True) if was != now}
    assert moved <= {gone}


@pytest.mark.parametrize('count', [2, 5, 10])
def test_the_load_is_shared_about_evenly_and_a_join_moves_its_share(count):
    keys = [node(number) for number in range(10000)]
    members = [member(f'{number:032x}') for number in range(count)]
    before = owners(ownership.Rings(members, PARTITIONS), keys)
    shares = collections.Counter(before)
    assert len(shares) == count
    assert max(shares.values()) <= 1.2 * len(keys) / count
    assert min(shares.values()) >= 0.8 * len(keys) / count
    after = owners(ownership.Rings([*members, member('f' * 32)], PARTITIONS), keys)
    moved = sum(was != now for was, now in zip(before, after, strict=True))
    assert moved <= 1.2 * len(keys) / (count + 1)


def test_a_node_goes_to_a_conductor_of_its_group_that_has_its_driver():
    rings = ownership.Rings(
        [
            member('a', 'rack1', ('ipmi', 'mock')),
            member('b', 'rack1', ('ipmi',)),
            member('c', 'rack2', ('mock',)),
        ],
        PARTITIONS,
    )
    assert {rings.propose(node(n, 'rack1', 'ipmi')) for n in range(100)} == {'a', 'b'}
    assert {rings.propose(node(n, 'rack1', 'mock')) for n in range(100)} == {'a'}
    assert {rings.propose(node(n, 'rack2', 'mock')) for n in range(100)} == {'c'}
    assert rings.propose(node(1, 'rack2', 'ipmi')) is None
    assert rings.propose(node(1, '', 'ipmi')) is None


def test_without_members_nobody_is_proposed():
    assert ownership.Rings((), PARTITIONS).propose(node(1)) is None


def test_rings_differ_when_their_members_do():
    one = ownership.Rings([member('a')], PARTITIONS)
    assert one != ownership.Rings([member('b')], PARTITIONS)
    assert one != ownership.Rings([member('a', 'rack1')], PARTITIONS)
    assert one != ownership.Rings([member('a', drivers=('mock',))], PARTITIONS)
    assert one == ownership.Rings([member('a')], PARTITIONS)
    assert one != None  # noqa: E711
