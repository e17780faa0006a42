"""The algebra of claim and release, for any order of calls from any number of conductors."""

import uuid

import hypothesis
from hypothesis import strategies as st

from obmd.db import nodes
from obmd.db import owners

CONDUCTORS = ['a' * 32, 'b' * 32, 'c' * 32]

_who = st.sampled_from(range(len(CONDUCTORS)))
_steps = st.lists(
    st.tuples(
        st.sampled_from(['look', 'claim', 'claim_all', 'release', 'lock', 'unlock', 'release_all']),
        _who,
    ),
    max_size=30,
)


def make():
    name = str(uuid.uuid4())
    return nodes.create(name, 'mock', '', 'sealed', 'key', '', name)


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(_steps)
def test_there_is_one_owner_at_most_and_its_lock_ends_with_its_epoch(database, steps):
    """Each conductor acts on what it saw last, however old that is; epochs only grow."""
    node = make()
    seen = dict.fromkeys(range(len(CONDUCTORS)), (None, 0))
    believes = {}
    owner, epoch, lock = None, 0, None
    for step, who in steps:
        mine = CONDUCTORS[who]
        if step == 'look':
            row = nodes.get_by_uuid(node.uuid)
            seen[who] = (row.owner, row.owner_epoch)
        elif step == 'claim':
            new = owners.claim(node.uuid, mine, *seen[who])
            assert (new is not None) == (seen[who] == (owner, epoch))
            if new is not None:
                assert new > epoch
                owner, epoch, lock = mine, new, None
                believes[who] = new
        elif step == 'claim_all':
            ours = owners.claim_all([node.uuid], mine, seen[who][0])
            assert [row.owner for row in ours] == [mine] * (owner in (mine, seen[who][0]))
            if owner == seen[who][0]:
                assert ours[0].owner_epoch == epoch + 1
                owner, epoch, lock = mine, epoch + 1, None
                believes[who] = epoch
        elif step == 'release':
            released = owners.release(node.uuid, mine, believes.get(who, 0))
            assert released == (owner == mine and epoch == believes.get(who))
            owner, lock = (None, None) if released else (owner, lock)
        elif step == 'release_all':
            assert owners.release_all(mine) == (owner == mine)
            owner, lock = (None, None) if owner == mine else (owner, lock)
        else:
            told = ('power on', f'caller {who}', 7.0) if step == 'lock' else ()
            recorded = nodes.set_lock(node.uuid, mine, believes.get(who, 0), *told)
            assert recorded == (owner == mine and epoch == believes.get(who))
            lock = (told or None) if recorded else lock
        row = nodes.get_by_uuid(node.uuid)
        assert (row.owner, row.owner_epoch) == (owner, epoch)
        shadow = row.lock_purpose, row.lock_caller, row.lock_since
        assert shadow == (lock or (None, None, None))
    nodes.delete(node.name)


def test_a_claim_that_was_seen_too_early_fails(database):
    node = make()
    first = owners.claim(node.uuid, CONDUCTORS[0], None, 0)
    assert owners.claim(node.uuid, CONDUCTORS[1], None, 0) is None
    second = owners.claim(node.uuid, CONDUCTORS[1], CONDUCTORS[0], first)
    assert second == first + 1
    assert not owners.release(node.uuid, CONDUCTORS[0], first)
    assert nodes.get_by_uuid(node.uuid).owner == CONDUCTORS[1]


def test_an_owner_that_comes_back_needs_a_new_epoch(database):
    node = make()
    epoch = owners.claim(node.uuid, CONDUCTORS[0], None, 0)
    assert owners.release(node.uuid, CONDUCTORS[0], epoch)
    assert owners.claim(node.uuid, CONDUCTORS[0], None, 0) is None
    assert owners.claim(node.uuid, CONDUCTORS[0], None, epoch) == epoch + 1


def test_a_node_that_is_gone_can_be_neither_claimed_nor_released(database):
    node = make()
    nodes.delete(node.name)
    assert owners.claim(node.uuid, CONDUCTORS[0], None, 0) is None
    assert not owners.release(node.uuid, CONDUCTORS[0], 0)
