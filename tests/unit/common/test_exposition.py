"""The page: made once for all who ask, whole whatever fails, bounded whatever is asked for."""

import os
import stat
import subprocess
import sys
import threading

import prometheus_client
import pytest
from prometheus_client import parser

from obmd.common import exposition
from obmd.common import metrics


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Metrics that start at nothing, and no source but the test's."""
    registry = prometheus_client.CollectorRegistry()
    monkeypatch.setattr(metrics, 'registry', registry)
    monkeypatch.setattr(exposition, '_sources', {})
    monkeypatch.setattr(exposition, '_pools', {})
    for metric in metrics.ALL:
        monkeypatch.setattr(metric, '_family', None)
        monkeypatch.setattr(metric, '_children', {})
    return registry


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def page(clock):
    return exposition.Page(clock)


def samples(text, name):
    return {
        tuple(sorted(sample.labels.items())): sample.value
        for family in parser.text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name == name
    }


def test_the_page_is_what_prometheus_reads(page):
    metrics.CALLS.observe(0.3, 'set_power', 'ok')
    labels = (('method', 'set_power'), ('outcome', 'ok'))
    text = page.text()
    assert samples(text, 'obmd_conductor_call_duration_seconds_count') == {labels: 1}
    assert samples(text, 'obmd_conductor_call_duration_seconds_sum') == {labels: 0.3}


def test_it_says_nothing_of_the_time_when_a_counter_was_made(page):
    metrics.CONSOLE_BYTES.count()
    assert b'_created' not in page.text()


def test_sources_are_asked_once_a_second_whoever_asks(page, clock):
    asked = []
    exposition.watch('x', lambda: asked.append(1))
    for _ in range(1000):
        page.text()
    assert len(asked) == 1
    clock.now += exposition.FRESH
    page.text()
    assert len(asked) == 2


