"""Starting and ending simulated BMCs from Python.

    with Fleet(8, rate=1, power_on=True) as fleet:
        fleet.info(0)       # what the ipmi driver takes for the first of them
        fleet.kill(0)       # it falls silent
        fleet.revive(0)     # it is back, as after a restart: its sessions are gone

They run in a process of their own (:mod:`obmd.testing.bmc`) that ends with this one, whatever
ends this one.  Plain ``subprocess``: works in a monkey-patched process too.
"""

import json
import os
import pathlib
import secrets
import socket
import subprocess
import sys
import time

#: seconds that the process has to come up, to carry out a command, to end
START_TIMEOUT = 30.0
COMMAND_TIMEOUT = 5.0
STOP_TIMEOUT = 3.0

#: where ``obmd`` is imported from, so that the process finds the same
_PROJECT = str(pathlib.Path(__file__).resolve().parents[2])


class FleetError(Exception):
    """The process did not start, or is gone."""


class Fleet:
    """``count`` BMCs on free UDP ports of a loopback address.

    :param prefix: str, names: ``demo-`` or printf style, ``node%04d``.
    :param user: str.  :param password: str; drawn at random if None.
    :param kg: str or None.  :param privilege: int, the account's limit, 2 (user) to 4.
    :param suite: cipher suites offered: ``3``, ``17`` or ``both``.
    :param rate: console lines a second.  :param power_on: bool, the state to begin with.
    :param boot_delay: seconds between lines of boot text.
    :param power_delay: seconds from a power command to the change.
    :param soft_off: seconds from an ACPI shutdown request to off; negative: it is ignored.
    :param address: a loopback address, ``::1`` too.
    :param ports: list of int, taken as far as they are free.
    """

    def __init__(
        self,
        count,
        prefix='node%04d',
        user='ADMIN',
        password=None,
        kg=None,
        privilege=4,
        suite='3',
        rate=0.0,
        power_on=False,
        boot_delay=0.2,
        power_delay=0.0,
        soft_off=0.0,
        address='127.0.0.1',
        ports=(),
    ):
        self.count = count
        self.bmcs = []
        self._secret = {
            'user': user,
            'password': password or secrets.token_hex(8),
            'kg': kg,
            'privilege': privilege,
            'ports': list(ports),
        }
        self._options = [
            *('--count', str(count), '--prefix', prefix, '--suite', str(suite)),
            *('--rate', str(rate), '--boot-delay', str(boot_delay), '--base-addr', address),
            *('--power-delay', str(power_delay), f'--soft-off={soft_off}', '--port', '0'),
            *(('--power-on',) if power_on else ()),
        ]
        self._process = None
        # a socket and not pipes: eventlet's os.write tries for ever when a pipe's reader is gone
        self._control = None
        self._unread = b''

    @property
    def pid(self):
        """int, of the process of the BMCs; None when there is none."""
        return self._process.pid if self._process else None

    def start(self):
        """Start them and wait until all answer.  :raises FleetError: they do not."""
        self.launch()
        self.wait_ready()
        return self

    def launch(self):
        """Start the process; :meth:`wait_ready` must follow."""
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, '-m', 'obmd.testing.bmc', '--control', *self._options],
                stdin=theirs,
                stdout=theirs,
                env=os.environ | {'PYTHONPATH': _PROJECT},
                # a Ctrl-C at the terminal is for obmd, which ends its sessions before its BMCs
                start_new_session=True,
            )
        self._write(self._secret)

    def wait_ready(self):
        self.bmcs = self._read_line(START_TIMEOUT)['bmcs']

    def info(self, index):
        """:returns: dict, the ``info`` under which an ipmi node is registered."""
        bmc = self.bmcs[index]
        info = {
            'addr': bmc['address'],
            'port': bmc['port'],
            'user': bmc['user'],
            'pass': bmc['password'],
        }
        if 'kg' in bmc:
            info['kg'] = bmc['kg']
        return info

    def kill(self, index):
        """BMC ``index`` takes every packet and answers none."""
        self._command(index, 'silence')

    def revive(self, index):
        """BMC ``index`` is back on its port, without its sessions; its machine ran on."""
        self._command(index, 'restart')

    def stop(self):
        """End the process and wait for it; harmless when done before."""
        process, self._process = self._process, None
        if process is None:
            return
        self._control.close()
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_TIMEOUT)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_error):
        self.stop()

    def _command(self, index, action):
        command = {'bmc': index, 'do': action}
        self._write(command)
        answer = self._read_line(COMMAND_TIMEOUT)
        if answer != command:
            raise FleetError(f'the simulated BMCs answered {answer}')

    def _write(self, value):
        try:
            self._control.sendall(json.dumps(value).encode() + b'\n')
        except OSError:
            raise FleetError('the simulated BMCs have ended') from None

    def _read_line(self, timeout):
        end = time.monotonic() + timeout
        while b'\n' not in self._unread:
            self._control.settimeout(max(0.001, end - time.monotonic()))
            try:
                data = self._control.recv(65536)
            except TimeoutError:
                raise FleetError(
                    f'the simulated BMCs did not answer within {timeout:g} s'
                ) from None
            except OSError:
                data = b''
            if not data:
                raise FleetError('the simulated BMCs have ended')
            self._unread += data
        line, _, self._unread = self._unread.partition(b'\n')
        return json.loads(line)
