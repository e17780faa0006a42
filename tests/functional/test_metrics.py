"""``/metrics``, ``/healthz`` and ``/readyz`` of real services, while things go wrong."""

import concurrent.futures
import configparser
import contextlib
import os
import signal
import time

import pytest
import requests
from prometheus_client import parser

from tests.functional import services
from tests.functional.deployment import AllInOne
from tests.functional.deployment import Split
from tests.functional.deployment import family
from tests.functional.deployment import wait_until
from tests.functional.farm import Farm
from tests.functional.services import free_port

pytestmark = pytest.mark.needs('ipmi_sim', 'initdb')

PASSWORD = 'hunter2-secret'
REQUESTS = 'obmd_http_request_duration_seconds_count'


class Metrics:
    """A page, parsed."""

    def __init__(self, text):
        self.text = text
        self.samples = [
            sample
            for metric in parser.text_string_to_metric_families(text)
            for sample in metric.samples
        ]

    def values(self, name, **labels):
        """:returns: list of float, of all samples of ``name`` that have ``labels``."""
        return [
            sample.value
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]

    def sum(self, name, **labels):
        return sum(self.values(name, **labels))

    def labels(self, name, label):
        """:returns: set of str."""
        return {sample.labels[label] for sample in self.samples if sample.name == name}


def scrape(url):
    answer = requests.get(url + '/metrics', timeout=30)
    assert answer.status_code == 200
    assert answer.headers['Content-Type'].startswith('text/plain; version=0.0.4')
    return Metrics(answer.text)


def fresh(url):
    """:returns: the page, once none is kept that is older than this call."""
    time.sleep(1.1)
    return scrape(url)


def url_of(split, name):
    config = configparser.ConfigParser()
    config.read(split.config_of(name))
    return f'http://{config["conductor"]["listen"]}'


def until_page(url, check, what, timeout=30):
    """:returns: the first page of ``url`` that ``check`` likes."""

    def look():
        with contextlib.suppress(requests.ConnectionError):  # a worker that has just died
            page = scrape(url)
            return page if check(page) else None

    return wait_until(look, timeout, what, 0.3)


@pytest.fixture(scope='module')
def farm():
    with Farm(4, rate=5, power_on=True, boot_delay=0.05, password=PASSWORD) as farm:
        yield farm


@pytest.fixture(scope='module')
def database():
    """A server of its own: one of these tests stops it."""
    with services.PostgreSQL() as server:
        yield server


@pytest.fixture(scope='module')
def split(rabbitmq, database, farm):
    with Split(rabbitmq, database, conductors=2, workers=2) as split:
        for bmc in farm.bmcs:
            split.register_bmc(bmc)
        split.wait_until_settled()
        yield split


@pytest.fixture
def conductors(split):
    """:returns: list of str, the URLs of both."""
    return [url_of(split, name) for name in ('c1', 'c2')]


def over(conductors, name, **labels):
    return sum(scrape(url).sum(name, **labels) for url in conductors)


# -- a split ----------------------------------------------------------------------------------


def test_whichever_worker_answers_gives_the_sum_of_both(split):
    before = fresh(split.url).sum(REQUESTS, route='/healthz')
    for _ in range(40):  # each on a connection of its own: the kernel spreads them
        assert split.call('GET', '/healthz').status_code == 200

    def counted(page):
        return page.sum(REQUESTS, route='/healthz') - before == 40

    for _ in range(6):
        until_page(split.url, counted, 'the count of both workers')
    page = scrape(split.url)
    assert page.sum('obmd_processes') == 2
    assert page.values('obmd_build_info', service='api') == [1]


def test_counts_survive_a_workers_death_and_its_states_do_not(split):
    for _ in range(20):
        split.call('GET', '/healthz')
    counted = fresh(split.url).sum(REQUESTS, route='/healthz')
    starts = scrape(split.url).sum('obmd_process_starts_total')
    _, victim, _ = family(split.api.pid)
    os.kill(victim, signal.SIGKILL)
    page = until_page(
        split.url,
        lambda page: page.sum('obmd_process_starts_total') == starts + 1,
        'the start of another worker',
    )
    assert page.sum(REQUESTS, route='/healthz') >= counted
    until_page(split.url, lambda page: page.sum('obmd_processes') == 2, 'both workers')


