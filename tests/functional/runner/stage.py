"""A conductor's scripts without the conductor: a lease, a folder, and everything that ends."""

import itertools
import os
import pathlib
import queue
import shutil
import signal
import tempfile
import time
import uuid

from obmd.common import threads
from obmd.common.deadline import Deadline
from obmd.conductor import lease
from obmd.conductor import scripts
from obmd.conductor import spool

#: seconds within which everything happens that is to happen at all
SOON = 40.0
ENVIRONMENT = {'PATH': '/usr/sbin:/usr/bin:/sbin:/bin'}


def until(condition, seconds=SOON):
    """Wait for ``condition()``.  :returns: what it gave."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, 'it did not happen'
        time.sleep(0.05)
    return found


def alive(pid):
    """Whether a process runs; a zombie does not."""
    try:
        with open(f'/proc/{pid}/stat') as file:
            return file.read().rpartition(') ')[2][0] not in 'ZX'
    except (FileNotFoundError, ProcessLookupError):
        return False


class Stage:
    def __init__(self, all_in_one=True, ttl=10.0, folder=None, identity=None):
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix='obmd-test-'))
        # a user whom scripts run as must get to the scripts
        os.chmod(self.folder, 0o755)
        self.state = self.folder / 'state'
        self.state.mkdir(mode=0o700, exist_ok=True)
        self.identity = identity or uuid.uuid4().hex
        self.lease = lease.Lease(ttl)
        self.spools = spool.Spools(str(self.state))
        self.ends = queue.Queue()
        self._renews = True
        self._numbers = itertools.count()
        self.scripts = self.make(all_in_one)
        self.lease.start()
        self.lease.renewed(self.lease.now())
        threads.spawn(self._renew)

    def make(self, all_in_one=True):
        return scripts.Scripts(self.spools, self._note, self.lease, self.identity, all_in_one)

    def __enter__(self):
        self.scripts.start()
        return self

    def __exit__(self, *_):
        self.scripts.stop(Deadline(SOON))
        self._renews = False
        self.lease.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _renew(self):
        while self._renews:
            if self._renews != 'not now':
                self.lease.renewed(self.lease.now())
            time.sleep(0.2)

    def lose_lease(self):
        self._renews = 'not now'

    def renew_again(self):
        self._renews = True

    def _note(self, ends):
        for end in ends:
            self.ends.put(end)

    @property
    def runner(self):
        """pid of the runner, once it is there."""
        return until(lambda: self.scripts._runner)._process.pid

    # -- scripts ----------------------------------------------------------------------------------

    def script(self, text, name=None, mode=0o755):
        """:returns: path of a file with ``text`` in it."""
        path = self.folder / (name or f'script{next(self._numbers)}')
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return str(path)

    def shell(self, text):
        return self.script('#!/bin/sh\n' + text)

    def job(self, limit=1 << 30):
        job = str(uuid.uuid4())
        self.scripts.open(job, limit)
        return job

    def start(
        self, path, *arguments, job=None, position=0, timeout=60.0, environment=None, width=65536
    ):
        """:returns: uuid of the job."""
        job = job or self.job()
        given = ENVIRONMENT if environment is None else environment
        script = scripts.Script(job, position, path, arguments, given, timeout, width)
        self.scripts.run(script)
        return job

    def end(self):
        """:returns: the next :class:`obmd.conductor.scripts.End`."""
        return self.ends.get(timeout=SOON)

    def run(self, path, *arguments, **options):
        """:returns: (End, stdout, stderr)."""
        job = self.start(path, *arguments, **options)
        end = self.end()
        assert end.job == job
        out, err, told, gaps = self.output(job)
        assert told == {end.position: (end.outcome, end.status)}
        assert gaps == 0
        return end, out, err

    def output(self, job, ends=1):
        """Read until so many runs have ended.  :returns: (stdout, stderr, dict of ends, gaps)."""
        reader = self.spools.reader(job)
        texts, told, gaps = {spool.STDOUT: [], spool.STDERR: []}, {}, 0
        while len(told) < ends:
            found = reader.read(SOON)
            assert found, 'the output has no end'
            for frame in found:
                if frame.kind == spool.END:
                    told[frame.position] = frame.data
                elif frame.kind == spool.GAP:
                    gaps += frame.data
                else:
                    texts[frame.kind].append(frame.data)
        reader.close()
        return b''.join(texts[spool.STDOUT]), b''.join(texts[spool.STDERR]), told, gaps

    def said(self, job, wanted=b'\n'):
        """What a job has printed, once ``wanted`` is in it.  :returns: bytes."""
        reader, text = self.spools.reader(job), b''
        while wanted not in text:
            found = reader.read(SOON)
            assert found, f'only {text!r}'
            text += b''.join(frame.data for frame in found if frame.kind == spool.STDOUT)
        reader.close()
        return text


def kill(pid):
    os.kill(pid, signal.SIGKILL)
