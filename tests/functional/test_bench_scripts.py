"""The benchmark of scripts runs; what it measures is not judged here."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_a_quick_run_tells_both_times_for_each_number_at_once():
    done = subprocess.run(
        [sys.executable, '-m', 'bench.scripts', '--quick'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[2:]]
    assert [int(row[0]) for row in rows] == [8, 32]
    assert all(float(row[1]) > 0 and float(row[4]) > 0 for row in rows)
