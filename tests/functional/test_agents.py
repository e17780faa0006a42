"""The Ironic door with ironic-python-agent's own client, obmd all in one."""

import importlib.metadata
import itertools
import json
import signal
import time

import pytest
import requests

from obmd.testing.fleet import Fleet
from tests.functional.common import certificates
from tests.functional.deployment import AllInOne
from tests.functional.deployment import wait_until
from tests.functional.ramdisk import ADDRESS
from tests.functional.ramdisk import PORT
from tests.functional.ramdisk import Ramdisk
from tests.functional.ramdisk import Refused
from tests.functional.services import free_port
from tests.functional.test_metrics import fresh

CALLBACK = f'https://{ADDRESS}:{PORT}'
#: what a stranger is told, whatever there is
NOT_FOUND = 'Resource could not be found.'
WRONG_TOKEN = 'Error 400: Invalid or missing agent token received.'
SHORT_WINDOW = 3
VERSION = {'X-OpenStack-Ironic-API-Version': '1.72'}
_numbers = itertools.count(1)


@pytest.fixture(scope='module')
def obmd():
    with AllInOne() as obmd:
        yield obmd


@pytest.fixture(scope='module')
def open_obmd():
    """One whose operator trusts the network; its agents' windows are short."""
    agent = {
        'heartbeat_timeout': SHORT_WINDOW,
        'lookup_configdrive': 'never',
        'require_tls': 'false',
    }
    config = {'agent': agent, 'api': {'restrict_lookup': 'false'}}
    with AllInOne(config=config) as obmd:
        yield obmd


@pytest.fixture(scope='module')
def certificate(tmp_path_factory):
    return certificates.make(tmp_path_factory.mktemp('tls'))


@pytest.fixture(scope='module')
def provisioning(certificate):
    """One with a listener for the provisioning network.  :returns: (obmd, URL, authority)."""
    port = free_port()
    cert, key = certificate
    agent = {'listen': f'127.0.0.1:{port}', 'tls_cert': cert, 'tls_key': key}
    with AllInOne(config={'agent': agent}) as obmd:
        yield obmd, f'https://127.0.0.1:{port}', cert


def new_node(obmd, **description):
    """Register a node with a MAC that expects an agent.  :returns: (name, MAC)."""
    number = next(_numbers)
    name = obmd.register(f'n{number}', 'mock', {})
    mac = f'52:54:00:00:{number // 256:02x}:{number % 256:02x}'
    describe(obmd, name, **{'ports': [mac], 'expect_agent': True, **description})
    return name, mac


def describe(obmd, name, **description):
    answer = obmd.as_admin('PATCH', f'/api/v1/nodes/{name}', json=description)
    assert answer.status_code == 200, answer.text
    return answer.json()


def seen(obmd, name):
    """:returns: dict, what an operator sees of the node."""
    answer = obmd.as_admin('GET', f'/api/v1/nodes/{name}')
    assert answer.status_code == 200, answer.text
    return answer.json()


def look_up(obmd, version='1.72', **parameters):
    """As anybody.  :returns: requests.Response."""
    headers = {'X-OpenStack-Ironic-API-Version': version}
    return obmd.call('GET', '/v1/lookup', params=parameters, headers=headers)


def fault(answer):
    """:returns: str, the text of an error in this door's envelope."""
    return json.loads(answer.json()['error_message'])['faultstring']


def refused(act, *args, **kwargs):
    """:returns: str, what the agent's client raised."""
    with pytest.raises(Refused) as found:
        act(*args, **kwargs)
    return str(found.value)


# -- an agent's life --------------------------------------------------------------------------


def test_an_agent_finds_its_node_and_reports_in(obmd, certificate):
    name, mac = new_node(obmd, properties={'cpu_arch': 'x86_64'})
    with open(certificate[0]) as file:
        authority = file.read()
    with Ramdisk(obmd.url, '52:54:00:ff:ff:ff', mac.upper()) as ramdisk:
        found = ramdisk.lookup()
        assert found['node']['uuid'] == seen(obmd, name)['uuid']
        assert found['node']['properties'] == {'cpu_arch': 'x86_64'}
        assert found['config']['heartbeat_timeout'] == 300
        assert len(ramdisk.token) == 43
        assert seen(obmd, name)['agent']['alive'] is False
        ramdisk.heartbeat(certificate=authority)
    agent = seen(obmd, name)['agent']
    assert agent['alive'] is True
    assert agent['url'] == CALLBACK
    assert agent['version'] == importlib.metadata.version('ironic-python-agent')
    assert agent['verify_ca'] == authority
    assert agent['last_heartbeat'].endswith('+00:00')
    assert ramdisk.token not in json.dumps(seen(obmd, name)) + obmd.log()


