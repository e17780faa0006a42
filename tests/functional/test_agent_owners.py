"""Heartbeats of agents over RabbitMQ while the conductors that take them come and go."""

import contextlib
import json
import secrets as random
import threading
import time

import oslo_messaging
import pytest
from oslo_messaging import opts as messaging_opts

from obmd.api import operations
from obmd.common import errors
from obmd.common import rpc
from obmd.common.deadline import Deadline
from obmd.conductor import membership
from obmd.conductor import routing
from obmd.conductor import rpcapi
from obmd.conf import CONF
from obmd.conf import libraries
from obmd.db import agents
from obmd.db import conductors
from obmd.db import engine
from obmd.db import nodes
from tests.functional.deployment import SHORT
from tests.functional.deployment import Split
from tests.functional.deployment import wait_until

pytestmark = pytest.mark.needs('initdb')

NODES = 20
#: seconds: [agent] heartbeat_timeout, and the promise of doc/source/user/agents.rst
TIMEOUT, PROMISE = 6, 5.0
SLACK = 3.0


@pytest.fixture(scope='module')
def split(rabbitmq, postgresql):
    config = {'agent': {'heartbeat_timeout': TIMEOUT}}
    with Split(rabbitmq, postgresql, conductors=2, workers=1, config=config) as split:
        for number in range(NODES):
            split.register(f'node{number}', 'mock', {})
        split.wait_until_settled()
        yield split


@pytest.fixture(scope='module')
def settings(split, rabbitmq):
    """This process uses the split's database and bus."""
    libraries.set_defaults()
    CONF([], project='obmd', default_config_files=[])
    oslo_messaging.get_rpc_transport(CONF, 'rabbit://')  # registers options
    for group, known in messaging_opts.list_opts():
        CONF.register_opts(known, group=group)
    options = [
        ('connection', split.server.database_url(split.database), 'database'),
        ('transport_url', rabbitmq.url, None),
        ('control_exchange', split.database, None),
        ('heartbeat_ttl', SHORT['conductor']['heartbeat_ttl'], 'conductor'),
    ]
    for section, given in rabbitmq.options.items():
        options += [(name, value, section) for name, value in given.items()]
    for option in options:
        CONF.set_override(*option)
    engine.setup()
    yield
    engine.dispose()
    for name, _value, group in options:
        CONF.clear_override(name, group)


@pytest.fixture(scope='module')
def bus(settings):
    made = rpc.Bus()
    yield made
    made.close()


@pytest.fixture(scope='module')
def api(bus):
    """The API's side, as ``obmd.api.wsgi`` puts it together."""
    ttl = SHORT['conductor']['heartbeat_ttl']
    router = routing.Router(CONF.conductor.ring_partitions, ttl)
    observer = membership.Observer(0.5, ttl, router.look)
    router.refresh = observer.look
    observer.look()
    observer.start()
    yield rpcapi.ConductorAPI(bus, router)
    observer.stop()


class Issued:
    """Hash of the token that all agents have now; no token is ever issued twice."""

    token_hash = None


@pytest.fixture
def ready(split):
    """All is as it was at first, whatever a test before has ended."""
    Issued.token_hash = random.token_hex(32)
    for conductor in split.conductors:
        if conductor.returncode is not None:
            conductor.start()
    split.wait_until_settled()
    for _, node in nodes.page(0, 100):
        agents.forget(node.uuid)
        assert agents.issue_token(node.uuid, Issued.token_hash, agents.get(node.uuid).generation)


def all_nodes():
    return [node for _, node in nodes.page(0, 100)]


def beat(api, name, seconds=20, **changes):
    told = {'url': f'https://{name}:9999', 'version': '11.0', **changes}
    node = nodes.get(name)
    operations.call(
        api.agent_heartbeat,
        node,
        {'token_hash': Issued.token_hash, **told},
        deadline=Deadline(seconds),
        by_token=False,
        read=True,
    )


def shown(split, name):
    answer = split.as_admin('GET', f'/api/v1/nodes/{name}')
    assert answer.status_code == 200, answer.text
    return answer.json()['agent']


class Beating:
    """Agents of all nodes that beat until told to stop; what each was answered, and when."""

    def __init__(self, api, pause=0.2):
        self._api = api
        self._pause = pause
        self._stopped = threading.Event()
        self.accepted = {}
        self.errors = []
        self._threads = [
            threading.Thread(target=self._run, args=(f'node{number}',), daemon=True)
            for number in range(NODES)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_unused):
        self._stopped.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, name):
        while not self._stopped.is_set():
            try:
                beat(self._api, name)
                self.accepted[name] = time.time()
            except errors.ObmdError as error:
                self.errors.append(error)
            self._stopped.wait(self._pause)

    def wait_for_all(self):
        since = time.time()
        wait_until(
            lambda: len([at for at in self.accepted.values() if at > since]) == NODES,
            what='a heartbeat of every agent',
        )


@pytest.mark.usefixtures('ready')
def test_what_was_accepted_is_in_the_row_within_the_promise(split, api):
    with Beating(api) as beating:
        beating.wait_for_all()
        time.sleep(3)
        beating.wait_for_all()
        for node in all_nodes():
            accepted = beating.accepted[node.name]
            row = agents.get(node.uuid)
            assert row.url == f'https://{node.name}:9999'
            assert accepted - row.heartbeat_at < PROMISE + 1  # and whole seconds
    assert not beating.errors
    assert shown(split, 'node0')['alive'] is True


