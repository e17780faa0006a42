"""Start N OpenIPMI ``ipmi_sim`` BMCs on loopback, each with a live serial console.

One farm process owns
  * N ipmi_sim children (Debian package "openipmi"), one UDP address and port each;
  * N TCP "serial ports" that ipmi_sim's SOL connects to (asyncio, this process);
  * one FIFO on which the chassis control hook reports power, boot and reset events.

    python -m tests.functional.farm -n 3 --workdir farm --inventory inv.json --rate 1
    (JSON inventory on stdout once every BMC answers; SIGTERM or SIGINT ends all)

Tests and benchmarks use :class:`Farm`.  With ``--control`` the farm reads ``start NAME`` lines on
stdin and answers ``started NAME PID``: a BMC that a test has killed comes back; at a line
``burst BYTES`` every console prints that much.
"""

import argparse
import asyncio
import ipaddress
import json
import os
import random
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time

from tests.functional.farm_bmc import CTL_SH
from tests.functional.farm_bmc import Bmc

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PING = bytes.fromhex('0600ff06000011be80000000')  # ASF presence ping


class Farm:
    """A farm for as long as the ``with`` lasts.

    :param count: int.
    :param options: the command line's, with underscores: ``rate=1``, ``power_on=True``,
        ``kg='...'``, ``layout='port'``.  Address and workdir are made up if not given.
    :ivar bmcs: list of dicts ``name, address, port, user, password, pid, serial, dir``.
    """

    def __init__(self, count=1, **options):
        self._folder = None
        if 'workdir' not in options:
            self._folder = options['workdir'] = tempfile.mkdtemp(prefix='farm-')
        options.setdefault('inventory', os.path.join(options['workdir'], 'inventory.json'))
        if 'base_addr' not in options:
            options['base_addr'] = f'127.{random.randint(20, 250)}.{random.randint(0, 200)}.0'
        options.setdefault('port', 9623)
        self._inventory = options['inventory']
        self._timeout = options.get('ready_timeout', 120)
        self._command = [sys.executable, '-m', 'tests.functional.farm', '--control', '-n']
        self._command.append(str(count))
        for name, value in options.items():
            if value is True:
                self._command.append('--' + name.replace('_', '-'))
            elif value not in (None, False):
                self._command += ['--' + name.replace('_', '-'), str(value)]
        self._process = None
        self.bmcs = []

    def __enter__(self):
        self._process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        end = time.monotonic() + self._timeout
        while not os.path.exists(self._inventory):
            if self._process.poll() is not None or time.monotonic() > end:
                error = self._process.stderr.read() if self._process.poll() is not None else ''
                self.__exit__()
                raise RuntimeError(f'the farm did not start: {error[-2000:]}')
            time.sleep(0.05)
        with open(self._inventory) as f:
            self.bmcs = json.load(f)['bmcs']
        return self

    def __exit__(self, *exc_info):
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            stream.close()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self, bmc):
        """The BMC vanishes without a word."""
        os.kill(bmc['pid'], signal.SIGKILL)

    def stop(self, bmc):
        """The BMC hangs: its socket is there and nobody answers."""
        os.kill(bmc['pid'], signal.SIGSTOP)

    def resume(self, bmc):
        os.kill(bmc['pid'], signal.SIGCONT)

    def start(self, bmc):
        """A killed BMC comes back, with no memory of its sessions."""
        self._process.stdin.write(f'start {bmc["name"]}\n')
        self._process.stdin.flush()
        word, name, pid = self._process.stdout.readline().split()
        if (word, name) != ('started', bmc['name']):
            raise RuntimeError(f'{bmc["name"]} did not start: {word} {name}')
        bmc['pid'] = int(pid)

    def burst(self, size):
        """Every BMC begins to print ``size`` bytes on its console, as fast as SOL takes them."""
        self._process.stdin.write(f'burst {size}\n')
        self._process.stdin.flush()

    def read(self, bmc, name):
        """:returns: str, a file of the BMC: ``power``, ``boot``, ``identify`` or ``log``."""
        with open(os.path.join(bmc['dir'], name)) as f:
            return f.read().strip()


