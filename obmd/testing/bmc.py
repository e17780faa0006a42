"""Simulated BMCs in a process of their own: for the demo, the tests and the benchmarks.

    python -m obmd.testing.bmc -n 8 --port 6230 --rate 1 --power-on --inventory FILE

Loopback only.  Needs no root and nothing but obmd's own packages.  Ends with SIGTERM, SIGINT and
with the process that started it.  Credentials come in a 0600 file (``--credentials``) or, for
:mod:`obmd.testing.fleet`, in the first line of standard input (``--control``); without either a
password is drawn and only the inventory tells it.
"""

import argparse
import ipaddress
import json
import os
import resource
import secrets
import select
import signal
import socket
import sys
import time
import traceback

from obmd.testing.controller import Bmc
from obmd.testing.controller import Credentials

#: seconds between two looks at what is due
TICK = 0.05
#: seconds between two looks whether the parent lives
PARENT_CHECK = 0.5
#: datagrams taken from one BMC before the next has its turn
BURST = 32

SUITES = {'3': (3,), '17': (17,), 'both': (17, 3)}


class Farm:
    """Every BMC of this process and the loop that serves them."""

    def __init__(self, bmcs, commands=None):
        """:param commands: file descriptor that control lines come from, or None."""
        self.bmcs = bmcs
        self._commands = commands
        self._pending = b''
        self._stopped = False
        self._epoll = select.epoll()
        self._by_descriptor = {}
        for bmc in bmcs:
            self._by_descriptor[bmc.socket.fileno()] = bmc
            self._epoll.register(bmc.socket.fileno(), select.EPOLLIN)
        if commands is not None:
            self._epoll.register(commands, select.EPOLLIN)

    def stop(self, *_signal):
        self._stopped = True

    def serve(self):
        parent = os.getppid()
        tick_at = check_at = time.monotonic()
        while not self._stopped:
            for descriptor, _ in self._epoll.poll(max(0.0, tick_at - time.monotonic())):
                if descriptor == self._commands:
                    self._read_commands()
                else:
                    self._read_packets(self._by_descriptor[descriptor])
            now = time.monotonic()
            if now >= tick_at:
                tick_at = now + TICK
                for bmc in self.bmcs:
                    bmc.tick(now)
            if now >= check_at:
                check_at = now + PARENT_CHECK
                self._stopped = self._stopped or os.getppid() != parent

    def _read_packets(self, bmc):
        for _ in range(BURST):
            try:
                packet, client = bmc.socket.recvfrom(3000)
            except BlockingIOError:
                return
            try:
                bmc.received(packet, client)
            except Exception:  # a malformed packet ends nothing but itself
                traceback.print_exc()

    def _read_commands(self):
        data = os.read(self._commands, 65536)
        if not data:
            self.stop()
            return
        *lines, self._pending = (self._pending + data).split(b'\n')
        for line in lines:
            command = json.loads(line)
            bmc = self.bmcs[command['bmc']]
            if command['do'] == 'silence':
                bmc.silent = True
            elif command['do'] == 'restart':
                bmc.restart()
            _print_line(command)


def bind(address, port):
    """:returns: a UDP socket on ``address``; any free port if ``port`` is 0."""
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_DGRAM)
    bound.setblocking(False)
    try:
        bound.bind((address, port))
    except OSError:
        bound.close()
        raise
    return bound


def bind_preferred(address, ports, count):
    """:returns: ``count`` sockets on ``ports`` as far as these are given and free."""
    bound = []
    for index in range(count):
        try:
            bound.append(bind(address, ports[index] if index < len(ports) else 0))
        except OSError:
            bound.append(bind(address, 0))
    return bound


def name_of(prefix, number):
    """``demo-`` and 1 make ``demo-1``; ``node%04d`` and 1 make ``node0001``."""
    return prefix % number if '%' in prefix else f'{prefix}{number}'


def credentials_from(text, user):
    """:param text: JSON object with ``user``, ``password`` and optional ``kg``, ``privilege``."""
    given = json.loads(text)
    kg = given.get('kg')
    return Credentials(
        given.get('user', user).encode(),
        given['password'].encode(),
        kg.encode() if kg else None,
        given.get('privilege', 4),
    )


