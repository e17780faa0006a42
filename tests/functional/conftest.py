"""Functional tests run like the services do: on a monkey-patched process."""

import warnings

warnings.filterwarnings('ignore', module='eventlet')

import eventlet  # noqa: E402

from obmd.common import threads  # noqa: E402, F401  takes the native calls first

eventlet.monkey_patch()

import pytest  # noqa: E402

from tests.functional import services  # noqa: E402
from tests.functional.deployment import Split  # noqa: E402


def pytest_configure(config):
    # of eventlet about subprocess: the child execs at once
    config.addinivalue_line('filterwarnings', 'ignore:Using fork:DeprecationWarning')


@pytest.fixture(scope='session')
def rabbitmq():
    """A broker for the whole run; who stops or pauses one takes ``own_rabbitmq``."""
    with services.RabbitMQ() as server:
        yield server


@pytest.fixture(scope='session')
def postgresql():
    """A database server for the whole run, for tests that leave it as it was."""
    with services.PostgreSQL() as server:
        yield server


@pytest.fixture(scope='session')
def mariadb():
    """Another database server for the whole run, for tests that leave it as it was."""
    with services.MariaDB() as server:
        yield server


@pytest.fixture(scope='module')
def own_rabbitmq():
    """A broker that the tests of a module may stop, kill and pause."""
    with services.RabbitMQ() as server:
        yield server


@pytest.fixture(scope='module')
def own_postgresql():
    """A database server that the tests of a module may stop, kill and pause."""
    with services.PostgreSQL() as server:
        yield server


@pytest.fixture(scope='session')
def split(rabbitmq, postgresql):
    """API and conductors for the whole run, for tests that leave them running."""
    with Split(rabbitmq, postgresql, proxy=True) as split:
        yield split
