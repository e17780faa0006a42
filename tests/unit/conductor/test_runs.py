"""What a conductor runs for jobs: taken in its row first, begun once, told and written."""

import uuid

import pytest

from obmd.common import errors
from obmd.common.deadline import Deadline
from obmd.conductor import lease
from obmd.conductor import reports
from obmd.conductor import runs as local
from obmd.conductor import work
from obmd.conf import CONF
from obmd.db import jobs
from obmd.db import runs

ME, OTHER = 'a' * 32, 'b' * 32


class Live:
    def __init__(self, ident):
        self.uuid = self.name = ident


class Holdings:
    def __init__(self):
        self.missing = set()

    def find(self, ident):
        if ident in self.missing:
            raise errors.NotOwner('not mine')
        return Live(ident)


class Lease:
    state = lease.FRESH


class Executor:
    """Runs nothing: a test says how each run ends."""

    def __init__(self):
        self.begun = []
        self.killed = []
        self._done = {}

    def expect(self, spec, ahead):
        pass

    def start(self, works, begun, done):
        begun()
        for one in works:
            self.begun.append(one.position)
            self._done[one.position] = one, done

    def kill(self, one):
        self.killed.append((one.position, one.stopped))

    def end(self, position, outcome=runs.EXITED, status=0):
        one, done = self._done[position]
        done(one, outcome, status, None, 5)


def spawn(function, *args):
    """What goes on for ever is a test's to call."""
    if getattr(function, '__name__', None) == '_tell_host':
        function(*args)


@pytest.fixture(autouse=True)
def clean(database, monkeypatch):
    jobs.delete([job.uuid for job in jobs.page()])
    monkeypatch.setattr(local.threads, 'spawn', spawn)


@pytest.fixture
def executor():
    return Executor()


@pytest.fixture
def holdings():
    return Holdings()


@pytest.fixture
def told():
    return []


@pytest.fixture
def written(told):
    return reports.Reports(ME, lambda *report: told.append(report), lambda: 2000.0)


@pytest.fixture
def mine(holdings, executor, written):
    return local.Runs(ME, holdings, Lease(), executor, written, lambda: 1000.0)


@pytest.fixture
def max_jobs():
    yield lambda number: CONF.set_override('max_jobs', number, 'actions')
    CONF.clear_override('max_jobs', 'actions')


def make(total=4):
    ident = str(uuid.uuid4())
    rows = [runs.Run(ident, n, f'u{n}', f'n{n}') for n in range(total)]
    jobs.create(jobs.Job(ident, 'c', 1000.0, total), rows)
    return ident


def spec(job, width=100):
    return work.Spec(job, 'c', (), OTHER, 'host', 10.0, 1000, width)


def asked(*positions):
    return [(position, f'u{position}') for position in positions]


def begin(mine):
    while mine.start_due():
        pass


def test_a_run_is_ours_in_its_row_before_it_begins(mine, executor):
    job = make()
    seen = []
    start = executor.start
    executor.start = lambda *args: (seen.append(runs.of_job(job)[1]), start(*args))
    assert mine.take(spec(job), asked(1)) == {}
    begin(mine)
    assert executor.begun == [1]
    assert (seen[0].state, seen[0].runner) == ('running', ME)


def test_a_run_that_is_asked_for_twice_begins_once(mine, executor):
    job = make()
    mine.take(spec(job), asked(0))
    mine.take(spec(job), asked(0))
    begin(mine)
    mine.take(spec(job), asked(0))
    begin(mine)
    assert executor.begun == [0]


def test_what_another_conductor_has_taken_does_not_begin(mine, executor):
    job = make()
    runs.start(job, [0], OTHER, 1.0)
    mine.take(spec(job), asked(0, 1))
    begin(mine)
    assert executor.begun == [1]
    assert runs.of_job(job)[0].runner == OTHER


