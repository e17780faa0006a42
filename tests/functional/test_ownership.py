"""Every fault once: three conductors, sixty captured consoles, RabbitMQ and PostgreSQL.

After each fault every node is owned once by a conductor that lives, every console is captured by
its owner, nobody fights over one (asked at the simulators, all the time), and what was revoked
meanwhile stays dead.
"""

import contextlib
import itertools
import os
import signal
import subprocess
import threading
import time

import pytest

from obmd.conductor import ownership
from obmd.conf import CONF
from obmd.db.conductors import Conductor
from tests.functional.deployment import BIN
from tests.functional.deployment import AllInOne
from tests.functional.deployment import Split
from tests.functional.deployment import environment
from tests.functional.deployment import wait_until
from tests.functional.deployment import write_config
from tests.functional.farm import Farm
from tests.functional.relay import Relays
from tests.functional.services import PostgreSQL
from tests.functional.services import RabbitMQ
from tests.functional.sol_watch import SolWatch
from tests.functional.test_console_end_to_end import assert_complete

pytestmark = [pytest.mark.needs('ipmi_sim', 'initdb'), pytest.mark.alone]

NODES = 60
#: seconds, as set below
TTL, INTERVAL, GRACE = 3.0, 1.0, 8.0
#: seconds beyond the time-to-live in which all must be as before, in the product's own words
CLAIM = 5.0
#: seconds that a console may be silent when nothing has failed
SILENCE = 2.0
#: seconds for which nothing may change any more
CALM = 2.0

CONFIG = {
    'api': {'call_timeout': 6},
    'conductor': {'heartbeat_ttl': TTL},
    'console': {
        'capture': 'always',
        'revocation_check_interval': INTERVAL,
        'revocation_grace': GRACE,
    },
    'database': {'statement_timeout': 1, 'connect_timeout': 1},
}


@pytest.fixture(scope='module')
def farm():
    with Farm(NODES, rate=2, power_on=True, boot_delay=0.05) as farm:
        yield farm


@pytest.fixture(scope='module')
def rabbitmq():
    with RabbitMQ() as server:
        yield server


@pytest.fixture(scope='module')
def postgresql():
    with PostgreSQL() as server:
        yield server


@pytest.fixture(scope='module')
def relays(rabbitmq, postgresql):
    with Relays({'broker': rabbitmq.port, 'database': postgresql.port}) as relays:
        yield relays


