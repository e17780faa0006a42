"""A split installation with MariaDB behind it, through a day with faults."""

import time

import pytest

from tests.functional.deployment import Split
from tests.functional.deployment import wait_until
from tests.functional.farm import Farm
from tests.functional.services import MariaDB
from tests.functional.test_obmd_door import check_error

pytestmark = pytest.mark.needs('ipmi_sim', 'mariadbd')

CONFIG = {'database': {'statement_timeout': 1, 'connect_timeout': 1}}


@pytest.fixture(scope='module')
def farm():
    with Farm(2, rate=5, power_on=True, boot_delay=0.05) as farm:
        yield farm


@pytest.fixture(scope='module')
def own_mariadb():
    with MariaDB() as server:
        yield server


@pytest.fixture(scope='module')
def split(rabbitmq, own_mariadb, farm):
    with Split(rabbitmq, own_mariadb, workers=1, config=CONFIG) as split:
        for bmc in farm.bmcs:
            split.register_bmc(bmc)
        for number in range(8):
            split.register(f'mock{number}', 'mock', {})
        split.wait_for()
        yield split


@pytest.fixture
def node(split, farm):
    return split.node(farm.bmcs[0]['name'])


def answers(node):
    return node.call('GET', 'power_status').status_code == 200


def test_power_console_and_token(split, node):
    assert node.power() == 'on'
    assert node.post('power_cycle', json={'force': True}).status_code == 200
    with node.console() as viewer:
        viewer.wait_for(b'line')
        assert split.exact('DELETE', f'/node/{node.name}/token').status == 200
        viewer.wait_for_end(5)
    assert node.call('GET', 'power_status').status_code == 401
    split.register('Mock0', 'mock', {})
    split.wait_for()
    assert answers(split.node('Mock0'))
    split.unregister('Mock0')
    assert answers(split.node('mock0'))


def test_the_database_is_killed_and_comes_back(split, node, own_mariadb):
    with node.console() as viewer:
        viewer.wait_for(b'line')
        own_mariadb.kill()
        started = time.monotonic()
        check_error(node.call('GET', 'power_status'), 503, 'unavailable')
        assert time.monotonic() - started < 5
        own_mariadb.start()
        position = len(viewer.data)
        wait_until(lambda: answers(node), what='an answer')
        viewer.wait_for(b'line', after=position)
        assert not viewer.ended


def test_the_database_hangs_and_comes_back(node, own_mariadb):
    own_mariadb.pause()
    try:
        started = time.monotonic()
        check_error(node.call('GET', 'power_status'), 503, 'unavailable')
        assert time.monotonic() - started < 10
    finally:
        own_mariadb.resume()
    wait_until(lambda: answers(node), what='an answer')


def test_the_nodes_of_a_killed_conductor_are_claimed_with_their_consoles(split, farm):
    split.wait_until_settled()
    node = split.node(farm.bmcs[1]['name'])
    owner = split.owner(node.name)
    with node.console() as viewer:
        viewer.wait_for(b'line')
        owner.kill()
        split.wait_for(1)
    assert split.owner(node.name) is not owner
    wait_until(lambda: answers(node), what='an answer of the new owner')
    with node.console() as viewer:
        viewer.wait_for(b'line')