def test_hostile_requests_make_no_new_labels(split):
    before = {str(s.labels) for s in scrape(split.url).samples if s.name == REQUESTS}
    paths = [
        '/node/{}/power_status',
        '/x{}/secret',
        '/node/%FF{}/token',
        '/{}?token=secret',
        '//{}',
    ]
    for number in range(60):
        path = paths[number % len(paths)].format(number)
        with contextlib.suppress(requests.RequestException):
            split.exact(('GET', 'BREW', f'X{number}')[number % 3], path, admin=False)
    page = scrape(split.url)
    after = {str(s.labels) for s in page.samples if s.name == REQUESTS}
    assert len(after - before) <= 8
    assert page.labels(REQUESTS, 'method') <= {'GET', 'PUT', 'POST', 'DELETE', 'HEAD', 'other'}
    assert 'secret' not in page.text


def test_nothing_on_a_page_names_a_node_a_bmc_or_a_token(split, conductors, farm):
    tokens = [split.token(bmc['name']) for bmc in farm.bmcs]
    nodes = [split.node(b['name'], t) for b, t in zip(farm.bmcs, tokens, strict=True)]
    for node in nodes:
        assert node.power() == 'on'
    text = ''.join(scrape(url).text for url in [split.url, *conductors])
    for bmc, token in zip(farm.bmcs, tokens, strict=True):
        for word in (bmc['name'], str(bmc['port']), token, PASSWORD):
            assert word not in text
    assert split.admin_token not in text


def test_both_sides_count_a_call(split, conductors, farm):
    node = split.node(farm.bmcs[0]['name'])
    called = 'obmd_rpc_call_duration_seconds_count'
    answered = 'obmd_conductor_call_duration_seconds_count'
    labels = {'method': 'power_status', 'outcome': 'ok'}
    before = fresh(split.url).sum(called, **labels), over(conductors, answered, **labels)
    for _ in range(5):
        node.power()
    until_page(split.url, lambda page: page.sum(called, **labels) == before[0] + 5, 'five calls')
    wait_until(lambda: over(conductors, answered, **labels) == before[1] + 5, 10, 'five answers')


def test_a_silent_bmc_is_told_of_without_being_asked(split, conductors, farm):
    bmc = farm.bmcs[1]
    node = split.node(bmc['name'])
    node.power()
    assert over(conductors, 'obmd_nodes', driver='ipmi', state='reachable') >= 1
    silent = over(conductors, 'obmd_nodes', driver='ipmi', state='silent')
    farm.stop(bmc)
    try:
        assert node.call('GET', 'power_status').status_code == 504
        state = {'driver': 'ipmi', 'state': 'silent'}
        wait_until(lambda: over(conductors, 'obmd_nodes', **state) == silent + 1, 10, 'silence')
    finally:
        farm.resume(bmc)
    node.power()
    wait_until(lambda: over(conductors, 'obmd_nodes', **state) == silent, 10, 'its return')


def test_a_viewer_a_console_and_its_bytes_are_counted(split, conductors, farm):
    node = split.node(farm.bmcs[2]['name'])
    before = over(conductors, 'obmd_console_bytes_total')
    viewer = node.console()
    try:
        wait_until(lambda: over(conductors, 'obmd_viewers') == 1, 10, 'a viewer')
        assert over(conductors, 'obmd_consoles_wanted') == 1
        assert over(conductors, 'obmd_consoles_up') == 1
        assert over(conductors, 'obmd_ipmi_sessions') >= 1
        wait_until(lambda: over(conductors, 'obmd_console_bytes_total') > before, 10, 'bytes')
        cut = over(conductors, 'obmd_streams_cut_total', reason='revoked')
        split.as_admin('DELETE', f'/node/{node.name}/token')
        wait_until(lambda: over(conductors, 'obmd_viewers') == 0, 10, 'the end of the stream')
        wait_until(
            lambda: over(conductors, 'obmd_streams_cut_total', reason='revoked') == cut + 1,
            10,
            'the count of it',
        )
    finally:
        viewer.close()


