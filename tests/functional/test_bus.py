"""RabbitMQ and haproxy as the examples in etc/ set them up, with TLS on every way.

Bus, APIs, callback URLs and proxy have certificates of one authority; clients of the bus too.
"""

import copy
import functools
import json
import pathlib
import re
import threading
import time

import pytest

from tests.functional import services
from tests.functional.common import certificates
from tests.functional.deployment import Split
from tests.functional.deployment import wait_until
from tests.functional.farm import ROOT
from tests.functional.farm import Farm
from tests.functional.haproxy import Haproxy
from tests.functional.test_obmd_door import check_error

pytestmark = pytest.mark.needs('ipmi_sim', 'initdb', 'haproxy')

EXAMPLES = pathlib.Path(ROOT, 'etc/obmd')
PASSWORD = 'hunter2-of-the-bus'
#: seconds after which the queue of a conductor that is gone is dropped, instead of a day
EXPIRES = 4
CALL_TIMEOUT = 4
BMCS = 4
#: seconds between power cycles, of which some are answered before the broker is killed
STAGGER = 0.1


def example_broker(tls, clients=False):
    """:returns: RabbitMQ, not started, of the examples with this test's port, files and names."""
    config = (EXAMPLES / 'rabbitmq.conf').read_text()
    config = config.replace('default = 5671', 'default = 127.0.0.1:PORT')
    config = config.replace('/etc/rabbitmq/', 'FOLDER/')
    if clients:
        config = config.replace('verify_none', 'verify_peer').replace('cert = false', 'cert = true')
    definitions = (EXAMPLES / 'rabbitmq-definitions.json').read_text()
    definitions = definitions.replace('PASSWORD', PASSWORD).replace('86400000', str(EXPIRES * 1000))
    account = (f'obmd:{PASSWORD}', 'obmd')
    return services.RabbitMQ(config, tls, definitions=definitions, account=account)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('certificates')


@pytest.fixture(scope='module')
def authority(folder):
    return certificates.make(folder, ['our authority'], file='ca')


@pytest.fixture(scope='module')
def certificate(folder, authority):
    """:returns: (certificate, key, authority), files, of all servers and clients."""
    return (*certificates.make(folder, issuer=authority), authority[0])


@pytest.fixture(scope='module')
def rabbitmq(certificate):
    with example_broker(certificate, clients=True) as server:
        yield server


@pytest.fixture(scope='module')
def farm():
    with Farm(BMCS, rate=5, power_on=True, boot_delay=0.05) as farm:
        yield farm


@pytest.fixture(scope='module')
def haproxy(certificate):
    with Haproxy(certificate) as haproxy:
        yield haproxy


@pytest.fixture(scope='module')
def split(rabbitmq, postgresql, farm, certificate, haproxy):
    config = {
        # the examples' permissions are for obmd's own names
        'DEFAULT': {'control_exchange': 'obmd'},
        'api': {'call_timeout': CALL_TIMEOUT},
        'oslo_messaging_rabbit': {
            'ssl_cert_file': certificate[0],
            'ssl_key_file': certificate[1],
        },
    }
    streams = f'https://localhost:{haproxy.port}/obm-streams'
    own = {f'c{n}': {'conductor': {'callback_url': f'{streams}/conductor-{n}'}} for n in (1, 2)}
    made = Split(rabbitmq, postgresql, workers=1, config=config, tls=certificate, own=own)
    with made as split:
        for bmc in farm.bmcs:
            split.register_bmc(bmc)
        split.wait_for()
        _, split.second_port = split.add_api()
        ports = {'api-1': split.port, 'api-2': split.second_port}
        for number, conductor in enumerate(split.conductors, 1):
            ports[f'conductor-{number}'] = split.listens(conductor)
        haproxy.start(ports)
        yield split
        for process in split.processes:
            process.kill()


@pytest.fixture
def nodes(split, farm):
    found = [split.node(bmc['name']) for bmc in farm.bmcs]
    wait_until_answering(found)
    return found


def wait_until_answering(nodes):
    for node in nodes:
        answers = functools.partial(node.call, 'GET', 'power_status')
        wait_until(lambda ask=answers: ask().status_code == 200, 60, node.name)


def queues(rabbitmq):
    """:returns: dict name -> (type, durable, dict of arguments)."""
    printed = rabbitmq.control(
        *('list_queues', '-p', 'obmd', '--formatter', 'json'),
        *('name', 'type', 'durable', 'arguments'),
    )
    return {
        queue['name']: (
            queue['type'].rpartition('_')[2],
            queue['durable'],
            {argument[0]: argument[2] for argument in queue['arguments']},
        )
        for queue in json.loads(printed)
    }