def test_what_was_cancelled_meanwhile_does_not_begin(mine, executor):
    job = make()
    mine.take(spec(job), asked(0))
    runs.end_queued(job, runs.CANCELLED, 130, 'x', 1.0)
    begin(mine)
    assert executor.begun == []


def test_nodes_that_are_anothers_are_refused(mine, holdings, executor):
    holdings.missing.add('u1')
    job = make()
    assert list(mine.take(spec(job), asked(0, 1))) == [1]
    begin(mine)
    assert executor.begun == [0]


def test_a_run_whose_node_moves_while_it_waits_is_left_to_another(mine, holdings, executor):
    job = make()
    mine.take(spec(job), asked(0, 1))
    holdings.missing.add('u0')
    begin(mine)
    assert executor.begun == [1]
    assert runs.of_job(job)[0].state == 'queued'
    assert list(mine.take(spec(job), asked(0))) == [0]


def test_a_run_begins_on_the_node_as_it_is_then(mine, holdings, monkeypatch):
    job, lives = make(), []
    mine.take(spec(job), asked(0))
    new = Live('u0')
    monkeypatch.setattr(holdings, 'find', lambda _ident: new)
    monkeypatch.setattr(mine._executor, 'start', lambda those, *_: lives.append(those[0].live))
    begin(mine)
    assert lives == [new]


def test_no_more_begin_than_the_conductor_has_places(mine, executor, max_jobs):
    max_jobs(3)
    job, other = make(), make()
    mine.take(spec(job), asked(0, 1, 2, 3))
    mine.take(spec(other), asked(0, 1, 2, 3))
    begin(mine)
    assert len(executor.begun) == 3
    assert runs.counts(job).running + runs.counts(other).running == 3
    assert runs.counts(job).running in (1, 2)
    executor.end(executor.begun[0])
    begin(mine)
    assert len(executor.begun) == 4


def test_a_job_of_which_nothing_is_taken_keeps_no_other_waiting(mine, holdings, executor, max_jobs):
    max_jobs(1)
    holdings.missing.add('u1')
    job, refused, third = make(), make(), make()
    mine.take(spec(job), asked(0))
    begin(mine)
    mine.take(spec(refused), asked(1))
    mine.start_due()
    mine._forget_shares()
    mine.take(spec(third), asked(2))
    executor.end(0)
    begin(mine)
    assert executor.begun == [0, 2]


def test_runs_that_an_unexpected_error_kept_back_begin_later(mine, executor, monkeypatch):
    first, second, start = make(), make(), runs.start

    def broken(*_):
        raise RuntimeError('the server is read-only')

    monkeypatch.setattr(runs, 'start', broken)
    mine.take(spec(first), asked(0))
    mine.take(spec(second), asked(1))
    begin(mine)
    monkeypatch.setattr(runs, 'start', start)
    begin(mine)
    assert executor.begun == [0, 1]


def test_long_scripts_are_not_started_ahead(mine, executor):
    job = make(100)
    mine.take(spec(job, width=2), asked(*range(50)))
    begin(mine)
    assert executor.begun == [0, 1]


def test_short_scripts_are_started_ahead_as_fast_as_they_end(mine, executor):
    job = make(100)
    mine._monotonic = lambda: 5.0
    mine.take(spec(job, width=2), asked(*range(50)))
    begin(mine)
    executor.end(0)
    executor.end(1)
    begin(mine)
    assert executor.begun == [0, 1, 2, 3, 4, 5]
    mine._monotonic = lambda: 6.0
    for position in (2, 3, 4, 5):
        mine._monotonic = lambda position=position: 5.0 + position
        executor.end(position)
    begin(mine)
    assert len(executor.begun) <= 6 + 3


def test_without_a_fresh_lease_nothing_begins(mine, executor, monkeypatch):
    job = make()
    mine.take(spec(job), asked(0))
    mine._lease.state = lease.FENCED
    begin(mine)
    assert executor.begun == []
    assert runs.of_job(job)[0].state == 'queued'
    mine._lease.state = lease.FRESH
    begin(mine)
    assert executor.begun == [0]


