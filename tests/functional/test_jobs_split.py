"""Jobs over several conductors: whoever dies, no node runs twice and every run has an end."""

import collections
import contextlib

import pytest

from tests.functional import job_watch
from tests.functional.deployment import Split
from tests.functional.deployment import wait_until

pytestmark = pytest.mark.needs('initdb')

COUNT = 24
NAMES = f'n[01-{COUNT}]'
#: seconds, [conductor] heartbeat_ttl of deployment.SHORT
TTL = 2.0


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


def hosts(split):
    """:returns: dict of node to the name of its owner."""
    rows = split.query(
        'SELECT n.name, c.host FROM nodes n JOIN conductors c ON c.incarnation = n.owner'
    )
    return dict(line.replace(' ', '').split('|') for line in rows.splitlines())


def owner_of(split, job):
    """:returns: Process of the conductor that owns a job."""
    host = split.query(
        'SELECT c.host FROM jobs j JOIN conductors c ON c.incarnation = j.owner '
        f"WHERE j.uuid = '{job.id}'"
    )
    return split.conductors[int(host.removeprefix('c')) - 1] if host else None


def by_host(split, process):
    """:returns: set of str, the nodes that a conductor owns."""
    name = f'c{split.conductors.index(process) + 1}'
    return {node for node, host in hosts(split).items() if host == name}


@contextlib.contextmanager
def back_again(process):
    try:
        yield
    finally:
        if process.returncode is not None:
            process.start()


def ran(trace):
    """:returns: dict of node to the number of its starts."""
    return collections.Counter(job_watch.lines_of(trace))


def assert_judged(job, trace):
    """Nothing ran twice; what ended well ran; everything has an end."""
    starts = ran(trace)
    assert max(starts.values(), default=0) <= 1, starts
    for run in job.runs():
        assert run['state'] == 'ended', run
        if run['outcome'] == 'exited':
            assert starts[run['node']] == 1, run
        else:
            assert run['status'] != 0, run


def test_all_conductors_run_their_nodes_and_one_stream_has_it_all(split, command, trace):
    job = job_watch.run(split, command(f'echo $name >> {trace}; echo "$name says"'), NAMES)
    watch = job.watch().wait()
    assert sorted(watch.text().splitlines()) == sorted(f'{name} says' for name in hosts(split))
    assert len({run['conductor'] for run in job.runs()}) > 1
    assert set(job.outcomes()) == {'exited'}
    assert_judged(job, trace)


def test_the_limit_holds_over_all_conductors(split, command, trace):
    text = f'echo + >> {trace}; sleep 0.3; echo - >> {trace}'
    job_watch.run(split, command(text), NAMES, limit=3).wait()
    most = now = 0
    for line in job_watch.lines_of(trace):
        now += 1 if line == '+' else -1
        most = max(most, now)
    assert (most, now) == (3, 0)


def test_a_conductor_that_is_killed_loses_what_it_ran_and_nothing_else(split, command, trace):
    job = job_watch.run(split, command(f'echo $name >> {trace}; sleep 3'), NAMES, limit=8)
    watch = job.watch()
    wait_until(lambda: len(ran(trace)) >= 8, what='eight starts')
    owner = owner_of(split, job)
    victim = next(one for one in split.conductors if one is not owner and by_host(split, one))
    with back_again(victim):
        victim.kill()
        watch.wait(60)
    assert_judged(job, trace)
    outcomes = collections.Counter(job.outcomes())
    assert set(outcomes) == {'exited', 'lost'}
    assert outcomes['lost'] <= 8
    assert set(watch.ends()) == set(hosts(split))


def test_the_job_of_an_owner_that_is_killed_goes_on(split, command, trace):
    job = job_watch.run(split, command(f'echo $name >> {trace}; sleep 2'), NAMES, limit=6)
    watch = job.watch()
    wait_until(lambda: len(ran(trace)) >= 6, what='six starts')
    victim = owner_of(split, job)
    with back_again(victim):
        victim.kill()
        watch.wait(60)
    assert_judged(job, trace)
    assert set(job.outcomes()) <= {'exited', 'lost'}
    assert set(watch.ends()) == set(hosts(split))


def test_a_conductor_that_stood_still_has_lost_its_runs(split, command, trace):
    job = job_watch.run(split, command(f'echo $name >> {trace}; sleep 5'), NAMES, limit=8)
    wait_until(lambda: len(ran(trace)) >= 8, what='eight starts')
    owner = owner_of(split, job)
    victim = next(one for one in split.conductors if one is not owner and by_host(split, one))
    victim.pause()
    try:
        wait_until(lambda: 'lost' in job.outcomes(), what='a lost run')
    finally:
        victim.resume()
    job.wait(60)
    assert_judged(job, trace)


def test_a_conductor_that_stops_gives_its_runs_to_others(split, command, trace):
    job = job_watch.run(split, command(f'echo $name >> {trace}; sleep 1'), NAMES, limit=6)
    wait_until(lambda: len(ran(trace)) >= 6, what='six starts')
    victim = owner_of(split, job)
    with back_again(victim):
        assert victim.stop(timeout=40) == 0
        job.wait(60)
    assert_judged(job, trace)
    assert 'exited' in job.outcomes()


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
    assert sorted((seen + rest.text()).split()) == sorted(hosts(split))
    assert set(job.outcomes()) == {'exited'}
    assert_judged(job, trace)


def test_a_broker_that_goes_and_comes_delays_a_job(split, command, trace, own_rabbitmq):
    job = job_watch.run(split, command(f'echo $name >> {trace}; sleep 0.3'), NAMES, limit=4)
    wait_until(lambda: ran(trace), what='a start')
    own_rabbitmq.stop()
    own_rabbitmq.start()
    job.wait(60)
    assert_judged(job, trace)
    assert set(job.outcomes()) == {'exited'}


def test_a_cancel_reaches_every_conductor(split, command, trace):
    job = job_watch.run(split, command(f'echo $name >> {trace}; sleep 600'), NAMES, limit=COUNT)
    wait_until(lambda: len(ran(trace)) == COUNT, what='all starts')
    job.cancel()
    job.wait(30)
    assert set(job.outcomes()) == {'cancelled'}
