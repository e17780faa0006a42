"""Claims over a real table: one owner at a time, whoever comes, whatever fails."""

import threading

import pytest

from obmd.common import errors
from obmd.conductor import holdings
from obmd.conductor import ownership
from obmd.db import conductors
from obmd.db import nodes
from obmd.db import owners
from tests.unit.conductor import fakes


class Console:
    def __init__(self, live):
        self.live = live


@pytest.fixture
def make_holdings(keyring, register):
    def make(incarnation='me', settled=None):
        settle = (lambda _live: None) if settled is None else settled.append
        made = holdings.Holdings(incarnation, keyring, Console, settle, fakes.Timers())
        made.rings = rings(incarnation)
        return made

    return make


@pytest.fixture
def mine(make_holdings):
    return make_holdings()


def rings(*names, group=''):
    members = [conductors.Conductor(name, name, group, ('fake',), 'http://x') for name in names]
    return ownership.Rings(members, 512)


def due(held, dead=(), over=('me',)):
    held.rings = rings(*over)
    return held.claim_due('', ('fake',), set(dead))


def test_an_unowned_node_is_claimed_when_it_is_asked_for(mine, register):
    row = register('n1')
    live = mine.find(row.uuid)
    assert (live.name, live.epoch, live.incarnation) == ('n1', 1, 'me')
    assert nodes.get('n1').owner == 'me'
    assert mine.find(row.uuid) is live
    assert mine.uuids == [row.uuid]


def test_a_node_of_another_is_not_taken(mine, register):
    row = register('n1')
    owners.claim(row.uuid, 'other', None, 0)
    with pytest.raises(errors.NotOwner) as refused:
        mine.find(row.uuid)
    assert refused.value.node == 'n1'
    assert len(mine) == 0


def test_a_node_that_was_deleted_is_not_ours(mine, database):
    with pytest.raises(errors.NotOwner):
        mine.find('no such uuid')


def test_once_closed_it_claims_nothing(mine, register):
    row = register('n1')
    mine.close()
    with pytest.raises(errors.Unavailable):
        mine.find(row.uuid)
    with pytest.raises(errors.Unavailable):
        due(mine)
    assert nodes.get('n1').owner is None


def test_a_claim_on_a_row_that_has_changed_takes_nothing(mine, register):
    row = register('n1')
    owners.claim(row.uuid, 'other', None, 0)
    assert mine.claim(row) is None
    assert nodes.get('n1').owner == 'other'


def test_of_many_who_claim_at_once_one_wins_and_the_others_know(make_holdings, register, in_thread):
    held = {name: make_holdings(name) for name in ('a', 'b', 'c', 'd')}
    for number in range(10):
        row = register(f'n{number}')
        barrier = threading.Barrier(4)

        def claim(name, row=row, barrier=barrier):
            barrier.wait()
            return held[name].claim(row)

        threads = {name: in_thread(lambda name=name, claim=claim: claim(name)) for name in held}
        winners = [name for name, thread in threads.items() if thread.result() is not None]
        assert winners == [nodes.get(row.name).owner]


def test_threads_of_one_conductor_that_claim_at_once_share_one_live_node(mine, register, in_thread):
    for number in range(10):
        row = register(f'n{number}')
        barrier = threading.Barrier(4)

        def find(row=row, barrier=barrier):
            barrier.wait()
            return mine.find(row.uuid)

        lives = [thread.result() for thread in [in_thread(find) for _ in range(4)]]
        assert len({id(live) for live in lives}) == 1
        assert lives[0].epoch == nodes.get(row.name).owner_epoch


def test_what_is_claimed_is_settled_once(make_holdings, register):
    settled = []
    mine = make_holdings(settled=settled)
    row = register('n1')
    mine.claim(row)
    mine.claim(row)
    mine.find(row.uuid)
    assert [live.name for live in settled] == ['n1']


def test_due_is_what_nobody_or_a_dead_one_owns_and_the_ring_gives_to_us(mine, register):
    rows = {name: register(name) for name in ('free', 'dead', 'live')}
    register('elsewhere', group='rack2')
    owners.claim(rows['dead'].uuid, 'dead', None, 0)
    owners.claim(rows['live'].uuid, 'living', None, 0)
    assert sorted(live.name for live in due(mine, ['dead'])) == ['dead', 'free']
    assert nodes.get('dead').owner_epoch == 2
    assert nodes.get('live').owner == 'living'
    assert due(mine, ['dead']) == []


def test_two_conductors_share_what_is_due_and_leave_nothing(make_holdings, register):
    for number in range(60):
        register(f'n{number}')
    one, two = make_holdings('a'), make_holdings('b')
    due(one, over='ab')
    due(two, over='ab')
    assert len(one) + len(two) == 60
    assert min(len(one), len(two)) > 10


def test_pages_hide_nothing(mine, register, monkeypatch):
    monkeypatch.setattr(holdings, 'PAGE', 7)
    for number in range(20):
        register(f'n{number}')
    due(mine, over=('me', 'other'))
    for _id, row in nodes.page(0, 100):
        proposed = rings('me', 'other').propose(row)
        assert (row.owner == 'me') is (proposed == 'me')


