"""When the output of a job is opened and closed here; the runner is made up."""

import threading

import pytest

from obmd.common import errors
from obmd.conductor import execution
from obmd.conductor import lease
from obmd.conductor import runs
from obmd.conductor import work
from obmd.db import conductors

JOB = '00000000-0000-0000-0000-000000000001'
#: seconds within which everything happens that is to happen at all
SOON = 30.0
#: seconds in which what must not happen would
MOMENT = 0.1


class Scripts:
    """It opens nothing, so that no run begins.

    :ivar while_closing: called in :meth:`close`.
    """

    def __init__(self):
        self.calls = []
        self.opened = threading.Event()
        self.while_closing = lambda: None

    def open(self, job, limit):
        self.calls.append('open')
        self.opened.set()
        raise errors.Unavailable('made up', None, 1)

    def close(self, job):
        self.calls.append('close')
        self.while_closing()
        self.calls.append('closed')

    def end(self, job, position, outcome, status):
        pass


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def made(clock):
    found = execution.Executor(conductors.ALL_IN_ONE, lease.Lease(10), clock)
    found._scripts = Scripts()
    return found


def spec():
    return work.Spec(JOB, 'echo', (), 'o', 'h', 60.0, 1000, 8)


def start(made):
    """:returns: Event, set when the run has ended."""
    ended = threading.Event()
    one = runs.Work(spec(), 0, None, 0.0)
    made.start([one], lambda: None, lambda *_: ended.set())
    return ended


def test_a_job_that_was_just_named_is_not_closed(made, clock):
    made.expect(spec(), ['a'])
    made._close_idle()
    assert made._scripts.calls == []


def test_a_job_without_runs_is_closed_after_a_while(made, clock):
    assert start(made).wait(SOON)
    clock.now += execution.IDLE + 1
    made._close_idle()
    assert made._scripts.calls == ['open', 'close', 'closed']
    assert not made._jobs


def test_a_run_that_comes_while_its_job_is_closed_opens_it_again(made, clock):
    assert start(made).wait(SOON)
    clock.now += execution.IDLE + 1
    scripts, ended = made._scripts, []
    scripts.opened.clear()

    def while_closing():
        ended.append(start(made))
        assert not scripts.opened.wait(MOMENT)

    scripts.while_closing = while_closing
    made._close_idle()
    assert ended[0].wait(SOON)
    assert scripts.calls == ['open', 'close', 'closed', 'open']
