"""RabbitMQ and haproxy as the examples in etc/ set them up, with TLS on every way.

Bus, APIs, callback URLs and proxy have certificates of one authority; clients of the bus too.
"""

import contextlib
import copy
import functools
import json
import pathlib
import re
import socket
import subprocess
import threading
import time

import oslo_messaging
import pytest
from oslo_messaging import opts as messaging_opts

from obmd.common import rpc
from obmd.conf import CONF
from obmd.conf import libraries
from tests.functional import services
from tests.functional.common import certificates
from tests.functional.deployment import Split
from tests.functional.deployment import wait_until
from tests.functional.farm import ROOT
from tests.functional.farm import Farm
from tests.functional.haproxy import Haproxy
from tests.functional.test_obmd_door import check_error

pytestmark = pytest.mark.needs('ipmi_sim', 'initdb', 'haproxy', 'openssl')

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
    split.wait_until_settled()
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


def test_a_broker_that_is_killed_under_calls_runs_none_twice_and_serves_again(nodes, rabbitmq):
    viewers = [node.console() for node in nodes]
    for viewer in viewers:
        viewer.wait_for(b'line')
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
    ran = [viewer.data.count(b'*** reset ***') for viewer in viewers]
    for viewer in viewers:
        assert not viewer.ended
        viewer.close()
    print(f'{statuses}, ran {ran}; all answer {took:.1f} s after the broker is back')
    assert took < 10 + 5
    assert set(statuses.values()) <= {200, 503, 504}
    for node, times in zip(nodes, ran, strict=True):
        # 503 says: ask again; so nothing may have been sent
        assert times in {200: [1], 503: [0]}.get(statuses[node.name], [0, 1])


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


# -- a broker that refuses, before us or under us -------------------------------------------------


def words(log):
    """:returns: list of the lines about the broker."""
    return [line for line in log.splitlines() if 'obmd.common.rabbit' in line]


def test_a_broker_that_refuses_the_password_is_told_once_a_pause(split, nodes, rabbitmq):
    before = len(words(split.logs())), len(split.logs().splitlines())
    with nodes[0].console() as viewer:
        viewer.wait_for(b'line')
        rabbitmq.control('change_password', 'obmd', 'another')
        late = split.another_conductor('late')
        try:
            rabbitmq.control('close_all_connections', '--global', 'changed')
            time.sleep(12)
            check_error(nodes[0].call('GET', 'power_status'), 503, 'unavailable')
            assert split.call('GET', '/readyz').status_code == 503
            viewer.wait_for(b'line', after=len(viewer.data))
            said = late.log()
            assert late.stop() == 0
        finally:
            late.end()
            rabbitmq.control('change_password', 'obmd', PASSWORD)
        wait_until_answering(nodes)
        viewer.wait_for(b'line', after=len(viewer.data))
        assert not viewer.ended
    assert 1 <= len(words(said)) <= 3, said
    assert 'refuses user or password' in said
    assert split.query("SELECT count(*) FROM conductors WHERE host = 'late'") == '0'
    new = split.logs().splitlines()[before[1] :]
    print(f'{len(words(split.logs())) - before[0]} words of {len(split.processes)} services')
    # at most: gone, refused after 5 and 15 s, back again; and gone and back once more where an idle
    # connection of the pool is found broken later; of two conductors and two APIs
    assert len(words(split.logs())) - before[0] <= 6 * len(split.processes)
    assert 'Traceback' not in '\n'.join(new)
    assert PASSWORD not in split.logs() + said


# -- certificates -----------------------------------------------------------------------------


class Listener:
    """``openssl s_server`` with a certificate; it prints what it is told."""

    def __init__(self, certificate):
        self.port = services.free_port()
        command = ['openssl', 's_server', '-quiet', '-accept', f'127.0.0.1:{self.port}']
        self._process = subprocess.Popen(
            [*command, '-cert', certificate[0], '-key', certificate[1]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._is_up, what='the start of openssl')

    def _is_up(self):
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(('127.0.0.1', self.port)).close()
            return True

    def heard(self):
        """End it.  :returns: bytes, what clients have said."""
        self._process.kill()
        return self._process.communicate()[0]


@pytest.fixture
def bus(rabbitmq, authority, certificate):
    """``bus(url, **options)`` gives a Bus of this process."""
    made = []
    libraries.set_defaults()
    CONF([], project='obmd', default_config_files=[])
    oslo_messaging.get_rpc_transport(CONF, 'rabbit://')

    def bus(url, **options):
        for group, known in messaging_opts.list_opts():
            CONF.register_opts(known, group=group)
        CONF.set_override('transport_url', url)
        files = {'ssl_ca_file': authority[0], 'ssl_cert_file': certificate[0]}
        given = {'ssl': True, 'ssl_key_file': certificate[1], **files, **options}
        for name, value in given.items():
            CONF.set_override(name, value, 'oslo_messaging_rabbit')
        made.append(rpc.Bus())
        return made[-1]

    yield bus
    for each in made:
        each.close()
    CONF.clear_override('transport_url')
    for name in ('ssl', 'ssl_key_file', 'ssl_ca_file', 'ssl_cert_file'):
        CONF.clear_override(name, 'oslo_messaging_rabbit')


def patience(seconds):
    until = time.monotonic() + seconds
    return lambda: time.monotonic() > until


@pytest.mark.parametrize(
    ('issued', 'options', 'reason'),
    [
        ({}, {}, 'self-signed certificate'),
        ({'by': True, 'expired': True}, {}, 'certificate has expired'),
        ({'by': True, 'names': ['rabbit-7']}, {}, 'certificate is not valid for'),
        ({'by': True}, {'ssl_ca_file': ''}, 'unable to get local issuer'),
    ],
    ids=['of another authority', 'expired', 'of another name', 'not of the system'],
)
def test_a_broker_with_a_wrong_certificate_is_told_nothing(
    bus, folder, authority, caplog, issued, options, reason
):
    issued = dict(issued)
    issuer = authority if issued.pop('by', False) else None
    wrong = certificates.make(folder, issuer=issuer, file='wrong', **issued)
    listener = Listener(wrong)
    hosts = f'obmd:{PASSWORD}@127.0.0.1:{listener.port}'
    for url in (f'rabbit://{hosts}/obmd', f'rabbit://{hosts},{hosts}/obmd'):
        caplog.clear()
        reached = bus(url, **options).reach('obmd.conductor', patience(1))
        assert not reached
        said = [m for m in caplog.messages if m.startswith(f'broker 127.0.0.1:{listener.port}:')]
        assert len(said) == 1
        assert reason in said[0]
        assert PASSWORD not in caplog.text
    assert listener.heard() == b''


def test_the_next_host_of_a_cluster_is_verified_by_its_own_name(bus, rabbitmq, monkeypatch):
    monkeypatch.setattr('random.shuffle', lambda _hosts: None)
    account = f'obmd:{PASSWORD}'
    url = f'rabbit://{account}@127.0.0.2:1,{account}@127.0.0.1:{rabbitmq.port}/obmd'
    assert bus(url).reach('obmd.conductor', patience(15))
