import pytest

from obmd.conf import CONF
from obmd.db import engine
from tests.functional import services


@pytest.fixture(scope='session')
def postgresql():
    """A server for all tests that leave it as it was."""
    with services.PostgreSQL() as server:
        yield server


@pytest.fixture(scope='module')
def database(request, postgresql):
    """An empty, migrated database on a real PostgreSQL."""
    name = request.module.__name__.rpartition('.')[2]
    CONF.set_override('connection', postgresql.new_database(name), 'database')
    engine.setup()
    engine.upgrade()
    yield engine
    engine.dispose()
    CONF.clear_override('connection', 'database')


@pytest.fixture
def own_server():
    """A server that a test may stop, kill or pause; migrated and in use."""
    with services.PostgreSQL() as server:
        CONF.set_override('connection', server.url, 'database')
        engine.setup()
        engine.upgrade()
        yield server
        engine.dispose()
        CONF.clear_override('connection', 'database')
        CONF.clear_override('statement_timeout', 'database')
        CONF.clear_override('connect_timeout', 'database')
