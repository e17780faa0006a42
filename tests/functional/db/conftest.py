import secrets

import pytest

from obmd.conf import CONF
from obmd.db import engine
from tests.functional import services

KINDS = {'postgresql': services.PostgreSQL, 'mariadb': services.MariaDB}


@pytest.fixture(scope='module', params=list(KINDS))
def server(request):
    """Each database server, for tests that leave it as it was."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope='module')
def database(request, server):
    """An empty, migrated database on a real server."""
    name = request.module.__name__.rpartition('.')[2]
    CONF.set_override('connection', server.new_database(name), 'database')
    engine.setup()
    engine.upgrade()
    yield engine
    engine.dispose()
    CONF.clear_override('connection', 'database')


@pytest.fixture(scope='module', params=list(KINDS))
def own_kind(request):
    with KINDS[request.param]() as server:
        yield server


@pytest.fixture
def own_server(request, own_kind):
    """A server that a test may stop, kill or pause, with a new database in use."""
    if not own_kind.running:
        own_kind.start()
    name = f't{secrets.token_hex(4)}'
    CONF.set_override('connection', own_kind.new_database(name), 'database')
    engine.setup()
    engine.upgrade()
    yield own_kind
    engine.dispose()
    CONF.clear_override('connection', 'database')
    CONF.clear_override('statement_timeout', 'database')
    CONF.clear_override('connect_timeout', 'database')
