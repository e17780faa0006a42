"""What the loop does with single events; processes are real, the conductor and the disk are not."""

import os
import select
import socket
import time

import pytest

from obmd.runner import labels
from obmd.runner import supervisor

JOB = 'job'


class Conductor:
    """It says nothing."""

    blocked = False

    def __init__(self):
        self._ours, self._theirs = socket.socketpair()

    def fileno(self):
        return self._ours.fileno()

    def descriptor(self):
        return None

    def close(self):
        self._ours.close()
        self._theirs.close()


class Files:
    """They take everything.

    :ivar had: dict of job to the bytes that were in its file.
    """

    def __init__(self):
        self.crowded = False
        self.had = {}
        self.frames = []

    def open(self, job, descriptor):
        pass

    def write(self, *frame):
        self.frames.append(frame)

    def written(self):
        return {}

    def found(self):
        found, self.had = self.had, {}
        return found

    def closed(self):
        return []


@pytest.fixture
def files():
    return Files()


@pytest.fixture
def made(files):
    conductor, wake = Conductor(), os.eventfd(0, os.EFD_CLOEXEC)
    found = supervisor.Supervisor(
        conductor, files, labels.Labels(os.getpid()), wake, 0.0, None, time.monotonic
    )
    found._open_job({'job': JOB, 'limit': 1000})
    yield found
    for run in list(found._runs.values()):
        if not run.leader_gone:
            os.kill(run.pid, 9)
            os.waitpid(run.pid, 0)
    conductor.close()
    os.close(wake)


def start(made, position, path, *arguments, width=8):
    """:returns: the run, or None if it waits."""
    made._start_ordered(
        {
            'job': JOB,
            'position': position,
            'path': path,
            'arguments': arguments,
            'environment': {},
            'timeout': 60.0,
            'width': width,
            'lease': 60.0,
        }
    )
    return made._runs.get((JOB, position))


def until_it_ended(run):
    select.select([run.process], [], [])


def test_an_event_of_what_had_the_number_before_ends_no_run(made):
    run = start(made, 0, '/bin/sleep', '5')
    made._look(run.process)
    assert not run.leader_gone
    assert made._watched[run.process] is run


def test_what_waits_begins_when_all_events_are_seen(made):
    first = start(made, 0, '/bin/true', width=1)
    assert start(made, 1, '/bin/sleep', '5', width=1) is None
    until_it_ended(first)
    made._look(first.process)
    assert list(made._runs) == []
    made._start_waiting()
    assert list(made._runs) == [(JOB, 1)]


def test_what_comes_later_does_not_begin_before_what_waits(made):
    first = start(made, 0, '/bin/true', width=1)
    start(made, 1, '/bin/sleep', '5', width=1)
    until_it_ended(first)
    made._look(first.process)
    assert start(made, 2, '/bin/sleep', '5', width=1) is None


def test_a_pipe_that_waits_for_the_disk_may_be_told_of_again(made, files):
    run = start(made, 0, '/bin/sleep', '5')
    files.crowded = True
    pipe = next(iter(run.pipes))
    made._look(pipe)
    made._look(pipe)
    assert made._waiting == {pipe}


@pytest.mark.parametrize('had', [995, 1500])
def test_what_a_job_wrote_before_it_was_closed_counts(made, files, had):
    files.had = {JOB: had, 'another': 7}
    os.eventfd_write(made._wake, 1)
    made._look(made._wake)
    run = start(made, 0, '/usr/bin/yes')
    pipe = next(iter(run.pipes))
    select.select([pipe], [], [])
    made._look(pipe)
    assert run.outcome == 'output_limit'
    assert run.output_bytes == max(0, 1000 - had)