def test_who_owns_what_and_who_is_there(split, conductors):
    assert over(conductors, 'obmd_nodes_owned') == 4
    assert over(conductors, 'obmd_claims_total', outcome='won') >= 4
    for url in [split.url, *conductors]:
        assert scrape(url).values('obmd_conductors_live', group='') == [2]
    for url in conductors:
        page = scrape(url)
        assert page.values('obmd_lease', state='fresh') == [1]
        assert page.sum('obmd_lease_age_seconds') < 2
        assert requests.get(url + '/readyz', timeout=10).json() == {'status': 'ok'}


def test_a_burst_of_scrapes_disturbs_nobody(split, conductors, farm):
    node = split.node(farm.bmcs[0]['name'])
    node.power()
    with concurrent.futures.ThreadPoolExecutor(60) as pool:
        pages = [pool.submit(scrape, conductors[n % 2]) for n in range(600)]
        for _ in range(5):
            assert node.power() == 'on'
        assert all(page.result().sum('obmd_processes') == 1 for page in pages)


@pytest.mark.parametrize('method', ['HEAD', 'POST', 'PUT', 'DELETE'])
def test_nothing_but_get_is_taken(split, conductors, method):
    for url in [split.url, *conductors]:
        answer = requests.request(method, url + '/metrics', timeout=10)
        assert (answer.status_code, answer.headers['Allow']) == (405, 'GET')


def test_a_conductor_that_goes_is_missed_by_all(split, conductors):
    victim = split.conductors[1]
    victim.kill()
    try:
        for url in [split.url, conductors[0]]:
            until_page(url, lambda page: page.sum('obmd_conductors_live') == 1, 'one conductor')
        until_page(
            conductors[0], lambda page: page.sum('obmd_nodes_owned') == 4, 'the claim of its nodes'
        )
    finally:
        victim.start()
        split.wait_until_settled()
    until_page(conductors[0], lambda page: page.sum('obmd_conductors_live') == 2, 'its return')
    until_page(
        conductors[0],
        lambda page: page.sum('obmd_handover_duration_seconds_count', outcome='moved') > 0,
        'hand-overs to it',
    )


def test_a_database_that_is_down_hides_no_page_and_fences_the_conductors(
    split, conductors, database
):
    database.stop()
    try:
        for url in conductors:
            until_page(
                url, lambda page: page.values('obmd_lease', state='fenced') == [1], 'a fence'
            )
            answer = requests.get(url + '/readyz', timeout=10)
            assert answer.status_code == 503
            assert answer.json()['reasons'] == ['fenced']
            assert 'cannot renew its row' in answer.json()['error']['reason']
            assert requests.get(url + '/healthz', timeout=10).status_code == 200
            assert scrape(url).sum('obmd_heartbeat_failures_total') > 0
        until_page(
            split.url, lambda page: page.sum('obmd_conductors_look_age_seconds') > 2, 'old news'
        )
    finally:
        database.start()
    for url in conductors:
        wait_until(
            lambda url=url: requests.get(url + '/readyz', timeout=30).status_code == 200,
            60,
            'a conductor that is ready',
        )


# -- all in one, and an address of its own ----------------------------------------------------


def test_all_in_one_tells_of_both_halves(farm):
    with AllInOne() as obmd:
        node = obmd.node(obmd.register_bmc(farm.bmcs[3]))
        assert node.power() == 'on'
        page = until_page(obmd.url, lambda page: page.sum('obmd_nodes_owned') == 1, 'a node')
        assert page.sum('obmd_rpc_call_duration_seconds_count', method='power_status') == 1
        assert page.sum('obmd_conductor_call_duration_seconds_count', method='power_status') == 1
        assert page.sum('obmd_nodes', driver='ipmi', state='reachable') == 1
        assert page.values('obmd_build_info', service='all-in-one') == [1]
        assert obmd.call('GET', '/readyz').status_code == 200


def test_an_address_of_its_own_has_it_and_the_service_has_not():
    own = f'127.0.0.1:{free_port()}'
    with AllInOne(config={'metrics': {'listen': own}}) as obmd:
        assert scrape(f'http://{own}').sum('obmd_processes') == 1
        assert obmd.call('GET', '/metrics').status_code == 404
        assert requests.get(f'http://{own}/node/x', timeout=10).status_code == 404


def test_who_is_told_not_to_answers_nothing():
    with AllInOne(config={'metrics': {'enabled': 'false', 'listen': '127.0.0.1:1'}}) as obmd:
        assert obmd.call('GET', '/metrics').status_code == 404
