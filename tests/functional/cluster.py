"""Three conductors over many captured consoles, and how a test of faults judges them."""

import collections
import contextlib
import dataclasses
import itertools
import tempfile
import threading
import time

from obmd.conductor import ownership
from obmd.conf import CONF
from obmd.db.conductors import Conductor
from obmd.streams import segments
from tests.functional.deployment import Split
from tests.functional.deployment import wait_until
from tests.functional.relay import Relays
from tests.functional.services import free_port
from tests.functional.sol_watch import SolWatch
from tests.functional.test_console_end_to_end import assert_complete

#: seconds beyond the time-to-live in which all must be as before
CLAIM = 5.0
#: seconds that a console may be silent when a node moves in peace
SILENCE = 2.0
#: seconds within which calls answer once the broker or the database is back
BACK = 10.0
#: seconds for which nothing may change any more
CALM = 2.0
CONDUCTORS = ('c1', 'c2', 'c3')
#: nodes that are reset now and then; nobody reads their consoles
RESET = 3


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How large, and for how long each thing fails.  Times are seconds.

    :ivar ttl, interval, grace: heartbeat_ttl, revocation_check_interval, revocation_grace.
    :ivar down: the database is restarted.  :ivar outage: it is gone, beyond the grace.
    :ivar freeze: a conductor is stopped.  :ivar hole: a connection passes nothing.
    :ivar stall: a disk of logs takes nothing, and ``queue`` bytes may wait for it.
    :ivar pause: between two looks at one BMC.
    """

    nodes: int
    rate: float
    ttl: float
    interval: float
    grace: float
    down: float
    outage: float
    freeze: float
    hole: float
    stall: float
    queue: int
    pause: float
    config: dict

    @property
    def settings(self):
        """:returns: dict section -> option -> value."""
        own = {
            'conductor': {'heartbeat_ttl': self.ttl},
            'console': {
                'capture': 'always',
                'log_queue_size': self.queue,
                'revocation_check_interval': self.interval,
                'revocation_grace': self.grace,
            },
        }
        sections = own.keys() | self.config.keys()
        return {name: own.get(name, {}) | self.config.get(name, {}) for name in sections}


SMALL = Sizes(
    nodes=60,
    rate=2,
    ttl=3.0,
    interval=1.0,
    grace=8.0,
    down=5.0,
    outage=10.0,
    freeze=12.0,
    hole=12.0,
    stall=6.0,
    queue=4096,
    pause=0.25,
    config={
        'api': {'call_timeout': 6},
        'database': {'statement_timeout': 1, 'connect_timeout': 1},
    },
)
#: what obmd does when nobody configures anything
LARGE = Sizes(
    nodes=600,
    rate=1,
    ttl=10.0,
    interval=5.0,
    grace=30.0,
    down=5.0,
    outage=60.0,
    freeze=30.0,
    hole=30.0,
    stall=20.0,
    queue=65536,
    pause=0.5,
    config={
        'conductor': {'heartbeat_interval': 2},
        'console': {'linger': 5, 'retry_min': 1, 'retry_max': 60},
        'ipmi': {'deadline': 5, 'sol_probe_interval': 3, 'probe_timeout': 3},
    },
)


#: many nodes, and less than half the time-outs: twice as many faults in an hour
BRISK = dataclasses.replace(
    LARGE,
    ttl=4.0,
    interval=1.0,
    grace=8.0,
    outage=10.0,
    freeze=10.0,
    hole=10.0,
    stall=5.0,
    queue=16384,
    config=LARGE.config | {'conductor': {'heartbeat_interval': 0.5}},
)


class Cluster:
    """What the tests do to a deployment and how they judge it.

    :param split: a started Split with three conductors.
    :param servers: dict of name -> ``rabbitmq``, ``postgresql``.
    :ivar log_dir: str, where all conductors keep the logs of consoles.
    :ivar measured: list of (what, seconds, bound or None) since :meth:`begin`.
    """

    def __init__(self, split, farm, watch, relays, servers, sizes, log_dir):
        self.split = split
        self.farm = farm
        self.watch = watch
        self.relays = relays
        self.rabbitmq = servers['rabbitmq']
        self.postgresql = servers['postgresql']
        self.sizes = sizes
        self.log_dir = log_dir
        self.names = [bmc['name'] for bmc in farm.bmcs]
        self.nodes = {name: split.node(name) for name in self.names}
        self.revoked_tokens = []
        self.measured = []
        self.began = time.monotonic()

    def conductor(self, number):
        return self.split.conductors[number - 1]

    def begin(self):
        """A fault comes now.  :returns: dict of node -> owner."""
        self.began = time.monotonic()
        return self.owners()

    def measure(self, what, value, bound=None):
        """Note what was measured, and see that it keeps to its bound."""
        self.measured.append((what, value, bound))
        print(f'{what}: {value:.2f}' + (f' (at most {bound:g})' if bound is not None else ''))
        assert bound is None or value <= bound, f'{what}: {value:.2f}, at most {bound:g}'

    # -- who owns what ------------------------------------------------------------------------

    def owners(self):
        """:returns: dict of node name -> incarnation."""
        lines = self.split.query('SELECT name, owner FROM nodes').splitlines()
        return dict(line.split('|') for line in lines)

    def incarnation(self, number):
        return self.split.query(
            f"SELECT incarnation FROM conductors WHERE host = 'c{number}' AND state = 'live'"
        )

    def owned_by(self, number):
        """:returns: list of names, those that are read and not reset."""
        mine = self.incarnation(number)
        owned = self.owners()
        return [name for name in self.names[:-RESET] if owned[name] == mine]

    def one_of_each(self, conductors=(1, 2, 3)):
        """:returns: list of a node's name for each conductor."""
        return [self.owned_by(number)[0] for number in conductors]

    def another(self, names):
        """:returns: str, a node that is none of ``names``."""
        return next(name for name in self.names if name not in names)

    def not_captured(self):
        """:returns: str, what is wrong with whom, ``''`` when every console is its owner's: the
        rows and the BMCs say."""
        wrong = self.split.query(
            'SELECT n.name, n.owner, c.host, c.state, n.sol_holder FROM nodes n '
            'LEFT JOIN conductors c ON c.incarnation = n.owner '
            "WHERE c.state IS DISTINCT FROM 'live' "
            "OR n.sol_holder IS NULL OR n.sol_holder NOT LIKE n.owner || ' %' "
            "OR n.sol_holder LIKE '% opening' LIMIT 20"
        )
        return wrong or ' '.join(self.watch.unheld())

    def wait_captured(self, timeout, conductors=3):
        """:returns: float, seconds since the fault."""
        until = time.monotonic() + timeout
        self.wait_owned(timeout, conductors)
        while wrong := self.not_captured():
            assert time.monotonic() < until, f'not captured after {timeout:g} s: {wrong}'
            time.sleep(0.1)
        return time.monotonic() - self.began

    def wait_owned(self, timeout, conductors=3):
        self.split.wait_for(conductors, timeout)

    def wait_balanced(self, conductors=3, timeout=90):
        """Every node is where the ring wants it."""

        def balanced():
            live = self.split.query("SELECT incarnation, host FROM conductors WHERE state = 'live'")
            members = [Conductor(*line.split('|'), '', ('ipmi',), '') for line in live.splitlines()]
            rings = ownership.Rings(members, CONF.conductor.ring_partitions)
            rows = self.split.query('SELECT uuid, owner FROM nodes').splitlines()
            return len(members) == conductors and all(
                rings.propose_for(uuid, '', 'ipmi') == owner
                for uuid, owner in (row.split('|') for row in rows)
            )

        wait_until(balanced, timeout, 'a share for each', 0.2)
        self.wait_captured(30, conductors)

    def beat(self, incarnation):
        """:returns: int, of its row."""
        query = f"SELECT beat FROM conductors WHERE incarnation = '{incarnation}'"
        return int(self.split.query(query))

    def log_folder(self, name):
        """:returns: str, where the segments of a node's console are."""
        uuid = self.split.query(f"SELECT uuid FROM nodes WHERE name = '{name}'")
        return segments.folder_of(self.log_dir, uuid)

    def log_gaps(self, name, incarnation):
        """:returns: list of int, bytes that an owner marked as lost in a node's log."""
        folder, found = self.log_folder(name), []
        for number in segments.numbers(folder):
            entries = segments.read_index(folder, number)
            if entries and entries[0].get('owner') == incarnation:
                found += [entry['lost'] for entry in entries if entry.get('event') == 'gap']
        return found

    # -- what must always hold ----------------------------------------------------------------

    def check_calm(self):
        """From now on nobody takes anything from anybody."""
        now, owners = time.monotonic(), self.owners()
        time.sleep(CALM)
        restless = {n: len(h) for n, h in self.watch.since(now).items() if len(h) > 1}
        assert not restless, f'{restless}\n{self.split.logs()[-3000:]}'
        assert self.owners() == owners
        assert not self.not_captured()

    def check_no_fight(self, most=2):
        """No console went back and forth, or through more hands than it had to."""
        for name, hands in self.watch.hands(self.began).items():
            assert len(hands) == len(set(hands)), f'{name}: {hands}'
            assert len(hands) <= most, f'{name}: {hands}'

    def check_nothing_left(self):
        """No lock, no deferred work, no token that was revoked."""
        left = self.split.query(
            'SELECT name, lock_purpose, target_reason FROM nodes '
            'WHERE lock_purpose IS NOT NULL OR target_power_state IS NOT NULL'
        )
        assert not left, left
        for name, token in self.revoked_tokens:
            answer = self.nodes[name].call('GET', 'power_status', {'token': token})
            assert answer.status_code == 401, f'{name}: {answer.status_code}'

    def end_well(self, conductors=3, hands=2):
        """What holds after each fault."""
        self.check_no_fight(hands)
        self.check_calm()
        self.check_nothing_left()
        self.all_answer()

    def all_answer(self):
        last = f'{len(self.names):04d}'
        lines = self.split.sweep(f'node[0001-{last}]', deadline=10)
        off = [line for _, line in lines if line.get('power_status') != 'on']
        assert len(lines) == len(self.names) and not off, off[:5]

    def answers(self, name, timeout=30):
        node = self.nodes[name]

        def answered():
            return node.call('GET', 'power_status').status_code == 200

        wait_until(answered, timeout, f'an answer of {name}', 0.2)

    # -- what goes on meanwhile ---------------------------------------------------------------

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

        with _running(run, 4, stop):
            yield failed

    @contextlib.contextmanager
    def resets(self, pause=0.3):
        """Nodes are reset now and then; each call is carried out at most once."""
        names, stop = self.names[-RESET:], threading.Event()
        before = {name: self._resets_of(name) for name in names}
        asked, done = collections.Counter(), collections.Counter()

        def run():
            for name in itertools.cycle(names):
                if stop.wait(pause):
                    return
                asked[name] += 1
                answer = self.nodes[name].call('POST', 'power_cycle', json={'force': True})
                done[name] += answer.status_code == 200

        with _running(run, 1, stop):
            yield
        for name in names:
            count = self._resets_of(name) - before[name]
            assert done[name] <= count <= asked[name], (name, done[name], count, asked[name])

    def _resets_of(self, name):
        bmc = self.farm.bmcs[self.names.index(name)]
        try:
            return self.farm.read(bmc, 'events').split('\n').count('reset 1')
        except FileNotFoundError:
            return 0

    @contextlib.contextmanager
    def uninterrupted(self, names):
        """Viewers that see every line, before, during and after."""
        with contextlib.ExitStack() as stack:
            viewers = [stack.enter_context(self.nodes[name].console()) for name in names]
            for viewer in viewers:
                viewer.wait_for(b'line')
            yield viewers
            for viewer in viewers:
                viewer.wait_for(b'line', after=len(viewer.data))
                assert not viewer.ended
                assert_complete(viewer.data)

    def revoke(self, name):
        """Take a node's token away, for another.  :returns: monotonic time just after."""
        self.revoked_tokens.append((name, self.nodes[name].token))
        self.nodes[name] = self.split.node(name)
        return time.monotonic()

    def check_rings(self, names):
        """What the owners' rings hold is whole."""
        for name in names:
            with self.nodes[name].console(replay=65536) as viewer:
                viewer.wait_for(b'line')
                viewer.wait_for(b'line', after=len(viewer.data))
                assert_complete(viewer.data)


