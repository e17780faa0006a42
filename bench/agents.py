"""Machines with ramdisk agents at an API of two workers and one conductor, over RabbitMQ and
PostgreSQL, and somebody on their network who guesses.

Each request has a connection of its own, as that of an agent which reports every few minutes, and
each machine has an address of its own; 127.0.0.0/8 stands for the provisioning network.
"""

import collections
import contextlib
import json
import multiprocessing
import pathlib
import random
import secrets
import tempfile
import time

from bench import clients
from bench import daemon
from bench import shots
from tests.functional.common import certificates
from tests.functional.deployment import Split
from tests.functional.deployment import family
from tests.functional.services import PostgreSQL
from tests.functional.services import RabbitMQ
from tests.functional.services import free_port

#: of the API that the agents of today use for heartbeats
_VERSION = '1.68'
#: requests at once while nodes are registered
_CALLERS = 16
#: seconds after which each server process of PostgreSQL has told what it did
#: (PGSTAT_IDLE_INTERVAL of its pgstat.c)
_TOLD = 10.5
#: seconds of guessing between two looks whether to go on
_ROUND = 1.0


class Agents:
    """There for as long as the ``with`` lasts.

    :param count: int, nodes, each with a machine; node ``n7`` is the machine 7.
    :param options: dict, more of ``[agent]``.
    :ivar address: (host, port) of the listener of agents.
    :ivar split: :class:`tests.functional.deployment.Split`.
    """

    def __init__(self, count, options=None):
        self.count = count
        self._options = options or {}
        self.address = '127.0.0.1', free_port()
        self.split = None
        self._numbers = list(range(count))
        self._uuids = {}
        self._tokens = {}
        self._open = contextlib.ExitStack()

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            servers = [stack.enter_context(server()) for server in (RabbitMQ, PostgreSQL)]
            self._servers = dict(zip(('broker', 'database'), servers, strict=True))
            folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
            with open(certificates.make(folder)[0]) as file:
                self._certificate = file.read()
            config = {
                'agent': {'listen': '{}:{}'.format(*self.address), **self._options},
                # as they are without options
                'conductor': {'heartbeat_interval': 2, 'heartbeat_ttl': 10},
            }
            self.split = Split(*servers, conductors=1, workers=2, config=config)
            stack.enter_context(self.split)
            self._register()
            self._open = stack.pop_all()
        return self

    def __exit__(self, *exc_info):
        self._open.close()

    @property
    def operators(self):
        """(host, port) of the listener of everybody else."""
        return '127.0.0.1', self.split.port

    def _register(self):
        nodes = [f'n{number}' for number in range(self.count)]
        self._all('PUT', {f'/node/{name}': {'type': 'mock', 'info': {}} for name in nodes})
        self._all(
            'PATCH',
            {
                f'/api/v1/nodes/{name}': {'ports': [_mac(number)], 'expect_agent': True}
                for number, name in enumerate(nodes)
            },
        )
        self.split.wait_for(timeout=60)

    def _all(self, method, bodies):
        token = self.split.admin_token
        requests = ((clients.request(method, p, token, b), None) for p, b in bodies.items())
        check(shots.drained(self.operators, requests, _CALLERS)[0], 200)

    # -- what machines ask ------------------------------------------------------------------------

    def look_up(self, at_once, numbers=None):
        """Each looks its node up once.

        :param numbers: list of those that do, or None: all.
        :returns: (list of Shot, seconds); the first time they get their tokens.
        """
        numbers = self._numbers if numbers is None else numbers
        requests = [self._lookup(number) for number in numbers]
        found, seconds = shots.drained(self.address, requests, at_once)
        for number, shot in zip(numbers, check(found, 200), strict=True):
            told = json.loads(shot.body)
            if number not in self._tokens:
                self._tokens[number] = told['config']['agent_token']
                self._uuids[number] = told['node']['uuid']
            elif told['config']['agent_token'] != '******':
                raise clients.BadAnswer('a token was told twice')
        return found, seconds

    def _lookup(self, number):
        # the interface it was booted from, and others
        macs = [_mac(number), _mac(number, 1), _mac(number, 2), _mac(number, 3)]
        return _ask('GET', f'/v1/lookup?addresses={",".join(macs)}'), _address(1, number)

    def beat(self, at_once, numbers=None):
        """Each reports once.  :param numbers: as of :meth:`look_up`.

        :returns: (list of Shot, seconds).
        """
        numbers = self._numbers if numbers is None else numbers
        requests = [self._heartbeat(number) for number in numbers]
        return shots.drained(self.address, requests, at_once)

    def beat_at(self, rate, seconds):
        """They report in turns, ``rate`` times a second.  :returns: list of Shot."""
        turns = range(int(rate * seconds))
        requests = [self._heartbeat(turn % self.count) for turn in turns]
        return shots.paced(self.address, requests, rate)

    def _heartbeat(self, number):
        body = {
            'callback_url': f'https://10.1.{number // 250}.{number % 250 + 1}:9999',
            'agent_token': self._tokens[number],
            'agent_version': '11.0.0',
            'agent_verify_ca': self._certificate,
        }
        path = f'/v1/heartbeat/{self._uuids[number]}'
        return _ask('POST', path, body), _address(1, number)

    # -- what it costs ----------------------------------------------------------------------------

    @property
    def parts(self):
        """dict of str -> what takes part, each with its ``pid``."""
        return {'API': self.split.api, 'conductor': self.split.conductors[0], **self._servers}

    @contextlib.contextmanager
    def costs(self, count):
        """What ``count`` requests take.  :returns: dict that has it at the end: who -> ms of CPU
        for each.
        """
        parts = self.parts
        before = {name: _cpu(part.pid) for name, part in parts.items()}
        found = {}
        yield found
        for name, part in parts.items():
            used = sum(s - before[name].get(pid, 0.0) for pid, s in _cpu(part.pid).items())
            found[name] = 1000 * used / count

    def written(self):
        """:returns: int, rows of agents that were written since the start."""
        time.sleep(_TOLD)
        return int(
            self.split.query(
                'SELECT n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables '
                "WHERE relname = 'agents'"
            )
        )