def test_calls_and_a_redirected_console_with_tls_on_every_way(split, nodes, haproxy):
    assert [node.power() for node in nodes] == ['on'] * BMCS
    location = nodes[0].call('GET', 'console', allow_redirects=False).headers['Location']
    assert location.startswith(f'https://localhost:{haproxy.port}/obm-streams/conductor-')
    with nodes[0].console() as viewer:
        viewer.wait_for(b'line')


def test_every_queue_is_a_quorum_queue_and_those_of_processes_expire(nodes, rabbitmq):
    found = queues(rabbitmq)
    assert {'obmd.conductor', 'obmd.conductor.c1', 'obmd.conductor.c2'} <= found.keys()
    assert all((type_, durable) == ('quorum', True) for type_, durable, _ in found.values())
    own = {name: arguments for name, (_, _, arguments) in found.items() if 'obmd.' not in name}
    assert own
    for name, arguments in own.items():
        assert re.fullmatch(r'reply_[0-9a-f]{32}', name)
        assert arguments['x-expires'] == 300_000


def cycle_all(nodes, statuses):
    """Ask once for each node, one shortly after the other."""

    def ask(node, delay):
        time.sleep(delay)
        answer = node.post('power_cycle', json={'force': True})
        statuses[node.name] = answer.status_code

    threads = [
        threading.Thread(target=ask, args=(node, number * STAGGER))
        for number, node in enumerate(nodes)
    ]
    for thread in threads:
        thread.start()
    return threads


def test_a_broker_that_is_killed_under_calls_runs_none_twice_and_serves_again(
    nodes, farm, rabbitmq
):
    before = [farm.read(bmc, 'log').count('reset') for bmc in farm.bmcs]
    statuses = {}
    threads = cycle_all(nodes, statuses)
    time.sleep(1.5 * STAGGER)
    rabbitmq.kill()
    rabbitmq.start()
    back = time.monotonic()
    for thread in threads:
        thread.join()
    wait_until_answering(nodes)
    took = time.monotonic() - back
    ran = [
        farm.read(bmc, 'log').count('reset') - count
        for bmc, count in zip(farm.bmcs, before, strict=True)
    ]
    print(f'{statuses}, ran {ran}; all answer {took:.1f} s after the broker is back')
    assert took < 10 + 5
    assert set(statuses.values()) <= {200, 503, 504}
    for node, times in zip(nodes, ran, strict=True):
        assert times == 1 if statuses[node.name] == 200 else times <= 1


# -- several APIs behind haproxy ----------------------------------------------------------------


@pytest.fixture
def door(split, haproxy, nodes):
    """The deployment as callers of the proxy see it."""
    other = copy.copy(split)
    other.url = f'https://localhost:{haproxy.port}/obm'
    wait_until(lambda: other.call('GET', '/readyz').status_code == 200, 20, 'an API')
    return other


def test_an_api_that_is_killed_is_no_loss_behind_haproxy(door, split, farm, haproxy):
    node = door.node(farm.bmcs[0]['name'])
    with node.console() as viewer:
        viewer.wait_for(b'line')
        split.api.kill()
        at = time.monotonic()
        # only a request that is under way at that moment can be lost: this one comes after it
        statuses = [node.call('GET', 'power_status').status_code for _ in range(10)]
        print(f'{statuses} within {time.monotonic() - at:.1f} s')
        assert statuses == [200] * 10
        viewer.wait_for(b'line', after=len(viewer.data))
        assert not viewer.ended
    with node.console() as viewer:
        assert viewer.response.history[0].status_code == 307
        viewer.wait_for(b'line')
    split.api.start()
    split.wait_until_ready()
    assert node.token not in haproxy.log()
    assert '/power_status' in haproxy.log()


def test_when_no_conductor_is_live_the_refusal_comes_through_haproxy(door, split, farm, haproxy):
    node = door.node(farm.bmcs[0]['name'])
    for conductor in split.conductors:
        conductor.kill()
    wait_until(lambda: split.call('GET', '/readyz').status_code == 503, what='not ready')

    def came_another_way():
        check_error(node.call('GET', 'power_status'), 503, 'unavailable', node=node.name)
        return 'api-unready/' in haproxy.log()

    wait_until(came_another_way, 20, 'a request to an API that is not ready', 0.5)
    assert door.as_admin('DELETE', f'/node/{node.name}/token').status_code == 200
    for conductor in split.conductors:
        conductor.start()
    split.wait_for()
