"""Jobs over conductors that die: no node runs twice and every run has an end."""

import collections
import contextlib

import pytest

from tests.functional import job_watch
from tests.functional.deployment import Split
from tests.functional.deployment import wait_until

pytestmark = pytest.mark.needs('initdb')

COUNT = 24
NAMES = f'n[01-{COUNT}]'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return str(tmp_path_factory.mktemp('commands'))


@pytest.fixture(scope='module')
def split(rabbitmq, postgresql, folder):
    config = {'actions': {'command_dirs': folder, 'allow_same_user': True}}
    with Split(rabbitmq, postgresql, conductors=3, workers=1, config=config) as split:
        for number in range(COUNT):
            split.register(f'n{number + 1:02}', 'mock', {})
        split.wait_for()
        yield split


@pytest.fixture(autouse=True)
def whole(split):
    split.wait_until_settled()


@pytest.fixture
def trace(tmp_path):
    return str(tmp_path / 'trace')


@pytest.fixture
def command(folder, request):
    made = []

    def make(text):
        name = f'{request.node.name.replace("_", "-")[:50]}-{len(made)}'
        made.append(job_watch.make_command(folder, name, f'#!/bin/bash\n{text}\n'))
        return name

    return make


@contextlib.contextmanager
def back_again(process):
    try:
        yield
    finally:
        if process.returncode is not None:
            process.start()


def test_a_conductor_that_is_killed_loses_what_it_ran_and_nothing_else(split, command, trace):
    job = job_watch.run(split, command(f'echo $name >> {trace}; sleep 3'), NAMES, limit=8)
    watch = job.watch()
    wait_until(lambda: len(job_watch.ran(trace)) >= 8, what='eight starts')
    victim = job_watch.a_runner(split, job)
    with back_again(victim):
        victim.kill()
        watch.wait(60)
    job_watch.assert_judged(job, trace)
    outcomes = collections.Counter(job.outcomes())
    assert set(outcomes) == {'exited', 'lost'}
    assert outcomes['lost'] <= 8
    assert set(watch.ends()) == set(job_watch.hosts(split))


def test_the_job_of_an_owner_that_is_killed_goes_on(split, command, trace):
    job = job_watch.run(split, command(f'echo $name >> {trace}; sleep 2'), NAMES, limit=6)
    watch = job.watch()
    wait_until(lambda: len(job_watch.ran(trace)) >= 6, what='six starts')
    victim = job_watch.owner_of(split, job)
    with back_again(victim):
        victim.kill()
        watch.wait(60)
    job_watch.assert_judged(job, trace)
    assert set(job.outcomes()) <= {'exited', 'lost'}
    assert set(watch.ends()) == set(job_watch.hosts(split))


def test_a_conductor_that_stood_still_has_lost_its_runs(split, command, trace):
    job = job_watch.run(split, command(f'echo $name >> {trace}; sleep 5'), NAMES, limit=8)
    wait_until(lambda: len(job_watch.ran(trace)) >= 8, what='eight starts')
    victim = job_watch.a_runner(split, job)
    victim.pause()
    try:
        wait_until(lambda: 'lost' in job.outcomes(), what='a lost run')
    finally:
        victim.resume()
    job.wait(60)
    job_watch.assert_judged(job, trace)


def test_a_conductor_that_stops_gives_its_runs_to_others(split, command, trace):
    job = job_watch.run(split, command(f'echo $name >> {trace}; sleep 1'), NAMES, limit=6)
    wait_until(lambda: len(job_watch.ran(trace)) >= 6, what='six starts')
    victim = job_watch.owner_of(split, job)
    with back_again(victim):
        assert victim.stop(timeout=40) == 0
        job.wait(60)
    job_watch.assert_judged(job, trace)
    assert 'exited' in job.outcomes()
