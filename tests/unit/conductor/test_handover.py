"""Giving nodes away over a real table: the order, and what happens when a step fails."""

import threading

import pytest

from obmd.common import errors
from obmd.common.deadline import Deadline
from obmd.conductor import console
from obmd.conductor import handover
from obmd.conductor import holdings
from obmd.conductor import manager
from obmd.conductor import ownership
from obmd.conductor import pace
from obmd.conductor import power
from obmd.conductor import revocation
from obmd.db import conductors
from obmd.db import nodes
from obmd.db import owners
from tests.unit.conductor import fakes


def rings(*names):
    members = [conductors.Conductor(name, name, '', ('fake',), 'http://x') for name in names]
    return ownership.Rings(members, 512)


class Rig:
    """Conductor ``a`` that owns nodes, and ``b`` that should."""

    def __init__(self, keyring, spawned):
        self.spawned = spawned
        self.told = []
        self.holdings = holdings.Holdings(
            'a', keyring, self._console, lambda _live: None, fakes.Timers()
        )
        self.holdings.rings = rings('a')
        self.revocation = revocation.Revocation(
            5, 30, list, lambda _uuid: None, clock=fakes.Clock()
        )
        self.close = manager.close
        self.saved = []
        self.save = self.saved.append
        self.handover = handover.Handover(
            'a',
            self.holdings,
            lambda *args: self.close(*args),
            self._tell,
            lambda live: self.save(live),
        )

    def _console(self, live):
        return console.Console(live, self.revocation, fakes.Timers())

    def _tell(self, incarnation, uuid):
        self.told.append((incarnation, uuid))

    def give(self, patience=5, to=('b',)):
        self.holdings.rings = rings(*to)
        return self.handover.give(patience)


@pytest.fixture
def rig(keyring, register, spawned, monkeypatch):
    monkeypatch.setattr(handover, 'TAKEN_WITHIN', 0)
    return Rig(keyring, spawned)


@pytest.fixture
def live(rig, register):
    return rig.holdings.find(register('n1').uuid)


def open_console(live, spawned):
    stream, _headers = live.console.watch('t1', None, None, False, Deadline(5))
    spawned.join()
    return stream


def test_a_node_is_refused_closed_released_and_told_in_this_order(rig, live, spawned):
    stream = open_console(live, spawned)
    seen = []

    def look(what):
        with pytest.raises(errors.NotOwner):
            rig.holdings.find(live.uuid)
        seen.append((what, nodes.get('n1').owner, stream.ended is not None, list(rig.told)))

    live.driver.handles[0].on_close = lambda: look('sol')
    live.driver.hooks['close'] = lambda: look('logout')
    assert rig.give()
    assert seen == [('sol', 'a', True, []), ('logout', 'a', True, [])]
    assert live.driver.handles[0].closed == [True]
    assert nodes.get('n1').owner is None
    assert rig.told == [('b', live.uuid)]
    assert len(rig.holdings) == 0


def test_what_is_known_of_its_agent_is_written_when_no_call_comes_any_more(rig, live):
    def save(one):
        with pytest.raises(errors.NotOwner):
            rig.holdings.find(one.uuid)
        rig.saved.append((one, nodes.get('n1').owner))

    rig.save = save
    assert rig.give()
    assert rig.saved == [(live, 'a')]


def test_an_agent_that_cannot_be_written_keeps_no_node_back(rig, live):
    def save(_live):
        raise fakes.DOWN

    rig.save = save
    assert rig.give()
    assert nodes.get('n1').owner is None


def test_its_row_says_that_nobody_holds_sol_before_it_is_released(rig, live, spawned):
    open_console(live, spawned)
    assert nodes.get('n1').sol_holder.startswith('a ')
    assert rig.give()
    assert nodes.get('n1').sol_holder is None


def test_what_the_rings_leave_here_or_give_to_nobody_stays(rig, live):
    assert rig.give(to=('a',))
    assert rig.give(to=())
    assert rig.holdings.find(live.uuid) is live
    assert live.driver.calls == []


def test_only_the_share_of_others_moves(rig, register):
    uuids = [register(f'n{number}').uuid for number in range(40)]
    for uuid in uuids:
        rig.holdings.find(uuid)
    assert rig.give(to=('a', 'b'))
    for _id, row in nodes.page(0, 100):
        proposed = rings('a', 'b').propose(row)
        assert row.owner == ('a' if proposed == 'a' else None)
    assert 5 < len(rig.told) < 35


def test_a_write_that_runs_ends_first(rig, live, in_thread):
    inside, go = threading.Event(), threading.Event()

    def slow():
        inside.set()
        assert go.wait(10)

    live.driver.hooks['boot'] = slow
    write = in_thread(lambda: power.set_boot_device(live, 'pxe', Deadline(30)))
    assert inside.wait(10)
    giving = in_thread(rig.give)
    while not live._writes._moving:
        threading.Event().wait(0.002)
    assert nodes.get('n1').owner == 'a'
    go.set()
    write.result()
    assert giving.result()
    assert nodes.get('n1').owner is None