def test_heartbeats_may_name_the_node(obmd):
    name, mac = new_node(obmd)
    with Ramdisk(obmd.url, mac) as ramdisk:
        ramdisk.lookup()
        ramdisk.heartbeat(uuid=name)
    assert seen(obmd, name)['agent']['alive'] is True


def test_the_time_of_the_last_heartbeat_moves_on(obmd):
    name, mac = new_node(obmd)
    with Ramdisk(obmd.url, mac) as ramdisk:
        ramdisk.lookup()
        ramdisk.heartbeat()
        first = seen(obmd, name)['agent']['last_heartbeat']
        time.sleep(1.1)
        ramdisk.heartbeat()
        assert seen(obmd, name)['agent']['last_heartbeat'] > first


@pytest.mark.parametrize('token', ['x' * 43, '******', 'é' * 43])
def test_a_wrong_token_changes_nothing(obmd, token):
    name, mac = new_node(obmd)
    with Ramdisk(obmd.url, mac) as ramdisk:
        ramdisk.lookup()
        assert WRONG_TOKEN in refused(ramdisk.heartbeat, token=token)
        assert seen(obmd, name)['agent']['url'] is None
        ramdisk.heartbeat()


def test_an_agent_without_a_token_is_told_so(obmd):
    name, mac = new_node(obmd)
    with Ramdisk(obmd.url, mac) as ramdisk:
        ramdisk.lookup()
        told = refused(ramdisk.heartbeat, token=None)
        assert 'Error 400: Agent token is required for heartbeat processing.' in told


def test_the_token_of_one_node_is_none_of_another(obmd):
    (_, mac), (other, _) = new_node(obmd), new_node(obmd)
    with Ramdisk(obmd.url, mac) as ramdisk:
        ramdisk.lookup()
        assert WRONG_TOKEN in refused(ramdisk.heartbeat, uuid=seen(obmd, other)['uuid'])


def test_the_token_is_told_once(obmd):
    name, mac = new_node(obmd)
    uuid = seen(obmd, name)['uuid']
    with Ramdisk(obmd.url, mac) as first, Ramdisk(obmd.url, mac) as second:
        first.lookup()
        second.lookup()
        assert second.token is None
        assert second.locked
        for version in ('1.22', '1.62', 'latest'):
            for named in ({'addresses': mac}, {'node_uuid': uuid}):
                answer = look_up(obmd, version, **named)
                assert answer.json()['config']['agent_token'] == '******'
                assert first.token not in answer.text
        first.lookup()
        assert not first.locked
        first.heartbeat()


def test_an_agent_that_is_expected_anew_gets_another_token(obmd):
    name, mac = new_node(obmd)
    with Ramdisk(obmd.url, mac) as first, Ramdisk(obmd.url, mac) as second:
        first.lookup()
        first.heartbeat()
        shown = describe(obmd, name, expect_agent=True)
        assert (shown['agent']['url'], shown['agent']['alive']) == (None, False)
        second.lookup()
        assert second.token not in (None, first.token)
        assert WRONG_TOKEN in refused(first.heartbeat)
        second.heartbeat(address='192.0.2.11')
    assert seen(obmd, name)['agent']['url'] == f'https://192.0.2.11:{PORT}'


