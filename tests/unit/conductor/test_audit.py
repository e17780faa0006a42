"""Commits that come late, over a real table."""

import pytest

from obmd.common import errors
from obmd.common import secrets
from obmd.common.deadline import Deadline
from obmd.conductor import audit
from obmd.conductor import console
from obmd.conductor import holdings
from obmd.conductor import manager
from obmd.conductor import revocation
from obmd.db import nodes
from obmd.db import owners
from obmd.db import registrations
from tests.unit.conductor import fakes


class Rig:
    """A conductor ``me`` that holds what it claims and compares it when asked."""

    def __init__(self, keyring, spawned):
        self.clock = fakes.Clock()
        self.spawned = spawned
        self.holdings = holdings.Holdings(
            'me', keyring, self._console, lambda _live: None, fakes.Timers()
        )
        self.audit = audit.Audit('me', self.holdings, manager.close, clock=self.clock)
        self.guard = revocation.Revocation(
            5,
            30,
            lambda: self.holdings.uuids,
            lambda _uuid: None,
            self.audit.compare,
            clock=self.clock,
        )

    def _console(self, live):
        return console.Console(live, self.guard, fakes.Timers())

    def claim(self, row):
        return self.holdings.claim(nodes.get(row.name))

    def look(self):
        self.holdings.claim_due('', ['fake'], [])

    def check(self):
        self.guard.check()
        self.spawned.join()


@pytest.fixture
def rig(keyring, register, spawned):
    return Rig(keyring, spawned)


@pytest.fixture
def row(register):
    return register('n1')


def release_late(live, to='other'):
    """The commit of a release that had been given up lands now; another one claims."""
    assert owners.release(live.uuid, 'me', live.epoch)
    if to is not None:
        assert owners.claim(live.uuid, to, None, live.epoch)


def test_what_is_ours_stays(rig, row):
    live = rig.claim(row)
    rig.check()
    assert rig.holdings.get(row.uuid) is live
    assert live.going is None


@pytest.mark.parametrize('to', ['other', None])
def test_a_node_that_became_anothers_is_let_go(rig, row, to):
    live = rig.claim(row)
    release_late(live, to)
    rig.check()
    assert rig.holdings.get(row.uuid) is None
    assert isinstance(live.going, errors.NotOwner)
    assert ('close',) in live.driver.calls
    assert nodes.get('n1').owner == to
    with pytest.raises(errors.NotOwner):
        rig.holdings.find(row.uuid)


def test_its_viewers_are_sent_on_and_its_sol_is_left_to_the_next_owner(rig, row):
    live = rig.claim(row)
    stream, _headers = live.console.watch(None, None, None, False, Deadline(5))
    rig.spawned.join()
    release_late(live)
    before = nodes.get('n1')
    rig.check()
    assert stream.ended == 'the node has another owner now'
    assert live.driver.handles[0].closed == [False]
    assert nodes.get('n1') == before


def test_a_node_that_is_ours_again_at_another_epoch_is_served_at_that(rig, row):
    live = rig.claim(row)
    release_late(live, 'me')
    rig.check()
    assert rig.holdings.get(row.uuid) is live
    assert (live.epoch, live.going) == (nodes.get('n1').owner_epoch, None)


def test_a_node_whose_bmc_was_changed_is_served_anew_and_no_call_is_made_twice(rig, row, keyring):
    live = rig.claim(row)
    sealed = secrets.seal_info(keyring.public, row.uuid, 'fake', '', {'password': 'new'})
    registrations.change(row.uuid, registrations.Obm('fake', '', *sealed))
    rig.check()
    rig.look()
    assert rig.holdings.get(row.uuid).driver.info == {'password': 'new'}
    assert isinstance(live.going, errors.OutcomeUnknown)


def test_an_answer_from_before_a_claim_takes_nothing_away(rig, row):
    before = nodes.standings([row.uuid])
    live = rig.claim(row)
    rig.audit.compare(before)
    rig.spawned.join()
    assert rig.holdings.get(row.uuid) is live
    assert live.going is None


def test_a_node_that_is_closed_already_is_left_to_who_closes_it(rig, row):
    live = rig.claim(row)
    manager.close(live, errors.NotOwner('the node moves'), 'the node moves', Deadline(5))
    owners.release(row.uuid, 'me', live.epoch)
    rig.check()
    assert rig.holdings.get(row.uuid) is live
    assert live.driver.calls.count(('close',)) == 1


def test_a_database_that_fails_meanwhile_takes_nothing_away(rig, row, monkeypatch):
    live = rig.claim(row)
    release_late(live)
    read = nodes.standings(rig.holdings.uuids)

    def fails(_uuids):
        raise fakes.DOWN

    monkeypatch.setattr(nodes, 'standings', fails)
    rig.audit.compare(read)
    assert rig.holdings.get(row.uuid) is live


def test_a_claim_that_was_committed_late_is_served(rig, row):
    assert owners.claim(row.uuid, 'me', None, 0)
    rig.clock.now += audit.UNSERVED
    rig.check()
    rig.look()
    assert rig.holdings.get(row.uuid).epoch == 1


def test_what_is_not_served_is_looked_for_now_and_then_only(rig, row, monkeypatch):
    asked = []
    monkeypatch.setattr(owners, 'uuids', lambda incarnation: asked.append(incarnation) or [])
    for _ in range(3):
        rig.check()
    assert asked == []
    rig.clock.now += audit.UNSERVED
    for _ in range(3):
        rig.check()
    assert asked == ['me']
