"""One conductor put together over a real table; its own loops stand still."""

import threading
import time

import pytest

from obmd.common import errors
from obmd.common import rpc
from obmd.common.deadline import Deadline
from obmd.conductor import lease
from obmd.conductor import service
from obmd.conf import CONF
from obmd.db import conductors
from obmd.db import nodes
from obmd.db import owners
from obmd.drivers import gate


@pytest.fixture
def state(tmp_path):
    CONF.set_override('state_path', str(tmp_path / 'state'))
    CONF.set_override('host', 'host-1')
    CONF.set_override('stop_timeout', 0.5, 'conductor')
    yield tmp_path / 'state'
    CONF.clear_override('state_path')
    CONF.clear_override('host')
    CONF.clear_override('stop_timeout', 'conductor')
    CONF.clear_override('log_dir', 'console')


@pytest.fixture
def make(keyring, database, drivers, state, monkeypatch, spawned):
    made = []

    def make():
        monkeypatch.setattr(service.membership.Heartbeat, '_run', lambda _self: None)
        monkeypatch.setattr(service.membership.Observer, '_run', lambda _self: None)
        monkeypatch.setattr(service.revocation.Revocation, '_run', lambda _self: None)
        monkeypatch.setattr(service.lease.Lease, '_run', lambda _self: None)
        monkeypatch.setattr(service.engine.Engine, 'start', lambda *_: None)
        monkeypatch.setattr(service.handover, 'TAKEN_WITHIN', 0)
        monkeypatch.setattr(service.timers.Timers, 'after', lambda *_: None)
        bus = rpc.LocalBus()
        conductor = service.Conductor(
            bus, keyring, 'http://127.0.0.1:1', conductors.CONDUCTOR, lambda: None
        )
        conductor.bus = bus
        made.append(conductor)
        return conductor

    yield make
    for conductor in made:
        conductor._home.leave()
    gate.close_by(None)


def rows():
    return {row.incarnation: row for row in conductors.all()}


def other(incarnation, host='elsewhere', **values):
    conductors.register(
        conductors.Conductor(incarnation, host, '', ('fake',), 'http://x', **values)
    )


def test_a_start_registers_claims_and_answers_and_a_stop_gives_all_back(make, register, spawned):
    row = register('n1')
    conductor = make()
    conductor.start()
    mine = conductor.row.incarnation
    assert rows()[mine].host == 'host-1'
    assert nodes.get('n1').owner == mine
    client = conductor.bus.client('obmd.conductor', '1.0')
    call = {'node': row.uuid, 'owner': mine, 'epoch': 1, 'id': 'x', 'timeout': 5}
    assert client.call('host-1', 'power_status', 5, call=call) == 'on'
    driver = conductor._holdings.get(row.uuid).driver
    conductor.stop()
    assert ('close',) in driver.calls
    assert nodes.get('n1').owner is None
    assert mine not in rows()
    with pytest.raises(errors.Unavailable):
        client.call('host-1', 'power_status', 5, call=call)


def test_a_start_serves_before_all_is_claimed(make, register, monkeypatch, spawned):
    register('n1')
    go, claimable = threading.Event(), owners.claimable
    monkeypatch.setattr(service, 'FIRST_LOOK', 0.01)
    monkeypatch.setattr(owners, 'claimable', lambda *args: go.wait(10) and claimable(*args))
    conductor = make()
    conductor.start()
    assert nodes.get('n1').owner is None
    go.set()
    spawned.join()
    assert nodes.get('n1').owner == conductor.row.incarnation


def test_two_with_one_state_path_are_refused(make):
    make().start()
    second = make()
    with pytest.raises(errors.Fatal, match='locked'):
        second.start()
    second.stop()  # what did not start stops without an error


def test_a_state_path_that_cannot_be_made_is_refused(make, tmp_path):
    (tmp_path / 'file').write_text('')
    CONF.set_override('state_path', str(tmp_path / 'file' / 'state'))
    with pytest.raises(errors.Fatal, match='state_path'):
        make().start()


def test_a_time_to_live_too_short_for_its_beats_is_refused(make):
    CONF.set_override('heartbeat_ttl', 3.0, 'conductor')
    try:
        with pytest.raises(errors.Fatal, match='heartbeat_ttl'):
            make().start()
    finally:
        CONF.clear_override('heartbeat_ttl', 'conductor')