class Guesses:
    """Somebody who guesses MAC addresses, and tokens of nodes that are there, in a process of its
    own, for as long as the ``with`` lasts.

    :param rate: guesses a second.
    :param spread: bool, each guess from another address; else all from one.
    :ivar answers: Counter of statuses, at the end.  :ivar rate: float, what was reached.
    """

    def __init__(self, agents, rate, spread):
        context = multiprocessing.get_context('spawn')
        self._pipe, theirs = context.Pipe()
        self.rate = rate
        self.answers = None
        self._process = context.Process(
            target=_guess, args=(theirs, agents.address, agents.count, rate, spread), daemon=True
        )

    def __enter__(self):
        self._process.start()
        if not self._pipe.poll(clients.PATIENCE) or self._pipe.recv() != 'begun':
            raise clients.BadAnswer('nobody guesses')
        return self

    def __exit__(self, *exc_info):
        self._pipe.send('enough')
        if self._pipe.poll(clients.PATIENCE):
            self.answers, self.rate = self._pipe.recv()
        self._process.join(10)
        self._process.kill()


def _guess(pipe, address, count, rate, spread):
    source = random.Random()
    answers, seconds = collections.Counter(), 0.0
    while not pipe.poll():
        requests = [_one_guess(source, count, spread) for _ in range(int(rate * _ROUND))]
        if not answers:
            pipe.send('begun')
        started = time.monotonic()
        answers.update(shot.status for shot in shots.paced(address, requests, rate))
        seconds += time.monotonic() - started
    pipe.send((answers, answers.total() / seconds))


def _one_guess(source, count, spread):
    machine = stranger(source.randrange(60000) if spread else 0)
    return (guess_mac if source.random() < 0.5 else guess_token)(source, count, machine)


def guess_mac(source, count, machine):
    """:param machine: str, the address that it comes from.  :returns: (bytes, ``machine``)."""
    mac = source.randbytes(6).hex(':')
    return _ask('GET', f'/v1/lookup?addresses={mac}'), machine


def guess_token(source, count, machine):
    """:param count: int, nodes, one of which it is for.  :returns: as :func:`guess_mac`."""
    body = {
        'callback_url': 'https://10.66.6.6:9999',
        'agent_token': secrets.token_urlsafe(32),
        'agent_version': '11.0.0',
    }
    return _ask('POST', f'/v1/heartbeat/n{source.randrange(count)}', body), machine


def _cpu(pid):
    """:returns: dict pid -> seconds of CPU, of a process and its descendants that are there."""
    found = {}
    for each in family(pid):
        with contextlib.suppress(OSError):
            found[each] = daemon.cpu_of(each)
    return found


def check(found, status):
    """:returns: ``found``, a list of Shot.  :raises BadAnswer: one has another status."""
    for shot in found:
        if shot.status != status:
            raise clients.BadAnswer(f'{shot.status}: {shot.body[:300]}')
    return found


def _ask(method, path, body=None):
    headers = {'X-OpenStack-Ironic-API-Version': _VERSION}
    return clients.request(method, path, body=body, headers=headers)


def _mac(number, interface=0):
    return f'52:54:{interface:02x}:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}'


def stranger(number):
    """:returns: str, the address of one who has no node."""
    return _address(2, number)


def _address(network, number):
    return f'127.{network}.{number // 250}.{number % 250 + 1}'
