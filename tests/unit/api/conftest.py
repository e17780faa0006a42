"""The whole API over an in-memory database and a conductor that records what it is asked."""

import base64
import contextlib
import types

import pytest
import webtest
from nacl import public as nacl

from obmd.api import app as api_app
from obmd.api import bearer
from obmd.api import operations
from obmd.common import secrets
from obmd.conductor import rpcapi
from obmd.conf import CONF
from obmd.db import engine
from obmd.db import nodes
from obmd.drivers import registry
from obmd.streams import viewer
from tests.unit.api import drivers

ADMIN_TOKEN = '0123456789abcdef0123456789abcdef'
JWT_KEY = b'a secret of tests, long enough for a hash of 32 bytes'


class Conductor:
    """Plays ConductorAPI: ``answers`` by method, an exception is raised, a list is used up."""

    def __init__(self):
        self.calls = []
        self.told = []
        self.answers = {'power_status': 'on', 'event_log': [], 'agent_state': {'alive': True}}

    def _call(self, method, node, *args, **kwargs):
        self.calls.append((method, getattr(node, 'name', node), *args))
        self.kwargs = kwargs
        answer = self.answers.get(method)
        if isinstance(answer, list) and answer and method != 'event_log':
            answer = answer.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer(node, *args) if callable(answer) else answer

    def power_status(self, node, deadline):
        return self._call('power_status', node)

    def set_power(self, node, action, deadline, caller):
        return self._call('set_power', node, action, caller=caller)

    def power_cycle(self, node, force, deadline, caller):
        return self._call('power_cycle', node, force, caller=caller)

    def set_boot_device(self, node, device, deadline, caller):
        return self._call('set_boot_device', node, device, caller=caller)

    def agent_state(self, node, deadline):
        return self._call('agent_state', node)

    def event_log(self, node, limit, deadline):
        return self._call('event_log', node, limit)

    def open_console(self, node, deadline, replay=None, cursor=None, takeover=False):
        return self._call('open_console', node, replay, cursor, takeover)

    def boot_device(self, node, deadline):
        return self._call('boot_device', node)

    def open_console_events(self, node, deadline, holder, replay=None, cursor=None, takeover=False):
        return self._call('open_console_events', node, holder, replay, cursor, takeover)

    def open_sweep(self, incarnation, group, deadline):
        return self._call('open_sweep', incarnation, [node.name for node in group])

    def job_changed(self, job):
        self.told.append(('job_changed', job.uuid))

    def token_changed(self, node):
        self.told.append(('token_changed', node.name, node.token_id))

    def node_deleted(self, node):
        self.told.append(('node_deleted', node.name))

    def node_changed(self, node):
        self.told.append(('node_changed', node.name))


class Router:
    """Everything belongs to the conductor ``c1`` unless ``owners`` says another or an error.

    ``gone_meanwhile``: conductors that die once while somebody waits for them.
    """

    def __init__(self):
        self.owners = {}
        self.gone_meanwhile = []

    @contextlib.contextmanager
    def watched(self, incarnation, give_up):
        if incarnation in self.gone_meanwhile:
            self.gone_meanwhile.remove(incarnation)
            give_up()
        yield

    def host(self, incarnation):
        return incarnation and f'host-{incarnation}'

    def host_of(self, node):
        return node.owner and f'host-{node.owner}'

    def owner_of(self, node):
        owner = self.owners.get(node.name, 'c1')
        if isinstance(owner, Exception):
            raise owner
        return types.SimpleNamespace(host=f'host-{owner}', incarnation=owner)

    def split(self, found):
        by_owner, unroutable = {}, {}
        for node in found:
            owner = self.owners.get(node.name, 'c1')
            if isinstance(owner, Exception):
                unroutable[node.name] = owner
            else:
                by_owner.setdefault(owner, []).append(node)
        return by_owner, unroutable


class Chunks(viewer.Stream):
    """A stream of the chunks given."""

    def __init__(self, *chunks):
        super().__init__()
        self._chunks = list(chunks)

    def __next__(self):
        if self._chunks and self.ended is None:
            return self._chunks.pop(0)
        self.end('finished')
        raise StopIteration


def offer(*chunks, headers=None, url='http://conductor:8381/stream/abc'):
    return rpcapi.StreamOffer(url, headers or {}, Chunks(*chunks))


@pytest.fixture(scope='package', autouse=True)
def _database():
    CONF([], project='obmd', default_config_files=[])
    CONF.set_override('connection', 'sqlite://', 'database')
    engine.setup()
    CONF.clear_override('connection', 'database')
    engine.upgrade()
    registry._enabled.clear()
    registry._enabled.update(drivers.ALL)
    yield
    engine.dispose()
    registry._enabled.clear()


@pytest.fixture
def conf():
    """Set options for one test: ``conf(max_range=5)`` in the group ``api``."""
    changed = []

    def change(group='api', **options):
        for name, value in options.items():
            CONF.set_override(name, value, group)
            changed.append((name, group))

    yield change
    for name, group in changed:
        CONF.clear_override(name, group)


@pytest.fixture(scope='session')
def private_key():
    return nacl.PrivateKey.generate()


@pytest.fixture
def api(private_key):
    """``api.app`` (WebTest), ``api.conductor``, ``api.router``, ``api.services``."""
    for _id, node in nodes.page(0, 1000):
        nodes.delete(node.name)
    conductor = Conductor()
    router = Router()
    services = operations.Services(
        conductor_api=conductor,
        router=router,
        public_key=secrets.PublicKey(bytes(private_key.public_key)),
        admin_hash=secrets.token_hash(ADMIN_TOKEN),
        jwt_key=JWT_KEY,
        local=True,
    )
    application = api_app.make_app(services)
    return types.SimpleNamespace(
        app=webtest.TestApp(application, lint=False),
        application=application,
        conductor=conductor,
        router=router,
        services=services,
    )


def basic(user='admin', password=ADMIN_TOKEN):
    text = base64.b64encode(f'{user}:{password}'.encode()).decode()
    return {'Authorization': f'Basic {text}'}


@pytest.fixture
def admin():
    return basic()


@pytest.fixture
def bearer_of(api):
    """``bearer_of(operations=['power'], nodes='n1')``: headers with a new access token."""

    def make(**scopes):
        token, row = bearer.issue(JWT_KEY, **scopes)
        return {'Authorization': f'Bearer {token}', 'X-Jti': row.jti}

    return make


@pytest.fixture
def node(api, admin):
    """A registered node ``n1`` of type mock with a token.  :returns: str, the token."""
    api.app.put_json('/node/n1', {'type': 'mock', 'info': {}}, headers=admin)
    token = api.app.post('/node/n1/token', headers=admin).json['token']
    api.conductor.told.clear()
    return token


def error(response):
    """The error of an answer, having checked its form."""
    assert response.headers['Content-Type'] == 'application/json'
    assert response.body.endswith(b'}\n')
    assert set(response.json) == {'error'}
    assert {'kind', 'reason'} <= set(response.json['error']) <= {'kind', 'reason', 'node'}
    assert 'Traceback' not in response.text
    return response.json['error']
