"""What ``obmd.db.jobs`` promises; also run on real servers (tests/functional/db)."""

import dataclasses
import uuid

import pytest

from obmd.common import errors
from obmd.db import audit
from obmd.db import jobs
from obmd.db import runs

A, B = 'a' * 32, 'b' * 32


@pytest.fixture(autouse=True)
def empty(database):
    jobs.delete([job.uuid for job in jobs.page()])


def make(total=2, created_at=1000.0, **values):
    made = jobs.Job(str(uuid.uuid4()), 'power-off', created_at, total, **values)
    rows = [runs.Run(made.uuid, n, str(uuid.uuid4()), f'n{n}') for n in range(total)]
    jobs.create(made, rows)
    return made


def finish(job, statuses=(0, 0), now=1500.0):
    positions = range(len(statuses))
    assert runs.start(job.uuid, positions, B, 1001.0) == list(positions)
    ends = [runs.End(job.uuid, n, runs.EXITED, statuses[n]) for n in positions]
    assert runs.end(B, ends, now) == []


def test_what_was_created_is_read():
    job = make(
        arguments=['--force', '$(id)', 'é😀', ''],
        door='action',
        context_type='groups',
        context='n[0-1]' * 10_000,
        subject='j' * 36,
        label='Zoë ',
        claimed_user='root',
        claimed_uid=2**40,
        source='2001:db8::1',
        request_id='req-1',
        run_limit=3,
        stagger=0.25,
        timeout=7.5,
        output_limit=2**40,
    )
    assert jobs.get(job.uuid) == jobs.get(job.uuid.upper()) == job
    assert [run.node_name for run in runs.of_job(job.uuid)] == ['n0', 'n1']


@pytest.mark.parametrize('ident', ['', 'no', 'x\0y', '\ud800', 'z' * 100_000])
def test_what_is_no_uuid_is_no_job(ident):
    assert jobs.get(ident) is None
    with pytest.raises(errors.NotFound):
        jobs.page(after=ident)


def test_a_job_and_its_runs_are_stored_whole_or_not_at_all():
    job = jobs.Job(str(uuid.uuid4()), 'c', 1000.0, 2)
    twice = [runs.Run(job.uuid, 0), runs.Run(job.uuid, 0)]
    with pytest.raises(Exception, match=r'.'):
        jobs.create(job, twice)
    assert jobs.get(job.uuid) is None and runs.of_job(job.uuid) == []


