"""What becomes of scripts when the conductor, the runner, the lease or the disk goes."""

import os
import shutil
import signal
import subprocess
import sys

import pytest

from obmd.common.deadline import Deadline
from obmd.conductor import scripts
from obmd.conf import CONF
from tests.functional.runner.stage import Stage
from tests.functional.runner.stage import alive
from tests.functional.runner.stage import kill
from tests.functional.runner.stage import until

LASTING = 'echo $$; exec sleep 1000'


@pytest.fixture
def stage():
    with Stage() as stage:
        yield stage


@pytest.fixture
def short_lease():
    CONF.set_override('heartbeat_ttl', 2.0, group='conductor')
    with Stage(ttl=2.0) as stage:
        yield stage
    CONF.clear_override('heartbeat_ttl', group='conductor')


class Victim:
    """A conductor's side in a process of its own."""

    def __init__(self, stage, program, ttl=10.0):
        self.process = subprocess.Popen(
            [sys.executable, '-m', 'tests.functional.runner.victim']
            + [str(stage.folder), stage.identity, str(ttl), program],
            stdout=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline().split()
        assert line, 'it did not start'
        self.runner, self.script, self.job = int(line[0]), int(line[1]), line[2]

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def victim():
    """Makes one on a stage of its own, whose own runner is not started."""
    stage, made = Stage(), []

    def make(text, ttl=10.0):
        made.append(Victim(stage, stage.shell(text), ttl))
        return made[0]

    make.stage = stage
    yield make
    for one in made:
        one.end()
    stage.lease.stop()
    shutil.rmtree(stage.folder, ignore_errors=True)


# -- the conductor --------------------------------------------------------------------------------


def test_scripts_end_when_their_conductor_is_killed(victim):
    victim = victim(LASTING)
    kill(victim.process.pid)
    until(lambda: not alive(victim.script))
    until(lambda: not alive(victim.runner))


def test_scripts_that_ignore_being_told_end_with_their_conductor_too(victim):
    victim = victim("trap '' TERM; echo $$; while :; do sleep 0.2; done")
    kill(victim.process.pid)
    until(lambda: not alive(victim.script))


def test_daemons_of_scripts_end_with_their_conductor_too(victim):
    victim = victim("setsid sh -c 'echo $$; exec sleep 1000 >/dev/null 2>&1' & sleep 1000")
    kill(victim.process.pid)
    until(lambda: not alive(victim.script))


def test_what_shed_its_label_ends_with_its_conductor_too(victim):
    shed = "bash -c 'ulimit -S -R unlimited; echo $$; exec sleep 1000 >/dev/null 2>&1'"
    victim = victim(f'setsid {shed} & sleep 1000')
    kill(victim.process.pid)
    until(lambda: not alive(victim.script))


def test_scripts_end_when_their_conductor_stands_still(victim):
    victim = victim(LASTING, ttl=2.0)
    os.kill(victim.process.pid, signal.SIGSTOP)
    until(lambda: not alive(victim.script))
    assert alive(victim.runner)


def test_the_next_start_of_a_conductor_reads_what_the_last_has_left(victim):
    last = victim(LASTING)
    kill(last.process.pid)
    with Stage(folder=victim.stage.folder, identity=victim.stage.identity) as stage:
        until(lambda: not alive(last.runner))
        out, _, told, _ = stage.output(last.job)
    assert out == b'%d\n' % last.script
    assert told == {0: ('lost', 1)}


def test_the_next_start_ends_what_a_killed_runner_has_left(victim):
    last = victim(LASTING)
    os.kill(last.process.pid, signal.SIGSTOP)
    kill(last.runner)
    kill(last.process.pid)
    assert alive(last.script)
    with Stage(folder=victim.stage.folder, identity=victim.stage.identity):
        until(lambda: not alive(last.script))


def test_a_conductor_that_stops_says_what_became_of_its_scripts(stage):
    job = stage.start(stage.shell(LASTING))
    pid = int(stage.said(job))
    stage.scripts.stop(Deadline(20))
    end = stage.end()
    assert (end.outcome, end.status, end.reason) == ('lost', 1, 'the conductor was stopped')
    assert not alive(pid)


def test_a_conductor_in_a_hurry_leaves_no_script_either(stage):
    job = stage.start(stage.shell("trap '' TERM; echo $$; while :; do sleep 0.2; done"))
    pid = int(stage.said(job))
    stage.scripts.stop(Deadline(0.1))
    assert stage.end().outcome == 'lost'
    until(lambda: not alive(pid))


# -- the runner -----------------------------------------------------------------------------------


def test_runs_of_a_runner_that_died_are_lost_and_the_next_one_works(stage):
    job = stage.start(stage.shell(LASTING))
    pid = int(stage.said(job))
    kill(stage.runner)
    end = stage.end()
    assert (end.outcome, end.status) == ('lost', 1)
    assert 'may or may not' in end.reason
    until(lambda: not alive(pid))
    assert stage.run('/bin/true')[0].outcome == 'exited'


def test_output_goes_on_behind_what_a_dead_runner_wrote(stage):
    job = stage.start(stage.shell('echo first; exec sleep 1000'))
    stage.said(job)
    kill(stage.runner)
    stage.end()
    stage.start(stage.shell('echo second'), job=job, position=1)
    assert stage.end().outcome == 'exited'
    out, _, told, _ = stage.output(job, ends=2)
    assert out == b'first\nsecond\n'
    assert told == {0: ('lost', 1), 1: ('exited', 0)}


def test_what_is_asked_while_there_is_no_runner_waits_for_the_next(stage):
    kill(stage.runner)
    jobs = [stage.start('/bin/true') for _ in range(3)]
    outcomes = {stage.end().outcome for _ in jobs}
    # one may have been sent to the dead one
    assert outcomes <= {'exited', 'lost'}


# -- the lease ----------------------------------------------------------------------------------


def test_scripts_end_when_the_lease_is_not_renewed(short_lease):
    stage = short_lease
    job = stage.start(stage.shell(LASTING))
    pid = int(stage.said(job))
    stage.lose_lease()
    end = stage.end()
    assert (end.outcome, end.status) == ('lost', 1)
    assert not alive(pid)


def test_what_waits_for_others_of_its_job_does_not_begin_without_a_lease(short_lease):
    stage, runs = short_lease, 40
    job, path = stage.job(), stage.shell('echo begun; sleep 0.3')
    for position in range(runs):
        stage.start(path, job=job, position=position, width=1)
    stage.said(job)
    stage.lose_lease()
    ends = [stage.end() for _ in range(runs)]
    assert {end.outcome for end in ends} == {'exited', 'lost'}
    begun = stage.output(job, ends=runs)[0].count(b'begun')
    assert begun <= sum(end.outcome == 'exited' for end in ends) + 1


def test_without_a_lease_nothing_starts_and_with_it_again_it_does(short_lease):
    stage = short_lease
    job = stage.job()
    stage.lose_lease()
    until(lambda: stage.lease.state != 'fresh')
    stage.start('/bin/true', job=job)
    assert stage.end().outcome == 'not_started'
    stage.renew_again()
    until(lambda: stage.lease.state == 'fresh')
    assert stage.run('/bin/true')[0].outcome == 'exited'


# -- the disk -------------------------------------------------------------------------------------


def test_a_full_disk_loses_output_with_a_count_and_no_run(monkeypatch):
    monkeypatch.setattr(scripts, 'RESERVE', 1 << 62)
    with Stage() as stage:
        job = stage.start(stage.shell('head -c 1000 /dev/zero; exit 3'))
        end = stage.end()
        out, _, told, lost = stage.output(job)
    assert (end.outcome, end.status, end.output_bytes) == ('exited', 3, 1000)
    assert told == {0: ('exited', 3)}
    assert (out, lost) == (b'', 1000)


def test_without_a_place_for_its_output_a_job_is_not_opened(stage):
    assert alive(stage.runner)
    os.rename(stage.state / 'jobs', stage.state / 'elsewhere')
    (stage.state / 'jobs').write_text('a file')
    with pytest.raises(OSError):
        stage.job()