def test_what_its_dead_predecessor_owned_is_claimed_at_once(make, register):
    register('n1')
    dead = make()
    dead.start()
    before = dead.row.incarnation
    assert nodes.get('n1').owner == before
    dead._home.leave()
    conductor = make()
    conductor.start()
    assert nodes.get('n1').owner == conductor.row.incarnation
    assert before not in rows()


def test_what_another_owns_is_left_alone(make, register):
    row = register('n1')
    other('other')
    owners.claim(row.uuid, 'other', None, 0)
    make().start()
    assert nodes.get('n1').owner == 'other'


def test_what_an_owner_without_a_row_had_is_claimed(make, register):
    row = register('n1')
    owners.claim(row.uuid, 'gone', None, 0)
    conductor = make()
    conductor.start()
    assert nodes.get('n1').owner == conductor.row.incarnation


def test_one_that_starts_at_the_same_time_is_not_taken_for_gone(make, register, monkeypatch):
    """It registers, and claims, between our two looks."""
    row = register('n1')
    original = conductors.all

    def start_the_other_first():
        if 'other' not in {one.incarnation for one in original()}:
            other('other')
            owners.claim(row.uuid, 'other', None, 0)
        return original()

    original_owners = owners.incarnations

    def look():
        found = original_owners()
        start_the_other_first()
        return found

    conductor = make()
    monkeypatch.setattr(owners, 'incarnations', look)
    monkeypatch.setattr(conductors, 'all', original)
    conductor._remember_forgotten()
    assert conductor._forgotten == set()
    monkeypatch.setattr(owners, 'incarnations', original_owners)
    monkeypatch.setattr(conductors, 'all', start_the_other_first)
    conductor._remember_forgotten()
    assert conductor._forgotten == set()


def test_others_are_buried_only_by_who_has_renewed_for_a_time_to_live(make, register, monkeypatch):
    row = register('n1')
    other('other')
    owners.claim(row.uuid, 'other', None, 0)
    conductor = make()
    conductor.start()
    alive = [one for one in conductors.all() if one.incarnation == conductor.row.incarnation]
    steady = service.membership.Heartbeat
    monkeypatch.setattr(steady, 'steady_for', 9.9)
    conductor._look(alive, conductors.all())
    assert rows()['other'].state == 'live'
    assert nodes.get('n1').owner == 'other'
    monkeypatch.setattr(steady, 'steady_for', 10.1)
    conductor._look(alive, conductors.all())
    assert nodes.get('n1').owner == conductor.row.incarnation
    conductor._look(alive, conductors.all())
    assert 'other' not in rows()


def test_one_whose_beat_moved_after_all_is_not_buried(make, register, monkeypatch):
    row = register('n1')
    other('other')
    owners.claim(row.uuid, 'other', None, 0)
    conductor = make()
    conductor.start()
    alive = [one for one in conductors.all() if one.incarnation == conductor.row.incarnation]
    seen = conductors.all()
    conductors.beat('other', 1)
    monkeypatch.setattr(service.membership.Heartbeat, 'steady_for', 100)
    conductor._look(alive, seen)
    assert rows()['other'].state == 'live'
    assert nodes.get('n1').owner == 'other'


def test_the_rings_are_computed_anew_only_when_the_members_change(make, register):
    conductor = make()
    conductor.start()
    live = conductors.all()
    conductor._look(live, live)
    rings = conductor._holdings.rings
    conductor._look(live, live)
    assert conductor._holdings.rings is rings
    other('other')
    conductor._look(conductors.all(), conductors.all())
    assert conductor._holdings.rings is not rings


def test_a_look_while_it_stops_claims_nothing(make, register):
    conductor = make()
    conductor.start()
    conductor._stopping = True
    register('n1')
    conductor._look(conductors.all(), conductors.all())
    assert nodes.get('n1').owner is None


def test_deferred_work_of_the_owner_before_is_carried_on(make, register, monkeypatch, spawned):
    row = register('n1')
    owners.claim(row.uuid, 'before', None, 0)
    nodes.set_target(row.uuid, 'before', 1, 'on', 10.0**10, 'soft power cycle', 'call-1')
    carried = []
    monkeypatch.setattr(
        service.power, 'carry_on', lambda live, *_: carried.append(live.target.call_id)
    )
    make().start()
    spawned.join()
    assert carried == ['call-1']


