"""What an Output gives while the output of its runs is on its way."""

import types

import pytest

from obmd.api import output
from obmd.api import spools
from obmd.common import errors
from obmd.conductor import routing
from obmd.db import conductors
from obmd.db import jobs
from obmd.db import runs

SPOOL = 'spool'
RUNNER = conductors.Conductor('runner', 'a', '', (), 'http://x')
OTHER = conductors.Conductor('other', 'b', '', (), 'http://x')


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def reader(clock, monkeypatch):
    """An Output of one run, which has written 100 bytes and ended; nobody follows the job."""
    monkeypatch.setattr(output.threads, 'spawn', lambda *args: None)
    monkeypatch.setattr(output.Output, '_source', lambda *args: None)
    services = types.SimpleNamespace(router=routing.Router(8, 1.0))
    services.router.look([RUNNER, OTHER], [RUNNER, OTHER])
    reader = output.Output(services, jobs.Job('uuid', 'x', 1.0, 1), clock=clock)
    reader._take([[0, runs.ENDED, runs.EXITED, 0, None, 'runner', 100]])
    reader._end({'state': 'ended', 'status': 0})
    return reader


def kinds(events):
    return [event.kind for event in events]


def test_the_end_of_a_run_waits_for_its_output_as_long_as_that_comes(reader, clock):
    for part in range(10):
        clock.now += output.PATIENCE - 1
        reader.wrote(RUNNER, SPOOL, [('stdout', 0, b'x' * 10, 10 * part + 10)])
        assert kinds(reader.read(0)) == ['stdout']
        assert reader.read(0) == []
    reader.wrote(RUNNER, SPOOL, [(None, 0, None, 101)])
    assert kinds(reader.read(0)) == ['run', 'job']


def test_a_slow_reader_loses_nothing(reader, clock):
    reader.wrote(RUNNER, SPOOL, [('stdout', 0, b'x' * 50, 50)])
    clock.now += 10 * output.PATIENCE
    assert kinds(reader.read(0)) == ['stdout']
    assert reader.read(0) == []
    reader.wrote(RUNNER, SPOOL, [('stdout', 0, b'x' * 50, 100), (None, 0, None, 101)])
    assert kinds(reader.read(0)) == ['stdout', 'run', 'job']


def test_output_that_waits_for_room_is_not_missing(reader, clock):
    reader._held.add(RUNNER.incarnation)
    for _ in range(10):
        clock.now += output.PATIENCE / 2
        assert reader.read(0) == []


def test_output_that_does_not_come_is_counted_as_missing(reader, clock):
    reader.wrote(RUNNER, SPOOL, [('stdout', 0, b'x' * 30, 30)])
    reader.read(0)
    clock.now += output.PATIENCE - 0.1
    assert reader.read(0) == []
    clock.now += 0.2
    gap, run, job = reader.read(0)
    assert (gap.kind, gap.data) == ('gap', 70)
    assert (run.kind, job.kind) == ('run', 'job')


def told_beside(reader, clock, conductor):
    """:returns: list of what is told of run 0 while run 1 writes for long at ``conductor``."""
    told = []
    for part in range(1, 20):
        clock.now += 1
        reader.wrote(conductor, f'spool of {conductor.host}', [('stdout', 1, b'x', part)])
        told += [event.kind for event in reader.read(0) if event.position == 0]
    return told


def test_the_end_of_a_run_that_wrote_nothing_more_is_told_while_another_writes(reader, clock):
    reader.wrote(RUNNER, SPOOL, [('stdout', 0, b'x' * 100, 100)])
    assert told_beside(reader, clock, RUNNER) == ['stdout', 'run']


def test_the_end_of_a_run_is_told_while_one_of_another_conductor_writes(reader, clock):
    assert told_beside(reader, clock, OTHER) == ['gap', 'run']


def test_output_behind_that_of_another_run_is_waited_for(reader, clock):
    assert told_beside(reader, clock, RUNNER) == []


def test_what_a_dead_conductor_has_written_may_come_from_another(reader, clock):
    reader._services.router.look([OTHER], [OTHER])
    assert told_beside(reader, clock, OTHER) == []


