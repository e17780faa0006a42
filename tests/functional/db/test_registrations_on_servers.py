"""The unit tests' promises, kept by PostgreSQL and by MariaDB."""

from tests.unit.db.test_registrations import *  # noqa: F403
