"""``/api/v1/tokens`` and ``/api/v1/audit``, for the admin."""

import pytest

from obmd.api import bearer
from obmd.db import audit
from tests.unit.api.conftest import JWT_KEY
from tests.unit.api.conftest import error

TOKENS = '/api/v1/tokens'


def make(api, admin, **scopes):
    return api.app.post_json(TOKENS, scopes, headers=admin, status=201).json


def test_a_token_is_told_once_with_what_it_may(api, admin):
    made = make(
        api, admin, days=1, label='ops', nodes='n[1-9]', operations=['power'], commands=['x']
    )
    identity = bearer.verify(made['token'], JWT_KEY)
    assert identity.subject == made['jti']
    assert identity.operations == {'power'}
    listed = {row['jti']: row for row in api.app.get(TOKENS, headers=admin).json['tokens']}
    assert listed[made['jti']] == {key: made[key] for key in made if key != 'token'}
    assert (made['state'], made['nodes'], made['label']) == ('good', 'n[1-9]', 'ops')


def test_what_is_null_is_not_said(api, admin):
    made = make(api, admin, days=None, label=None, nodes=None, operations=None, commands=None)
    assert made['operations'] == ['jobs']


@pytest.mark.parametrize(
    'body',
    [
        [],
        None,
        {'days': 0},
        {'days': 10**6},
        {'days': '1'},
        {'label': ''},
        {'label': 'x\n'},
        {'commands': []},
        {'commands': 'power-on'},
        {'commands': [1]},
        {'commands': ['x' * 300]},
        {'nodes': ''},
        {'nodes': 'n[1-'},
        {'nodes': 'n[1-999999999]'},
        {'operations': ['everything']},
        {'operations': []},
        {'admin': True},
    ],
)
def test_a_token_that_cannot_be_is_400(api, admin, body):
    assert error(api.app.post_json(TOKENS, body, headers=admin, status=400))


def test_a_token_that_is_revoked_is_refused_and_listed(api, admin):
    made = make(api, admin, operations=['status'])
    for _ in range(2):
        ended = api.app.request(
            f'{TOKENS}/{made["jti"]}',
            method='DELETE',
            headers={**admin, 'Content-Type': 'application/json'},
        )
        assert ended.json['state'] == 'revoked'
    headers = {'Authorization': f'Bearer {made["token"]}'}
    api.app.get('/api/v1/drivers', headers=headers, status=401)


@pytest.mark.parametrize('jti', ['nosuch', '%00', 'x' * 300, '%F0%9F%98%80'])
def test_another_id_is_404(api, admin, jti):
    headers = {**admin, 'Content-Type': 'application/json'}
    api.app.request(f'{TOKENS}/{jti}', method='DELETE', headers=headers, status=404)


def test_tokens_come_in_pages(api, admin):
    made = {make(api, admin)['jti'] for _ in range(3)}
    seen, marker = [], ''
    while marker is not None:
        page = api.app.get(f'{TOKENS}?limit=1&marker={marker}', headers=admin).json
        seen += [row['jti'] for row in page['tokens']]
        marker = page['next']
    assert made <= set(seen)
    assert len(seen) == len(set(seen))


class TestAudit:
    PATH = '/api/v1/audit'

    @pytest.fixture(autouse=True)
    def entries(self, api):
        audit.forget(10.0**12, 10**6)
        audit.write(
            audit.Entry(1000.0, 'command power-off', subject='j1', label='ops', nodes='n[1-3]'),
            audit.Entry(2000.0, 'node create', subject='admin', nodes='n7'),
            audit.Entry(3000.0, 'token issue', subject='admin'),
        )

    def find(self, api, admin, query=''):
        answer = api.app.get(f'{self.PATH}?{query}', headers=admin).json
        return [entry['action'] for entry in answer['audit']]

    @pytest.mark.parametrize(
        ('query', 'found'),
        [
            ('', ['token issue', 'node create', 'command power-off']),
            ('subject=admin', ['token issue', 'node create']),
            ('subject=ops', ['command power-off']),
            ('node=n2', ['command power-off']),
            ('node=n9', []),
            ('command=power-off', ['command power-off']),
            ('action=node+create', ['node create']),
            ('since=1970-01-01T00:30:00', ['token issue', 'node create']),
            ('until=1970-01-01T00:30:00Z', ['command power-off']),
            ('job=x', []),
        ],
    )
    def test_what_is_asked_for_is_found_newest_first(self, api, admin, query, found):
        assert self.find(api, admin, query) == found

    def test_entries_come_in_pages(self, api, admin):
        first = api.app.get(f'{self.PATH}?limit=2', headers=admin).json
        rest = api.app.get(f'{self.PATH}?limit=2&marker={first["next"]}', headers=admin).json
        assert [entry['action'] for entry in rest['audit']] == ['command power-off']
        assert rest['next'] is None

    @pytest.mark.parametrize('query', ['since=yesterday', 'since=', 'until=9', 'limit=0', 'x=1'])
    def test_a_wrong_parameter_is_400(self, api, admin, query):
        api.app.get(f'{self.PATH}?{query}', headers=admin, status=400)