def test_who_come_while_it_is_made_get_that_one(page):
    asked, go = [], threading.Event()

    def slow():
        asked.append(1)
        go.wait(10)

    exposition.watch('x', slow)
    threads = [threading.Thread(target=page.text) for _ in range(20)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(10)
    assert len(asked) == 1


def test_a_source_that_fails_hides_no_other(page):
    def failing():
        raise KeyError('secret of a node')

    exposition.watch('bad', failing)
    exposition.watch('good', lambda: metrics.VIEWERS.set(7))
    text = page.text()
    assert samples(text, 'obmd_viewers') == {(): 7}
    assert samples(text, 'obmd_metrics_faults_total') == {(): 1}
    assert b'secret' not in text


def test_a_later_source_of_the_same_name_replaces_the_former(page):
    exposition.watch('x', lambda: metrics.VIEWERS.set(1))
    exposition.watch('x', lambda: metrics.OWNED.set(2))
    assert samples(page.text(), 'obmd_viewers') == {}


def test_a_pool_without_a_limit_is_not_told_of(page):
    exposition.begin('conductor')
    exposition.watch_pool('sqlite', lambda: None)
    exposition.watch_pool('calls', lambda: (3, 1000))
    text = page.text()
    assert samples(text, 'obmd_pool_used') == {(('pool', 'calls'),): 3}
    assert samples(text, 'obmd_pool_limit') == {(('pool', 'calls'),): 1000}


@pytest.mark.parametrize(
    ('service', 'has', 'lacks'),
    [
        ('api', 'obmd_rpc_news_lost_total', 'obmd_console_bytes_total'),
        ('conductor', 'obmd_console_bytes_total', 'obmd_rpc_news_lost_total'),
        ('all-in-one', 'obmd_console_bytes_total', 'nothing'),
    ],
)
def test_a_service_shows_from_the_start_what_it_counts_and_no_more(page, service, has, lacks):
    exposition.begin(service)
    text = page.text()
    assert samples(text, has) == {(): 0}
    assert samples(text, lacks) == {}
    assert samples(text, 'obmd_process_starts_total') == {(): 1}
    (labels,) = samples(text, 'obmd_build_info')
    assert dict(labels)['service'] == service


# -- requests -------------------------------------------------------------------------------------


def ask(app, method, path, start_response=lambda *args: None):
    return app({'REQUEST_METHOD': method, 'PATH_INFO': path}, start_response)


def test_unknown_paths_and_methods_have_one_label_each(page):
    def app(environ, start_response):
        start_response('404 Not Found', [])
        return []

    measured = exposition.measured(app)
    for number in range(5000):
        ask(measured, f'M{number}', f'/node/{number}/token=secret{number}')
    labels = (('code', '4xx'), ('method', 'other'), ('route', 'other'))
    text = page.text()
    assert samples(text, 'obmd_http_request_duration_seconds_count') == {labels: 5000}
    assert b'secret' not in text


def test_a_request_that_fails_is_a_5xx(page):
    def app(environ, start_response):
        raise ValueError

    with pytest.raises(ValueError):
        ask(exposition.measured(app), 'GET', '/')
    labels = (('code', '5xx'), ('method', 'GET'), ('route', 'other'))
    assert samples(page.text(), 'obmd_http_request_duration_seconds_count') == {labels: 1}


@pytest.mark.parametrize(
    ('method', 'path', 'status'),
    [
        ('GET', '/metrics', '200 OK'),
        ('HEAD', '/metrics', '405 Method Not Allowed'),
        ('POST', '/metrics', '405 Method Not Allowed'),
        ('GET', '/metrics/', '404 Not Found'),
        ('GET', '/', '404 Not Found'),
        ('GET', '', '404 Not Found'),
        ('GET', '/healthz', '404 Not Found'),
    ],
)
def test_an_address_of_its_own_answers_the_page_alone(method, path, status):
    got = []
    body = ask(exposition.application, method, path, lambda *answer: got.extend(answer))
    assert got[0] == status
    headers = dict(got[1])
    assert headers['Content-Length'] == str(len(body[0]))
    assert headers.get('Allow') == ('GET' if status.startswith('405') else None)


# -- several workers ------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv('RUNTIME_DIRECTORY', str(tmp_path))
    return tmp_path


COUNT = """
from obmd.common import exposition, metrics
metrics.CONSOLE_BYTES.count(by={bytes})
metrics.VIEWERS.set({viewers})
"""
READ = """
import sys
from obmd.common import exposition
sys.stdout.buffer.write(exposition.page())
"""


def run(together, number, program):
    """Run ``program`` as worker ``number``.  :returns: bytes, what it printed."""
    environment = {**os.environ, **together.environment, 'OBMD_WORKER': str(number)}
    return subprocess.run(
        [sys.executable, '-c', program], env=environment, check=True, capture_output=True
    ).stdout


def test_workers_count_together_and_a_next_one_counts_on(place):
    with exposition.Together() as together:
        run(together, 0, COUNT.format(bytes=100, viewers=3))
        run(together, 1, COUNT.format(bytes=20, viewers=4))
        text = run(together, 1, READ)
        assert samples(text, 'obmd_console_bytes_total') == {(): 120}
        assert samples(text, 'obmd_viewers') == {(): 7}
        together.ended(0)
        text = run(together, 1, READ)
        assert samples(text, 'obmd_console_bytes_total') == {(): 120}
        assert samples(text, 'obmd_viewers') == {(): 4}
        run(together, 0, COUNT.format(bytes=3, viewers=1))
        text = run(together, 1, READ)
        assert samples(text, 'obmd_console_bytes_total') == {(): 123}
        assert samples(text, 'obmd_viewers') == {(): 5}


def test_the_folder_is_private_and_goes_with_the_parent(place):
    with exposition.Together() as together:
        (folder,) = together.environment.values()
        assert os.path.dirname(folder) == str(place)
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    assert not os.listdir(place)


def test_what_a_killed_parent_left_goes_and_what_a_live_one_has_stays(place):
    (place / 'obmd-metrics-dead').mkdir()
    (place / 'obmd-metrics-dead' / 'counter_0.db').write_bytes(b'')
    (place / 'of-another').mkdir()
    with exposition.Together() as first, exposition.Together() as second:
        kept = {os.path.basename(*one.environment.values()) for one in (first, second)}
        assert set(os.listdir(place)) == {*kept, 'of-another'}


def test_a_link_in_its_place_is_not_followed(place, tmp_path):
    precious = tmp_path / 'precious'
    precious.mkdir()
    (place / 'obmd-metrics-link').symlink_to(precious)
    with exposition.Together():
        assert precious.is_dir()