@contextlib.contextmanager
def _running(function, count, stop):
    threads = [threading.Thread(target=function, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)


@contextlib.contextmanager
def deployed(farm, rabbitmq, postgresql, sizes):
    """:class:`Cluster` with all nodes of ``farm``, settled.  Every link can be cut."""
    listens = {name: free_port() for name in CONDUCTORS}
    targets = {'broker': rabbitmq.port, 'database': postgresql.port}
    targets = {f'{name} {to}': port for name in CONDUCTORS for to, port in targets.items()}
    targets |= {f'{name} streams': port for name, port in listens.items()}
    with Relays(targets) as relays, tempfile.TemporaryDirectory(prefix='obmd-logs-') as log_dir:
        ports = relays.ports
        links = {n: (ports[f'{n} broker'], ports[f'{n} database']) for n in CONDUCTORS}
        own = {
            name: {
                'conductor': {
                    'listen': f'127.0.0.1:{listens[name]}',
                    'callback_url': f'http://127.0.0.1:{ports[f"{name} streams"]}',
                }
                | sizes.settings.get('conductor', {}),
                'console': {'log_dir': log_dir},
            }
            for name in CONDUCTORS
        }
        made = Split(
            rabbitmq,
            postgresql,
            conductors=len(CONDUCTORS),
            workers=1,
            config=sizes.settings,
            links=links,
            own=own,
        )
        with made as split, SolWatch(farm.bmcs, sizes.pause) as watch:
            for bmc in farm.bmcs:
                split.register_bmc(bmc)
            servers = {'rabbitmq': rabbitmq, 'postgresql': postgresql}
            cluster = Cluster(split, farm, watch, relays, servers, sizes, log_dir)
            cluster.wait_balanced()
            yield cluster