def inventory(bmcs):
    """:returns: dict as it is written to ``--inventory``; holds the password."""
    entries = []
    for bmc in bmcs:
        entry = {
            'name': bmc.name,
            'address': bmc.address,
            'port': bmc.port,
            'user': bmc.credentials.user.decode(),
            'password': bmc.credentials.password.decode(),
        }
        if bmc.credentials.kg:
            entry['kg'] = bmc.credentials.kg.decode()
        entries.append(entry)
    return {'pid': os.getpid(), 'count': len(bmcs), 'bmcs': entries}


def _print_line(value):
    sys.stdout.write(json.dumps(value) + '\n')
    sys.stdout.flush()


def _write_private(path, text):
    temporary = f'{path}.{os.getpid()}.tmp'
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, 'w') as file:
        file.write(text)
    os.replace(temporary, path)


def _read_line(descriptor):
    """One line, and not a byte beyond it: the rest is for the loop."""
    line = b''
    while not line.endswith(b'\n'):
        byte = os.read(descriptor, 1)
        if not byte:
            break
        line += byte
    return line


def _arguments(argv):
    parser = argparse.ArgumentParser(
        prog='python -m obmd.testing.bmc', description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add('-n', '--count', type=int, default=3)
    add('--layout', choices=('port', 'addr'), default='port', help='a port or an address each')
    add('--base-addr', help='loopback; 127.0.0.1, for --layout addr 127.0.32.0')
    add('--port', type=int, help='of the first BMC less one (6230); 0: any free ports')
    add('--prefix', default='node%04d', help='names: "demo-" or printf style, "node%%04d"')
    add('--user', default='ADMIN')
    add('--credentials', metavar='FILE', help='JSON: user, password, kg, privilege')
    add('--control', action='store_true', help='credentials and commands on standard input')
    add('--suite', choices=sorted(SUITES), default='3', help='cipher suites offered')
    add('--rate', type=float, default=0.0, help='console lines a second')
    add('--boot-delay', type=float, default=0.2, help='seconds between lines of boot text')
    add('--power-on', action='store_true', help='begin powered on')
    add('--power-delay', type=float, default=0.0, help='seconds from power command to change')
    add('--soft-off', type=float, default=0.0, help='seconds to off; negative: never')
    add('--inventory', metavar='FILE', help='written (0600) once all answer; else printed')
    arguments = parser.parse_args(argv)
    default = '127.0.32.0' if arguments.layout == 'addr' else '127.0.0.1'
    arguments.base = ipaddress.ip_address(arguments.base_addr or default)
    if not arguments.base.is_loopback:
        parser.error('loopback addresses only')
    if arguments.layout == 'addr' and arguments.port == 0:
        parser.error('--layout addr needs one port for all')
    return arguments


def _credentials_and_ports(arguments):
    if arguments.control:
        line = _read_line(sys.stdin.fileno())
        return credentials_from(line, arguments.user), json.loads(line).get('ports', [])
    if arguments.credentials:
        with open(arguments.credentials) as file:
            return credentials_from(file.read(), arguments.user), []
    return Credentials(arguments.user.encode(), secrets.token_hex(8).encode()), []


def _sockets(arguments, ports):
    base, count = arguments.base, arguments.count
    if arguments.layout == 'addr':
        port = arguments.port or 623
        return [bind(str(base + i), port) for i in range(1, count + 1)]
    if arguments.port == 0:
        return bind_preferred(str(base), ports, count)
    first = 6230 if arguments.port is None else arguments.port
    return [bind(str(base), first + i) for i in range(1, count + 1)]


def main(argv=None):
    arguments = _arguments(argv)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    credentials, ports = _credentials_and_ports(arguments)
    machine = {
        'on': arguments.power_on,
        'rate': arguments.rate,
        'boot_delay': arguments.boot_delay,
        'power_delay': arguments.power_delay,
        'soft_off_delay': arguments.soft_off if arguments.soft_off >= 0 else None,
    }
    bmcs = [
        Bmc(
            name_of(arguments.prefix, number),
            bound,
            credentials,
            suites=SUITES[arguments.suite],
            machine=machine,
        )
        for number, bound in enumerate(_sockets(arguments, ports), start=1)
    ]
    farm = Farm(bmcs, sys.stdin.fileno() if arguments.control else None)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, farm.stop)
    if arguments.inventory:
        _write_private(arguments.inventory, json.dumps(inventory(bmcs), indent=1))
    else:
        _print_line(inventory(bmcs))
    farm.serve()


if __name__ == '__main__':
    main()
