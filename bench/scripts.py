"""``python -m bench.scripts``: scripts under the runner, against ``xargs -P`` running the same.

The runner and its client alone, on green threads as in a conductor: no database, no API.  What
they add to a run is what a job of many nodes can never be faster than.
"""

import argparse
import itertools
import os
import queue
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid

from obmd.cmd import startup

#: times that of xargs: what a whole job may take
BOUND = 1.5
#: runs before the first that is timed
WARM = 50


def parser():
    p = argparse.ArgumentParser(prog='python -m bench.scripts', description=__doc__.splitlines()[0])
    p.add_argument('--runs', type=int, default=1000, metavar='N', help='of each job (1000)')
    p.add_argument('--repetitions', type=int, default=5, metavar='N', help='in turns (5)')
    p.add_argument('--script', default='/bin/true', metavar='PATH', help='(/bin/true)')
    p.add_argument(
        '--parallel', type=int, nargs='+', default=[8, 32], metavar='N', help='at once (8 32)'
    )
    p.add_argument('--quick', action='store_true', help='small: shows that it runs, not how fast')
    return p


class Runner:
    """A runner that says when runs end."""

    def __init__(self, folder):
        from obmd.conductor import lease
        from obmd.conductor import scripts
        from obmd.conductor import spool

        self._script = scripts.Script
        self._ends = queue.Queue()
        self._lease = lease.Lease(10.0)
        self._lease.start()
        self._lease.renewed(self._lease.now())
        spools = spool.Spools(folder)
        self._scripts = scripts.Scripts(spools, self._note, self._lease, uuid.uuid4().hex, True)
        self._scripts.start()

    def _note(self, ends):
        for end in ends:
            self._ends.put(end)

    def job(self, path, runs, parallel):
        """:returns: seconds that so many runs of ``path`` took, ``parallel`` at once."""
        job, environment = str(uuid.uuid4()), {'PATH': os.defpath}
        self._scripts.open(job, 1 << 30)
        positions, running, ended = itertools.count(), 0, 0
        started = time.monotonic()
        while ended < runs:
            while running < parallel and ended + running < runs:
                self._lease.renewed(self._lease.now())
                script = self._script(job, next(positions), path, (), environment, 60.0)
                self._scripts.run(script)
                running += 1
            end = self._ends.get(timeout=60)
            if end.outcome != 'exited':
                raise RuntimeError(f'a run was {end.outcome}: {end.reason}')
            running, ended = running - 1, ended + 1
        took = time.monotonic() - started
        self._scripts.close(job)
        return took

    def close(self):
        from obmd.common.deadline import Deadline

        self._scripts.stop(Deadline(10))


def xargs(path, runs, parallel):
    """:returns: seconds."""
    numbers = '\n'.join(map(str, range(runs))).encode()
    command = ['xargs', '-n1', f'-P{parallel}', path]
    started = time.monotonic()
    # a status is the scripts' own, as it is above
    subprocess.run(command, input=numbers, stdout=subprocess.DEVNULL, check=False)
    return time.monotonic() - started


def main(arguments=None):
    """:returns: int, 1 when a bound is not met (never with ``--quick``)."""
    args = parser().parse_args(arguments)
    if args.quick:
        args.runs, args.repetitions = 50, 2
    startup.patch()
    startup.configure([], 'obmd', [])
    folder = tempfile.mkdtemp(prefix='obmd-bench-')
    runner, late = Runner(folder), False
    print(f'{args.runs} runs of {args.script}, medians of {args.repetitions}, in turns')
    print('at once     obmd    runs/s    xargs -P    runs/s    obmd : xargs    bound')
    try:
        runner.job(args.script, WARM, args.parallel[0])
        for parallel in args.parallel:
            ours, theirs = [], []
            for _ in range(args.repetitions):
                ours.append(runner.job(args.script, args.runs, parallel))
                theirs.append(xargs(args.script, args.runs, parallel))
            a, b = statistics.median(ours), statistics.median(theirs)
            late |= a > BOUND * b
            print(
                f'{parallel:7} {a:6.2f} s {args.runs / a:9.0f} {b:9.2f} s {args.runs / b:9.0f}'
                f' {a / b:15.2f} {BOUND:8.1f}',
                flush=True,
            )
    finally:
        runner.close()
        shutil.rmtree(folder, ignore_errors=True)
    return int(late and not args.quick)


if __name__ == '__main__':
    sys.exit(main())