@pytest.mark.usefixtures('ready')
def test_no_heartbeat_fails_while_a_conductor_stops_and_starts_again(split, api):
    with Beating(api) as beating:
        beating.wait_for_all()
        for _ in range(2):
            split.conductors[0].stop(timeout=30)
            beating.wait_for_all()
            split.conductors[0].start()
            split.wait_until_settled()
            beating.wait_for_all()
    assert not beating.errors
    assert shown(split, 'node0')['alive'] is True


@pytest.mark.usefixtures('ready')
def test_a_killed_owner_forgets_nothing_that_was_accepted(split, api):
    with Beating(api) as beating:
        beating.wait_for_all()
        victim = split.owner('node0')
        mine = [node.name for node in all_nodes() if split.owner(node.name) is victim]
        victim.kill()
        killed = time.time()
        accepted = dict(beating.accepted)
        for name in mine:
            row = agents.get(nodes.get(name).uuid)
            assert row.url == f'https://{name}:9999'
            assert accepted[name] - row.heartbeat_at < PROMISE + 1
        beating.wait_for_all()
        print(f'{len(mine)} agents accepted by the heir {time.time() - killed:.1f} s after')
    assert {type(error) for error in beating.errors} <= {errors.Unavailable}
    assert all(error.retry_after for error in beating.errors)
    with pytest.raises(errors.InvalidInput, match='Detected change'):
        beat(api, mine[0], url='https://elsewhere')
    assert shown(split, mine[0])['alive'] is True


@pytest.mark.usefixtures('ready')
def test_the_heir_tells_of_an_agent_that_fell_silent_with_its_owner(split, api):
    beat(api, 'node0')
    victim = split.owner('node0')
    (heir,) = set(split.conductors) - {victim}
    victim.kill()
    split.wait_for(1)
    wait_until(
        lambda: 'node0: no heartbeat of its agent' in heir.log(),
        2 * TIMEOUT + SLACK,
        'the end of the window',
    )
    state = shown(split, 'node0')
    assert (state['alive'], state['url']) == (False, 'https://node0:9999')


@pytest.mark.usefixtures('ready')
def test_a_power_off_ends_what_a_token_was_good_for(split, api):
    beat(api, 'node1')
    assert split.node('node1').post('power_off').status_code == 200
    with pytest.raises(errors.InvalidInput, match='Invalid or missing agent token'):
        beat(api, 'node1')
    state = shown(split, 'node1')
    assert (state['alive'], state['url']) == (False, None)


@pytest.mark.usefixtures('ready')
def test_hundreds_at_once_are_a_few_messages(api, monkeypatch):
    messages = []
    send = api._beats._send
    monkeypatch.setattr(
        api._beats, '_send', lambda *what: messages.append(len(what[1])) or send(*what)
    )
    found, done = {node.name: node for node in all_nodes()}, threading.Semaphore(0)
    failed = []

    def one(name):
        try:
            told = {
                'token_hash': Issued.token_hash,
                'url': f'https://{name}:9999',
                'version': '11.0',
            }
            api.agent_heartbeat(found[name], told, Deadline(20))
        except errors.ObmdError as error:
            failed.append(error)
        done.release()

    for number in range(400):
        threading.Thread(target=one, args=(f'node{number % NODES}',), daemon=True).start()
    for _ in range(400):
        assert done.acquire(timeout=30)
    assert not failed
    print(f'{len(messages)} messages of {min(messages)} to {max(messages)}')
    assert sum(messages) == 400
    assert len(messages) < 100


class OfVersion1:
    """A conductor as before there were agents."""

    target = oslo_messaging.Target(version='1.0')

    @rpc.answers
    def power_status(self, _context, call):
        return 'on'


def test_a_conductor_of_an_earlier_version_does_what_it_can_and_the_rest_is_503(bus, settings):
    with contextlib.closing(Old(bus)) as old:
        assert old.api.power_status(old.node, Deadline(5)) == 'on'
        for call in (
            lambda: old.api.agent_state(old.node, Deadline(5)),
            lambda: old.api.open_configdrive(old.node, Deadline(5)),
            lambda: old.api.agent_heartbeat(
                old.node, {'token_hash': Issued.token_hash, 'url': 'https://x'}, Deadline(5)
            ),
        ):
            with pytest.raises(errors.Unavailable, match='another version') as refused:
                call()
            assert refused.value.retry_after == rpc.UPGRADE_PAUSE
            json.dumps(refused.value.to_wire())


class Old:
    def __init__(self, bus):
        self.close = bus.serve(rpcapi.TOPIC, 'old-host', OfVersion1())
        router = routing.Router(8, 2)
        router.look([conductors.Conductor('old', 'old-host', '', ('mock',), 'http://x')], [])
        self.api = rpcapi.ConductorAPI(bus, router)
        self.node = Row()


class Row:
    uuid, name, owner, owner_epoch = 'uuid', 'n', 'old', 1
