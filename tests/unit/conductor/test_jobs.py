"""An owner of jobs: what it claims, whom it gives runs, what it does when somebody is gone."""

import types
import uuid

import pytest

from obmd.common import errors
from obmd.common import rpc
from obmd.conductor import giving
from obmd.conductor import jobs as owners
from obmd.conductor import lease
from obmd.conductor import routing
from obmd.db import conductors
from obmd.db import jobs
from obmd.db import owners as holders
from obmd.db import runs

ME, OTHER, THIRD = 'a' * 32, 'b' * 32, 'c' * 32


class Local:
    """What this conductor runs itself."""

    def __init__(self):
        self.taken = []
        self.refused = {}
        self.cancelled = []

    def take(self, spec, asked, ahead):
        self.taken += [position for position, _uuid in asked]
        return {p: self.refused[p] for p, _uuid in asked if p in self.refused}

    def cancel(self, job):
        self.cancelled.append(job)

    def adopt(self, spec):
        pass


class Client:
    """Calls to other conductors."""

    def __init__(self):
        self.calls = []
        self.told = []
        self.answer = {'refused': []}

    def call(self, host, method, timeout, **args):
        self.calls.append((host, method, [position for position, _uuid in args['asked']]))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def send(self, host, method, **args):
        self.told.append((host, method))


class Lease:
    state = lease.FRESH

    def require(self):
        pass


def conductor(incarnation, host):
    return conductors.Conductor(incarnation, host, '', ('fake',), 'http://x')


class World:
    """One owner and whom it knows."""

    def __init__(self):
        self.me = conductor(ME, 'here')
        self.others = {OTHER: conductor(OTHER, 'there'), THIRD: conductor(THIRD, 'yonder')}
        self.router = routing.Router(32, 1.0)
        self.local, self.client = Local(), Client()
        self.jobs = owners.Jobs(self.me, Lease(), self.router, self.local, self.client)
        for one in (self.me, *self.others.values()):
            conductors.register(one)
        self.see(ME, OTHER, THIRD)

    def see(self, *living):
        known = {ME: self.me, **self.others}
        self.router.look([known[one] for one in living], list(known.values()))

    def own(self, job):
        """Claim it, and step by step do what its thread would do."""
        row = jobs.get(job)
        epoch = jobs.claim(job, ME, row.owner, row.owner_epoch)
        owned = owners.one_job.OwnedJob(jobs.get(job), epoch, runs.of_job(job))
        self.jobs._owned[job] = owned
        return owned

    def give(self, owned):
        spec = self.jobs._spec(owned.row)
        self.jobs._giving.give(spec, owned, owned.due())


@pytest.fixture
def world(database, monkeypatch):
    """Calls to others are made at once; what goes on in a job's own thread is a test's."""

    def spawn(function, *args):
        if getattr(function, '__name__', None) != '_carry_on':
            function(*args)

    monkeypatch.setattr(giving.threads, 'spawn', spawn)
    jobs.delete([job.uuid for job in jobs.page()])
    return World()


@pytest.fixture
def make(register):
    def make(*node_owners, **values):
        """A job on a node for each: the incarnation that owns it."""
        ident, rows = str(uuid.uuid4()), []
        for position, owner in enumerate(node_owners):
            row = register(f'{ident[:8]}-{position}')
            if owner is not None:
                holders.claim(row.uuid, owner, None, row.owner_epoch)
            rows.append(runs.Run(ident, position, row.uuid, row.name))
        rows = rows or [runs.Run(ident, 0)]
        jobs.create(jobs.Job(ident, 'c', 1.0, len(rows), **values), rows)
        return ident

    return make


def state_of(owned, position=0):
    return owned.part(position).state


def test_each_run_goes_to_the_owner_of_its_node(world, make):
    owned = world.own(make(ME, OTHER, ME))
    world.give(owned)
    assert world.local.taken == [0, 2]
    assert world.client.calls == [('there', 'run_job', [1])]


def test_a_run_without_a_node_stays_here(world, make):
    owned = world.own(make())
    world.give(owned)
    assert world.local.taken == [0]


def test_a_run_whose_node_has_moved_is_offered_to_the_next_owner(world, make):
    owned = world.own(make(OTHER))
    world.client.answer = {'refused': [[0, errors.NotOwner('it moved').to_wire()]]}
    world.give(owned)
    assert state_of(owned) == 'queued'
    assert owned.pause() > 0


def test_a_run_that_nobody_takes_for_a_minute_was_not_started(world, make):
    owned = world.own(make(OTHER))
    world.see(ME)
    owned.part(0).failing_since = -1000.0
    world.give(owned)
    (row,) = runs.of_job(owned.uuid)
    assert (row.outcome, row.status) == ('not_started', 126)
    assert 'there' in row.reason
    assert owned.all_ended


@pytest.mark.parametrize('owner', [ME, OTHER])
def test_the_minute_begins_anew_once_a_conductor_takes_the_run(world, make, owner):
    owned = world.own(make(owner))
    owned.part(0).failing_since = -1000.0
    world.give(owned)
    assert owned.part(0).failing_since is None


