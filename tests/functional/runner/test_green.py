"""In a process of green threads: nobody waits for a script, its output or the disk."""

import os
import time

import pytest

from obmd.common import threads
from tests.functional.runner.stage import Stage

#: seconds for which all others may be held up, on a machine that does other things too
HELD_UP = 1.5
MEGABYTE = 1 << 20


@pytest.fixture(scope='module')
def stage():
    with Stage() as stage:
        yield stage


class Pulse:
    """A green thread that wants to run all the time."""

    def __init__(self):
        self.longest = 0.0
        self._beats = True
        threads.spawn(self._beat)

    def _beat(self):
        last = time.monotonic()
        while self._beats:
            time.sleep(0.005)
            now = time.monotonic()
            self.longest = max(self.longest, now - last)
            last = now

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._beats = False


def resident(pid):
    """:returns: int, bytes of memory that a process has."""
    with open(f'/proc/{pid}/statm') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')


def test_a_hundred_megabytes_pass_and_nobody_waits_or_grows(stage):
    size = 100 * MEGABYTE
    stage.run('/bin/true')
    before = resident(os.getpid()), resident(stage.runner)
    with Pulse() as pulse:
        job = stage.start(stage.shell(f'exec head -c {size} /dev/zero'))
        reader, got = stage.spools.reader(job), 0
        while got < size:
            got += sum(len(frame.data) for frame in reader.read(30) if frame.kind == 1)
    assert stage.end().output_bytes == got == size
    assert pulse.longest < HELD_UP
    after = resident(os.getpid()), resident(stage.runner)
    assert max(b - a for a, b in zip(before, after, strict=True)) < 40 * MEGABYTE


def test_many_short_scripts_hold_nobody_up(stage):
    job = stage.job()
    with Pulse() as pulse:
        for position in range(500):
            stage.start('/bin/true', job=job, position=position)
        ends = [stage.end() for _ in range(500)]
    assert {end.outcome for end in ends} == {'exited'}
    assert sorted(end.position for end in ends) == list(range(500))
    assert pulse.longest < HELD_UP


def test_many_readers_of_many_jobs_each_get_their_own(stage):
    found, jobs = {}, []
    for number in range(50):
        job = stage.start(stage.shell(f'for i in 1 2 3; do echo {number}; sleep 0.1; done'))
        jobs.append(job)
        threads.spawn(lambda job=job: found.update({job: stage.output(job)[0]}))
    for _ in jobs:
        assert stage.end().outcome == 'exited'
    until = time.monotonic() + 30
    while len(found) < 50 and time.monotonic() < until:
        time.sleep(0.05)
    assert [found.get(job) for job in jobs] == [b'%d\n' % n * 3 for n in range(50)]


def test_a_reader_that_is_slow_holds_nobody_up(stage):
    """Each has its own offset in the file; nothing waits for it in memory."""
    job = stage.start(stage.shell('exec head -c 30000000 /dev/zero'))
    slow = stage.spools.reader(job)
    slow.read(30)
    assert stage.end().output_bytes == 30_000_000
    got = 0
    while got < 29_000_000:
        got += sum(len(frame.data) for frame in slow.read(30))
    slow.close()


def test_closing_a_reader_that_waits_ends_it(stage):
    job = stage.job()
    reader, ended = stage.spools.reader(job), []
    threads.spawn(lambda: ended.append(reader.read()))
    time.sleep(0.05)
    reader.close()
    until = time.monotonic() + 30
    while not ended and time.monotonic() < until:
        time.sleep(0.01)
    assert ended == [[]]
