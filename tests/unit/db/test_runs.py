"""What ``obmd.db.runs`` promises; also run on real servers (tests/functional/db)."""

import uuid

import pytest

from obmd.db import jobs
from obmd.db import runs

A, B = 'a' * 32, 'b' * 32
COUNT = 1203


@pytest.fixture(autouse=True)
def empty(database):
    jobs.delete([job.uuid for job in jobs.page()])


def make(total=4):
    ident = str(uuid.uuid4())
    rows = [runs.Run(ident, n, None, f'n{n}') for n in range(total)]
    jobs.create(jobs.Job(ident, 'c', 1000.0, total), rows)
    return ident


def states(job):
    return [run.state for run in runs.of_job(job)]


def test_only_queued_runs_start_and_only_for_one():
    job = make()
    assert runs.start(job, [1, 0, 9], A, 1001.0) == [0, 1]
    assert runs.start(job, [0, 1, 2], B, 1002.0) == [2]
    assert runs.start(job, [0, 1], A, 1003.0) == []
    first = runs.of_job(job)[0]
    assert (first.state, first.runner, first.started_at) == ('running', A, 1001.0)
    assert states(job) == ['running', 'running', 'running', 'queued']


def test_runs_that_nobody_started_go_back_to_the_queue():
    job = make()
    runs.start(job, [0, 1], A, 1001.0)
    assert runs.put_back(job, [0, 1, 2], B) == 0
    assert runs.put_back(job, [1, 2], A) == 1
    assert runs.of_job(job)[1] == runs.Run(job, 1, None, 'n1')
    assert runs.start(job, [1], B, 1002.0) == [1]


def test_how_runs_ended_is_written():
    job, other = make(), make()
    for one in (job, other):
        runs.start(one, range(4), A, 1001.0)
    ends = [
        runs.End(job, 0, runs.EXITED, 0, None, 12),
        runs.End(job, 1, runs.SIGNALLED, 137, 'signal 9', 2**40),
        runs.End(job, 3, runs.EXITED, 0, None, 12),
        runs.End(other, 2, runs.NOT_STARTED, 126, 'no\0 such \ud800 file'),
    ]
    assert runs.end(A, ends, 1010.0) == []
    base = runs.Run(job, 0, None, 'n0', 'ended', 'exited', 0, None, A, 1001.0, 1010.0, 12)
    assert runs.of_job(job, states=['ended']) == [
        base,
        base._replace(
            position=1,
            node_name='n1',
            outcome='signalled',
            status=137,
            reason='signal 9',
            output_bytes=2**40,
        ),
        base._replace(position=3, node_name='n3'),
    ]
    assert runs.of_job(other)[2].reason == 'no such ? file'
    assert runs.running_under(A) == [
        run for one in sorted([job, other]) for run in runs.of_job(one, states=['running'])
    ]


def test_what_is_written_twice_is_not_late():
    job = make()
    runs.start(job, [0, 1], A, 1001.0)
    assert runs.end(A, [runs.End(job, 0, runs.EXITED, 3)], 1010.0) == []
    again = [runs.End(job, 0, runs.EXITED, 3), runs.End(job, 1, runs.EXITED, 3)]
    assert runs.end(A, again, 1011.0) == []
    assert [run.ended_at for run in runs.of_job(job)[:2]] == [1010.0, 1011.0]


def test_a_late_result_changes_no_outcome_and_is_told():
    job = make()
    runs.start(job, [0, 1], A, 1001.0)
    assert runs.lose(job, A, 1005.0) == [(job, 0), (job, 1)]
    late = runs.End(job, 0, runs.EXITED, 0, None, 9)
    foreign = runs.End(job, 2, runs.EXITED, 0)
    assert runs.end(A, [late, foreign], 1010.0) == [late, foreign]
    first = runs.of_job(job)[0]
    assert (first.outcome, first.status, first.reason) == ('lost', 1, runs.LOST_REASON)
    assert runs.annotate(job, 0, 'told later: exited 0')
    assert runs.of_job(job)[0].reason == f'{runs.LOST_REASON}; told later: exited 0'
    assert not runs.annotate(job, 2, 'queued still')


def test_the_runs_of_a_dead_conductor_are_lost_and_no_others():
    job, other = make(), make()
    runs.start(job, [0, 1], A, 1001.0)
    runs.start(job, [2], B, 1001.0)
    runs.start(other, [0], A, 1001.0)
    assert runs.lose(job, A, 1005.0) == [(job, 0), (job, 1)]
    assert runs.lose(None, A, 1006.0, 'its conductor was stopped') == [(other, 0)]
    assert states(job) == ['ended', 'ended', 'running', 'queued']
    assert runs.of_job(other)[0].reason == 'its conductor was stopped'
    assert runs.start(job, [0, 1], B, 1007.0) == []


def test_queued_runs_end_without_having_run():
    job = make()
    runs.start(job, [0], A, 1001.0)
    assert runs.end_queued(job, runs.NOT_STARTED, 1, 'no owner', 1002.0, positions=[0, 1]) == 1
    assert runs.end_queued(job, runs.CANCELLED, 130, 'cancelled', 1003.0) == 2
    found = runs.of_job(job)
    assert [run.outcome for run in found] == [None, 'not_started', 'cancelled', 'cancelled']
    assert (found[1].reason, found[1].started_at, found[1].ended_at) == ('no owner', None, 1002.0)


def test_counts_tell_what_failed():
    job, other = make(), make(1)
    runs.start(job, [0, 1, 2], A, 1001.0)
    runs.end(A, [runs.End(job, 0, runs.EXITED, 0), runs.End(job, 1, runs.EXITED, 2)], 1002.0)
    assert runs.counts(job) == runs.Counts(queued=1, running=1, ended=2, failed=1)
    assert runs.counts_among([job, other, 'none']) == {
        job: runs.counts(job),
        other: runs.Counts(queued=1),
    }
    assert runs.counts('none') == runs.Counts()


def test_runs_are_read_page_by_page():
    job = make()
    runs.start(job, [1, 3], A, 1001.0)
    assert [run.position for run in runs.of_job(job, limit=2)] == [0, 1]
    assert [run.position for run in runs.of_job(job, after=1, limit=9)] == [2, 3]
    assert [run.position for run in runs.of_job(job, ['running'], after=1)] == [3]


def test_many_runs_go_through_all_steps():
    job = make(COUNT)
    assert runs.start(job, range(COUNT), A, 1001.0) == list(range(COUNT))
    ends = [runs.End(job, n, runs.EXITED, n % 2) for n in range(COUNT)]
    assert runs.end(A, ends, 1002.0) == []
    assert runs.counts(job) == runs.Counts(0, 0, COUNT, COUNT // 2)
