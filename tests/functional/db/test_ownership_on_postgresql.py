"""The unit tests' promises, kept by a real PostgreSQL."""

from tests.unit.db.test_ownership import *  # noqa: F403
