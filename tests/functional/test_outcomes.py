"""Calls under way when a conductor or the broker dies: reads are repeated, writes never are."""

import collections
import contextlib
import itertools
import json
import socket
import threading
import time

import pytest

from tests.functional.deployment import Split
from tests.functional.deployment import wait_until
from tests.functional.farm import Farm

pytestmark = pytest.mark.needs('ipmi_sim', 'initdb')

NODES = 9
#: seconds, as set below
TTL, CALL_TIMEOUT = 3.0, 12
READS = 50
#: seconds in which calls reach the BMCs that hang; shorter than [ipmi] deadline
UNDER_WAY = 1.0

CONFIG = {
    'api': {'call_timeout': CALL_TIMEOUT},
    'conductor': {'heartbeat_ttl': TTL},
    'console': {'connect_timeout': CALL_TIMEOUT},
    'ipmi': {'deadline': 5},
}


@pytest.fixture(scope='module')
def farm():
    with Farm(NODES, rate=2, power_on=True, boot_delay=0.05) as farm:
        yield farm


@pytest.fixture(scope='module')
def split(own_rabbitmq, postgresql, farm):
    with Split(own_rabbitmq, postgresql, conductors=2, workers=1, config=CONFIG) as split:
        for bmc in farm.bmcs:
            split.register_bmc(bmc)
        yield split


@pytest.fixture
def nodes(split, farm):
    """:returns: dict of name -> Node; each has a session with its BMC."""
    split.wait_until_settled()
    nodes = {bmc['name']: split.node(bmc['name']) for bmc in farm.bmcs}
    for node in nodes.values():
        wait_until(lambda node=node: node.call('GET', 'power_status').status_code == 200)
    return nodes


class Serial:
    """What the machine behind a BMC prints, whoever has its SOL.  Counts its resets."""

    def __init__(self, bmc):
        host, port = bmc['serial'].rsplit(':', 1)
        self._socket = socket.create_connection((host, int(port)), 5)
        self._said = b''
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        with contextlib.suppress(OSError, EOFError):
            while data := self._socket.recv(4096):
                self._said += data

    @property
    def resets(self):
        return self._said.count(b'*** reset ***')

    def close(self):
        self._socket.close()


class Calls:
    """Calls that run at the same time.  :ivar answers: list of (status, kind, reason)."""

    def __init__(self):
        self.answers = []
        self._threads = []

    def start(self, call):
        """:param call: function that returns a requests.Response."""
        thread = threading.Thread(target=self._run, args=(call,), daemon=True)
        thread.start()
        self._threads.append(thread)

    def _run(self, call):
        answer = call()
        error = {}
        if answer.status_code != 200:
            error = answer.json()['error']
            assert answer.status_code != 503 or answer.headers['Retry-After']
        self.answers.append((answer.status_code, error.get('kind'), error.get('reason')))
        answer.close()

    def join(self):
        for thread in self._threads:
            thread.join(60)
        assert len(self.answers) == len(self._threads)
        return collections.Counter(status for status, _, _ in self.answers)


@contextlib.contextmanager
def load(nodes, rate=10):
    """Steady reads of all nodes.  Gives the statuses, when all have been answered."""
    statuses = collections.Counter()
    stop = threading.Event()

    def run(first):
        for node in itertools.islice(itertools.cycle(nodes), first, None):
            if stop.wait(4 / rate):
                return
            answer = node.call('GET', 'power_status')
            statuses[answer.status_code] += 1
            if answer.status_code not in (200, 503):
                statuses[answer.text] += 1

    threads = [threading.Thread(target=run, args=(first,), daemon=True) for first in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)


def swept(split, names):
    """:returns: dict of name -> what a sweep said."""
    return {line['node']: line for _, line in split.sweep(','.join(names), deadline=CALL_TIMEOUT)}


class UnderWay:
    """Calls of every kind that wait for BMCs that hang, when something dies."""

    def __init__(self, split, farm, nodes, names):
        self._farm = farm
        self._bmcs = [bmc for bmc in farm.bmcs if bmc['name'] in names]
        self._hung = []
        *read, written = names
        self.serial = Serial(next(bmc for bmc in self._bmcs if bmc['name'] == written))
        self.reads, self.consoles, self.writes = Calls(), Calls(), Calls()
        self.lines = {}
        self._split, self._nodes, self._read, self._written = split, nodes, read, written

    def __enter__(self):
        for bmc in self._bmcs:
            self._farm.stop(bmc)
            self._hung.append(bmc)
        for _, name in zip(range(READS), itertools.cycle(self._read), strict=False):
            self.reads.start(lambda node=self._nodes[name]: node.call('GET', 'power_status'))
        console = self._nodes[self._read[0]]
        self.consoles.start(lambda: console.call('GET', 'console', stream=True))
        self.writes.start(
            lambda: self._nodes[self._written].post('power_cycle', json={'force': True})
        )
        self._sweeper = threading.Thread(target=self._sweep, daemon=True)
        self._sweeper.start()
        time.sleep(UNDER_WAY)
        return self

    def _sweep(self):
        self.lines = swept(self._split, self._read)

    def go_on(self):
        """The BMCs answer again."""
        while self._hung:
            self._farm.resume(self._hung.pop())

    def __exit__(self, *unused):
        self.go_on()
        self._sweeper.join(60)
        self.serial.close()

    def check(self):
        statuses = self.reads.join()
        print(f'reads {dict(statuses)}, consoles {dict(self.consoles.join())}')
        assert set(statuses) <= {200, 503}, self.reads.answers
        assert set(self.consoles.join()) <= {200, 503}, self.consoles.answers
        self._sweeper.join(60)
        assert self.lines.keys() == set(self._read)
        kinds = {line.get('error', {}).get('kind') for line in self.lines.values()}
        assert kinds <= {None, 'unavailable', 'not_owner'}, json.dumps(self.lines)
        return statuses