def test_who_lost_his_lease_while_he_took_a_run_does_not_begin_it(mine, executor, monkeypatch):
    job, start = make(), runs.start

    def slow(*args):
        mine._lease.state = lease.SUSPENDED
        return start(*args)

    monkeypatch.setattr(runs, 'start', slow)
    mine.take(spec(job), asked(0))
    begin(mine)
    assert executor.begun == []


def test_a_commit_whose_answer_was_lost_begins_once_all_the_same(mine, executor, monkeypatch):
    job, start, tries = make(), runs.start, []

    def deaf(*args):
        tries.append(start(*args))
        if len(tries) == 1:
            raise errors.Unavailable('the answer was lost')
        return tries[-1]

    monkeypatch.setattr(runs, 'start', deaf)
    mine.take(spec(job), asked(0, 1))
    begin(mine)
    assert executor.begun == []
    begin(mine)
    assert executor.begun == [0, 1]
    assert tries == [[0, 1], [0, 1]]


def test_how_it_ended_is_told_and_written(mine, executor, written, told):
    job = make()
    mine.take(spec(job), asked(2))
    begin(mine)
    executor.end(2, status=3)
    written._tell_all()
    written._write_all()
    end = runs.End(job, 2, runs.EXITED, 3, None, 5)
    assert told == [(spec(job), [2], [end])]
    row = runs.of_job(job)[2]
    assert (row.state, row.outcome, row.status, row.ended_at) == ('ended', 'exited', 3, 2000.0)


def test_an_end_that_cannot_be_written_is_kept(mine, executor, written, monkeypatch):
    job, end = make(), runs.end
    mine.take(spec(job), asked(0))
    begin(mine)
    executor.end(0)
    monkeypatch.setattr(reports, 'PAUSE', 0)

    def gone(*_):
        raise errors.Unavailable('no database')

    monkeypatch.setattr(runs, 'end', gone)
    written._write_all()
    assert written.has((job, 0))
    monkeypatch.setattr(runs, 'end', end)
    written._write_all()
    assert runs.of_job(job)[0].state == 'ended'


def test_an_end_that_comes_after_the_run_was_lost_is_only_noted(mine, executor, written):
    job = make()
    mine.take(spec(job), asked(0))
    begin(mine)
    runs.lose(job, ME, 1.0)
    executor.end(0, status=0)
    written._write_all()
    row = runs.of_job(job)[0]
    assert (row.outcome, row.status) == ('lost', 1)
    assert 'said later: exited, status 0' in row.reason


def test_a_cancel_kills_what_runs_and_forgets_what_waits(mine, executor, written, max_jobs):
    max_jobs(1)
    job = make()
    mine.take(spec(job), asked(0, 1))
    begin(mine)
    mine.cancel(job)
    assert executor.killed == [(0, 'cancelled')]
    executor.end(0, runs.SIGNALLED, 143)
    begin(mine)
    written._write_all()
    first, second = runs.of_job(job)[:2]
    assert (first.outcome, first.status) == ('cancelled', 130)
    assert executor.begun == [0]
    assert second.state == 'queued' or second.outcome == 'cancelled'


def test_a_cancel_reaches_what_begins_at_that_moment(mine, executor, written, monkeypatch):
    job, start = make(), runs.start

    def slow(*args):
        won = start(*args)
        mine.cancel(job)
        return won

    monkeypatch.setattr(runs, 'start', slow)
    mine.take(spec(job), asked(0, 1))
    begin(mine)
    assert executor.killed == [(0, 'cancelled'), (1, 'cancelled')]
    executor.end(0, runs.SIGNALLED, 143)
    written._write_all()
    assert runs.of_job(job)[0].outcome == 'cancelled'


