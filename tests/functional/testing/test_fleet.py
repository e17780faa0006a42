"""How the process of the simulated BMCs lives and ends."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time

import pytest

from obmd.testing.fleet import Fleet
from obmd.testing.fleet import FleetError

PING = bytes.fromhex('0600ff07000000000000000000092018c88100388e04b5')  # auth capabilities


def answers(info, seconds=2.0):
    """Whether a BMC answers Get Channel Authentication Capabilities."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(seconds)
        client.sendto(PING, (info['addr'], info['port']))
        try:
            return client.recv(100)[:4] == PING[:4]
        except TimeoutError:
            return False


def ended(pid, seconds=5.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with open(f'/proc/{pid}/stat') as file:
                if file.read().rsplit(')')[1].split()[0] == 'Z':
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def test_one_bmc_falls_silent_and_comes_back_while_the_others_serve():
    with Fleet(2) as fleet:
        fleet.kill(0)
        assert not answers(fleet.info(0), 0.3)
        assert answers(fleet.info(1))
        fleet.revive(0)
        assert answers(fleet.info(0))


def test_leaving_it_ends_the_process():
    with Fleet(1) as fleet:
        pid = fleet.pid
    assert ended(pid)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(number):
    with Fleet(1) as fleet:
        os.kill(fleet.pid, number)
        assert ended(fleet.pid)
        with pytest.raises(FleetError):
            fleet.kill(0)


def test_it_ends_with_a_parent_that_is_killed():
    program = (
        'from obmd.testing.fleet import Fleet\n'
        'import time\n'
        'print(Fleet(1).start().pid, flush=True)\n'
        'time.sleep(60)\n'
    )
    with subprocess.Popen([sys.executable, '-c', program], stdout=subprocess.PIPE) as parent:
        pid = int(parent.stdout.readline())
        parent.kill()
    assert ended(pid)


def test_the_password_is_on_no_command_line():
    with Fleet(1, password='hidden-word') as fleet:
        for name in ('cmdline', 'environ'):
            with open(f'/proc/{fleet.pid}/{name}', 'rb') as file:
                assert b'hidden-word' not in file.read()


def test_ports_are_kept_where_they_are_free():
    with Fleet(2) as fleet:
        ports = [bmc['port'] for bmc in fleet.bmcs]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(('127.0.0.1', ports[0]))
        with Fleet(2, ports=ports) as fleet:
            assert fleet.bmcs[0]['port'] != ports[0]
            assert fleet.bmcs[1]['port'] == ports[1]


def test_garbage_ends_nothing():
    with Fleet(1) as fleet:
        info = fleet.info(0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            for size in range(1, 60):
                client.sendto(PING[:4] + b'\x06\x10' + bytes(size), (info['addr'], info['port']))
                client.sendto(PING[:4] + b'\x06\xc0' + bytes(size), (info['addr'], info['port']))
                client.sendto(os.urandom(size), (info['addr'], info['port']))
        assert answers(info)


def test_the_command_line_writes_a_private_inventory(tmp_path):
    secret, inventory = tmp_path / 'secret', tmp_path / 'inventory'
    secret.write_text(json.dumps({'user': 'root', 'password': 'hidden-word'}))
    command = [sys.executable, '-m', 'obmd.testing.bmc', '-n', '2', '--port', '0']
    command += ['--prefix', 'demo-', '--credentials', str(secret), '--inventory', str(inventory)]
    with subprocess.Popen(command) as process:
        end = time.monotonic() + 20
        while not inventory.exists() and time.monotonic() < end:
            time.sleep(0.05)
        bmcs = json.loads(inventory.read_text())['bmcs']
        process.terminate()
    assert [bmc['name'] for bmc in bmcs] == ['demo-1', 'demo-2']
    assert (bmcs[0]['user'], bmcs[0]['password']) == ('root', 'hidden-word')
    assert stat.S_IMODE(inventory.stat().st_mode) == 0o600


def test_it_serves_loopback_only():
    done = subprocess.run(
        [sys.executable, '-m', 'obmd.testing.bmc', '--base-addr', '0.0.0.0'],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert 'loopback addresses only' in done.stderr