def test_reads_under_way_at_a_conductor_that_is_killed_are_repeated_and_writes_are_not(
    split, farm, nodes
):
    victim = split.owner(farm.bmcs[0]['name'])
    names = [name for name in nodes if split.owner(name) is victim]
    with load(list(nodes.values())) as steady:
        with UnderWay(split, farm, nodes, names) as calls:
            victim.kill()
            calls.go_on()
            statuses = calls.check()
            assert statuses[200] > READS / 2, calls.reads.answers
            [(status, kind, _)] = (calls.writes.join(), calls.writes.answers)[1]
            assert (status, kind) == (504, 'outcome_unknown')
            split.wait_for(1)
            time.sleep(1)
            assert calls.serial.resets <= 1
    print(f'steady reads {dict(steady)}')
    assert set(steady) <= {200, 503}
    assert steady[200] > 0
    victim.start()


def test_a_conductor_that_dies_alone_is_named_with_when_to_ask_again(split, farm, nodes):
    first, second = split.conductors
    second.stop(timeout=40)
    split.wait_for(1)
    node = next(iter(nodes.values()))
    first.kill()
    try:
        answer = node.call('GET', 'power_status')
        assert answer.status_code == 503
        error = answer.json()['error']
        print(error['reason'])
        assert error['node'] == node.name
        assert 'the conductor c1' in error['reason']
        assert int(answer.headers['Retry-After']) >= 1
        wait_until(
            lambda: (
                'no live conductor' in node.call('GET', 'power_status').json()['error']['reason']
            )
        )
        for answer in (
            node.call('GET', 'power_status'),
            node.call('GET', 'console'),
            node.post('power_on'),
            node.post('power_cycle', json={'force': True}),
            node.call('PUT', 'boot_device', json={'bootdev': 'disk'}),
            split.as_admin('GET', f'/api/v1/nodes/{node.name}/event_log'),
        ):
            assert answer.status_code == 503, answer.text
            assert 'the conductor c1 is not answering' in answer.json()['error']['reason']
            assert answer.json()['error']['node'] == node.name
            assert int(answer.headers['Retry-After']) >= 1
    finally:
        first.start()
        second.start()


def test_reads_under_way_at_a_broker_that_is_killed_are_repeated_and_writes_are_not(
    split, farm, nodes, own_rabbitmq
):
    with load(list(nodes.values())) as steady:
        with UnderWay(split, farm, nodes, list(nodes)) as calls:
            own_rabbitmq.kill()
            calls.go_on()
            own_rabbitmq.start()
            calls.check()
            [(status, kind, _)] = (calls.writes.join(), calls.writes.answers)[1]
            # its answer may have been sent again once the broker was back
            assert (status, kind) in ((200, None), (504, 'outcome_unknown')), calls.writes.answers
            wait_until(
                lambda: all(
                    n.call('GET', 'power_status').status_code == 200 for n in nodes.values()
                )
            )
            assert calls.serial.resets <= 1
    print(f'steady reads {dict(steady)}')
    assert set(steady) <= {200, 503}


# -- a group without a conductor --------------------------------------------------------------


def test_a_node_of_a_group_without_a_conductor_is_503_naming_both(split):
    split.register('lost', 'mock', {}, group='rack9')
    try:
        node = split.node('lost')
        why = "no live conductor of group 'rack9' with driver mock"
        answers = {
            'power_status': node.call('GET', 'power_status'),
            'console': node.call('GET', 'console'),
            'power_on': node.post('power_on'),
            'power_off': node.post('power_off'),
            'power_cycle': node.post('power_cycle', json={'force': True}),
            'boot_device': node.call('PUT', 'boot_device', json={'bootdev': 'A'}),
        }
        for operation, answer in answers.items():
            assert answer.status_code == 503, operation
            error = answer.json()['error']
            assert (error['kind'], error['reason'], error['node']) == ('unavailable', why, 'lost')
            assert int(answer.headers['Retry-After']) >= 1
        line = swept(split, ['lost'])['lost']
        assert line['error'] == {'kind': 'unavailable', 'reason': why}
        assert f'lost is registered or changed, but: {why}' in split.api.log()
        owner = json.loads(split.manage('node', 'owner', 'lost', '-f', 'json'))
        assert (owner['owner_state'], owner['should_own']) == ('nobody owns it', why)
        listed = json.loads(split.manage('node', 'list', '-f', 'json'))
        [row] = [row for row in listed if row['Name'] == 'lost']
        assert (row['Owner'], row['Group'], row['Problem']) == ('', 'rack9', why)
    finally:
        split.unregister('lost')