@pytest.mark.parametrize('operation', ['power_off', 'power_cycle'])
def test_a_machine_switched_off_through_obmd_has_no_agent_any_more(obmd, operation):
    name, mac = new_node(obmd)
    with Ramdisk(obmd.url, mac) as ramdisk:
        ramdisk.lookup()
        ramdisk.heartbeat()
        answer = obmd.node(name).post(operation, json={'force': True})
        assert answer.status_code == 200, answer.text
        agent = seen(obmd, name)['agent']
        assert agent['alive'] is False
        assert [agent[key] for key in ('url', 'version', 'last_heartbeat')] == [None] * 3
        assert WRONG_TOKEN in refused(ramdisk.heartbeat)
    with Ramdisk(obmd.url, mac) as booted:
        booted.lookup()
        booted.heartbeat()


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGKILL])
def test_an_agent_does_not_notice_a_restart_of_obmd(number):
    with AllInOne() as obmd:
        name, mac = new_node(obmd)
        with Ramdisk(obmd.url, mac) as ramdisk:
            ramdisk.lookup()
            ramdisk.heartbeat()
            before = seen(obmd, name)['agent']
            obmd.stop(number)
            told = refused(ramdisk.heartbeat)
            assert told.startswith('HeartbeatConnectionError')
            obmd.start()
            after = wait_until(lambda: alive(obmd, name), what='the agent alive again')
            assert after == before
            other = refused(ramdisk.heartbeat, address='192.0.2.11')
            assert 'Detected change in ramdisk provided "callback_url"' in other
            ramdisk.heartbeat()
            ramdisk.lookup()
            assert not ramdisk.locked


def alive(obmd, name):
    """:returns: dict, ``agent`` of the node, once its conductor says that it lives; else None."""
    agent = seen(obmd, name)['agent']
    return agent if agent['alive'] else None


def test_an_agent_that_moves_while_it_is_alive_is_refused(obmd):
    name, mac = new_node(obmd)
    with Ramdisk(obmd.url, mac) as ramdisk:
        ramdisk.lookup()
        ramdisk.heartbeat()
        told = refused(ramdisk.heartbeat, address='192.0.2.11')
        assert 'Error 400: Detected change in ramdisk provided "callback_url"' in told
        assert seen(obmd, name)['agent']['url'] == CALLBACK


@pytest.mark.parametrize(
    ('where', 'text'),
    [
        ({'protocol': 'http'}, 'callback_url must be https'),
        ({'address': '127.0.0.1'}, 'callback_url must not be at a loopback'),
        ({'address': '::1'}, 'callback_url must not be at a loopback'),
        ({'address': '169.254.169.254'}, 'callback_url must not be at a loopback'),
        ({'address': 'root:hunter2@192.0.2.10'}, 'callback_url must be an absolute http'),
    ],
)
def test_an_agent_cannot_make_others_call_where_it_likes(obmd, where, text):
    name, mac = new_node(obmd)
    with Ramdisk(obmd.url, mac) as ramdisk:
        ramdisk.lookup()
        told = refused(ramdisk.heartbeat, **where)
        assert f'Error 400: {text}' in told
        assert 'hunter2' not in told + obmd.log()
    assert seen(obmd, name)['agent']['url'] is None


def test_a_heartbeat_for_a_deleted_node_is_404(obmd):
    name, mac = new_node(obmd)
    with Ramdisk(obmd.url, mac) as ramdisk:
        uuid = ramdisk.lookup()['node']['uuid']
        ramdisk.heartbeat()
        obmd.unregister(name)
        assert f'Error 404: Node {uuid} could not be found.' in refused(ramdisk.heartbeat)
        refused(ramdisk.lookup)


def test_a_node_registered_anew_under_its_name_knows_no_agent(obmd):
    name, mac = new_node(obmd)
    with Ramdisk(obmd.url, mac) as ramdisk:
        ramdisk.lookup()
        obmd.unregister(name)
        obmd.register(name, 'mock', {})
        assert WRONG_TOKEN in refused(ramdisk.heartbeat, uuid=name)


# -- who is meant -----------------------------------------------------------------------------


def test_a_mac_belongs_to_one_node(obmd):
    (name, mac), (other, _) = new_node(obmd), new_node(obmd)
    answer = obmd.as_admin('PATCH', f'/api/v1/nodes/{other}', json={'ports': [mac.upper()]})
    assert (answer.status_code, answer.json()['error']['kind']) == (409, 'mac_taken')
    assert name in answer.text