async def wait_ready(bmcs, timeout):
    """Presence-ping every BMC until all have answered; returns those that never did."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ':' in bmcs[0].addr else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind(('::1' if family == socket.AF_INET6 else '127.0.0.1', 0))
    sock.setblocking(False)
    todo = {(b.addr, b.port): b for b in bmcs}
    end = time.monotonic() + timeout
    while todo and time.monotonic() < end:
        for peer in list(todo):
            try:
                sock.sendto(PING, peer)
            except OSError:
                pass
        stop = time.monotonic() + 0.25
        while todo and (left := stop - time.monotonic()) > 0:
            try:
                _, peer = await asyncio.wait_for(loop.sock_recvfrom(sock, 512), left)
                todo.pop(peer[:2], None)
            except (TimeoutError, OSError):
                pass
        if any(b.proc.poll() is not None for b in todo.values()):
            break
    sock.close()
    return list(todo.values())


def stop_all(bmcs, grace=3.0):
    """SIGTERM each child by the pid that we started; SIGKILL what is left after ``grace``."""
    live = [b.proc for b in bmcs if b.proc and b.proc.poll() is None]
    for process in live:
        process.terminate()
        process.send_signal(signal.SIGCONT)
    end = time.monotonic() + grace
    for process in live:
        try:
            process.wait(max(0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _prepare(args):
    os.makedirs(args.workdir, exist_ok=True)
    ctl, fifo = os.path.join(args.workdir, 'ctl.sh'), os.path.join(args.workdir, 'events')
    with open(ctl, 'w') as f:
        f.write(CTL_SH)
    os.chmod(ctl, 0o755)
    if not (os.path.exists(fifo) and stat.S_ISFIFO(os.stat(fifo).st_mode)):
        os.mkfifo(fifo)
    return ctl, fifo


def _listen(fifo, bmcs):
    fd, buffer = os.open(fifo, os.O_RDWR | os.O_NONBLOCK), bytearray()

    def readable():
        buffer.extend(os.read(fd, 65536))
        while (i := buffer.find(b'\n')) >= 0:
            idx, what, value = bytes(buffer[:i]).decode().split(None, 2)
            del buffer[: i + 1]
            bmcs[int(idx) - 1].event(what, value)

    asyncio.get_running_loop().add_reader(fd, readable)


async def _control(bmcs, args):
    """Serve ``start NAME`` and ``burst BYTES`` lines from stdin."""
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    by_name = {b.name: b for b in bmcs}
    bursts = set()  # a task that nobody holds may be collected
    while line := await reader.readline():
        word, value = line.decode().split()
        if word == 'burst':
            bursts |= {asyncio.create_task(b.burst(int(value))) for b in bmcs}
            continue
        bmc = by_name[value]
        bmc.proc.wait(5)
        bmc.spawn(args)
        missing = await wait_ready([bmc], 10)
        print('failed' if missing else 'started', bmc.name, bmc.proc.pid, flush=True)


def _publish(bmcs, args, started):
    took = round(time.monotonic() - started, 3)
    inventory = {
        'farm_pid': os.getpid(),
        'count': len(bmcs),
        'startup_s': took,
        'bmcs': [b.inventory(args) for b in bmcs],
    }
    text = json.dumps(inventory, indent=1)
    if args.inventory:
        with open(args.inventory + '.tmp', 'w') as f:
            f.write(text)
        os.replace(args.inventory + '.tmp', args.inventory)
    else:
        print(text, flush=True)
    sys.stderr.write(f'ready: {len(bmcs)} BMCs in {took:.2f} s\n')
    sys.stderr.flush()


def _watch(bmcs, args):
    """ipmi_sim can be crashed by some requests."""
    for b in bmcs:
        if b.proc.returncode is None and b.proc.poll() is not None:
            sys.stderr.write(f'{b.name} ended with {b.proc.returncode}\n')
            if args.respawn:
                b.spawn(args)


async def run(args):
    ctl, fifo = _prepare(args)
    bmcs = [Bmc(i, args) for i in range(1, args.count + 1)]
    done = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, done.set)
    _listen(fifo, bmcs)
    started, tasks = time.monotonic(), []
    try:
        for b in bmcs:  # consoles first: ipmi_sim retries SOL only every 10 s
            b.write_config(args, ctl, fifo)
            await b.serve_tty()
            tasks.append(asyncio.create_task(b.machine(args)))
        for i, b in enumerate(bmcs):
            b.spawn(args)
            if i % 20 == 19:
                await asyncio.sleep(0)
        missing = await wait_ready(bmcs, args.ready_timeout)
        if missing:
            log = missing[0].read('log')[-500:]
            sys.stderr.write(f'not ready: {len(missing)}, first {missing[0].name}\n{log}\n')
            return 1
        _publish(bmcs, args, started)
        if args.control:
            tasks.append(asyncio.create_task(_control(bmcs, args)))
        while not done.is_set():
            try:
                await asyncio.wait_for(done.wait(), 2)
            except TimeoutError:
                _watch(bmcs, args)
    finally:
        for task in tasks:
            task.cancel()
        stop_all(bmcs)
        if args.clean:
            shutil.rmtree(args.workdir, ignore_errors=True)
    return 0


def parser():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = p.add_argument
    add('-n', '--count', type=int, default=3)
    add(
        '--layout',
        choices=('addr', 'port'),
        default='addr',
        help='addr: one 127/8 address per BMC, same port; port: one address, many ports',
    )
    add('--base-addr', default='127.0.16.0', help='BMC i gets base+i (addr) or base (port)')
    add('--port', type=int, default=623, help='UDP port (addr) or port base (port)')
    add('--tty-port', type=int, default=2323, help='TCP port or port base of the serial consoles')
    add('--prefix', default='node')
    add('--user', default='ADMIN')
    add('--password', default='secret')
    add('--kg', help='K_g: 1 to 19 ASCII characters, no blank or quote (ipmi_sim drops the 20th)')
    add('--rate', type=float, default=0, help='console lines/s per powered node (0: none)')
    add('--boot-delay', type=float, default=0.2, help='seconds between boot lines')
    add('--history', type=int, default=4096, help='SOL history bytes kept by ipmi_sim')
    add('--power-on', action='store_true', help='nodes start powered on')
    add('--persist', action='store_true', help='let ipmi_sim keep its state across runs')
    add('--workdir', default='ipmi_farm')
    add('--inventory', help='write JSON here instead of stdout')
    add('--respawn', action='store_true', help='start an ipmi_sim again when it dies')
    add('--control', action='store_true', help='read "start NAME" lines on stdin')
    add('--ready-timeout', type=float, default=120)
    add('--clean', action='store_true', help='remove workdir at the end')
    add('--ipmi-sim', default=shutil.which('ipmi_sim') or 'ipmi_sim')
    return p


def main():
    p = parser()
    args = p.parse_args()
    args.workdir = os.path.abspath(args.workdir)
    if not ipaddress.ip_address(args.base_addr).is_loopback:
        p.error('loopback addresses only')
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sys.exit(asyncio.run(run(args)))


if __name__ == '__main__':
    main()