def test_a_node_that_stays_busy_stays_and_the_others_move(rig, live, register, in_thread):
    rig.holdings.find(register('n2').uuid)
    inside, go = threading.Event(), threading.Event()
    live.driver.hooks['boot'] = lambda: inside.set() or go.wait(10)
    write = in_thread(lambda: power.set_boot_device(live, 'pxe', Deadline(30)))
    assert inside.wait(10)
    assert rig.give(patience=0.05) is False
    assert nodes.get('n1').owner == 'a'
    assert nodes.get('n2').owner is None
    go.set()
    write.result()
    assert live.read_power(Deadline(5)) == 'on'
    assert rig.give()
    assert nodes.get('n1').owner is None


def test_a_read_that_is_under_way_asks_the_next_owner(rig, live, in_thread):
    inside = threading.Event()

    def wait_to_be_aborted():
        inside.set()
        while live.driver.aborted is None:
            threading.Event().wait(0.002)
        raise errors.from_wire(live.driver.aborted.to_wire())

    live.driver.hooks['status'] = wait_to_be_aborted
    read = in_thread(lambda: live.read_power(Deadline(30)))
    assert inside.wait(10)
    assert rig.give()
    assert isinstance(read.error(), errors.NotOwner)


def test_a_viewer_who_comes_while_it_moves_asks_the_next_owner(rig, live):
    live.abort(errors.NotOwner('the node moves to another conductor'))
    live.console.close(Deadline(1), 'it moves')
    with pytest.raises(errors.NotOwner):
        live.console.watch('t1', None, None, False, Deadline(5))


def test_a_release_that_fails_leaves_the_node_here_to_be_served_anew(rig, live, monkeypatch):
    release = owners.release

    def down(*_args):
        raise fakes.DOWN

    monkeypatch.setattr(owners, 'release', down)
    assert rig.give() is False
    assert rig.told == []
    monkeypatch.setattr(owners, 'release', release)
    (anew,) = rig.holdings.claim_due('', ('fake',), set())
    assert anew is not live
    assert anew.read_power(Deadline(5)) == 'on'
    assert rig.give()
    assert nodes.get('n1').owner is None


def test_a_release_whose_answer_was_lost_is_not_served_anew(rig, live, monkeypatch):
    release = owners.release

    def lose_the_answer(*args):
        release(*args)
        raise fakes.DOWN

    monkeypatch.setattr(owners, 'release', lose_the_answer)
    rig.give()
    rig.holdings.rings = rings('b')
    assert rig.holdings.claim_due('', ('fake',), set()) == []
    assert nodes.get('n1').owner is None


def test_one_whose_row_has_another_owner_already_is_dropped_and_nobody_told(rig, live):
    row = nodes.get('n1')
    owners.claim(row.uuid, 'c', 'a', row.owner_epoch)
    rig.give()
    assert nodes.get('n1').owner == 'c'
    assert rig.told == []
    assert len(rig.holdings) == 0


def test_one_that_fails_keeps_no_other(rig, register):
    lives = [rig.holdings.find(register(f'n{number}').uuid) for number in range(5)]

    def close(live, *args):
        if live is lives[2]:
            raise ValueError('a bug in a driver')
        manager.close(live, *args)

    rig.close = close
    assert rig.give() is False
    owners = [nodes.get(f'n{number}').owner for number in range(5)]
    assert owners == [None, None, 'a', None, None]


def test_deferred_work_goes_to_the_next_owner(rig, live, register, keyring):
    live.set_target('on', 10.0**10, 'soft power cycle', 'call-1')
    assert rig.give()
    assert live.target is None
    settled = []
    following = holdings.Holdings('b', keyring, rig._console, settled.append, fakes.Timers())
    following.rings = rings('b')
    following.find(live.uuid)
    assert settled[0].target.call_id == 'call-1'


def test_nothing_is_let_go_while_the_database_is_away(rig, register, spawned, monkeypatch, caplog):
    lives = [rig.holdings.find(register(f'n{number}').uuid) for number in range(5)]
    streams = [open_console(live, spawned) for live in lives]

    def confirm(_live):
        raise errors.Unavailable('the database does not answer')

    monkeypatch.setattr(type(lives[0]), 'confirm', confirm)
    assert rig.give() is False
    assert all(live.console.up for live in lives)
    assert all(stream.ended is None for stream in streams)
    assert len(rig.holdings) == 5
    assert caplog.text.count('not handed over') <= pace.FIRST
    monkeypatch.undo()
    monkeypatch.setattr(handover, 'TAKEN_WITHIN', 0)
    assert rig.give()


def test_a_busy_node_that_stays_after_all_takes_writes_again(rig, live, monkeypatch, in_thread):
    inside, go = threading.Event(), threading.Event()
    live.driver.hooks['boot'] = lambda: inside.set() or go.wait(10)
    write = in_thread(lambda: power.set_boot_device(live, 'pxe', Deadline(30)))
    assert inside.wait(10)
    giving = in_thread(rig.give)
    while not live._writes._moving:
        threading.Event().wait(0.002)
    rig.holdings.rings = rings('a')
    go.set()
    write.result()
    assert giving.result()
    live.driver.hooks.clear()
    power.set_boot_device(live, 'disk', Deadline(5))
    assert nodes.get('n1').owner == 'a'


