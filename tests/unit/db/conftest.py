import pytest

from obmd.conf import CONF
from obmd.db import engine


@pytest.fixture(scope='module')
def database():
    """An empty, migrated database; in memory here, the functional tests have their own."""
    CONF.set_override('connection', 'sqlite://', 'database')
    engine.setup()
    engine.upgrade()
    yield engine
    engine.dispose()
    CONF.clear_override('connection', 'database')
