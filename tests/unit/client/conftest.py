import io

import pytest

from obmd.client import Client
from obmd.client.cli import app
from obmd.client.cli import table
from tests.unit.client.fake import FakeApi

URL = 'https://obmd.example.com'


class Clock:
    """Sleeping is all that lets it go on."""

    def __init__(self):
        self.now = 100.0
        self.pauses = []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds


class Terminal(io.TextIOWrapper):
    """A stream that says to be a terminal."""

    def isatty(self):
        return True


def stream(text='', terminal=False):
    kind = Terminal if terminal else io.TextIOWrapper
    return kind(io.BytesIO(text.encode()), encoding='utf-8', write_through=True)


class CommandLine:
    """``obm`` with a fake API; :meth:`run` gives its exit status."""

    def __init__(self, api):
        self.api = api
        self.stdin, self.stdout, self.stderr = stream(), stream(), stream()

    def answer(self, text):
        """Somebody sits at a terminal and types that."""
        self.stdin = stream(text, terminal=True)

    def run(self, *argv, name='obm', commands=table.OBM):
        streams = {name: getattr(self, name) for name in ('stdin', 'stdout', 'stderr')}
        one = app.Obm(name, 'what it is', commands, adapter=self.api, **streams)
        return app._run(one, [f'--url={URL}', *argv])

    @property
    def out(self):
        return self.stdout.buffer.getvalue().decode()

    @property
    def err(self):
        return self.stderr.buffer.getvalue().decode()


@pytest.fixture
def api():
    return FakeApi()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def client(api, clock):
    with Client(URL, token='t' * 32, adapter=api, clock=clock, sleep=clock.sleep) as made:
        yield made


@pytest.fixture(autouse=True)
def nobody_else_settings(monkeypatch, tmp_path):
    """What the one who runs the tests has set up is not read."""
    for name in ('URL', 'TOKEN', 'TOKEN_FILE', 'CA_FILE', 'INSECURE', 'CONFIG'):
        monkeypatch.delenv(f'OBM_{name}', raising=False)
    monkeypatch.setenv('XDG_CONFIG_HOME', str(tmp_path / 'config'))
    monkeypatch.setattr('obmd.client.settings.SITE_FILE', str(tmp_path / 'site.yaml'))


@pytest.fixture
def obm(api):
    return CommandLine(api)