def test_a_node_that_is_there_after_all_is_not_forgotten(make, register):
    row = register('n1')
    conductor = make()
    conductor.start()
    conductor._forget(row.uuid)
    assert conductor._holdings.get(row.uuid) is not None
    nodes.delete('n1')
    conductor._forget(row.uuid)
    assert conductor._holdings.get(row.uuid) is None


def test_a_node_that_another_has_got_after_all_is_let_go_at_the_next_check(make, register, spawned):
    row = register('n1')
    conductor = make()
    conductor.start()
    owners.claim(row.uuid, 'other', conductor.row.incarnation, 1)
    conductor._revocation.check()
    spawned.join()
    assert conductor._holdings.get(row.uuid) is None
    assert nodes.get('n1').owner == 'other'


def test_a_database_that_is_down_at_the_end_holds_nobody(make, register, monkeypatch):
    register('n1')
    conductor = make()
    conductor.start()

    def down(*_args):
        raise errors.Unavailable('the database does not answer')

    monkeypatch.setattr(owners, 'release_all', down)
    conductor.stop()


def test_a_bmc_that_hangs_at_the_end_holds_nobody_longer_than_the_time_for_it(
    make, register, monkeypatch
):
    row = register('n1')
    conductor = make()
    conductor.start()
    go = threading.Event()
    conductor._holdings.get(row.uuid).driver.hooks['close'] = lambda: go.wait(10)
    conductor.stop()
    go.set()
    assert nodes.get('n1').owner is None


def test_a_log_folder_that_cannot_be_made_is_refused_at_the_start(make, tmp_path):
    (tmp_path / 'file').write_text('')
    CONF.set_override('log_dir', str(tmp_path / 'file' / 'logs'), 'console')
    with pytest.raises(errors.Fatal, match='log_dir'):
        make()


# -- beside others --------------------------------------------------------------------------------


def test_a_row_of_the_same_host_from_elsewhere_is_watched_before_it_is_taken_for_dead(
    make, register, monkeypatch
):
    row = register('n1')
    other('twin', host='host-1', home='another home')
    owners.claim(row.uuid, 'twin', None, 0)
    now, beats = [0.0], iter(range(1, 1000))
    defaults = service.neighbours.Neighbours.__init__

    def beat(seconds):
        now[0] += seconds
        conductors.beat('twin', next(beats))

    def pass_time(seconds):
        now[0] += seconds

    monkeypatch.setattr(defaults, '__defaults__', (lambda: now[0], beat))
    first = make()
    with pytest.raises(errors.Fatal, match='host-1'):
        first.start()
    assert rows()['twin'].state == 'live'
    first.stop()
    monkeypatch.setattr(defaults, '__defaults__', (lambda: now[0], pass_time))
    conductor = make()
    conductor.start()
    assert nodes.get('n1').owner == conductor.row.incarnation


def test_one_refused_right_after_it_has_registered_leaves_no_row(make, monkeypatch):
    def refuse(_self):
        raise errors.Fatal('another started in the same moment')

    monkeypatch.setattr(service.neighbours.Neighbours, 'check', refuse)
    conductor = make()
    with pytest.raises(errors.Fatal):
        conductor.start()
    assert rows() == {}
    conductor.stop()


# -- joining and leaving --------------------------------------------------------------------------


def look(conductor):
    conductor._look(conductors.all(), conductors.all())


def test_what_another_should_own_is_handed_over_when_it_joins(make, register, spawned):
    for number in range(20):
        register(f'n{number}')
    conductor = make()
    conductor.start()
    spawned.join()
    other('other')
    look(conductor)
    spawned.join()
    owners = {nodes.get(f'n{number}').owner for number in range(20)}
    assert owners == {conductor.row.incarnation, None}
    for live in conductor._holdings:
        assert conductor._holdings.heir(live) is None


def test_a_hand_over_that_found_nodes_busy_is_taken_up_at_the_next_look(
    make, register, spawned, monkeypatch
):
    register('n1')
    conductor = make()
    conductor.start()
    spawned.join()
    tries = []
    monkeypatch.setattr(conductor._handover, 'give', lambda: tries.append(1) or len(tries) > 1)
    other('other')
    for _ in range(4):
        look(conductor)
        spawned.join()
    assert len(tries) == 2


