"""Worker processes: started again when they die, stopped with their parent."""

import os
import signal
import subprocess
import sys
import time

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(__file__))))

PARENT = """
import sys
from obmd.common import workers
workers.PAUSE_MIN = 0.1
command = [sys.executable, '-c', {worker!r}]
print('parent', flush=True)
sys.exit(workers.Supervisor(command, 2, stop_timeout=1.0).run())
"""
WORKER = """
import os, signal, time
# in one piece: all workers write to one pipe
os.write(1, f'worker {{os.environ["OBMD_WORKER"]}} {{os.getpid()}}\\n'.encode())
{more}
time.sleep(60)
"""


@pytest.fixture
def supervise():
    started = []

    def start(more=''):
        process = subprocess.Popen(
            [sys.executable, '-c', PARENT.format(worker=WORKER.format(more=more))],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
        )
        started.append(process)
        assert process.stdout.readline() == 'parent\n'
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def next_worker(process):
    """:returns: (int number, int pid) of the worker that says it has started."""
    _, number, pid = process.stdout.readline().split()
    return int(number), int(pid)


def is_gone(pid):
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            with open(f'/proc/{pid}/stat') as stat:
                if stat.read().rpartition(')')[2].split()[0] == 'Z':
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


def test_each_worker_has_its_number_and_a_stop_reaches_all(supervise):
    process = supervise()
    found = dict(next_worker(process) for _ in range(2))
    assert sorted(found) == [0, 1]
    process.terminate()
    assert process.wait(5) == 0
    assert all(is_gone(pid) for pid in found.values())


def test_a_worker_that_dies_is_replaced(supervise):
    process = supervise()
    found = dict(next_worker(process) for _ in range(2))
    os.kill(found[1], signal.SIGKILL)
    number, pid = next_worker(process)
    assert number == 1
    assert pid != found[1]


def test_a_worker_that_ignores_the_stop_is_killed(supervise):
    process = supervise('signal.signal(signal.SIGTERM, signal.SIG_IGN); os.write(1, b"x 0 0\\n")')
    found = {}
    while len(found) < 2:
        name, number, pid = process.stdout.readline().split()
        if name == 'worker':
            found[number] = int(pid)
    time.sleep(0.2)
    process.terminate()
    process.wait(5)
    assert all(is_gone(pid) for pid in found.values())


def test_workers_die_with_their_parent(supervise):
    process = supervise()
    found = dict(next_worker(process) for _ in range(2))
    process.kill()
    assert all(is_gone(pid) for pid in found.values())
