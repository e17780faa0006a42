"""Other programs at a BMC: ipmitool, in a terminal of its own where it needs one, and a relay."""

import contextlib
import os
import pty
import select
import signal
import socket
import subprocess
import threading
import time


def ipmitool(bmc, *words, timeout=30):
    """Run ipmitool.  :param bmc: dict of a Farm.  :returns: str, its output."""
    done = subprocess.run(_command(bmc, words), capture_output=True, text=True, timeout=timeout)
    return done.stdout + done.stderr


def sol_is_active(bmc):
    """Get Payload Activation Status (section 24.4), asked by another client."""
    answer = ipmitool(bmc, 'raw', '0x06', '0x4a', '0x01').split()
    return bool(int(answer[1], 16) & 1)


def _command(bmc, words):
    command = ['ipmitool', '-I', 'lanplus', '-C', '3', '-H', bmc['address']]
    return [*command, '-p', str(bmc['port']), '-U', bmc['user'], '-P', bmc['password'], *words]


class SolClient:
    """``ipmitool sol activate`` in a terminal, as a person has it open."""

    def __init__(self, bmc):
        self.text = b''
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            _command(bmc, ('sol', 'activate')),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        with contextlib.suppress(OSError, EOFError):
            while select.select([self._master], [], [])[0]:
                data = os.read(self._master, 4096)
                if not data:
                    return
                self.text += data

    def wait_for(self, text, timeout=15.0):
        until = time.monotonic() + timeout
        while text not in self.text:
            assert time.monotonic() < until, f'{text!r} did not come: {self.text[-500:]!r}'
            time.sleep(0.05)

    def wait_active(self):
        self.wait_for(b'SOL Session operational')
        return self

    def leave(self):
        """As ``~.``: it deactivates SOL and ends."""
        if self._process.poll() is None:
            os.write(self._master, b'\r~.')
            try:
                self._process.wait(1)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.leave()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        os.close(self._master)


class CountingRelay:
    """A UDP relay in front of a BMC that counts what comes from the client.

    :ivar packets: int.
    """

    def __init__(self, bmc):
        self.packets = 0
        self._to = bmc['address'], bmc['port']
        self._front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._front.bind(('127.0.0.1', 0))
        self.port = self._front.getsockname()[1]
        self._backs = {}
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        with contextlib.suppress(OSError, EOFError):
            while True:
                data, client = self._front.recvfrom(2048)
                self.packets += 1
                if client not in self._backs:
                    back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                    back.connect(self._to)
                    self._backs[client] = back
                    threading.Thread(target=self._answers, args=(back, client), daemon=True).start()
                self._backs[client].send(data)

    def _answers(self, back, client):
        with contextlib.suppress(OSError, EOFError):
            while True:
                self._front.sendto(back.recv(2048), client)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self._front.close()
        for back in self._backs.values():
            back.close()
