"""What an operator does to conductors, on a split with captured consoles: nobody may notice.

The time-to-live is long, so what happens before it has passed is the operator's doing.
"""

import contextlib
import itertools
import json
import threading
import time

import pytest

from obmd.conductor import console
from obmd.conductor import ownership
from obmd.conf import CONF
from obmd.db.conductors import Conductor
from tests.functional.deployment import Split
from tests.functional.deployment import wait_until
from tests.functional.farm import Farm
from tests.functional.sol_watch import SolWatch

pytestmark = [pytest.mark.needs('ipmi_sim', 'initdb'), pytest.mark.alone]

NODES = 12
#: seconds
TTL, SILENCE, CALM = 60.0, 2.0, 2.0
CONFIG = {
    'api': {'call_timeout': 6},
    'conductor': {'heartbeat_ttl': TTL},
    'console': {'capture': 'always'},
}


class Fleet:
    """The split, its BMCs, and what its rows say."""

    def __init__(self, split, farm, watch):
        self.split = split
        self.watch = watch
        self.names = [bmc['name'] for bmc in farm.bmcs]
        self.nodes = {name: split.node(name) for name in self.names}

    def manage(self, *arguments, **options):
        return self.split.manage(*arguments, **options)

    def listed(self, *arguments):
        """:returns: dict of host -> row of ``conductor list``."""
        text = self.manage('conductor', 'list', '--share', '-f', 'json', *arguments)
        return {row['Host']: row for row in json.loads(text)}

    def conductors(self):
        """:returns: list of Conductor, the live ones."""
        lines = self.split.query(
            "SELECT incarnation, host, drained FROM conductors WHERE state = 'live' ORDER BY host"
        )
        return [
            Conductor(incarnation, host, '', ('ipmi',), '', drained=drained == 't')
            for incarnation, host, drained in (line.split('|') for line in lines.splitlines())
        ]

    def placed(self):
        """Whether every node is where the rings want it, and every console its owner's."""
        there = self.conductors()
        if len(there) != sum(one.returncode is None for one in self.split.conductors):
            return False
        rings = ownership.Rings(there, CONF.conductor.ring_partitions)
        rows = self.split.query('SELECT uuid, owner, sol_holder FROM nodes').splitlines()
        for uuid, owner, holder in (row.split('|') for row in rows):
            up = holder.startswith(f'{owner} ') and console.is_up(holder)
            if rings.propose_for(uuid, '', 'ipmi') != owner or not up:
                return False
        return self.watch.held()

    def wait_placed(self):
        """:returns: float, seconds that it took."""
        began = time.monotonic()
        wait_until(self.placed, 40, 'every node where it should be, captured', 0.1)
        return time.monotonic() - began

    def owners(self):
        """:returns: set of the hosts that own nodes."""
        query = 'SELECT DISTINCT c.host FROM nodes n JOIN conductors c ON c.incarnation = n.owner'
        return set(self.split.query(query).splitlines())

    def count(self, host):
        """:returns: int, how many nodes it owns."""
        owners = f"SELECT incarnation FROM conductors WHERE host = '{host}'"
        return int(self.split.query(f'SELECT count(*) FROM nodes WHERE owner IN ({owners})'))

    def wait_for_rows(self, *hosts):
        """Wait until each of ``hosts`` has one row, and nobody else has any."""
        query = 'SELECT host FROM conductors ORDER BY host'
        wanted = '\n'.join(hosts)
        wait_until(lambda: self.split.query(query) == wanted, 10, 'the end of old rows')

    def check_moved_in_peace(self, began):
        """No console silent for long, none through more hands than it had to."""
        silence = self.watch.silence(began)
        print(f'silent at most {silence:.2f} s')
        assert silence < SILENCE
        for name, hands in self.watch.hands(began).items():
            assert len(hands) == len(set(hands)) <= 2, f'{name}: {hands}'

    @contextlib.contextmanager
    def load(self):
        """A steady load of calls.  Gives a list of those that failed."""
        failed, stop = [], threading.Event()

        def run():
            for name in itertools.cycle(self.names):
                if stop.wait(0.1):
                    return
                answer = self.nodes[name].call('GET', 'power_status')
                if answer.status_code != 200:
                    failed.append((name, answer.status_code, answer.text))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield failed
        finally:
            stop.set()
            thread.join(30)