def test_the_minute_goes_on_while_no_conductor_takes_the_run(world, make):
    owned = world.own(make(OTHER))
    owned.part(0).failing_since = since = giving.time.monotonic()
    world.client.answer = {'refused': [[0, errors.NotOwner('it moved').to_wire()]]}
    world.give(owned)
    assert owned.part(0).failing_since == since


def test_what_a_conductor_cannot_run_says_why(world, make):
    owned = world.own(make(ME))
    world.local.refused[0] = errors.SealMismatch('the seal is broken')
    world.give(owned)
    (row,) = runs.of_job(owned.uuid)
    assert (row.outcome, row.reason) == ('not_started', 'the seal is broken')


def test_a_call_without_an_answer_leaves_the_run_where_it_may_be(world, make):
    owned = world.own(make(OTHER))
    world.client.answer = rpc.NoAnswer('there')
    world.give(owned)
    assert state_of(owned) == 'given'
    assert world.jobs._compare(owned)
    assert state_of(owned) == 'given'


def test_a_run_that_was_given_and_never_began_is_given_again(world, make):
    owned = world.own(make(OTHER))
    world.give(owned)
    owned.part(0).given_at -= giving.AGAIN + 1
    assert world.jobs._compare(owned)
    assert state_of(owned) == 'queued'


def test_a_run_that_was_given_to_a_dead_conductor_goes_to_another(world, make):
    owned = world.own(make(OTHER))
    world.give(owned)
    conductors.mark_dead(OTHER)
    world.see(ME, THIRD)
    assert world.jobs._compare(owned)
    assert state_of(owned) == 'queued'


def test_a_run_that_began_at_a_dead_conductor_is_lost(world, make):
    owned = world.own(make(OTHER))
    world.give(owned)
    runs.start(owned.uuid, [0], OTHER, 1.0)
    conductors.mark_dead(OTHER)
    world.see(ME)
    assert world.jobs._compare(owned)
    assert owned.part(0).outcome == 'lost'


def test_a_conductor_that_is_only_not_seen_has_lost_nothing(world, make):
    owned = world.own(make(OTHER))
    runs.start(owned.uuid, [0], OTHER, 1.0)
    world.see(ME)
    assert world.jobs._compare(owned)
    assert runs.of_job(owned.uuid)[0].state == 'running'


def test_a_dead_conductors_runs_of_all_jobs_are_lost(world, make):
    job, other = make(OTHER), make(OTHER)
    for one in (job, other):
        runs.start(one, [0], OTHER, 1.0)
    world.jobs.claim_due({OTHER})
    assert {runs.of_job(one)[0].outcome for one in (job, other)} == {'lost'}


def test_the_jobs_of_a_dead_conductor_are_claimed_by_whom_the_ring_names(world, make):
    made = [make(ME) for _ in range(8)]
    for job in made:
        jobs.claim(job, THIRD, None, 0)
    world.see(ME, OTHER)
    world.jobs.claim_due({THIRD})
    claimed = {job for job in made if jobs.get(job).owner == ME}
    assert claimed == {job for job in made if world.jobs.is_mine(job)}


def test_the_jobs_of_a_live_conductor_stay_its_own(world, make):
    job = make(ME)
    jobs.claim(job, THIRD, None, 0)
    world.see(ME)
    world.jobs.claim_due(set())
    assert jobs.get(job).owner == THIRD


def gone(*_args):
    raise errors.Unavailable('the database does not answer')


def test_a_job_goes_on_though_the_rows_could_not_be_read_after_its_claim(world, make, monkeypatch):
    job, of_job = make(ME), runs.of_job
    world.see(ME)
    monkeypatch.setattr(runs, 'of_job', gone)
    with pytest.raises(errors.Unavailable):
        world.jobs.claim_due(set())
    monkeypatch.setattr(runs, 'of_job', of_job)
    world.jobs.claim_due(set())
    assert list(world.jobs._owned) == [job]


@pytest.mark.parametrize('news', ['changed', 'watch'])
def test_a_job_goes_on_though_the_answer_to_its_claim_was_lost(world, make, monkeypatch, news):
    job, claim = make(ME), jobs.claim
    monkeypatch.setattr(jobs, 'claim', lambda *args: gone(claim(*args)))
    with pytest.raises(errors.Unavailable):
        world.jobs.changed(job)
    getattr(world.jobs, news)(job)
    assert jobs.get(job).owner == ME
    assert list(world.jobs._owned) == [job]


def test_a_job_that_has_ended_is_not_owned_again(world, make):
    owned = world.own(make(ME))
    runs.end_queued(owned.uuid, runs.NOT_STARTED, 126, 'x', 1.0)
    jobs.end(owned.uuid, ME, owned.epoch, 2.0)
    world.jobs._owned.clear()
    world.jobs._own(owned.uuid, owned.epoch)
    assert len(world.jobs) == 0