def test_macs_of_two_nodes_are_nobodys(obmd):
    (_, one), (_, two) = new_node(obmd), new_node(obmd)
    with Ramdisk(obmd.url, one, two) as ramdisk:
        refused(ramdisk.lookup)
    answer = look_up(obmd, addresses=f'{one},{two}')
    assert (answer.status_code, fault(answer)) == (404, NOT_FOUND)
    assert look_up(obmd, addresses=one).status_code == 200


def test_of_two_machines_with_one_mac_the_first_has_the_node(obmd):
    name, mac = new_node(obmd)
    with Ramdisk(obmd.url, mac) as first, Ramdisk(obmd.url, mac) as second:
        first.lookup()
        first.heartbeat()
        second.lookup()
        assert second.locked
        assert 'Agent token is required' in refused(second.heartbeat, address='192.0.2.66')
    assert seen(obmd, name)['agent']['url'] == CALLBACK


def test_the_uuid_wins_over_the_addresses(obmd):
    (one, _), (_, mac) = new_node(obmd), new_node(obmd)
    uuid = seen(obmd, one)['uuid']
    with Ramdisk(obmd.url, mac) as ramdisk:
        assert ramdisk.lookup(node_uuid=uuid)['node']['uuid'] == uuid


def test_only_a_node_that_expects_an_agent_is_found(obmd):
    name, mac = new_node(obmd, expect_agent=False)
    texts = set()
    for named in ({'addresses': mac}, {'node_uuid': seen(obmd, name)['uuid']}):
        answer = look_up(obmd, **named)
        assert answer.status_code == 404
        texts.add(answer.text)
    answer = look_up(obmd, addresses='52:54:00:ff:ff:ff')
    assert answer.status_code == 404
    assert texts == {answer.text}
    with Ramdisk(obmd.url, mac) as ramdisk:
        refused(ramdisk.lookup)
        describe(obmd, name, expect_agent=True)
        ramdisk.lookup()


def test_an_expectation_ends_and_an_agent_that_is_there_stays(obmd):
    name, mac = new_node(obmd, expect_agent={'seconds': 3})
    with Ramdisk(obmd.url, mac) as ramdisk:
        ramdisk.lookup()
        wait_until(lambda: not seen(obmd, name)['expect_agent'], what='the end')
        answer = look_up(obmd, addresses=mac)
        assert (answer.status_code, fault(answer)) == (404, NOT_FOUND)
        ramdisk.heartbeat()
    assert seen(obmd, name)['agent']['alive'] is True


def test_a_boot_to_pxe_expects_an_agent_where_that_is_configured(obmd):
    config = {'agent': {'expect_on_pxe': 'true'}}
    with Fleet(1) as fleet, AllInOne(config=config) as expecting:
        for others in (obmd, expecting):
            name, mac = f'pxe{next(_numbers)}', '52:54:00:00:fe:01'
            others.register(name, 'ipmi', fleet.info(0))
            describe(others, name, ports=[mac])
            for device in ('disk', 'pxe'):
                assert not seen(others, name)['expect_agent']
                answer = others.node(name).call('PUT', 'boot_device', json={'bootdev': device})
                assert answer.status_code == 200, answer.text
            assert seen(others, name)['expect_agent'] is (others is expecting)
        with Ramdisk(expecting.url, mac) as ramdisk:
            ramdisk.lookup()
            ramdisk.heartbeat()
        assert seen(expecting, name)['agent']['alive'] is True
        obmd.as_admin('DELETE', f'/node/{name}')


# -- what is told -----------------------------------------------------------------------------


def test_a_configdrive_is_told_with_the_token_and_never_again(obmd):
    info = {'configdrive': 'H4sIAAAAAAAA', 'image_source': 'http://i/x', 'password': 'hunter2'}
    name, mac = new_node(obmd, instance_info=info)
    assert seen(obmd, name)['instance_info']['configdrive'] == '******'
    masked = {**info, 'password': '******'}
    with Ramdisk(obmd.url, mac) as ramdisk, Ramdisk(obmd.url, mac) as other:
        assert ramdisk.lookup()['node']['instance_info'] == masked
        for later in (ramdisk, other):
            told = later.lookup()['node']['instance_info']
            assert told == {**masked, 'configdrive': '******'}
    describe(obmd, name, expect_agent=True)
    with Ramdisk(obmd.url, mac) as booted:
        assert booted.lookup()['node']['instance_info'] == masked