def test_a_node_claimed_while_the_rings_changed_moves_at_the_next_look(
    make, register, spawned, monkeypatch
):
    row = register('n1')
    conductor = make()
    conductor.start()
    spawned.join()
    given = []
    monkeypatch.setattr(conductor._handover, 'give', lambda: given.append(1) or True)
    live = conductor._holdings.get(row.uuid)
    conductor._settle(live)
    look(conductor)
    spawned.join()
    assert given == []
    another = [conductors.Conductor('other', 'other', '', ('fake',), 'http://x')]
    conductor._holdings.rings = service.ownership.Rings(another, 32)
    conductor._settle(live)
    look(conductor)
    spawned.join()
    assert given == [1]


def test_without_a_fresh_lease_nothing_is_claimed(make, register):
    conductor = make()
    conductor.start()
    register('n1')
    conductor._lease.revoke()
    look(conductor)
    assert nodes.get('n1').owner is None


def test_one_that_is_cut_off_asks_the_database_for_nothing_when_it_stops(
    make, register, monkeypatch
):
    row = register('n1')
    conductor = make()
    conductor.start()
    mine = conductor.row.incarnation
    other('other')
    conductor._hosts = {mine: 'host-1', 'other': 'elsewhere'}
    monkeypatch.setattr(type(conductor._lease), 'state', lease.FENCED)
    for name in ('set_state', 'remove'):
        monkeypatch.setattr(conductors, name, pytest.fail)
    monkeypatch.setattr(owners, 'release_all', pytest.fail)
    conductor.stop()
    assert nodes.get_by_uuid(row.uuid).owner == mine


def test_a_stop_gives_its_nodes_to_the_others_and_says_so_to_late_callers(
    make, register, spawned, monkeypatch
):
    row = register('n1')
    conductor = make()
    conductor.start()
    mine = conductor.row.incarnation
    other('other')
    conductor._hosts = {mine: 'host-1', 'other': 'elsewhere'}
    told, states = [], []
    monkeypatch.setattr(conductor._client, 'tell', lambda *what, **args: told.append((what, args)))
    driver = conductor._holdings.get(row.uuid).driver
    driver.hooks['close'] = lambda: states.append(rows()[mine].state)
    client = conductor.bus.client('obmd.conductor', '1.0')
    call = {'node': row.uuid, 'owner': mine, 'epoch': 1, 'id': 'x', 'timeout': 5}
    asked = []

    def late(deadline):
        with pytest.raises(errors.NotOwner):
            client.call('host-1', 'power_status', 5, call=call)
        asked.append(mine in rows())

    monkeypatch.setattr(service, '_linger', late)
    conductor.stop()
    assert states == ['leaving']
    assert told == [(('elsewhere', 'node_changed'), {'node': row.uuid})]
    assert asked == [False]
    assert set(rows()) == {'other'}
    assert nodes.get('n1').owner is None


def test_a_stop_writes_the_heartbeats_that_were_taken_until_no_call_comes_any_more(
    make, register, monkeypatch
):
    register('n1')
    conductor = make()
    conductor.start()
    seen = []
    monkeypatch.setattr(
        conductor._agents,
        'flush',
        lambda: seen.append(conductor.manager.reception.stopping is not None),
    )
    conductor.stop()
    assert seen == [False, True]


def test_a_stop_whose_others_are_of_another_group_releases_what_it_has(make, register):
    register('n1')
    conductor = make()
    conductor.start()
    mine = conductor.row.incarnation
    conductors.register(conductors.Conductor('other', 'elsewhere', 'rack9', ('fake',), 'http://x'))
    conductor._hosts = {mine: 'host-1', 'other': 'elsewhere'}
    conductor.stop()
    assert nodes.get('n1').owner is None
    assert set(rows()) == {'other'}


def test_a_drained_one_hands_all_over_and_claims_nothing_until_it_is_undrained(
    make, register, spawned
):
    register('n1')
    conductor = make()
    conductor.start()
    mine = conductor.row.incarnation
    other('other')
    conductors.drain(mine)
    look(conductor)
    spawned.join()
    assert nodes.get('n1').owner is None
    look(conductor)
    assert len(conductor._holdings) == 0
    conductors.remove('other')
    conductors.undrain(mine)
    look(conductor)
    assert nodes.get('n1').owner == mine


