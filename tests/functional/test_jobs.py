"""Jobs of an all-in-one: real scripts, output, limits, cancels, a restart."""

import os
import signal

import pytest

from tests.functional import job_watch
from tests.functional.deployment import AllInOne
from tests.functional.deployment import wait_until

COUNT = 12
NAMES = f'n[01-{COUNT}]'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return str(tmp_path_factory.mktemp('commands'))


@pytest.fixture(scope='module')
def obmd(folder):
    with AllInOne(config={'actions': {'command_dirs': folder, 'max_jobs': 8}}) as obmd:
        for number in range(COUNT):
            obmd.register(f'n{number + 1:02}', 'mock', {})
        yield obmd


@pytest.fixture
def command(folder, request):
    """``command(text)`` makes one.  :returns: its name."""
    made = []

    def make(text, **options):
        name = f'{request.node.name.replace("_", "-")[:50]}-{len(made)}'
        made.append(job_watch.make_command(folder, name, f'#!/bin/bash\n{text}\n', **options))
        return name

    return make


@pytest.fixture
def trace(tmp_path):
    """A file that scripts append to."""
    return str(tmp_path / 'trace')


def test_each_node_runs_once_and_its_output_comes_before_its_end(obmd, command):
    job = job_watch.run(obmd, command('echo "I am $name, $1"; exit 3'), NAMES, ['it is said'])
    watch = job.watch().wait()
    for number in range(COUNT):
        name = f'n{number + 1:02}'
        assert watch.text(name) == f'I am {name}, it is said\n'
        kinds = [
            (kind, data.get('state')) for kind, data, _ in watch.events if data.get('node') == name
        ]
        assert kinds[-2:] == [('output', None), ('run', 'ended')]
    assert job.get()['status'] == 3
    assert {run['status'] for run in job.runs()} == {3}


def test_output_comes_while_the_script_runs(obmd, command, trace):
    job = job_watch.run(
        obmd, command(f'echo early; until [ -e {trace} ]; do sleep 0.05; done'), 'n01'
    )
    watch = job.watch()
    watch.wait_for(lambda w: w.text() == 'early\n')
    assert job.get()['state'] == 'running'
    open(trace, 'w').close()
    watch.wait()


def test_a_finished_job_is_read_as_it_was(obmd, command):
    job = job_watch.run(obmd, command('echo "$name"; echo no >&2'), 'n[01-03]')
    first = job.watch().wait()
    again = job.watch().wait()
    for watch in (first, again):
        assert watch.text('n02') == 'n02\n'
        assert watch.text('n02', 'stderr') == 'no\n'
        assert watch.ends() == dict.fromkeys(['n01', 'n02', 'n03'], 'exited')


def test_who_comes_back_reads_on_where_he_was(obmd, command, trace):
    text = f'seq 1000; until [ -e {trace} ]; do sleep 0.05; done; seq 1001 2000'
    job = job_watch.run(obmd, command(text), 'n01')
    watch = job.watch()
    watch.wait_for(lambda w: w.text().endswith('1000\n'))
    cursor = watch.leave()
    open(trace, 'w').close()
    job.wait()
    rest = job.watch(cursor).wait()
    assert (watch.text() + rest.text()).split() == [str(n + 1) for n in range(2000)]


def test_no_more_run_at_once_than_the_limit_says(obmd, command, trace):
    text = f'echo + >> {trace}; sleep 0.3; echo - >> {trace}'
    job_watch.run(obmd, command(text), NAMES, limit=3).wait()
    most = now = 0
    for line in job_watch.lines_of(trace):
        now += 1 if line == '+' else -1
        most = max(most, now)
    assert (most, now) == (3, 0)


def test_no_more_run_at_once_than_the_conductor_has_places(obmd, command, trace):
    text = f'echo + >> {trace}; sleep 0.3; echo - >> {trace}'
    name = command(text)
    jobs = [job_watch.run(obmd, name, NAMES) for _ in range(3)]
    for job in jobs:
        job.wait()
    most = now = 0
    for line in job_watch.lines_of(trace):
        now += 1 if line == '+' else -1
        most = max(most, now)
    assert most <= 8


