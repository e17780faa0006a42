import threading
import uuid

import pytest

from obmd.common import secrets
from obmd.common import threads
from obmd.conductor import node
from obmd.conf import CONF
from obmd.db import conductors
from obmd.db import engine
from obmd.db import nodes
from obmd.drivers import registry
from tests.unit.conductor import fakes


class Spawned:
    """Threads of obmd's that a test can wait for."""

    def __init__(self):
        self._all = []
        self._lock = threading.Lock()

    def spawn(self, function, *args):
        thread = threading.Thread(target=threads._run, args=(function, args), daemon=True)
        with self._lock:
            self._all.append(thread)
        thread.start()

    def join(self):
        """Wait until all of them have ended, those included that they started."""
        while True:
            with self._lock:
                if not self._all:
                    return
                thread = self._all.pop(0)
            thread.join(10)
            assert not thread.is_alive(), 'a thread hangs'


@pytest.fixture
def spawned(monkeypatch):
    made = Spawned()
    monkeypatch.setattr(threads, 'spawn', made.spawn)
    return made


@pytest.fixture
def rows(monkeypatch):
    made = fakes.Rows()
    monkeypatch.setattr(node, 'nodes', made)
    return made


@pytest.fixture
def agent_rows(monkeypatch):
    made = fakes.AgentRows()
    monkeypatch.setattr(node, 'agents', made)
    return made


@pytest.fixture
def driver():
    return fakes.Driver()


@pytest.fixture
def timers():
    return fakes.Timers()


@pytest.fixture
def make_live(rows, agent_rows, driver, spawned, timers):
    def make(make_console=lambda _live: None):
        return node.LiveNode(rows.row, driver, 'me', rows.row.owner_epoch, make_console, timers)

    return make


@pytest.fixture
def live(make_live):
    return make_live()


@pytest.fixture
def in_thread():
    """``in_thread(function)`` runs it; gives an object with ``result()``."""
    return InThread


class InThread:
    def __init__(self, function):
        self._outcome = None
        self._thread = threading.Thread(target=self._run, args=(function,), daemon=True)
        self._thread.start()

    def _run(self, function):
        try:
            self._outcome = function(), None
        except Exception as error:
            self._outcome = None, error

    @property
    def running(self):
        return self._thread.is_alive()

    def result(self):
        """What it returned; raises what it raised."""
        self._thread.join(10)
        assert not self._thread.is_alive(), 'it hangs'
        value, error = self._outcome
        if error is not None:
            raise error
        return value

    def error(self):
        """What it raised."""
        self._thread.join(10)
        assert not self._thread.is_alive(), 'it hangs'
        return self._outcome[1]


# -- over a real table ----------------------------------------------------------------------------


@pytest.fixture(scope='module')
def _memory():
    """An in-memory database beside what other tests of this process use."""
    previous, engine._database = engine._database, None
    CONF.set_override('connection', 'sqlite://', 'database')
    engine.setup()
    CONF.clear_override('connection', 'database')
    engine.upgrade()
    yield
    engine.dispose()
    engine._database = previous


@pytest.fixture
def database(_memory):
    """An empty database."""
    for row in conductors.all():
        conductors.undrain(row.incarnation)
        conductors.remove(row.incarnation)
    for _id, row in nodes.page(0, 1000):
        nodes.delete(row.name)


@pytest.fixture(scope='session')
def keyring(tmp_path_factory):
    folder = tmp_path_factory.mktemp('keys')
    secrets.create_keys(str(folder / 'key'), str(folder / 'pub'))
    return secrets.Keyring.load(str(folder / 'key'))


@pytest.fixture
def drivers(monkeypatch):
    """The enabled drivers: ``fake`` and whatever a test adds."""
    enabled = {'fake': fakes.Driver}
    monkeypatch.setattr(registry, '_enabled', enabled)
    return enabled


@pytest.fixture
def register(database, keyring, drivers):
    """``register(name)`` adds a node.  :returns: its row."""

    def make(name, driver='fake', group='', info=None, sealed_for=None):
        made_uuid = str(uuid.uuid4())
        sealed, key_id = secrets.seal_info(
            keyring.public, sealed_for or made_uuid, driver, '', info or {}
        )
        return nodes.create(name, driver, '', sealed, key_id, group, made_uuid)

    return make
