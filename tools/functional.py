#!/usr/bin/env python3
"""Run the functional tests side by side: a pytest for each file, some files at a time.

    tools/functional.py [-j LANES] [FILE ...] [-- PYTEST OPTIONS]

Most of them wait for time-outs of their own processes, brokers and databases, so two cores carry
several.  A file whose tests measure silences says ``pytest.mark.alone``: those come last, one by
one.  Each file's line comes when it has ended; what a failed one printed is shown, and the exit
status is 1.  pytest-xdist does not do: eventlet's patches and its workers' threads hang.
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / 'tests' / 'functional'
ALONE = re.compile(r'\bmark\.alone\b')
#: files that take more than half a minute: they start first
LONG = (
    'test_split_faults.py',
    'test_outcomes.py',
    'test_split.py',
    'db/test_outages.py',
    'test_agents.py',
    'test_agents_over_rabbitmq.py',
    'test_obmd_start.py',
    'test_console_end_to_end.py',
)
#: exit statuses of pytest: passed; no test was selected, which options may cause
PASSED, NONE = 0, 5


class Run:
    """One run over many files."""

    def __init__(self, options):
        self._options = options
        self._free = list(range(32))
        self._processes = set()
        self._stopping = False

    def stop(self):
        self._stopping = True
        for process in list(self._processes):
            process.send_signal(signal.SIGINT)

    def file(self, path):
        """:returns: bool, whether all its tests have passed."""
        lane = self._free.pop()
        try:
            return self._file(path, lane)
        finally:
            self._free.append(lane)

    def _file(self, path, lane):
        if self._stopping:
            return False
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', str(path)]
            + self._options,
            cwd=ROOT,
            env=os.environ | {'TEST_LANE': str(lane)},
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors='replace',
        )
        self._processes.add(process)
        output, _ = process.communicate()
        self._processes.discard(process)
        seconds = time.monotonic() - began
        passed = process.returncode == PASSED or (process.returncode == NONE and self._options)
        summary = (output.strip().splitlines() or ['no output'])[-1].strip('= ')
        word = 'ok    ' if passed else 'FAILED'
        text = f'{word} {seconds:6.1f} s  {path.relative_to(ROOT)}: {summary}'
        shown = output.splitlines()
        if passed:
            shown = [line for line in shown if line.startswith('SKIPPED')]
        text = '\n'.join([*shown, text])
        print(text, flush=True)
        return bool(passed)


def order(path):
    name = str(path.relative_to(FOLDER))
    return (LONG.index(name) if name in LONG else len(LONG), name)


def main():
    arguments, options = sys.argv[1:], []
    if '--' in arguments:
        at = arguments.index('--')
        arguments, options = arguments[:at], arguments[at + 1 :]
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('-j', type=int, default=3, metavar='LANES', help='files at a time')
    parser.add_argument('file', nargs='*', type=pathlib.Path)
    parsed = parser.parse_args(arguments)
    files = [path.resolve() for path in parsed.file] or sorted(FOLDER.rglob('test_*.py'), key=order)
    alone = [path for path in files if ALONE.search(path.read_text())]
    run = Run(options)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: run.stop())
    began = time.monotonic()
    passed = []
    with concurrent.futures.ThreadPoolExecutor(max(1, parsed.j)) as pool:
        passed += pool.map(run.file, [path for path in files if path not in alone])
    passed += map(run.file, alone)
    failed = passed.count(False)
    print(f'{len(files)} files in {time.monotonic() - began:.0f} s, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