def look(router, *names):
    rows = [conductors.Conductor(name, name, '', (), 'http://x') for name in names]
    router.look(rows, rows)


class Frozen:
    """The stream of an owner that says nothing more and does not end by itself."""

    def __init__(self):
        self.closed = False
        self.read = lambda: None

    def __iter__(self):
        return self

    def __next__(self):
        self.read()
        if self.closed:
            raise StopIteration
        raise AssertionError('it is read for ever')

    def close(self):
        self.closed = True


def test_what_a_frozen_owner_tells_is_not_waited_for_when_it_is_taken_for_dead(monkeypatch):
    router = routing.Router(8, 1.0)
    look(router, 'owner')
    job = jobs.Job('uuid', 'x', 1.0, 1, owner='owner')
    monkeypatch.setattr(output.jobs, 'get', lambda uuid: job)
    monkeypatch.setattr(output.runs, 'of_job', lambda uuid: [])
    monkeypatch.setattr(output.threads, 'spawn', lambda *args: None)
    stream = Frozen()
    stream.read = lambda: look(router)
    api = types.SimpleNamespace(open_job_events=lambda *args: types.SimpleNamespace(stream=stream))
    services = types.SimpleNamespace(router=router, conductor_api=api)
    reader = output.Output(services, job)
    reader._look()
    assert stream.closed
    assert not reader.finished


class Conductors:
    """They have nothing at first.  :meth:`run` lets all who read there try once."""

    def __init__(self, router):
        self.router = router
        self.sources = []
        self.asked = []

    def spawn(self, target):
        if isinstance(getattr(target, '__self__', None), spools.Source):
            self.sources.append(target)

    def open_job_output(self, conductor, *args):
        self.asked.append(conductor.incarnation)
        raise errors.NotFound('nothing of it is here')

    def run(self):
        """:returns: list of str, who was asked."""
        sources, self.sources, self.asked = self.sources, [], []
        for source in sources:
            source()
        return self.asked


@pytest.fixture
def several(monkeypatch):
    """(router, Conductors, Output of many runs that nobody has begun)."""
    router = routing.Router(8, 1.0)
    conductors = Conductors(router)
    monkeypatch.setattr(output.threads, 'spawn', conductors.spawn)
    services = types.SimpleNamespace(router=router, conductor_api=conductors)
    reader = output.Output(services, jobs.Job('uuid', 'x', 1.0, 2))
    # whose runs it has is asked until it has something: once is enough here
    monkeypatch.setattr(spools.time, 'sleep', lambda seconds: reader.close())
    return router, conductors, reader


def begun(position, runner):
    return [[position, runs.RUNNING, None, None, None, runner, 0]]


def test_a_conductor_that_had_nothing_is_asked_again_once_a_run_begins_there(several):
    router, conductors, reader = several
    look(router, 'b')
    reader._take(begun(0, 'gone'))
    assert conductors.run() == ['b']
    reader._take(begun(1, 'b'))
    assert conductors.run() == ['b']


def test_a_run_that_begins_while_its_conductor_says_that_it_has_nothing_is_read(several):
    router, conductors, reader = several
    look(router, 'b')
    reader._take(begun(0, 'gone'))
    reader._take(begun(1, 'b'))
    assert conductors.run() == ['b']
    assert reader.closed, 'it was not asked again'


def test_a_conductor_that_is_not_seen_yet_is_asked_when_it_appears(several):
    router, conductors, reader = several
    look(router, 'b')
    reader._take(begun(0, 'new'))
    assert conductors.run() == ['b']
    reader.read(0)
    reader.read(0)
    assert conductors.run() == []
    look(router, 'b', 'new')
    reader.read(0)
    assert conductors.run() == ['new']


def test_a_conductor_that_was_taken_for_dead_is_asked_when_it_is_back(several):
    router, conductors, reader = several
    look(router, 'a')
    reader._take(begun(0, 'a'))
    look(router)
    assert conductors.run() == ['a']
    look(router, 'a')
    reader.read(0)
    reader.read(0)
    assert conductors.run() == ['a']