def test_jobs_are_listed_newest_first_page_by_page():
    made = [make(1, created_at=1000.0 + n // 2).uuid for n in range(5)]
    seen, last = [], None
    while page := jobs.page(after=last, limit=2):
        seen += [job.uuid for job in page]
        last = seen[-1]
    assert sorted(seen) == sorted(made)
    times = [jobs.get(one).created_at for one in seen]
    assert times == sorted(times, reverse=True)


def test_jobs_are_listed_by_subject_and_by_state():
    mine, other = make(1, subject='me'), make(1, subject='ME')
    assert [job.uuid for job in jobs.page(subject='me')] == [mine.uuid]
    jobs.claim(other.uuid, A, None, 0)
    finish(other, [0])
    jobs.end(other.uuid, A, 1, 2000.0)
    assert [job.uuid for job in jobs.page(state='running')] == [mine.uuid]
    assert [job.uuid for job in jobs.page(state='ended')] == [other.uuid]


def test_one_conductor_claims_a_job():
    job = make()
    assert jobs.claim(job.uuid, A, None, 0) == 1
    assert jobs.claim(job.uuid, B, None, 0) is None
    assert jobs.claim(job.uuid, B, A, 0) is None
    assert jobs.claim(job.uuid, B, A, 1) == 2
    assert jobs.owned_by(A) == []
    assert [found.uuid for found in jobs.owned_by(B)] == [job.uuid]


def test_nobodys_and_dead_owners_jobs_can_be_claimed_page_by_page():
    free, dead, alive = (make(1) for _ in range(3))
    jobs.claim(dead.uuid, A, None, 0)
    jobs.claim(alive.uuid, B, None, 0)
    wanted = sorted([free.uuid, dead.uuid])
    assert [job.uuid for job in jobs.claimable([A], 10)] == wanted
    assert [job.uuid for job in jobs.claimable([A], 1)] == wanted[:1]
    assert [job.uuid for job in jobs.claimable([A], 10, after=wanted[0])] == wanted[1:]
    assert [job.uuid for job in jobs.claimable([], 10)] == [free.uuid]


def test_a_job_that_was_given_up_is_nobodys():
    one, two = make(1), make(1)
    for job in (one, two):
        jobs.claim(job.uuid, A, None, 0)
    assert not jobs.release(one.uuid, B, 1)
    assert jobs.release(one.uuid, A, 1)
    assert jobs.release_all(A) == 1
    assert len(jobs.claimable([], 10)) == 2
    assert jobs.claim(one.uuid, B, None, 1) == 2


def test_a_job_ends_when_no_run_is_left_with_the_largest_status():
    job = make(3)
    jobs.claim(job.uuid, A, None, 0)
    assert jobs.end(job.uuid, A, 1, 2000.0) is None
    finish(job, [0, 123])
    assert jobs.end(job.uuid, A, 1, 2000.0) is None
    assert runs.end_queued(job.uuid, runs.CANCELLED, 7, 'cancelled', 1501.0) == 1
    ended = jobs.end(job.uuid, A, 1, 2000.0)
    owned = dataclasses.replace(job, owner=A, owner_epoch=1)
    assert ended == dataclasses.replace(owned, state='ended', ended_at=2000.0, status=123)
    assert jobs.end(job.uuid, A, 1, 3000.0) == ended == jobs.get(job.uuid)
    assert jobs.claim(job.uuid, B, A, 1) is None
    assert jobs.owned_by(A) == []


def test_the_result_of_a_job_is_in_the_audit_trail_once():
    job = make(total=4, subject='jti-1', label='alice', door='action', request_id='req-1')
    assert jobs.claim(job.uuid, A, None, 0) == 1
    finish(job, (0, 7, 1, 7))
    jobs.end(job.uuid, A, 1, 2000.0)
    jobs.end(job.uuid, A, 1, 2001.0)
    (entry,) = audit.page(job=job.uuid)
    assert (entry.at, entry.action, entry.outcome) == (2000.0, 'job end', 'status 7')
    assert (entry.subject, entry.label, entry.door) == ('jti-1', 'alice', 'action')
    assert (entry.nodes, entry.request_id) == ('n[1-3]', 'req-1')
    assert entry.detail == 'power-off: 3 of 4 failed, 3 exited'


def test_a_job_that_went_well_names_no_node_in_the_audit_trail():
    job = make()
    assert jobs.claim(job.uuid, A, None, 0) == 1
    finish(job)
    jobs.end(job.uuid, A, 1, 2000.0)
    (entry,) = audit.page(job=job.uuid)
    assert (entry.nodes, entry.outcome) == (None, 'status 0')
    assert entry.detail == 'power-off: 0 of 2 failed'


def test_a_former_owner_ends_nothing():
    job = make(1)
    jobs.claim(job.uuid, A, None, 0)
    finish(job, [0])
    jobs.claim(job.uuid, B, A, 1)
    assert jobs.end(job.uuid, A, 1, 2000.0) is None
    assert jobs.get(job.uuid).state == 'running'
    assert jobs.end(job.uuid, B, 2, 2000.0).status == 0


def test_cancelling_is_remembered_once_until_the_job_has_ended():
    job = make(1)
    assert jobs.cancel(job.uuid, 1100.0) and jobs.cancel(job.uuid, 1200.0)
    assert jobs.get(job.uuid).cancelled_at == 1100.0
    jobs.claim(job.uuid, A, None, 0)
    finish(job, [0])
    jobs.end(job.uuid, A, 1, 2000.0)
    assert not jobs.cancel(job.uuid, 2100.0)
    assert not jobs.cancel(str(uuid.uuid4()), 2100.0)


def test_old_jobs_are_found_and_deleted_with_their_runs():
    made = [make(1) for _ in range(3)]
    for now, job in zip((2000.0, 1900.0), made, strict=False):
        jobs.claim(job.uuid, A, None, 0)
        finish(job, [0])
        jobs.end(job.uuid, A, 1, now)
    assert jobs.old(2000.0, 10) == [made[1].uuid]
    assert jobs.old(3000.0, 10) == [made[1].uuid, made[0].uuid]
    assert jobs.old(3000.0, 1) == [made[1].uuid]
    jobs.delete([made[0].uuid, made[1].uuid])
    assert runs.of_job(made[0].uuid) == []
    assert jobs.known(job.uuid for job in made) == {made[2].uuid}
