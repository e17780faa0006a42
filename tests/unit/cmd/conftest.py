import io
import uuid

import pytest

from obmd.cmd.manage import app as manage
from obmd.common import secrets
from obmd.conf import CONF
from obmd.db import engine
from obmd.db import nodes


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


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command on a state folder of its own.  :returns: (status, stdout, stderr)."""
    configuration = tmp_path / 'obmd.conf'
    configuration.write_text(f'[DEFAULT]\nstate_path = {tmp_path}/state\n')

    def run(*argv):
        output, errors = io.StringIO(), io.StringIO()
        monkeypatch.setattr('sys.stdout', output)
        monkeypatch.setattr('sys.stderr', errors)
        status = manage.main(['--config-file', str(configuration), *argv])
        return status, output.getvalue(), errors.getvalue()

    yield run
    engine.dispose()
    CONF.reset()


def register(name='n1', public=None, info=None):
    made = str(uuid.uuid4())
    sealed, key_id = secrets.seal_info(public, made, 'ipmi', '10.0.0.1', info or {'user': 'u'})
    return nodes.create(name, 'ipmi', '10.0.0.1', sealed, key_id, 'rack1', made)


@pytest.fixture
def fleet(run):
    """A database with a key and three nodes, left open for the test to look at."""
    run('db', 'upgrade')
    run('key', 'new')
    public = secrets.PublicKey.load(secrets.key_paths()[1])
    engine.setup()
    for number in range(3):
        register(f'n{number}', public, {'user': 'u', 'password': f'geheim{number}'})
    return run
