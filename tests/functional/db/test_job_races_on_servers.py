"""Conductors that want the same runs of a job at once, on each database: no run starts twice."""

import functools
import random
import time
import uuid

from obmd.common import errors
from obmd.db import jobs
from obmd.db import runs
from tests.functional.db.test_races_on_servers import at_once
from tests.functional.db.test_races_on_servers import database  # noqa: F401

CONDUCTORS = [letter * 32 for letter in 'abcd']


def make(total):
    ident = str(uuid.uuid4())
    rows = [runs.Run(ident, n, None, f'n{n}') for n in range(total)]
    jobs.create(jobs.Job(ident, 'c', time.time(), total), rows)
    return ident


def test_a_run_is_started_by_one(database):  # noqa: F811
    job = make(300)

    def play(conductor, seed):
        chance, mine = random.Random(seed), []
        for _ in range(12):
            mine += runs.start(job, chance.sample(range(300), 80), conductor, 1.0)
        return mine

    works = [functools.partial(play, one, seed) for seed, one in enumerate(CONDUCTORS)]
    started = at_once(*works)
    everybodys = [position for mine in started for position in mine]
    assert len(everybodys) == len(set(everybodys))
    for conductor, mine in zip(CONDUCTORS, started, strict=True):
        rows = runs.running_under(conductor)
        assert sorted(mine) == [run.position for run in rows]


def test_a_job_has_one_owner(database):  # noqa: F811
    for _ in range(5):
        job = make(1)
        works = [functools.partial(jobs.claim, job, one, None, 0) for one in CONDUCTORS]
        assert sorted(at_once(*works), key=str) == [1, None, None, None]


def test_a_run_is_started_or_cancelled_never_both(database):  # noqa: F811
    job = make(200)

    def start():
        return [
            one
            for n in range(0, 200, 10)
            for one in runs.start(job, range(n, n + 10), 'a' * 32, 1.0)
        ]

    def cancel():
        return sum(
            runs.end_queued(job, runs.CANCELLED, 130, 'cancelled', 2.0, range(n, n + 10))
            for n in reversed(range(0, 200, 10))
        )

    started, cancelled = at_once(start, cancel)
    assert len(started) + cancelled == 200
    assert runs.counts(job) == runs.Counts(0, len(started), cancelled, cancelled)


def test_a_run_is_lost_or_told_never_both(database):  # noqa: F811
    job, conductor = make(200), 'a' * 32
    runs.start(job, range(200), conductor, 1.0)

    def tell():
        late = []
        for n in range(0, 200, 10):
            ends = [runs.End(job, one, runs.EXITED, 0) for one in range(n, n + 10)]
            late += runs.end(conductor, ends, 2.0)
        return late

    late, lost = at_once(tell, lambda: runs.lose(job, conductor, 3.0))
    found = runs.of_job(job)
    assert {run.state for run in found} == {runs.ENDED}
    outcomes = [run.outcome for run in found]
    assert outcomes.count(runs.LOST) == len(lost)
    assert {one.position for one in late} == {position for _, position in lost}


def test_a_job_ends_once_after_its_last_run(database):  # noqa: F811
    for _ in range(5):
        job, owner = make(4), 'a' * 32
        jobs.claim(job, owner, None, 0)
        runs.start(job, range(4), owner, 1.0)

        def finish(position, job=job, owner=owner):
            runs.end(owner, [runs.End(job, position, runs.EXITED, position)], 2.0)
            try:
                return jobs.end(job, owner, 1, 3.0)
            except errors.Unavailable:
                return None

        ended = at_once(*(functools.partial(finish, position) for position in range(4)))
        assert all(one is None or one.status == 3 for one in ended), ended
        assert (jobs.end(job, owner, 1, 4.0).status, jobs.get(job).state) == (3, 'ended')
