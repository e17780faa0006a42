"""Faults of RabbitMQ and PostgreSQL under a split installation: both are this module's own."""

import time

import pytest

from tests.functional.deployment import Split
from tests.functional.deployment import wait_until
from tests.functional.farm import Farm
from tests.functional.test_obmd_door import check_error

pytestmark = pytest.mark.needs('ipmi_sim', 'initdb')

#: seconds: [console] revocation_check_interval and revocation_grace of deployment.SHORT
INTERVAL, GRACE = 1.0, 3.0
SLACK = 3.0
#: seconds, [api] call_timeout
CALL_TIMEOUT = 4


@pytest.fixture(scope='module')
def farm():
    with Farm(1, rate=5, power_on=True, boot_delay=0.05) as farm:
        yield farm


@pytest.fixture(scope='module')
def split(own_rabbitmq, own_postgresql, farm):
    config = {
        'api': {'call_timeout': CALL_TIMEOUT},
        'conductor': {'power_timeout': 3},
        'database': {'statement_timeout': 1, 'connect_timeout': 1},
    }
    with Split(own_rabbitmq, own_postgresql, conductors=1, workers=1, config=config) as split:
        split.register_bmc(farm.bmcs[0])
        split.wait_for()
        yield split


@pytest.fixture
def node(split, farm):
    wait_until(lambda: split.call('GET', '/readyz').status_code == 200, what='readiness')
    node = split.node(farm.bmcs[0]['name'])
    wait_until(lambda: node.call('GET', 'power_status').status_code == 200, what='an answer')
    return node


def timed(function, *args, **kwargs):
    started = time.monotonic()
    return function(*args, **kwargs), time.monotonic() - started


def assert_still_streaming(viewer, seconds=1.0):
    position = len(viewer.data)
    time.sleep(seconds)
    viewer.wait_for(b'line', after=position)
    assert not viewer.ended


# -- the broker -------------------------------------------------------------------------------


def test_a_revocation_while_the_broker_hangs_is_answered_and_ends_the_stream(
    split, node, own_rabbitmq
):
    with node.console() as viewer:
        viewer.wait_for(b'line')
        own_rabbitmq.pause()
        try:
            answer, seconds = timed(split.exact, 'DELETE', f'/node/{node.name}/token')
            assert (answer.status, answer.body) == (200, b'')
            assert seconds < SLACK
            told = time.monotonic()
            print(
                f'answered after {seconds:.2f} s, ended {viewer.wait_for_end() - told:.2f} s later'
            )
            assert viewer.ended_at - told < INTERVAL + SLACK
            assert node.call('GET', 'power_status').status_code == 401
        finally:
            own_rabbitmq.resume()


def test_calls_while_the_broker_hangs_are_refused_in_time_and_streams_go_on(node, own_rabbitmq):
    with node.console() as viewer:
        viewer.wait_for(b'line')
        own_rabbitmq.pause()
        try:
            answer, seconds = timed(node.call, 'GET', 'power_status')
            assert answer.status_code in (503, 504)
            assert answer.json()['error']['kind'] in ('unavailable', 'outcome_unknown')
            print(f'{answer.status_code} after {seconds:.1f} s')
            assert seconds < CALL_TIMEOUT + 4 + SLACK
            assert_still_streaming(viewer)
        finally:
            own_rabbitmq.resume()
        wait_until(lambda: node.call('GET', 'power_status').status_code == 200, what='an answer')
        assert not viewer.ended


def test_streams_go_on_while_the_broker_restarts(node, own_rabbitmq):
    with node.console() as viewer:
        viewer.wait_for(b'line')
        own_rabbitmq.kill()
        answer, seconds = timed(node.call, 'GET', 'power_status')
        assert answer.status_code in (503, 504)
        assert seconds < CALL_TIMEOUT + 4 + SLACK
        print(f'{answer.status_code} after {seconds:.1f} s')
        own_rabbitmq.start()
        assert_still_streaming(viewer)
        _, seconds = timed(
            wait_until,
            lambda: node.call('GET', 'power_status').status_code == 200,
            60,
            'an answer after the restart',
        )
        print(f'serving {seconds:.1f} s after the restart of the broker')
        assert not viewer.ended


# -- the database -----------------------------------------------------------------------------


def test_a_restart_of_the_database_disturbs_no_stream(split, node, own_postgresql):
    with node.console() as viewer:
        viewer.wait_for(b'line')
        own_postgresql.stop()
        answer, seconds = timed(node.call, 'GET', 'power_status')
        check_error(answer, 503, 'unavailable')
        assert int(answer.headers['Retry-After']) >= 1
        assert seconds < SLACK + 2
        assert_still_streaming(viewer, INTERVAL)
        own_postgresql.start()
        wait_until(lambda: node.call('GET', 'power_status').status_code == 200, what='an answer')
        assert_still_streaming(viewer, INTERVAL)


def test_a_database_that_hangs_ends_streams_after_the_grace_and_no_sooner(
    split, node, own_postgresql
):
    with node.console() as viewer:
        viewer.wait_for(b'line')
        own_postgresql.pause()
        hung = time.monotonic()
        try:
            assert_still_streaming(viewer, INTERVAL)
            viewer.wait_for_end(GRACE + INTERVAL + 10)
            took = viewer.ended_at - hung
            print(f'ended after {took:.1f} s, grace {GRACE:g} s')
            assert took >= GRACE - INTERVAL
            answer, seconds = timed(node.call, 'GET', 'power_status')
            check_error(answer, 503, 'unavailable')
            assert seconds < 10
        finally:
            own_postgresql.resume()
    wait_until(lambda: node.call('GET', 'power_status').status_code == 200, 60, 'an answer')
    with node.console() as viewer:
        assert viewer.status == 200, viewer.response.text
        viewer.wait_for(b'line')


def test_what_was_committed_survives_a_crash_of_the_database(split, node, own_postgresql):
    own_postgresql.kill()
    own_postgresql.start()
    wait_until(lambda: node.call('GET', 'power_status').status_code == 200, 60, 'an answer')
    assert split.as_admin('PUT', f'/node/{node.name}', json={}).status_code == 400
