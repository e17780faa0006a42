"""The application for other WSGI servers is built late, once, and again after a failure."""

import types

import pytest
import webtest

from obmd.api import wsgi
from obmd.common import errors
from obmd.common import secrets
from obmd.conf import CONF
from tests.unit.api.conftest import error


def test_it_is_built_once_with_the_first_request(api):
    built = []

    def build():
        built.append(1)
        return api.application

    lazy = webtest.TestApp(wsgi._Lazy(build))
    assert built == []
    lazy.get('/healthz', status=200)
    lazy.get('/healthz', status=200)
    assert built == [1]


def test_a_start_that_fails_is_503_without_the_reason_and_tried_again(api):
    outcomes = [errors.Fatal('/etc/obmd/key: missing'), api.application]

    def build():
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    lazy = webtest.TestApp(wsgi._Lazy(build))
    response = lazy.get('/healthz', status=503)
    assert 'missing' not in error(response)['reason']
    lazy.get('/healthz', status=200)


def test_importing_it_reads_nothing():
    assert wsgi.application._app is None


def test_an_api_without_an_admin_token_is_refused_naming_the_command():
    with pytest.raises(errors.Fatal, match='obmd-manage'):
        wsgi.build()


def test_an_api_without_a_secret_for_access_tokens_is_refused_naming_the_command(
    monkeypatch, tmp_path
):
    monkeypatch.setattr(wsgi, '_admin_hash', lambda: 'a hash')
    CONF.set_override('state_path', str(tmp_path))
    try:
        with pytest.raises(errors.Fatal, match='obmd-manage generate-jwt-secret'):
            wsgi.build()
    finally:
        CONF.clear_override('state_path')


@pytest.fixture
def steps(monkeypatch):
    """What a start does, in order; nothing is connected."""
    done = []

    class Observer:
        def __init__(self, *args):
            pass

        def look(self):
            done.append('look')

        def start(self):
            done.append('observer started')

    bus = types.SimpleNamespace(check=None, client=lambda *args: None)
    for place, name, result in (
        (wsgi, '_admin_hash', 'a hash'),
        (wsgi.bearer, 'load_key', b'a key'),
        (wsgi.secrets.PublicKey, 'load', None),
        (wsgi.registry, 'load', None),
        (wsgi.engine, 'setup', None),
        (wsgi.engine, 'check_schema', None),
        (wsgi.rpc, 'Bus', bus),
        (wsgi.exposition, 'begin', None),
    ):
        monkeypatch.setattr(
            place, name, lambda *args, name=name, result=result: done.append(name) or result
        )
    monkeypatch.setattr(wsgi.membership, 'Observer', Observer)
    return done


def test_a_start_ends_with_what_goes_on_for_ever(steps):
    assert callable(wsgi.build())
    assert steps[-2:] == ['begin', 'observer started']


@pytest.mark.parametrize(
    'what',
    [
        'secrets.PublicKey.load',
        'engine.check_schema',
        'rpc.Bus',
        'membership.Observer.look',
        'operations.Services',
    ],
)
def test_a_start_that_fails_leaves_nothing_that_goes_on(steps, monkeypatch, what):
    def fail(*args, **kwargs):
        raise errors.Unavailable('not now')

    monkeypatch.setattr(f'obmd.api.wsgi.{what}', fail)
    with pytest.raises(errors.Unavailable, match='not now'):
        wsgi.build()
    assert not {'begin', 'observer started'} & set(steps)


def test_it_takes_the_admin_token_from_its_file(tmp_path):
    token = secrets.new_token()
    path = str(tmp_path / 'token')
    secrets.write_secret(path, token + '\n')
    CONF.set_override('admin_token_file', path, 'api')
    try:
        assert wsgi._admin_hash() == secrets.token_hash(token)
    finally:
        CONF.clear_override('admin_token_file', 'api')
