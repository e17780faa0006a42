"""One job in its owner's memory: what is due, what is news, what watchers see."""

import json

import pytest

from obmd.conductor import job as jobs_own
from obmd.db import jobs
from obmd.db import runs

A, B = 'a' * 32, 'b' * 32


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make(clock):
    def make(total=10, states=(), **row):
        rows = [runs.Run('j', n, f'u{n}', f'n{n}') for n in range(total)]
        for position, state, runner in states:
            rows[position] = rows[position]._replace(state=state, runner=runner)
        return jobs_own.OwnedJob(jobs.Job('j', 'c', 0.0, total, **row), 1, rows, clock)

    return make


def give(owned, runner=A):
    """:returns: list of the positions that ``runner`` has been given."""
    parts = owned.due()
    return [part.position for part in parts if owned.give_to(part, runner)]


def end(owned, *positions, status=0, runner=A):
    owned.advance((p, runs.ENDED, runner, runs.EXITED, status, None, 0) for p in positions)


def watched(stream):
    stream.finish()
    return [json.loads(line) for line in b''.join(stream).splitlines()]


def test_one_conductor_has_the_next_runs_ready_and_keeps_the_limit_itself(make):
    owned = make(total=100, run_limit=4)
    assert give(owned) == [0, 1, 2, 3]
    assert give(owned) == list(range(4, 4 + jobs_own.AHEAD))
    assert give(owned) == []


def test_several_conductors_have_no_more_than_may_run_at_once(make):
    owned = make(total=100, run_limit=4)
    parts = owned.due()
    for part in parts:
        if not owned.give_to(part, (A, B)[part.position % 2]):
            owned.put_back(part)
    held = owned.active()
    assert 0 < len(held) <= 4
    end(owned, *[part.position for part in held])
    for _ in range(20):
        parts = owned.due()
        for part in parts:
            assert owned.give_to(part, (A, B)[part.position % 2])
        assert len(owned.active()) <= 4
        end(owned, parts[0].position)


def test_a_pause_between_starts_is_kept(make, clock):
    owned = make(total=3, stagger=2.0)
    assert give(owned) == [0]
    assert give(owned) == []
    assert owned.pause() == 2.0
    clock.now += 2.0
    assert give(owned) == [1]


def test_what_runs_already_counts(make):
    owned = make(total=5, run_limit=2, states=[(0, runs.RUNNING, A), (1, runs.RUNNING, B)])
    assert give(owned) == []
    end(owned, 0)
    assert give(owned) == [2]


def test_a_run_that_was_put_back_is_given_again_after_its_pause(make, clock):
    owned = make(total=1)
    (part,) = owned.due()
    owned.put_back(part, 0.5)
    assert owned.due() == []
    assert owned.pause() == 0.5
    clock.now += 0.5
    assert owned.due() == [part]


def test_old_news_change_nothing(make):
    owned = make(total=2)
    give(owned)
    end(owned, 0, status=3)
    owned.advance([(0, runs.RUNNING, B, None, None, None, 0)])
    owned.advance([(0, runs.ENDED, B, runs.LOST, 1, 'late', 0)])
    part = owned.part(0)
    assert (part.state, part.runner, part.outcome, part.status) == ('ended', A, 'exited', 3)
    assert not owned.all_ended
    end(owned, 1)
    assert owned.all_ended


def test_a_run_that_ended_in_the_queue_is_not_given(make):
    owned = make(total=2)
    owned.advance([(0, runs.ENDED, None, runs.CANCELLED, 130, 'x', 0)])
    assert give(owned) == [1]


def test_watchers_see_what_is_and_what_changes(make):
    owned = make(total=3, states=[(0, runs.RUNNING, A)])
    stream = owned.watch()
    end(owned, 0, status=7)
    first, then = watched(stream)
    assert first == {'runs': [[0, 'running', None, None, None, A, 0]]}
    assert then == {'runs': [[0, 'ended', 'exited', 7, None, A, 0]]}


def test_a_given_run_is_queued_to_watchers(make):
    owned = make(total=1)
    give(owned)
    assert watched(owned.watch()) == [{'runs': []}]


def test_the_end_of_the_job_ends_its_watchers(make):
    owned = make(total=1)
    stream = owned.watch()
    end(owned, 0, status=2)
    owned.finish(jobs.Job('j', 'c', 0.0, 1, state='ended', status=2))
    lines = [json.loads(line) for line in b''.join(stream).splitlines()]
    assert lines[-1] == {'job': {'state': 'ended', 'status': 2}}


def test_watchers_of_a_job_that_moves_end_without_a_word_of_its_end(make):
    owned = make(total=1)
    stream = owned.watch()
    owned.finish()
    assert b'"job"' not in b''.join(stream)
    assert b'"job"' not in b''.join(owned.watch())
