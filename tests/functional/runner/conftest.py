import pytest

from tests.functional.runner.stage import Stage


@pytest.fixture(scope='module')
def stage():
    """One runner for the tests of a module that leave it running."""
    with Stage() as stage:
        yield stage
