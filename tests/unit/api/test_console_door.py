"""``/api/v1/nodes/{id}/console``: framed events, passed on while the right to them lasts."""

import pytest

from obmd.common import errors
from obmd.db import audit
from tests.unit.api.conftest import error
from tests.unit.api.conftest import offer

PATH = '/api/v1/nodes/n1/console'
LINES = b'{"event":"state","state":"up"}\n'


@pytest.fixture(autouse=True)
def console(api, node):
    api.conductor.answers['open_console_events'] = lambda *args: offer(LINES)


def test_the_events_are_passed_on_as_they_come(api, admin):
    answer = api.app.get(PATH, headers=admin)
    assert answer.body == LINES
    assert answer.headers['Content-Type'] == 'application/x-ndjson'
    assert api.services.slots.taken == 0


def test_what_is_asked_for_reaches_the_conductor(api, admin):
    api.app.get(f'{PATH}?replay=10&cursor=ab:7&takeover=true', headers=admin)
    assert api.conductor.calls == [('open_console_events', 'n1', None, 10, 'ab:7', True)]


def test_the_conductor_is_told_whose_access_token_asks(api, bearer_of):
    headers = bearer_of(operations=['console'])
    api.app.get(PATH, headers=headers)
    asked = ('open_console_events', 'n1', headers['X-Jti'], None, None, False)
    assert api.conductor.calls == [asked]


def test_it_is_never_a_redirect(api, admin, conf, monkeypatch):
    conf(console_delivery='redirect')
    passed = []
    monkeypatch.setattr(
        'obmd.api.delivery.RemoteStream',
        lambda url, silence: passed.append(url) or offer(LINES).stream,
    )
    remote = offer(url='http://conductor/stream/abc')
    api.conductor.answers['open_console_events'] = type(remote)(remote.url, {})
    assert api.app.get(PATH, headers=admin, status=200).body == LINES
    assert passed == ['http://conductor/stream/abc']


def test_a_console_that_another_holds_is_409_and_gives_its_slot_back(api, admin):
    api.conductor.answers['open_console_events'] = errors.ConsoleHeld('held by 10.0.0.9')
    answer = api.app.get(PATH, headers=admin, status=409)
    assert error(answer)['node'] == 'n1'
    assert api.services.slots.taken == 0


def test_consoles_count_as_streams(api, admin, conf):
    conf(max_streams=1)
    api.services.slots.take()
    api.app.get(PATH, headers=admin, status=503)
    assert api.conductor.calls == []


def test_a_stream_ends_with_the_token_that_it_is_read_with_or_when_that_is_for_other_nodes(
    api, bearer_of, monkeypatch
):
    watched = []
    monkeypatch.setattr(api.services.vigil, 'add', lambda *what: watched.append(what))
    headers = bearer_of(operations=['console'])
    api.app.get(PATH, headers=headers)
    ((_, identity, name),) = watched
    assert (identity.jti, name) == (headers['X-Jti'], 'n1')


@pytest.mark.parametrize(
    ('query', 'action'), [('', 'console'), ('?takeover=true', 'console takeover')]
)
def test_who_opened_it_is_in_the_audit(api, admin, query, action):
    api.app.get(f'{PATH}{query}', headers=admin)
    entry = audit.page(subject='admin')[0]
    assert (entry.action, entry.nodes, entry.outcome) == (action, 'n1', 'ok')