# -- an operator's choices --------------------------------------------------------------------


def test_without_restrict_lookup_every_node_is_found(open_obmd):
    name, mac = new_node(open_obmd, expect_agent=False, instance_info={'configdrive': 'H4s'})
    with Ramdisk(open_obmd.url, mac) as ramdisk:
        found = ramdisk.lookup()
        assert found['node']['instance_info'] == {'configdrive': '******'}
        ramdisk.heartbeat(protocol='http')
    assert seen(open_obmd, name)['agent']['url'] == CALLBACK.replace('https', 'http')
    assert look_up(open_obmd, addresses='52:54:00:ff:ff:ff').status_code == 404


def test_a_missed_window_is_told_and_counted_once(open_obmd):
    missed = 'obmd_agent_windows_missed_total'
    name, mac = new_node(open_obmd)
    with Ramdisk(open_obmd.url, mac) as ramdisk:
        assert ramdisk.lookup()['config']['heartbeat_timeout'] == SHORT_WINDOW
        ramdisk.heartbeat()
        before = fresh(open_obmd.url)
        assert before.sum('obmd_agents_alive') >= 1
        line = f'{name}: no heartbeat of its agent for'
        wait_until(lambda: line in open_obmd.log(), what='the event')
        after = fresh(open_obmd.url)
        assert after.sum(missed) >= before.sum(missed) + 1
        agent = seen(open_obmd, name)['agent']
        assert (agent['alive'], agent['url']) == (False, CALLBACK)
        time.sleep(SHORT_WINDOW)
        assert open_obmd.log().count(line) == 1
        # whoever was away so long may have another address
        ramdisk.heartbeat(address='192.0.2.11')
    agent = seen(open_obmd, name)['agent']
    assert (agent['alive'], agent['url']) == (True, f'https://192.0.2.11:{PORT}')


def test_the_door_can_be_shut():
    with AllInOne(config={'agent': {'enable_ramdisk_endpoints': 'false'}}) as obmd:
        name, mac = new_node(obmd)
        with Ramdisk(obmd.url, mac) as ramdisk:
            refused(ramdisk.lookup)
        answer = look_up(obmd, addresses=mac)
        assert (answer.status_code, fault(answer)) == (404, NOT_FOUND)


# -- the provisioning network -----------------------------------------------------------------


def test_agents_speak_tls_with_the_listener_of_their_network(provisioning):
    obmd, url, authority = provisioning
    name, mac = new_node(obmd)
    with Ramdisk(url, mac, cafile=authority) as ramdisk:
        assert ramdisk.lookup()['node']['links'][0]['href'].startswith(f'{url}/v1/nodes/')
        ramdisk.heartbeat()
    assert seen(obmd, name)['agent']['alive'] is True


def test_an_agent_that_does_not_know_the_authority_gives_nothing_away(provisioning):
    obmd, url, _ = provisioning
    name, mac = new_node(obmd)
    with Ramdisk(url, mac) as ramdisk:
        refused(ramdisk.lookup)
    with Ramdisk(obmd.url, mac) as ramdisk:
        ramdisk.lookup()
        assert not ramdisk.locked


def test_the_listener_of_agents_has_this_door_only(provisioning):
    obmd, url, authority = provisioning
    name, _ = new_node(obmd)
    paths = [
        *('/healthz', '/readyz', '/metrics', f'/api/v1/nodes/{name}', '/api/v1/power?nodes=n1'),
        *(f'/node/{name}', f'/node/{name}/token', f'/node/{name}/power_status', '/stream/x'),
        *('/v1/nodes', f'/v1/nodes/{name}', '/v1/../node/n1', '//node/n1', '/favicon.ico'),
    ]
    for method in ('GET', 'POST', 'PUT', 'DELETE', 'PATCH'):
        for path in paths:
            answer = requests.request(
                method, url + path, verify=authority, auth=obmd.admin, headers=VERSION, timeout=30
            )
            assert (answer.status_code, fault(answer)) == (404, NOT_FOUND), (method, path)
    for path in ('/', '/v1'):
        assert requests.get(url + path, verify=authority, timeout=30).status_code == 200