@pytest.mark.parametrize('how', ['sealed for another', 'driver fails', 'driver unknown'])
def test_one_node_that_cannot_be_served_keeps_no_other_from_being_claimed(
    mine, register, drivers, how, caplog
):
    class Fails(fakes.Driver):
        def __init__(self, node, info):
            raise ValueError('hunter2')

    drivers['fails'] = Fails
    bad = {
        'sealed for another': {'sealed_for': 'another'},
        'driver fails': {'driver': 'fails'},
        'driver unknown': {'driver': 'removed'},
    }[how]
    register('bad', **bad)
    register('good')
    for _ in range(3):
        members = [conductors.Conductor('me', 'me', '', ('fake', 'fails', 'removed'), 'http://x')]
        mine.rings = ownership.Rings(members, 512)
        mine.claim_due('', ('fake', 'fails', 'removed'), set())
    assert [live.name for live in mine] == ['good']
    assert nodes.get('bad').owner is None
    assert caplog.text.count('bad is not served') == 1
    assert 'hunter2' not in caplog.text


def test_why_a_node_cannot_be_served_is_told_with_its_name(mine, register):
    row = register('n1', driver='removed')
    members = [conductors.Conductor('me', 'me', '', ('removed',), 'http://x')]
    mine.rings = ownership.Rings(members, 512)
    with pytest.raises(errors.InvalidInput) as refused:
        mine.find(row.uuid)
    assert refused.value.node == 'n1'


def test_a_database_that_fails_stops_the_claiming_until_the_next_look(mine, register, monkeypatch):
    register('n1')
    register('n2')
    original = owners.claim_all
    calls = []

    def claim(*args):
        calls.append(args)
        if len(calls) == 1:
            raise fakes.DOWN
        return original(*args)

    monkeypatch.setattr(owners, 'claim_all', claim)
    with pytest.raises(errors.Unavailable):
        due(mine)
    due(mine)
    assert sorted(live.name for live in mine) == ['n1', 'n2']


def test_a_claim_whose_answer_was_lost_is_served_at_the_next_look(mine, register, monkeypatch):
    register('n1')
    original = owners.claim_all

    def lose_the_answer(*args):
        original(*args)
        raise fakes.DOWN

    monkeypatch.setattr(owners, 'claim_all', lose_the_answer)
    with pytest.raises(errors.Unavailable):
        due(mine)
    assert nodes.get('n1').owner == 'me'
    assert len(mine) == 0
    monkeypatch.setattr(owners, 'claim_all', original)
    assert [live.name for live in due(mine)] == ['n1']
    assert mine.get(nodes.get('n1').uuid).epoch == 1


def test_what_was_changed_while_it_was_claimed_is_served_as_it_is_now(mine, register, monkeypatch):
    row, other = register('n1'), register('other', sealed_for='n1')
    original = owners.claim_all

    def change_and_claim(*args):
        assert nodes.reseal(row.uuid, row.sealed_info, other.sealed_info, other.key_id)
        return original(*args)

    monkeypatch.setattr(owners, 'claim_all', change_and_claim)
    assert 'n1' not in [live.name for live in due(mine)]
    assert mine.get(row.uuid) is None


def test_a_batch_that_cannot_be_claimed_keeps_no_other_from_it(mine, register, monkeypatch):
    for number in range(120):
        register(f'n{number}')
    original, batches = owners.claim_all, []

    def claim_all(uuids, *args):
        batches.append(len(uuids))
        if len(batches) == 1:
            raise fakes.DOWN
        return original(uuids, *args)

    monkeypatch.setattr(owners, 'claim_all', claim_all)
    with pytest.raises(errors.Unavailable):
        due(mine)
    assert batches == [50, 50, 20]
    assert len(mine) == 70


def test_a_database_that_is_gone_is_not_asked_for_each_batch(mine, register, monkeypatch):
    for number in range(200):
        register(f'n{number}')
    batches = []

    def claim_all(uuids, *args):
        batches.append(len(uuids))
        raise fakes.DOWN

    monkeypatch.setattr(owners, 'claim_all', claim_all)
    with pytest.raises(errors.Unavailable):
        due(mine)
    assert len(batches) == 2


def test_what_was_claimed_while_it_closed_is_not_served(mine, register, monkeypatch):
    register('n1')
    original = owners.claim_all

    def claim_and_close(*args):
        taken = original(*args)
        mine.close()
        return taken

    monkeypatch.setattr(owners, 'claim_all', claim_and_close)
    with pytest.raises(errors.Unavailable):
        due(mine)
    assert len(mine) == 0


def test_many_are_claimed_in_few_transactions(mine, register, monkeypatch):
    for number in range(120):
        register(f'n{number}')
    original, batches = owners.claim_all, []

    def claim_all(uuids, *args):
        batches.append(len(uuids))
        return original(uuids, *args)

    monkeypatch.setattr(owners, 'claim_all', claim_all)
    assert len(due(mine)) == 120
    assert batches == [50, 50, 20]


def test_a_dropped_node_is_gone_once(mine, register):
    row = register('n1')
    live = mine.find(row.uuid)
    assert mine.drop(row.uuid) is live
    assert mine.drop(row.uuid) is None
    assert list(mine) == []