def test_busy_nodes_take_no_place_from_those_that_are_free(rig, register, monkeypatch, in_thread):
    monkeypatch.setattr(pace, 'FIRST', 2)
    rig.handover = handover.Handover(
        'a', rig.holdings, lambda *args: rig.close(*args), rig._tell, rig.saved.append
    )
    lives = [rig.holdings.find(register(f'n{number}').uuid) for number in range(6)]
    inside, go = threading.Semaphore(0), threading.Event()
    writes = []
    for live in lives[:3]:
        live.driver.hooks['boot'] = lambda: inside.release() or go.wait(10)
        writes.append(in_thread(lambda live=live: power.set_boot_device(live, 'pxe', Deadline(30))))
        assert inside.acquire(timeout=10)
    giving = in_thread(rig.give)
    while len(rig.told) < 3:
        threading.Event().wait(0.002)
    assert {uuid for _to, uuid in rig.told} == {live.uuid for live in lives[3:]}
    go.set()
    assert giving.result()
    for write in writes:
        write.result()


def test_no_node_is_begun_after_the_time_is_up(rig, register, monkeypatch):
    monkeypatch.setattr(pace, 'FIRST', 1)
    monkeypatch.setattr(pace, 'MOST', 1)
    rig.handover = handover.Handover(
        'a', rig.holdings, lambda *args: rig.close(*args), rig._tell, rig.saved.append
    )
    for number in range(20):
        rig.holdings.find(register(f'n{number}').uuid)

    def close(live, *args):
        threading.Event().wait(0.05)
        manager.close(live, *args)

    rig.close = close
    assert rig.give(patience=0.12) is False
    assert 1 <= len(rig.told) <= 4
    assert len(rig.holdings) == 20 - len(rig.told)


def test_what_the_rings_give_back_meanwhile_stays(rig, register, monkeypatch):
    monkeypatch.setattr(pace, 'FIRST', 1)
    monkeypatch.setattr(pace, 'MOST', 1)
    rig.handover = handover.Handover(
        'a', rig.holdings, lambda *args: rig.close(*args), rig._tell, rig.saved.append
    )
    for number in range(5):
        rig.holdings.find(register(f'n{number}').uuid)

    def tell(incarnation, uuid):
        rig.told.append((incarnation, uuid))
        rig.holdings.rings = rings('a')

    rig.handover._tell = tell
    assert rig.give()
    assert len(rig.told) == 1
    assert len(rig.holdings) == 4


def test_many_move_at_once_but_not_all(rig, register, monkeypatch):
    monkeypatch.setattr(pace, 'FIRST', 4)
    monkeypatch.setattr(pace, 'MOST', 4)
    rig.handover = handover.Handover(
        'a', rig.holdings, lambda *args: rig.close(*args), rig._tell, rig.saved.append
    )
    for number in range(20):
        rig.holdings.find(register(f'n{number}').uuid)
    inside, most, lock = [], [], threading.Lock()

    def close(live, *args):
        with lock:
            inside.append(live)
            most.append(len(inside))
        threading.Event().wait(0.003)
        with lock:
            inside.remove(live)
        manager.close(live, *args)

    rig.close = close
    assert rig.give()
    assert 1 < max(most) <= 4
    assert len(rig.told) == 20


def test_the_next_node_moves_when_the_next_owner_has_this_one(rig, register, monkeypatch):
    monkeypatch.setattr(handover, 'TAKEN_WITHIN', 10)
    monkeypatch.setattr(handover, 'LOOK', 0.002)
    monkeypatch.setattr(pace, 'FIRST', 1)
    monkeypatch.setattr(pace, 'MOST', 1)
    rig.handover = handover.Handover('a', rig.holdings, manager.close, rig._tell, rig.saved.append)
    for number in range(5):
        rig.holdings.find(register(f'n{number}').uuid)
    unowned, claimed = [], []

    def tell(incarnation, uuid):
        unowned.append(sum(row.owner is None for _id, row in nodes.page(0, 10)))
        claimed.append(owners.claim(uuid, incarnation, None, nodes.get_by_uuid(uuid).owner_epoch))

    rig.handover._tell = tell
    assert rig.give()
    assert unowned == [1] * 5
    assert None not in claimed


def test_one_whose_console_was_open_is_waited_for_until_it_is_open_again(
    rig, live, spawned, monkeypatch, in_thread
):
    monkeypatch.setattr(handover, 'TAKEN_WITHIN', 10)
    monkeypatch.setattr(handover, 'LOOK', 0.002)
    open_console(live, spawned)
    giving = in_thread(rig.give)
    while not rig.told:
        threading.Event().wait(0.002)
    epoch = owners.claim(live.uuid, 'b', None, nodes.get('n1').owner_epoch)
    threading.Event().wait(0.05)
    assert giving.running
    nodes.set_sol_holder(live.uuid, 'b', epoch, 'b 10.0.0.1:1')
    assert giving.result()
