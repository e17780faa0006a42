"""What a newcomer does: start the demo, paste the commands that it prints, end it."""

import json
import os
import re
import signal
import subprocess
import time

import pytest

from tests.functional.deployment import AllInOne
from tests.functional.deployment import environment
from tests.functional.deployment import family
from tests.functional.deployment import wait_until
from tests.functional.refusals import run

pytestmark = pytest.mark.needs('curl')

#: it is ready when each simulated BMC has answered once
DEMO = {'args': ['--demo'], 'env': {'OBMD_DEMO_NODES': '3'}, 'wait': '/readyz'}


@pytest.fixture(scope='module')
def demo():
    with AllInOne(**DEMO) as obmd:
        yield obmd


@pytest.fixture(scope='module')
def commands(demo):
    """The printed commands, in their order: token, status, off, on and console, sweep."""
    printed = [line for line in demo.log().splitlines() if line.strip()]
    start = next(n for n, line in enumerate(printed) if line.startswith('#'))
    found = [line for line in printed[start:] if not line.startswith('#')]
    assert len(found) == 5
    return found


def alive(pids):
    """:returns: list of int, those that run (a zombie does not)."""
    running = []
    for pid in pids:
        try:
            with open(f'/proc/{pid}/stat') as file:
                state = file.read().rpartition(')')[2].split()[0]
        except OSError:
            continue
        if state != 'Z':
            running.append(pid)
    return running


def sh(*lines):
    """:returns: str, what the lines print when they are pasted into a shell."""
    done = subprocess.run(
        ['sh', '-c', '\n'.join(lines)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, ''), done.stderr
    return done.stdout


def test_it_tells_where_it_is_and_where_the_token_is(demo):
    first = demo.log().splitlines()
    assert any(demo.url in line and 'demo-[1-3]' in line for line in first)
    (path,) = re.findall(r'admin token is in (\S+?)\.? ', demo.log())
    with open(os.path.join(demo.folder, path)) as file:
        assert file.read().strip() == demo.admin_token
    assert demo.admin_token not in demo.log()


def test_the_printed_commands_do_what_they_say(demo, commands):
    token, status, off, on_and_console, sweep = commands
    assert sh(token, 'echo $TOKEN') != '\n'
    assert sh(token, status) == '{"power_status":"on"}\n'
    assert sh(token, off, status) == '{"power_status":"off"}\n'
    check_console(token, on_and_console)
    lines = [json.loads(line) for line in sh(sweep).splitlines()]
    assert sorted(line['node'] for line in lines) == ['demo-1', 'demo-2', 'demo-3']
    assert {line['power_status'] for line in lines} == {'on'}


def check_console(token, command):
    """It streams until Ctrl-C."""
    script = f'{token}\n{command}'
    with subprocess.Popen(
        ['sh', '-c', script],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        text, until = b'', time.monotonic() + 30
        while text.count(b'\n') < 4 and time.monotonic() < until:
            text += os.read(process.stdout.fileno(), 4096)
        os.killpg(process.pid, signal.SIGINT)
    assert text.count(b'\n') >= 4, text


def test_nothing_is_left_after_a_kill():
    with AllInOne(**DEMO) as obmd:
        everyone = family(obmd.pid)
        assert len(everyone) > 1
        obmd.kill()
        wait_until(lambda: not alive(everyone), 10, f'the end of {everyone}')


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything_and_the_next_start_has_its_state(number):
    with AllInOne(**DEMO) as obmd:
        everyone, node = family(obmd.pid), obmd.node('demo-2')
        assert node.post('power_off').status_code == 200
        with node.console() as viewer:
            started = time.monotonic()
            obmd.process.send(number)
            assert obmd.process.wait() == 0
            assert time.monotonic() - started < 6
            viewer.wait_for_end()
        wait_until(lambda: not alive(everyone), 10, f'the end of {everyone}')
        admin_token = obmd.admin_token
        obmd.start()
        assert obmd.admin_token == admin_token
        assert node.power() in ('on', 'off')
        assert len(obmd.sweep('demo-[1-3]')) == 3


def test_ctrl_c_at_the_terminal_reaches_all_processes_and_still_ends_cleanly():
    """A terminal sends SIGINT to the whole group, not to obmd alone."""
    with AllInOne(**DEMO) as obmd:
        everyone = family(obmd.pid)
        os.killpg(obmd.pid, signal.SIGINT)
        assert obmd.process.wait() == 0
        wait_until(lambda: not alive(everyone), 10, f'the end of {everyone}')
        assert 'Traceback' not in obmd.log()


@pytest.mark.parametrize('number', ['0', 'x', ''])
def test_a_number_of_nodes_that_is_none_is_refused(tmp_path, number):
    env = {'OBMD_DEMO_NODES': number, 'OBMD_STATE_DIR': str(tmp_path / 'state')}
    env['OS_API__LISTEN'] = '127.0.0.1:0'
    done = run(tmp_path, 'obmd', '--demo', env=env)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert 'OBMD_DEMO_NODES' in line


def test_with_settings_of_obmd_it_serves_those():
    env = {'DB_TYPE': 'sqlite3', 'DB_PATH': ':memory:', 'ADMIN_TOKEN': '0' * 32}
    with AllInOne(args=['--demo'], env=env) as obmd:
        assert obmd.as_admin('POST', '/node/demo-1/token').status_code == 404
        assert 'demo-' not in obmd.log().partition('GET /healthz')[0]
