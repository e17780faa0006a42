"""The unit tests' promises, kept by PostgreSQL and by MariaDB."""

from tests.unit.db.test_node_lists import *  # noqa: F403
