"""``/metrics`` on the API: what it counts of requests, where it is, what it never says."""

import pytest
from prometheus_client import parser

from obmd.common import exposition
from obmd.conf import CONF
from tests.unit.api.conftest import error


@pytest.fixture(autouse=True)
def page(monkeypatch):
    """One page for each test: none is a second old."""
    monkeypatch.setattr(exposition, '_page', exposition.Page())
    monkeypatch.setattr(exposition, 'FRESH', 0)


@pytest.fixture
def requests_counted(api):
    """:returns: function giving dict (method, route, code) -> requests so far."""

    def count():
        text = api.app.get('/metrics').text
        return {
            (s.labels['method'], s.labels['route'], s.labels['code']): s.value
            for family in parser.text_string_to_metric_families(text)
            for s in family.samples
            if s.name == 'obmd_http_request_duration_seconds_count'
        }

    return count


def test_a_request_is_counted_by_its_route_and_not_by_its_node(api, requests_counted):
    before = requests_counted()
    for number in range(20):
        api.app.get(f'/node/n{number}/power_status?token=abc{number}', expect_errors=True)
    after = requests_counted()
    key = 'GET', '/node/{id}/power_status', '4xx'
    assert after[key] - before.get(key, 0) == 20
    assert set(after) - set(before) <= {key, ('GET', '/metrics', '2xx')}


@pytest.mark.parametrize(
    'path',
    ['/nosuch/{}', '/node/x/{}', '/{}', '//{}', '/node/%00{}/x', '/node/{{id}}/{}', '/%FF{}'],
)
def test_hostile_paths_are_one_label(api, requests_counted, path):
    before = requests_counted()
    for number in range(20):
        api.app.get(path.format(number), expect_errors=True)
    after = requests_counted()
    assert set(after) - set(before) <= {('GET', 'other', '4xx'), ('GET', '/metrics', '2xx')}


def test_hostile_methods_are_one_label(api, requests_counted):
    before = requests_counted()
    for number in range(20):
        api.app.request('/healthz', method=f'X{number}', expect_errors=True)
    after = requests_counted()
    key = 'other', '/healthz', '4xx'
    assert after[key] - before.get(key, 0) == 20
    assert set(after) - set(before) <= {key, ('GET', '/metrics', '2xx')}


def test_it_is_plain_text_that_is_not_kept(api):
    answer = api.app.get('/metrics')
    assert answer.headers['Content-Type'] == 'text/plain; version=0.0.4; charset=utf-8'
    assert answer.headers['Cache-Control'] == 'no-store'
    assert int(answer.headers['Content-Length']) == len(answer.body) > 0


@pytest.mark.parametrize('name, value', [('enabled', False), ('listen', '127.0.0.1:1')])
def test_it_is_not_here_when_it_is_elsewhere_or_nowhere(api, name, value):
    CONF.set_override(name, value, 'metrics')
    try:
        answer = api.app.get('/metrics', expect_errors=True)
    finally:
        CONF.clear_override(name, 'metrics')
    assert answer.status_int == 404
    assert error(answer)['kind'] == 'not_found'
