import pytest

from obmd.conf import CONF


@pytest.fixture
def conf():
    """Set options for one test: ``conf('api', listen=':0')``; ``None`` is the default group."""
    changed = []

    def change(group, **options):
        for name, value in options.items():
            CONF.set_override(name, value, group)
            changed.append((name, group))

    yield change
    for name, group in changed:
        CONF.clear_override(name, group)