def test_a_cancel_reaches_what_begins_once_its_lost_answer_is_settled(mine, executor, monkeypatch):
    job, start, tries = make(), runs.start, []

    def deaf(*args):
        tries.append(start(*args))
        if len(tries) == 1:
            mine.cancel(job)
            raise errors.Unavailable('the answer was lost')
        return tries[-1]

    monkeypatch.setattr(runs, 'start', deaf)
    mine.take(spec(job), asked(0))
    begin(mine)
    begin(mine)
    assert executor.killed == [(0, 'cancelled')]


def test_a_cancel_is_remembered_for_as_long_as_something_is_known_of_the_job(mine, executor):
    job = make()
    mine.take(spec(job), asked(0))
    begin(mine)
    mine.cancel(job)
    mine._forget_shares()
    assert mine._cancelled == {job}
    executor.end(0)
    mine._forget_shares()
    assert mine._cancelled == set()


def test_a_run_that_had_ended_by_itself_was_not_cancelled(mine, executor, written):
    job = make()
    mine.take(spec(job), asked(0))
    begin(mine)
    mine.cancel(job)
    executor.end(0, runs.EXITED, 0)
    written._write_all()
    assert runs.of_job(job)[0].outcome == 'exited'


def test_a_stop_loses_what_runs_and_leaves_what_has_not_begun(mine, executor, written):
    job = make()
    mine.take(spec(job, width=1), asked(0, 1))
    begin(mine)
    mine.stop(Deadline(0.01))
    written._write_all()
    rows = runs.of_job(job)
    assert (rows[0].outcome, rows[0].reason) == ('lost', local.STOPPED)
    assert (rows[1].state, rows[1].runner) == ('queued', None)
    with pytest.raises(errors.NotOwner):
        mine.take(spec(job), asked(2))


def test_another_owner_of_the_job_is_told_from_then_on(mine, executor, written, told):
    job = make()
    mine.take(spec(job), asked(0))
    begin(mine)
    new = work.Spec(job, 'c', (), ME, 'elsewhere', 10.0, 1000, 100)
    mine.adopt(new)
    executor.end(0)
    written._tell_all()
    assert told[-1][0].host == 'elsewhere'


def test_a_row_that_nobody_began_is_queued_again(mine):
    job = make()
    runs.start(job, [3], ME, 1.0)
    strays = mine._look_for_strays(set())
    assert strays == {(job, 3)}
    assert runs.of_job(job)[3].state == 'running'
    mine._look_for_strays(strays)
    assert runs.of_job(job)[3].state == 'queued'


def test_an_order_that_comes_while_a_row_is_queued_again_waits(mine, executor, monkeypatch):
    job, put_back = make(), runs.put_back
    runs.start(job, [0], ME, 1.0)
    mine._doubtful.add((job, 0))
    strays = mine._look_for_strays(set())

    def late(*args):
        mine.take(spec(job), asked(0))
        begin(mine)
        return put_back(*args)

    monkeypatch.setattr(runs, 'put_back', late)
    mine._look_for_strays(strays)
    assert executor.begun == []
    assert mine._doubtful == set()
    monkeypatch.setattr(runs, 'put_back', put_back)
    mine.take(spec(job), asked(0))
    begin(mine)
    assert executor.begun == [0]
    assert runs.of_job(job)[0].state == 'running'


def test_one_report_at_a_time_is_on_its_way_to_a_host(mine, executor, written, told):
    job, other = make(), make()
    for one in (job, other):
        mine.take(spec(one), asked(0, 1))
    begin(mine)
    tell, seen = written._tell, []

    def slow(*report):
        seen.append(len(written._busy))
        if len(seen) == 1:
            written.started(spec(job), [3])
            written._tell_all()  # while one is on its way
        tell(*report)

    written._tell = slow
    written._tell_all()
    assert len(told) == 2
    written._tell_all()
    assert told[-1][1] == [3]
