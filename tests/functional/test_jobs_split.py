"""Jobs over several conductors: one stream, one limit; an API and a broker that go."""

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
def split(own_rabbitmq, postgresql, folder):
    config = {'actions': {'command_dirs': folder, 'allow_same_user': True}}
    with Split(own_rabbitmq, postgresql, conductors=3, workers=1, config=config) as split:
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


def test_all_conductors_run_their_nodes_and_one_stream_has_it_all(split, command, trace):
    job = job_watch.run(split, command(f'echo $name >> {trace}; echo "$name says"'), NAMES)
    watch = job.watch().wait()
    assert sorted(watch.text().splitlines()) == sorted(
        f'{name} says' for name in job_watch.hosts(split)
    )
    assert len({run['conductor'] for run in job.runs()}) > 1
    assert set(job.outcomes()) == {'exited'}
    job_watch.assert_judged(job, trace)


def test_the_limit_holds_over_all_conductors(split, command, trace):
    text = f'echo + >> {trace}; sleep 0.3; echo - >> {trace}'
    job_watch.run(split, command(text), NAMES, limit=3).wait()
    most = now = 0
    for line in job_watch.lines_of(trace):
        now += 1 if line == '+' else -1
        most = max(most, now)
    assert (most, now) == (3, 0)


def test_an_api_that_is_killed_changes_nothing(split, command, trace):
    text = f'echo $name >> {trace}; echo $name; sleep 0.5'
    job = job_watch.run(split, command(text), NAMES, limit=4)
    watch = job.watch()
    watch.wait_for(lambda w: w.text())
    cursor = watch.events[-1][2]
    seen = watch.text()
    split.api.kill()
    split.api.start()
    split.wait_until_ready()
    seen = watch.text() if len(watch.text()) > len(seen) else seen
    cursor = watch.events[-1][2]
    rest = job.watch(cursor).wait(60)
    assert sorted((seen + rest.text()).split()) == sorted(job_watch.hosts(split))
    assert set(job.outcomes()) == {'exited'}
    job_watch.assert_judged(job, trace)


def test_a_cancel_reaches_every_conductor(split, command, trace):
    job = job_watch.run(split, command(f'echo $name >> {trace}; sleep 600'), NAMES, limit=COUNT)
    wait_until(lambda: len(job_watch.ran(trace)) == COUNT, what='all starts')
    job.cancel()
    job.wait(30)
    assert set(job.outcomes()) == {'cancelled'}


def test_a_broker_that_goes_and_comes_delays_a_job(split, command, trace, own_rabbitmq):
    job = job_watch.run(split, command(f'echo $name >> {trace}; sleep 0.3'), NAMES, limit=4)
    wait_until(lambda: job_watch.ran(trace), what='a start')
    own_rabbitmq.stop()
    own_rabbitmq.start()
    job.wait(60)
    job_watch.assert_judged(job, trace)
    assert set(job.outcomes()) == {'exited'}
