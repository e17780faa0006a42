"""The nodes of the demo, over starts with more and fewer of them."""

import pytest

from obmd.cmd import all_in_one_service
from obmd.conf import CONF
from obmd.db import engine
from obmd.db import nodes


@pytest.fixture
def database(conf):
    CONF.clear()
    conf('database', connection='sqlite://')
    engine.setup()
    engine.upgrade()
    yield
    engine.dispose()


def register(name, driver, address):
    nodes.create(name, driver, address, b'', 'k', '', f'uuid-{name}')


def test_a_start_with_fewer_simulated_bmcs_forgets_the_others(database):
    for number in range(1, 5):
        register(f'demo-{number}', 'ipmi', f'127.0.0.1:{50000 + number}')
    register('n1', 'ipmi', '127.0.0.1:623')
    all_in_one_service._unregister_surplus(2)
    left = nodes.by_names(['demo-1', 'demo-2', 'demo-3', 'demo-4', 'n1'])
    assert sorted(node.name for node in left) == ['demo-1', 'demo-2', 'n1']


def test_a_node_of_the_users_with_such_a_name_stays(database):
    register('demo-2', 'ipmi', '10.0.0.4:623')
    register('demo-3', 'dummy', '127.0.0.1:99')
    all_in_one_service._unregister_surplus(1)
    assert len(nodes.by_names(['demo-2', 'demo-3'])) == 2