def test_a_job_that_is_anothers_by_now_is_let_go(world, make):
    owned = world.own(make(ME))
    jobs.claim(owned.uuid, OTHER, ME, owned.epoch)
    assert not world.jobs._compare(owned)


def test_a_cancel_ends_what_waits_and_tells_who_runs_some(world, make):
    owned = world.own(make(ME, OTHER, ME, run_limit=2))
    world.give(owned)
    world.jobs._cancel(world.jobs._spec(owned.row), owned)
    assert runs.of_job(owned.uuid)[2].outcome == 'cancelled'
    assert world.local.cancelled == [owned.uuid]
    assert ('there', 'cancel_runs') in world.client.told


def test_what_is_refused_but_has_begun_is_known_to_run(world, make):
    owned = world.own(make(OTHER))
    world.client.answer = {'refused': [[0, errors.SealMismatch('the seal is broken').to_wire()]]}
    runs.start(owned.uuid, [0], OTHER, 1.0)
    world.give(owned)
    assert state_of(owned) == 'running'
    world.jobs._cancel(world.jobs._spec(owned.row), owned)
    assert ('there', 'cancel_runs') in world.client.told


def test_a_cancel_tells_who_has_begun_a_run_that_seems_to_wait(world, make):
    owned = world.own(make(OTHER))
    runs.start(owned.uuid, [0], OTHER, 1.0)
    world.jobs._cancel(world.jobs._spec(owned.row), owned)
    assert state_of(owned) == 'running'
    assert world.client.told == [('there', 'cancel_runs')]


@pytest.mark.parametrize('state', ['running', 'queued'])
def test_rows_that_stay_otherwise_are_believed_in_the_end(world, make, monkeypatch, state):
    pauses = []
    clock = types.SimpleNamespace(monotonic=lambda: 5.0, sleep=pauses.append)
    monkeypatch.setattr(owners, 'time', clock)
    owned = world.own(make(OTHER))
    if state == 'running':
        runs.start(owned.uuid, [0], OTHER, 1.0)
    owned.advance([(0, runs.ENDED, OTHER, runs.EXITED, 3, None, 0)])
    owned.bell = Bell(owned, 1)
    world.jobs._carry_on(owned)
    assert pauses[:3] == [0.04, 0.08, 0.16]
    assert max(pauses) == owners.AGAIN_MAX
    assert len(pauses) == owners.TRIES
    assert state_of(owned) == {'running': 'running', 'queued': 'given'}[state]
    assert not owned.all_ended


class Bell:
    """Ends the work on a job after so many rounds."""

    def __init__(self, owned, rounds):
        self._owned = owned
        self._left = rounds

    def clear(self):
        pass

    set = clear

    def wait(self, _seconds):
        self._left -= 1
        if not self._left:
            self._owned.finish()


def test_a_cancel_is_told_again_while_something_runs(world, make, monkeypatch):
    monkeypatch.setattr(owners, 'COMPARE', -1.0)
    owned = world.own(make(OTHER))
    runs.start(owned.uuid, [0], OTHER, 1.0)
    owned.advance([(0, runs.RUNNING, OTHER, None, None, None, 0)])
    jobs.cancel(owned.uuid, 2.0)
    world.jobs.changed(owned.uuid)
    owned.bell = Bell(owned, 3)
    world.jobs._carry_on(owned)
    assert world.client.told == [('there', 'cancel_runs')] * 3


def test_a_new_owner_tells_everybody(world, make):
    job = make(ME)
    jobs.claim(job, OTHER, None, 0)
    owned = world.own(job)
    world.jobs._giving.adopt(world.jobs._spec(owned.row), owned)
    assert world.client.told == [('there', 'adopt_job'), ('yonder', 'adopt_job')]


def test_reports_of_runs_are_told_to_watchers(world, make):
    owned = world.own(make(OTHER))
    world.give(owned)
    stream = world.jobs.watch(owned.uuid)
    end = runs.End(owned.uuid, 0, runs.EXITED, 4, None, 9)
    world.jobs.took(owned.uuid, OTHER, [0], [end])
    owned.finish()
    assert b'"exited", 4' in b''.join(stream)


def test_a_job_that_is_not_ours_cannot_be_watched(world, make):
    job = make(ME)
    jobs.claim(job, OTHER, None, 0)
    with pytest.raises(errors.NotOwner):
        world.jobs.watch(job)


def test_a_job_ends_when_its_rows_say_so(world, make):
    owned = world.own(make(OTHER))
    owned.advance([(0, runs.ENDED, OTHER, runs.EXITED, 3, None, 0)])
    assert not world.jobs._end(owned)
    runs.start(owned.uuid, [0], OTHER, 1.0)
    runs.end(OTHER, [runs.End(owned.uuid, 0, runs.EXITED, 3)], 2.0)
    assert world.jobs._end(owned)
    assert (jobs.get(owned.uuid).state, jobs.get(owned.uuid).status) == ('ended', 3)