class Cluster:
    """What the tests do to a deployment and how they judge it."""

    def __init__(self, split, farm, watch):
        self.split = split
        self.farm = farm
        self.watch = watch
        self.names = [bmc['name'] for bmc in farm.bmcs]
        self.nodes = {name: split.node(name) for name in self.names}
        self.began = time.monotonic()

    def conductor(self, number):
        return self.split.conductors[number - 1]

    def begin(self):
        """A fault comes now.  :returns: dict of node -> owner."""
        self.began = time.monotonic()
        return self.owners()

    def owners(self):
        """:returns: dict of node name -> incarnation."""
        lines = self.split.query('SELECT name, owner FROM nodes').splitlines()
        return dict(line.split('|') for line in lines)

    def incarnation(self, number):
        return self.split.query(
            f"SELECT incarnation FROM conductors WHERE host = 'c{number}' AND state = 'live'"
        )

    def captured(self):
        """Whether every console is its owner's, the rows and the BMCs say."""
        wrong = self.split.query(
            'SELECT count(*) FROM nodes n LEFT JOIN conductors c ON c.incarnation = n.owner '
            "WHERE c.state IS DISTINCT FROM 'live' "
            "OR n.sol_holder IS NULL OR n.sol_holder NOT LIKE n.owner || ' %'"
        )
        return int(wrong) == 0 and self.watch.held()

    def wait_captured(self, timeout, conductors=3):
        """:returns: float, seconds since the fault."""
        self.split.wait_for(conductors)
        wait_until(self.captured, timeout, 'all consoles captured again', 0.1)
        return time.monotonic() - self.began

    def wait_balanced(self, conductors=3):
        """Every node is where the ring wants it."""

        def balanced():
            live = self.split.query("SELECT incarnation FROM conductors WHERE state = 'live'")
            members = [
                Conductor(incarnation, '', '', ('ipmi',), '') for incarnation in live.splitlines()
            ]
            rings = ownership.Rings(members, CONF.conductor.ring_partitions)
            rows = self.split.query('SELECT uuid, owner FROM nodes').splitlines()
            return len(members) == conductors and all(
                rings.propose_for(uuid, '', 'ipmi') == owner
                for uuid, owner in (row.split('|') for row in rows)
            )

        wait_until(balanced, 30, 'a share for each', 0.2)
        self.wait_captured(20, conductors)

    def check_calm(self):
        """From now on nobody takes anything from anybody."""
        now, owners = time.monotonic(), self.owners()
        time.sleep(CALM)
        restless = {n: len(h) for n, h in self.watch.since(now).items() if len(h) > 1}
        assert not restless, self.split.logs()[-3000:]
        assert self.owners() == owners
        assert self.captured()

    def check_no_fight(self, most=2):
        """No console went back and forth, or through more hands than it had to."""
        for name, hands in self.watch.hands(self.began).items():
            assert len(hands) == len(set(hands)), f'{name}: {hands}'
            assert len(hands) <= most, f'{name}: {hands}'

    def answers(self, name, timeout=30):
        node = self.nodes[name]
        wait_until(
            lambda: node.call('GET', 'power_status').status_code == 200, timeout, 'an answer', 0.2
        )

    def all_answer(self):
        lines = self.split.sweep('node[0001-0060]', deadline=10)
        assert {line.get('power_status') for _, line in lines} == {'on'}, lines

    @contextlib.contextmanager
    def load(self, rate=20):
        """A steady load of calls.  Gives a list of those that failed."""
        failed, count = [], itertools.count()
        stop = threading.Event()

        def run():
            for name in itertools.cycle(self.names[next(count) :: 4]):
                if stop.wait(4 / rate):
                    return
                at = time.monotonic()
                answer = self.nodes[name].call('GET', 'power_status')
                if answer.status_code != 200:
                    failed.append((at - self.began, name, answer.status_code, answer.text))

        threads = [threading.Thread(target=run, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            yield failed
        finally:
            stop.set()
            for thread in threads:
                thread.join(30)

    @contextlib.contextmanager
    def revoked(self, owners):
        """A stream whose token is taken away behind everybody's back in the fault."""
        name = self.names[0]
        token = self.nodes[name].token
        with self.nodes[name].console() as viewer:
            viewer.wait_for(b'line')
            yield viewer
            self.nodes[name] = self.split.node(name)
            viewer.wait_for_end(GRACE + INTERVAL + 10)
        answer = self.nodes[name].call('GET', 'power_status', {'token': token})
        assert answer.status_code == 401


@pytest.fixture(scope='module')
def deployed(rabbitmq, postgresql, relays, farm):
    links = {'c3': (relays.ports['broker'], relays.ports['database'])}
    made = Split(rabbitmq, postgresql, conductors=3, workers=1, config=CONFIG, links=links)
    with made as split, SolWatch(farm.bmcs) as watch:
        for bmc in farm.bmcs:
            split.register_bmc(bmc)
        cluster = Cluster(split, farm, watch)
        cluster.wait_balanced()
        yield cluster


@pytest.fixture
def cluster(deployed):
    deployed.wait_balanced()
    deployed.check_calm()
    return deployed


@contextlib.contextmanager
def uninterrupted(node):
    """A viewer that sees every line, before, during and after."""
    with node.console() as viewer:
        viewer.wait_for(b'line')
        yield viewer
        viewer.wait_for(b'line', after=len(viewer.data))
        assert not viewer.ended
        assert_complete(viewer.data)


def end_well(cluster, conductors=3, hands=2):
    cluster.check_no_fight(hands)
    cluster.check_calm()
    cluster.all_answer()


# -- conductors -------------------------------------------------------------------------------


def test_after_kill_9_all_is_captured_again_and_a_restart_needs_no_time_to_live(cluster):
    victim = cluster.conductor(1)
    before = cluster.begin()
    first = cluster.incarnation(1)
    mine = {name for name, owner in before.items() if owner == first}
    cluster.begin()
    victim.kill()
    took = cluster.wait_captured(TTL + CLAIM + 5, conductors=2)
    print(f'captured again {took:.1f} s after kill -9, time-to-live {TTL:g} s')
    assert took < TTL + CLAIM
    after = cluster.owners()
    assert all(after[name] == before[name] for name in after if name not in mine)
    end_well(cluster, conductors=2)
    cluster.begin()
    victim.start()
    cluster.wait_balanced()
    end_well(cluster)


def test_sigterm_fails_no_call_and_hands_every_console_over(cluster):
    cluster.begin()
    with cluster.load() as failed:
        time.sleep(1)
        before = cluster.begin()
        second = cluster.incarnation(2)
        mine = [name for name, owner in before.items() if owner == second]
        cluster.begin()
        status = cluster.conductor(2).stop(signal.SIGTERM, timeout=40)
        took = time.monotonic() - cluster.began
        cluster.wait_captured(10, conductors=2)
        time.sleep(1)
    gaps = sorted(cluster.watch.gaps(cluster.began))
    print(f'{len(mine)} nodes handed over in {took:.1f} s; silent at most {gaps[-1]:.2f} s')
    assert status == 0
    assert failed == []
    assert gaps[-1] < SILENCE
    end_well(cluster, conductors=2)


def test_who_joins_gets_its_share_and_nothing_else_moves(deployed):
    cluster = deployed
    cluster.wait_captured(20, conductors=2)
    with cluster.load() as failed:
        time.sleep(1)
        before = cluster.begin()
        cluster.conductor(2).start()
        cluster.wait_balanced()
        time.sleep(1)
    joined = cluster.incarnation(2)
    moved = {name: owner for name, owner in cluster.owners().items() if owner != before[name]}
    gaps = sorted(cluster.watch.gaps(cluster.began))
    print(f'{len(moved)} of {NODES} nodes moved; silent at most {gaps[-1]:.2f} s')
    assert failed == []
    assert set(moved.values()) == {joined}
    assert len(moved) <= NODES * (1.2 / 3) + 3 * (NODES / 3) ** 0.5
    assert gaps[-1] < SILENCE
    end_well(cluster)


def test_a_conductor_stopped_for_long_gives_way_when_it_goes_on(cluster):
    cluster.begin()
    frozen = cluster.conductor(1)
    before = cluster.incarnation(1)
    mine = [name for name, owner in cluster.owners().items() if owner == before]
    with cluster.nodes[mine[0]].console() as viewer:
        viewer.wait_for(b'line')
        cluster.begin()
        frozen.pause()
        try:
            cluster.wait_captured(TTL + CLAIM + 5, conductors=2)
            time.sleep(max(0.0, 4 * TTL - (time.monotonic() - cluster.began)))
        finally:
            resumed = time.monotonic()
            frozen.resume()
        viewer.wait_for_end(INTERVAL + 10)
        print(f'its viewer was sent on {viewer.ended_at - resumed:.1f} s after SIGCONT')
    cluster.check_no_fight()
    cluster.wait_balanced()
    assert frozen.returncode is None
    assert cluster.incarnation(1) not in ('', before)
    print(f'has its share again {time.monotonic() - resumed:.1f} s after SIGCONT')
    end_well(cluster, hands=3)


# -- the broker and the database --------------------------------------------------------------


def test_a_restart_of_the_broker_interrupts_no_console(cluster, rabbitmq):
    before = cluster.begin()
    with uninterrupted(cluster.nodes[cluster.names[0]]):
        rabbitmq.kill()
        rabbitmq.start()
        back = time.monotonic()
        for name in cluster.names[:6]:
            cluster.answers(name)
    print(f'calls answer {time.monotonic() - back:.1f} s after the broker is back')
    assert time.monotonic() - back < 10
    assert cluster.owners() == before
    end_well(cluster, hands=1)


def test_a_restart_of_the_database_interrupts_no_console(cluster, postgresql):
    before = cluster.begin()
    with uninterrupted(cluster.nodes[cluster.names[0]]):
        postgresql.stop()
        time.sleep(5)
        postgresql.start()
        back = time.monotonic()
        for name in cluster.names[:6]:
            cluster.answers(name)
    print(f'calls answer {time.monotonic() - back:.1f} s after the database is back')
    assert time.monotonic() - back < 10
    cluster.check_no_fight(1)
    assert cluster.owners() == before
    end_well(cluster, hands=1)


def test_a_database_that_hangs_beyond_the_grace_ends_viewers_and_no_capture(cluster, postgresql):
    before = cluster.begin()
    with cluster.nodes[cluster.names[0]].console() as viewer:
        viewer.wait_for(b'line')
        cluster.begin()
        postgresql.pause()
        try:
            viewer.wait_for_end(GRACE + INTERVAL + 10)
            time.sleep(max(0.0, 10 - (time.monotonic() - cluster.began)))
        finally:
            postgresql.resume()
    cluster.answers(cluster.names[0])
    cursor = viewer.headers['Obmd-Cursor']
    with cluster.nodes[cluster.names[0]].console(cursor=cursor) as again:
        again.wait_for(b'line', after=len(viewer.data))
        time.sleep(1)
    assert 'Obmd-Gap' not in again.headers
    assert_complete(again.data)
    assert again.data.startswith(viewer.data)
    assert cluster.owners() == before
    end_well(cluster, hands=1)


# -- a conductor that is cut off, without a word ----------------------------------------------


def test_a_conductor_cut_off_from_the_database_gives_way(cluster, relays):
    before = cluster.begin()
    third = cluster.incarnation(3)
    name = next(name for name, owner in before.items() if owner == third)
    node = cluster.nodes[name]
    old_token = node.token
    with node.console() as viewer:
        viewer.wait_for(b'line')
        cluster.begin()
        relays.hole('database')
        try:
            took = cluster.wait_captured(TTL + CLAIM + 5, conductors=2)
            print(f'captured by the others {took:.1f} s after the cut')
            cluster.nodes[name] = cluster.split.node(name)
            viewer.wait_for_end(GRACE + INTERVAL + 10)
            assert cluster.nodes[name].power() == 'on'
            time.sleep(max(0.0, 15 - (time.monotonic() - cluster.began)))
            cluster.check_no_fight()
        finally:
            relays.heal('database')
    healed = time.monotonic()
    cluster.wait_balanced()
    print(f'has its share again {time.monotonic() - healed:.1f} s after the cut has healed')
    assert node.call('GET', 'power_status', {'token': old_token}).status_code == 401
    end_well(cluster, hands=3)


def test_one_that_is_stopped_while_it_is_cut_off_ends_nobodys_console(cluster, relays):
    cluster.begin()
    relays.hole('database')
    try:
        cluster.wait_captured(TTL + CLAIM + 5, conductors=2)
        cluster.check_no_fight()
        taken = cluster.begin()
        at = time.monotonic()
        cluster.conductor(3).send(signal.SIGTERM)
        cluster.conductor(3).wait(40)
        print(f'it was gone after {time.monotonic() - at:.1f} s')
        cluster.check_no_fight(1)
        assert cluster.owners() == taken
    finally:
        relays.heal('database')
    cluster.conductor(3).start()
    cluster.wait_balanced()
    end_well(cluster)


def test_a_conductor_cut_off_from_the_broker_goes_on_and_answers_when_it_is_back(cluster, relays):
    before = cluster.begin()
    third = cluster.incarnation(3)
    name = next(name for name, owner in before.items() if owner == third)
    relays.hole('broker')
    try:
        at = time.monotonic()
        answer = cluster.nodes[name].call('GET', 'power_status')
        print(f'{answer.status_code} after {time.monotonic() - at:.1f} s')
        assert answer.status_code in (503, 504)
        assert time.monotonic() - at < 6 + 4 + 2
        time.sleep(max(0.0, 15 - (time.monotonic() - cluster.began)))
    finally:
        relays.heal('broker')
    healed = time.monotonic()
    cluster.answers(name, 40)
    print(f'answers {time.monotonic() - healed:.1f} s after the cut has healed')
    assert cluster.owners() == before
    end_well(cluster, hands=1)


# -- who may start beside whom ----------------------------------------------------------------


def refusal(split, command, config, **env):
    """Start a service that must not.  :returns: (str, the line that it says; float, seconds)."""
    began = time.monotonic()
    done = subprocess.run(
        [os.path.join(BIN, command), '--config-file', config],
        cwd=split.folder,
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    return done.stderr.splitlines()[-1], time.monotonic() - began


def test_a_host_name_in_use_and_an_all_in_one_beside_conductors_are_refused(cluster, tmp_path):
    split = cluster.split
    before = cluster.begin()
    listen = {'OS_CONDUCTOR__LISTEN': '127.0.0.1:0', 'OS_API__LISTEN': '127.0.0.1:0'}
    elsewhere = listen | {'OS_DEFAULT__STATE_PATH': str(tmp_path / 'state')}
    said, seconds = refusal(split, 'obmd-conductor', split.config_of('c1'), **elsewhere)
    print(f'{said} ({seconds:.1f} s)')
    assert 'the conductor c1 (http://127.0.0.1' in said
    assert 'host name' in said
    said, _ = refusal(split, 'obmd-conductor', split.config_of('c1'), **listen)
    assert f'(c1, process {cluster.conductor(1).pid})' in said
    assert 'conductor.lock' in said
    said, seconds = refusal(
        split, 'obmd', split.config_of('c1'), **elsewhere, OS_DEFAULT__HOST='alone'
    )
    print(f'{said} ({seconds:.1f} s)')
    assert 'all-in-one must be alone' in said
    assert cluster.owners() == before
    end_well(cluster, hands=1)


def test_a_conductor_is_refused_beside_an_all_in_one(tmp_path, rabbitmq, postgresql):
    url = postgresql.new_database('alone')
    config = {'database': {'connection': url}, 'DEFAULT': {'host': 'alone'}}
    with AllInOne(config=config) as one:
        path = write_config(
            str(tmp_path / 'obmd.conf'),
            {
                'DEFAULT': {
                    'host': 'c1',
                    'state_path': str(tmp_path / 'state'),
                    'transport_url': rabbitmq.url,
                },
                'conductor': {'listen': '127.0.0.1:0'},
                'database': {'connection': url},
                'secrets': {'private_key_file': os.path.join(one.state, 'conductor.key')},
            },
        )
        said, _ = refusal(one, 'obmd-conductor', path)
        assert 'the all-in-one alone' in said
        assert 'must be alone' in said
        assert one.call('GET', '/readyz').status_code == 200
