"""The benchmarks run; what they measure is not judged here."""

import json
import os
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def _bench(*arguments):
    return subprocess.run(
        [sys.executable, '-m', 'bench', *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.mark.needs('ipmi_sim', 'ipmipower', 'ipmitool')
def test_a_quick_run_prints_a_table_and_writes_json(tmp_path):
    path = tmp_path / 'results.json'
    names = ('sweep', 'power_on', 'revocation', 'crowd')
    only = [part for name in names for part in ('--only', name)]
    done = _bench('--quick', '--nodes', '6', *only, '--json', str(path))
    assert done.returncode == 0, done.stderr
    told = json.loads(path.read_text())
    rows = {row['name']: row for row in told['rows']}
    assert {'sweep', 'sweep_ratio', 'power_on', 'revocation', 'crowd'} <= rows.keys()
    assert all(row['value'] >= 0 for row in rows.values())
    assert rows['sweep_ratio']['peer']['name'] == 'ipmipower'
    assert rows['sweep']['samples']['repetitions'] == 2
    assert told['machine']['cpus'] >= 1
    for row in rows.values():
        assert row['what'] in done.stdout


@pytest.mark.needs('ipmi_sim', 'ipmipower', 'ipmitool', 'initdb', 'rabbitmq-server')
def test_a_quick_run_of_agents_over_rabbitmq(tmp_path):
    path = tmp_path / 'results.json'
    done = _bench('--quick', '--only', 'agents', '--json', str(path))
    assert done.returncode == 0, done.stderr
    rows = {row['name']: row for row in json.loads(path.read_text())['rows']}
    assert {'lookups', 'heartbeats', 'heartbeats_p99', 'guesses', 'guesses_spread'} <= rows.keys()
    assert rows['lookups']['bound_is'] == 'least'
    assert 0 < rows['heartbeats_rows']['value'] < 10


@pytest.mark.needs('ipmi_sim', 'ipmipower', 'ipmitool')
def test_a_quick_run_of_jobs(tmp_path):
    path = tmp_path / 'results.json'
    done = _bench('--quick', '--only', 'jobs', '--only', 'job_power', '--json', str(path))
    assert done.returncode == 0, done.stderr
    rows = {row['name']: row for row in json.loads(path.read_text())['rows']}
    assert {'job_8', 'job_32', 'job_post', 'job_output', 'job_readers', 'job_power'} <= rows.keys()
    assert rows['job_8']['peer']['name'] == 'xargs -P 8'


def test_an_unknown_measure_is_refused():
    done = _bench('--only', 'nonsense')
    assert done.returncode == 2
    assert 'consoles' in done.stderr