def test_a_drained_one_without_others_keeps_its_nodes(make, register, spawned):
    register('n1')
    conductor = make()
    conductor.start()
    mine = conductor.row.incarnation
    other('other', drained=True)
    conductors.drain(mine)
    for _ in range(2):
        look(conductor)
        spawned.join()
    assert nodes.get('n1').owner == mine
    assert len(conductor._holdings) == 1


def test_a_call_for_a_node_that_nobody_owns_is_not_taken_by_a_drained_one(make, register):
    conductor = make()
    conductor.start()
    other('other')
    conductors.drain(conductor.row.incarnation)
    look(conductor)
    row = register('n1')
    with pytest.raises(errors.NotOwner):
        conductor._holdings.find(row.uuid)
    assert nodes.get('n1').owner is None


def test_a_drain_outlasts_a_stop_and_a_start(make, register):
    register('n1')
    first = make()
    first.start()
    conductors.drain(first.row.incarnation)
    first.stop()
    assert [(row.state, row.drained) for row in conductors.all()] == [('dead', True)]
    second = make()
    second.start()
    assert rows()[second.row.incarnation].drained
    assert nodes.get('n1').owner is None
    look(second)
    assert set(rows()) == {second.row.incarnation}


def test_a_drain_outlasts_a_crash_and_others_who_look(make, register):
    other('crashed', host='host-1', state='dead', drained=True)
    conductor = make()
    look_on = make()
    look_on.row = service.dataclasses.replace(look_on.row, host='host-2')
    look_on.start()
    look(look_on)
    assert rows()['crashed'].drained
    look_on.stop()
    conductor.start()
    assert rows()[conductor.row.incarnation].drained


def test_a_start_refused_as_a_twin_loses_no_drain(make, monkeypatch):
    def refuse(_self):
        raise errors.Fatal('another started in the same moment')

    other('before', host='host-1', state='dead', drained=True)
    monkeypatch.setattr(service.neighbours.Neighbours, 'check', refuse)
    conductor = make()
    with pytest.raises(errors.Fatal):
        conductor.start()
    assert [row.state for row in conductors.all() if row.drained] == ['dead']


def test_a_start_that_was_declared_dead_lets_go_and_touches_nothing(make, register, spawned):
    row = register('n1')
    conductor = make()
    conductor.start()
    mine = conductor.row.incarnation
    live = conductor._holdings.get(row.uuid)
    stream, _headers = live.console.watch('t1', None, None, False, Deadline(5))
    spawned.join()
    before = nodes.get('n1')
    assert before.sol_holder.startswith(mine)
    conductors.mark_dead(mine)
    conductor.abandon()
    spawned.join()
    assert stream.ended is not None
    assert live.driver.handles[0].closed == [False]
    assert nodes.get('n1') == before
    following = make()
    following.start()
    assert nodes.get('n1').owner == following.row.incarnation


def test_a_broker_that_hangs_at_the_end_holds_nobody(make):
    conductor = make()
    conductor.start()
    go = threading.Event()
    conductor._stop_serving = lambda: go.wait(10)
    began = time.monotonic()
    conductor.stop()
    assert time.monotonic() - began < 5
    go.set()


@pytest.mark.parametrize('answers', [True, False])
def test_those_who_are_told_at_once_share_one_look(make, monkeypatch, in_thread, answers):
    conductor = make()
    conductor.start()
    monkeypatch.setattr(service, 'REFRESH', 600)
    read, asked, others, again = conductors.all, [], [], threading.Event()

    def read_slowly():
        asked.append(None)
        if len(asked) > 1:
            again.set()
        else:
            others.extend(in_thread(conductor._refresh) for _ in range(3))
            again.wait(0.2)
        if not answers:
            raise errors.Unavailable('the database does not answer')
        return read()

    monkeypatch.setattr(conductors, 'all', read_slowly)
    conductor._looked_at = float('-inf')
    first = in_thread(conductor._refresh)
    assert (first.error() is None) == answers
    for other in others:
        other.result()
    assert len(asked) == 1


def test_who_is_told_of_a_node_does_not_wait_for_claims(make, register, monkeypatch):
    conductor = make()
    conductor.start()
    register('n1')
    monkeypatch.setattr(service, 'REFRESH', 0)
    conductor._looked_at = float('-inf')
    conductor._refresh()
    assert nodes.get('n1').owner is None
    conductor._observer.look()
    assert nodes.get('n1').owner == conductor.row.incarnation
