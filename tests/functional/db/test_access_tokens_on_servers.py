"""The unit tests' promises, kept by PostgreSQL and by MariaDB."""

from tests.unit.db.test_access_tokens import *  # noqa: F403
