"""Old jobs go, with their output; others stay."""

import pytest

from obmd.conductor import job_keeping
from obmd.conf import CONF
from obmd.db import jobs
from obmd.db import runs


class Spools:
    def __init__(self, *there):
        self.there = set(there)

    def jobs(self):
        return dict.fromkeys(self.there, (0, 0.0))

    def remove(self, job):
        self.there.discard(job)


def ident(number):
    return f'00000000-0000-0000-0000-{number:012}'


@pytest.fixture(autouse=True)
def keep(database):
    jobs.delete([job.uuid for job in jobs.page()])
    CONF.set_override('keep', 100.0, 'actions')
    yield
    CONF.clear_override('keep', 'actions')


def make(number, ended_at=None):
    uuid = ident(number)
    jobs.create(jobs.Job(uuid, 'c', 1.0, 1), [runs.Run(uuid, 0)])
    if ended_at is not None:
        runs.end_queued(uuid, runs.CANCELLED, 130, 'x', ended_at)
        epoch = jobs.claim(uuid, 'a' * 32, None, 0)
        jobs.end(uuid, 'a' * 32, epoch, ended_at)
    return uuid


def look(spools, is_mine=lambda _uuid: True, now=1000.0):
    job_keeping.Keeping(is_mine, spools, lambda: now).look()


def test_what_ended_long_ago_goes_with_its_output():
    old, new, going = make(1, 800.0), make(2, 950.0), make(3)
    spools = Spools(old, new, going)
    look(spools)
    assert {job.uuid for job in jobs.page()} == {new, going}
    assert spools.there == {new, going}


def test_rows_are_deleted_by_one_conductor_and_files_by_each():
    old = make(1, 800.0)
    spools = Spools(old)
    look(spools, is_mine=lambda _uuid: False)
    assert jobs.get(old) is not None
    assert spools.there == {old}
    jobs.delete([old])
    look(spools, is_mine=lambda _uuid: False)
    assert spools.there == set()


def test_many_old_jobs_go_in_one_look(monkeypatch):
    monkeypatch.setattr(job_keeping, 'BATCH', 2)
    for number in range(5):
        make(number, 800.0)
    look(Spools())
    assert jobs.page() == []