def test_starts_keep_their_distance(obmd, command, trace):
    job = job_watch.run(obmd, command(f'date +%s.%N >> {trace}'), 'n[01-04]', stagger=0.5)
    job.wait()
    times = [float(line) for line in job_watch.lines_of(trace)]
    assert times[-1] - times[0] >= 1.4


def test_a_cancel_ends_what_runs_and_begins_nothing_more(obmd, command, trace):
    job = job_watch.run(obmd, command(f'echo x >> {trace}; sleep 600'), NAMES, limit=2)
    watch = job.watch()
    wait_until(lambda: len(job_watch.lines_of(trace)) == 2, what='two starts')
    job.cancel()
    watch.wait()
    assert set(job.outcomes()) == {'cancelled'}
    assert job.get()['status'] == 130
    assert len(job_watch.lines_of(trace)) == 2


def test_a_run_that_takes_too_long_is_ended(obmd, command):
    job = job_watch.run(obmd, command('echo begun; sleep 600'), 'n01', timeout=1)
    told = job.wait()
    assert (told['status'], job.outcomes()) == (124, ['timed_out'])


def test_a_command_without_nodes_runs_once(obmd, command):
    job = job_watch.run(obmd, command('echo "[$name]"', context=False))
    assert job.watch().wait().text() == '[]\n'


def test_a_built_in_command_speaks_for_each_node(obmd):
    job = job_watch.run(obmd, 'power-on', 'n[01-03]')
    watch = job.watch().wait()
    assert {watch.text(name) for name in ('n01', 'n02', 'n03')} == {'OK\n'}


def test_what_cannot_be_run_says_why(obmd, folder, command):
    name = command('true')
    path = os.path.join(folder, name, 'default.sh')
    with open(path, 'w') as file:
        file.write('#!/no/such/interpreter\n')
    job = job_watch.run(obmd, name, 'n01')
    assert job.wait()['status'] in (126, 127)
    (run,) = job.runs()
    assert run['outcome'] == 'not_started'
    assert run['reason']


def test_a_hundred_megabytes_come_whole_and_take_no_memory(obmd, command):
    job = job_watch.run(obmd, command('head -c 100000000 /dev/zero | tr "\\0" x'), 'n01')
    answer = obmd.as_admin('GET', f'{job.path}/runs/0/output', stream=True)
    before = resident(obmd.pid)
    size = sum(len(chunk) for chunk in answer.iter_content(65536))
    assert size == 100000000
    assert resident(obmd.pid) - before < 50e6


def resident(pid):
    """:returns: bytes."""
    with open(f'/proc/{pid}/statm') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGESIZE')


def test_a_service_that_is_killed_loses_what_ran_and_goes_on_with_the_rest(obmd, command, trace):
    job = job_watch.run(obmd, command(f'echo $name >> {trace}; sleep 2'), NAMES, limit=2)
    wait_until(lambda: len(job_watch.lines_of(trace)) >= 2, what='two starts')
    obmd.kill()
    obmd.start()
    job.wait()
    ran = job_watch.lines_of(trace)
    assert len(ran) == len(set(ran)), 'a node ran twice'
    outcomes = {run['node']: run['outcome'] for run in job.runs()}
    assert set(outcomes.values()) == {'lost', 'exited'}
    assert {name for name, outcome in outcomes.items() if outcome == 'exited'} <= set(ran)
    lost = [run for run in job.runs() if run['outcome'] == 'lost']
    assert all(run['status'] != 0 and 'may or may not' in run['reason'] for run in lost)
    assert job.get()['status'] == 1
    job.watch().wait()


def test_a_service_that_stops_tells_what_it_has_ended(obmd, command, trace):
    job = job_watch.run(obmd, command(f'echo $name >> {trace}; sleep 600'), 'n[01-03]', limit=1)
    wait_until(lambda: job_watch.lines_of(trace), what='a start')
    assert obmd.stop(signal.SIGTERM) == 0
    obmd.start()
    assert job.runs()[0]['outcome'] == 'lost'
    assert 'stopped' in job.runs()[0]['reason']
    wait_until(lambda: len(job_watch.lines_of(trace)) == 2, what='the next start')
    job.cancel()
    job.wait()
    assert job.outcomes() == ['lost', 'cancelled', 'cancelled']