@pytest.fixture(scope='module')
def fleet(rabbitmq, postgresql):
    with (
        Farm(NODES, rate=2, power_on=True, boot_delay=0.05) as farm,
        Split(rabbitmq, postgresql, conductors=3, workers=1, config=CONFIG) as split,
        SolWatch(farm.bmcs) as watch,
    ):
        for bmc in farm.bmcs:
            split.register_bmc(bmc)
        fleet = Fleet(split, farm, watch)
        fleet.wait_placed()
        yield fleet


def test_a_drain_and_its_end_fail_no_call_and_silence_no_console(fleet):
    had = fleet.count('c1')
    with fleet.load() as failed:
        began = time.monotonic()
        said = fleet.manage('conductor', 'drain', 'c1', '--wait')
        fleet.wait_placed()
        fleet.check_moved_in_peace(began)
        assert f'c1 is drained: it owns {had} node' in said
        assert fleet.owners() == {'c2', 'c3'}
        began = time.monotonic()
        fleet.manage('conductor', 'undrain', 'c1')
        fleet.wait_placed()
        fleet.check_moved_in_peace(began)
    assert failed == []
    assert fleet.owners() == {'c1', 'c2', 'c3'}
    rows = fleet.listed().values()
    assert all((row['Nodes'], row['Drained']) == (row['Share'], 'no') for row in rows)


def test_a_drain_outlasts_a_restart_and_a_crash(fleet):
    one = fleet.split.conductors[0]
    fleet.manage('conductor', 'drain', 'c1', '--wait')
    for end in (one.stop, one.kill):
        end()
        one.start()
        fleet.wait_placed()
        assert [row.host for row in fleet.conductors() if row.drained] == ['c1']
        time.sleep(CALM)
        assert fleet.owners() == {'c2', 'c3'}
    fleet.manage('conductor', 'undrain', 'c1')
    fleet.wait_placed()
    assert 'c1' in fleet.owners()
    fleet.wait_for_rows('c1', 'c2', 'c3')


def test_a_node_is_shown_with_its_owner(fleet):
    name = fleet.names[0]
    shown = json.loads(fleet.manage('node', 'owner', name, '-f', 'json'))
    assert shown['owner'] == shown['should_own']
    assert shown['owner_state'] == 'live'
    assert shown['sol'].startswith('its owner, from 127.')


def test_a_live_one_is_not_removed(fleet):
    before = fleet.conductors()
    said = fleet.manage('conductor', 'remove', 'c2', status=1)
    assert 'c2 (http://127.0.0.1:' in said
    assert fleet.conductors() == before
    assert fleet.placed()


def test_a_killed_one_is_removed_and_its_nodes_are_claimed_before_its_time_to_live(fleet):
    had = fleet.count('c3')
    fleet.split.conductors[2].kill()
    began = time.monotonic()
    assert fleet.listed('--watch', '2')['c3']['State'] == 'silent'
    said = fleet.manage('conductor', 'remove', 'c3', '--watch', '1')
    assert f'c3 is dead; {had} node' in said
    assert 'for c1, c2' in said
    removed = time.monotonic() - began
    print(f'captured again {fleet.wait_placed():.1f} s after its removal, ttl {TTL:g} s')
    assert time.monotonic() - began < TTL, f'removed after {removed:.1f} s'
    assert fleet.owners() == {'c1', 'c2'}
    fleet.wait_for_rows('c1', 'c2')


def test_when_all_are_drained_nodes_stay_and_new_ones_are_told_why(fleet):
    fleet.split.conductors[2].end()
    fleet.split.wait_for(2)
    fleet.manage('conductor', 'drain', 'c1', '--wait')
    said = fleet.manage('conductor', 'drain', 'c2', '--wait', status=1)
    assert 'nodes stay where they are: 12 nodes: every live conductor of no group' in said
    assert fleet.owners() == {'c2'}
    node = fleet.split.node(fleet.split.register('late', 'dummy', {'addr': '127.0.0.1:1'}))

    def told():
        answer = node.call('GET', 'power_status')
        assert answer.status_code == 503
        return 'dummy is drained: c1, c2' in answer.text

    wait_until(told, 10, 'an answer that says why')
    assert fleet.nodes[fleet.names[0]].power() == 'on'
    fleet.manage('conductor', 'undrain', 'c1')
    wait_until(lambda: node.call('GET', 'power_status').status_code == 200, 10, 'an owner')
    fleet.split.unregister('late')
    fleet.wait_placed()
    assert fleet.owners() == {'c1'}
