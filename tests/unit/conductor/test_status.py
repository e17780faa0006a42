"""A conductor is ready, or says why not; its states are counted without asking anybody."""

import types

import pytest

from obmd.common import errors
from obmd.common import metrics
from obmd.conductor import lease
from obmd.conductor import status
from obmd.db import engine


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def node(
    driver='mock', reachability='unknown', gate_closed=False, wanted=False, up=False, agent=None
):
    console = types.SimpleNamespace(wanted=wanted, up=up)
    return types.SimpleNamespace(
        driver_name=driver,
        reachability=reachability,
        gate_closed=gate_closed,
        console=console,
        agent=agent,
    )


class Revocation:
    age = 3.0

    def __len__(self):
        return 4


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def own_lease(clock):
    one = lease.Lease(10, clock)
    one.renewed(0)
    return one


@pytest.fixture
def nodes():
    return []


@pytest.fixture
def told(own_lease, nodes, clock):
    one = status.Status(nodes, own_lease, Revocation(), None, clock)
    one.begin()
    return one


def value(name, **labels):
    return metrics.registry.get_sample_value(name, labels)


def test_it_is_ready_when_it_has_begun_and_its_lease_is_fresh(told):
    assert told.reasons() == {}
    told.require_ready()


def test_it_is_starting_until_it_has_begun(own_lease, clock):
    one = status.Status([], own_lease, Revocation(), None, clock)
    assert list(one.reasons()) == ['starting']


def test_it_is_not_ready_while_it_stops(told):
    told.stopping = True
    assert list(told.reasons()) == ['stopping']


def test_it_is_fenced_when_its_row_cannot_be_renewed(told, own_lease, clock):
    for _ in range(16):
        clock.now += 0.5
        own_lease.tick()
    reasons = told.reasons()
    assert list(reasons) == ['fenced']
    with pytest.raises(errors.Unavailable, match='cannot renew its row'):
        told.require_ready()


def test_it_is_suspended_after_a_pause(told, clock):
    clock.now += 5
    assert list(told.reasons()) == ['suspended']


def test_it_is_suspended_when_others_have_declared_it_dead(told, own_lease):
    own_lease.revoke()
    assert list(told.reasons()) == ['suspended']


def test_an_upgraded_database_is_noticed_and_asked_for_now_and_then(
    told, own_lease, clock, monkeypatch
):
    looks = []

    def check():
        looks.append(1)
        raise errors.Fatal('the database is at revision 9')

    monkeypatch.setattr(engine, 'check_schema', check)
    assert told.reasons() == {}
    clock.now += status.SCHEMA_LOOK + 1
    own_lease.tick()
    own_lease.renewed(clock.now)
    for _ in range(5):
        assert told.reasons() == {'schema': 'the database is at revision 9'}
    assert len(looks) == 1


def later(clock, own_lease, seconds):
    clock.now += seconds
    own_lease.tick()
    own_lease.renewed(clock.now)


def looks(monkeypatch, *outcomes):
    """Each look at the schema raises the next of ``outcomes``, or finds it right."""
    left = list(outcomes)

    def check():
        error = left.pop(0)
        if error is not None:
            raise error

    monkeypatch.setattr(engine, 'check_schema', check)
    return left


def test_a_fault_of_the_schema_is_looked_at_again_soon(told, own_lease, clock, monkeypatch):
    left = looks(monkeypatch, errors.Fatal('old'), errors.Fatal('old'), None)
    later(clock, own_lease, status.SCHEMA_LOOK + 1)
    assert told.reasons() == {'schema': 'old'}
    later(clock, own_lease, status.SCHEMA_AGAIN - 0.5)
    assert told.reasons() == {'schema': 'old'}
    assert len(left) == 2
    later(clock, own_lease, 1)
    assert told.reasons() == {'schema': 'old'}
    later(clock, own_lease, status.SCHEMA_AGAIN + 0.5)
    assert told.reasons() == {}
    later(clock, own_lease, status.SCHEMA_LOOK - 1)
    assert told.reasons() == {}


def test_a_database_without_an_answer_is_not_called_a_schema(told, own_lease, clock, monkeypatch):
    looks(monkeypatch, engine.DatabaseSilent('no answer within 9 s'))
    later(clock, own_lease, status.SCHEMA_LOOK + 1)
    assert told.reasons() == {'database': 'no answer within 9 s'}


def test_who_asks_while_another_looks_does_not_wait(told, own_lease, clock, monkeypatch):
    seen = []

    def check():
        later(clock, own_lease, status.SCHEMA_LOOK + 1)
        seen.append(told.reasons())
        raise errors.Fatal('old')

    monkeypatch.setattr(engine, 'check_schema', check)
    later(clock, own_lease, status.SCHEMA_LOOK + 1)
    assert told.reasons() == {'schema': 'old'}
    assert seen == [{}]


def test_nodes_are_counted_by_driver_and_what_was_heard_of_them(told, nodes):
    nodes += [node('ipmi', 'silent') for _ in range(3)]
    nodes += [node('ipmi', 'refused', gate_closed=True), node('mock')]
    told.tell()
    assert value('obmd_nodes', driver='ipmi', state='silent') == 3
    assert value('obmd_nodes', driver='ipmi', state='refused') == 1
    assert value('obmd_nodes', driver='ipmi', state='reachable') == 0
    assert value('obmd_nodes', driver='mock', state='unknown') == 1
    assert value('obmd_credential_gates_closed', driver='ipmi') == 1
    assert value('obmd_nodes_owned') == 5


def test_nodes_that_have_left_are_counted_no_more(told, nodes):
    nodes += [node('ipmi', 'silent')]
    told.tell()
    nodes.clear()
    told.tell()
    assert value('obmd_nodes', driver='ipmi', state='silent') == 0
    assert value('obmd_nodes_owned') == 0


def test_consoles_are_wanted_up_or_down(told, nodes):
    nodes += [node(wanted=True, up=True)] * 2 + [node(wanted=True)] * 3 + [node(up=True), node()]
    told.tell()
    assert value('obmd_consoles_wanted') == 5
    assert value('obmd_consoles_up') == 3
    assert value('obmd_consoles_down') == 3


def test_agents_that_are_heard_of_are_counted(told, nodes):
    nodes += [node(agent='an agent')] * 2 + [node()]
    told.tell()
    assert value('obmd_agents_alive') == 2


def test_the_lease_is_in_one_state(told, clock):
    told.tell()
    assert value('obmd_lease', state='fresh') == 1
    clock.now += 5
    told.tell()
    assert value('obmd_lease', state='fresh') == 0
    assert value('obmd_lease', state='suspended') == 1
    assert value('obmd_lease_age_seconds') == 5
    assert value('obmd_revocation_check_age_seconds') == 3
    assert value('obmd_viewers') == 4


def test_what_the_log_counts_is_taken_once(own_lease, clock):
    log = types.SimpleNamespace(bytes_written=100, bytes_lost=7, bytes_queued=5)
    one = status.Status([], own_lease, Revocation(), log, clock)
    before = value('obmd_console_log_bytes_total', outcome='written') or 0
    one.tell()
    log.bytes_written, log.bytes_queued = 130, 0
    one.tell()
    assert value('obmd_console_log_bytes_total', outcome='written') - before == 130
    assert value('obmd_console_log_queued_bytes') == 0


def test_thousands_of_nodes_are_counted_in_slices(told, nodes, monkeypatch):
    pauses = []
    monkeypatch.setattr(status.time, 'sleep', pauses.append)
    nodes += [node()] * 4000
    told.tell()
    assert pauses == [0] * (4000 // status.SLICE)
