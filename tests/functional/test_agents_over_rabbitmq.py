"""ironic-python-agent's own client at an API of two workers, over RabbitMQ and with TLS, while the
conductors that take its heartbeats come and go.
"""

import contextlib
import signal
import time

import pytest
import requests

from tests.functional.common import certificates
from tests.functional.deployment import Split
from tests.functional.deployment import family
from tests.functional.deployment import wait_until
from tests.functional.ramdisk import ADDRESS
from tests.functional.ramdisk import PORT
from tests.functional.ramdisk import Ramdisk
from tests.functional.ramdisk import Refused
from tests.functional.test_metrics import Metrics

pytestmark = pytest.mark.needs('initdb', 'rabbitmq-server')

NODES = 6
CALLBACK = f'https://{ADDRESS}:{PORT}'
#: seconds in which an agent is heard by the heir of an owner that was killed: the time-to-live of
#: deployment.SHORT, and what a busy machine takes
HEIR = 30


@pytest.fixture(scope='module')
def split(rabbitmq, postgresql, tmp_path_factory):
    cert, key = certificates.make(tmp_path_factory.mktemp('tls'))
    with Split(rabbitmq, postgresql, tls=(cert, key, cert)) as split:
        for number in range(NODES):
            split.register(f'n{number}', 'mock', {})
            answer = split.as_admin(
                'PATCH',
                f'/api/v1/nodes/n{number}',
                json={'ports': [f'52:54:00:00:00:{number:02x}'], 'expect_agent': True},
            )
            assert answer.status_code == 200, answer.text
        yield split


@pytest.fixture(scope='module')
def agents(split):
    """:returns: dict of node's name -> Ramdisk that has looked it up."""
    with contextlib.ExitStack() as stack:
        booted = {}
        for number in range(NODES):
            mac = f'52:54:00:00:00:{number:02x}'
            ramdisk = stack.enter_context(Ramdisk(split.url, mac, cafile=split.verify))
            ramdisk.lookup()
            assert len(ramdisk.token) == 43
            booted[f'n{number}'] = ramdisk
        yield booted


@pytest.fixture(autouse=True)
def ready(split):
    """Whatever a test before has ended runs again."""
    for conductor in split.conductors:
        if conductor.returncode is not None:
            conductor.start()
    split.wait_until_settled()


def seen(split, name):
    answer = split.as_admin('GET', f'/api/v1/nodes/{name}')
    assert answer.status_code == 200, answer.text
    return answer.json()['agent']


def taken(split, conductor):
    """:returns: float, heartbeats that a conductor has accepted."""
    time.sleep(1.1)  # the page may be kept for a second
    url = f'https://127.0.0.1:{split.listens(conductor)}/metrics'
    page = Metrics(requests.get(url, verify=split.verify, timeout=30).text)
    return page.sum('obmd_agent_heartbeats_total', outcome='ok')


def beat(agents, times=3):
    for _ in range(times):
        for ramdisk in agents.values():
            ramdisk.heartbeat()


def heard(ramdisk):
    """:returns: bool, whether a heartbeat was accepted; one that has to come again is not."""
    try:
        ramdisk.heartbeat()
    except Refused as error:
        assert 'Error 503' in str(error), error
        return False
    return True


def test_each_heartbeat_goes_to_the_owner_from_whichever_worker(split, agents):
    owners = {name: split.owner(name) for name in agents}
    assert set(owners.values()) == set(split.conductors)
    before = {conductor: taken(split, conductor) for conductor in split.conductors}
    beat(agents, 3)
    for conductor in split.conductors:
        mine = list(owners.values()).count(conductor)
        assert taken(split, conductor) - before[conductor] == 3 * mine
    for name in agents:
        agent = seen(split, name)
        assert (agent['alive'], agent['url']) == (True, CALLBACK)
    lines = [line for line in split.api.log().splitlines() if '/v1/heartbeat/' in line]
    for worker in family(split.api.pid)[1:]:
        assert any(f' {worker} ' in line for line in lines), f'{worker} answered nothing'


def test_the_heir_of_a_killed_owner_takes_the_next_heartbeat(split, agents):
    beat(agents, 1)
    before = {name: seen(split, name) for name in agents}
    victim = split.owner('n0')
    (heir,) = set(split.conductors) - {victim}
    orphans = [name for name in agents if split.owner(name) is victim]
    known = taken(split, heir)
    victim.kill()
    killed = time.monotonic()
    wait_until(lambda: heard(agents['n0']), HEIR, 'a heartbeat that the heir takes', 0)
    print(f'the heir took a heartbeat {time.monotonic() - killed:.1f} s after the kill')
    assert split.owner('n0') is heir
    assert taken(split, heir) == known + 1
    split.wait_for(1)
    for name in orphans:
        agent = seen(split, name)
        assert agent['alive'] is True
        same = ('url', 'version', 'verify_ca', 'status')
        assert [agent[key] for key in same] == [before[name][key] for key in same]
        with pytest.raises(Refused, match='Detected change in ramdisk'):
            agents[name].heartbeat(address='192.0.2.11')
        with pytest.raises(Refused, match='Invalid or missing agent token'):
            agents[name].heartbeat(token='x' * 43)
        agents[name].heartbeat()
        agents[name].lookup()
        assert not agents[name].locked


def test_an_operator_sees_the_agent_of_a_killed_owner(split, agents):
    agents['n1'].heartbeat()
    split.owner('n1').kill()
    agent = seen(split, 'n1')
    assert agent['alive'] in (None, True)  # nobody knows, or the heir does
    assert agent['url'] == CALLBACK
    wait_until(lambda: seen(split, 'n1')['alive'], HEIR, 'the heir knowing of the agent')


def test_no_agent_notices_a_conductor_that_stops_and_starts(split, agents):
    conductor = split.owner('n2')
    conductor.send(signal.SIGTERM)
    beat(agents)
    assert conductor.wait(30) == 0
    conductor.start()
    beat(agents)
    split.wait_until_settled()
    beat(agents)
    assert all(seen(split, name)['alive'] for name in agents)


def test_an_agent_survives_a_restart_of_the_api(split, agents):
    agents['n3'].heartbeat()
    split.api.stop()
    with pytest.raises(Refused, match='HeartbeatConnectionError'):
        agents['n3'].heartbeat()
    split.api.start()
    split.wait_until_ready()
    agents['n3'].heartbeat()
    assert seen(split, 'n3')['url'] == CALLBACK


def test_no_token_of_an_agent_is_kept_or_logged(split, agents):
    beat(agents, 1)
    texts = split.server.dump(split.database) + split.logs()
    assert CALLBACK in texts
    for ramdisk in agents.values():
        assert ramdisk.token not in texts
