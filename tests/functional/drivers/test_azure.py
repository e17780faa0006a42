"""The driver azure, with Azure's own library, against a server that answers as Azure does."""

import logging
import threading
import time

import pytest

from obmd.common import errors
from obmd.common.deadline import Deadline
from obmd.conf import CONF
from obmd.drivers.base import NodeRef
from obmd.drivers.cloud import azure
from tests.functional import azure_cloud
from tests.functional.common import certificates


@pytest.fixture(scope='module')
def _cloud(tmp_path_factory):
    certificate, key = certificates.make(tmp_path_factory.mktemp('tls'))
    made = azure_cloud.Cloud(certificate, key)
    made.certificate = certificate
    yield made
    made.close()


@pytest.fixture
def cloud(_cloud, tmp_path):
    secret = tmp_path / 'secret'
    secret.write_text('hush\n')
    options = {
        'subscription_id': azure_cloud.SUBSCRIPTION,
        'tenant_id': azure_cloud.TENANT,
        'client_id': 'obmd',
        'client_secret_file': str(secret),
        'endpoint_url': _cloud.url,
        'authority_url': _cloud.url,
        'ca_file': _cloud.certificate,
    }
    for name, value in options.items():
        CONF.set_override(name, value, 'azure')
    azure._made.cache_clear()
    _cloud.machines.clear()
    _cloud.requests.clear()
    _cloud.answer = lambda method, path: None
    _cloud.secret_file = secret
    yield _cloud
    for name in (*options, 'timeout'):
        CONF.clear_override(name, 'azure')
    azure._made.cache_clear()


@pytest.fixture
def machine(cloud):
    return cloud.add('vm1')


def make(name='n1', **info):
    driver = azure.AzureDriver(NodeRef(name, 'uuid-1'), info)
    driver._sleep = lambda _seconds: None
    return driver


@pytest.fixture
def driver(machine):
    return make(azure_resource_group='hpc', azure_name='vm1')


def sent(cloud):
    """What changed something: the last word of each path."""
    return [path.rpartition('/')[2] for method, path in cloud.requests if method != 'GET']


def test_a_machine_is_deallocated_started_and_restarted(driver, machine, cloud):
    assert driver.power_status(Deadline(30)) == 'on'
    driver.set_power('reset', Deadline(30))
    driver.set_power('off', Deadline(30))
    assert driver.power_status(Deadline(30)) == 'stopping'
    assert driver.power_status(Deadline(30)) == 'off'
    driver.set_power('on', Deadline(30))
    assert driver.power_status(Deadline(30)) == 'pending'
    assert driver.power_status(Deadline(30)) == 'on'
    assert sent(cloud) == ['restart', 'deallocate', 'start']


@pytest.mark.parametrize(
    ('told', 'state'),
    [
        ('starting', 'pending'),
        ('running', 'on'),
        ('stopping', 'stopping'),
        ('deallocating', 'stopping'),
        ('stopped', 'off'),
        ('deallocated', 'off'),
    ],
)
def test_power_states(driver, machine, told, state):
    machine.power = told
    assert driver.power_status(Deadline(30)) == state


@pytest.mark.parametrize(
    ('told', 'said'),
    [
        ('unknown', 'ProvisioningState/succeeded, PowerState/unknown'),
        (None, 'ProvisioningState/succeeded'),
    ],
)
def test_a_state_that_has_no_name_is_told(driver, machine, told, said):
    machine.power = told
    with pytest.raises(errors.BmcRefused) as raised:
        driver.power_status(Deadline(30))
    assert raised.value.reason == f'the machine is {said}'


def test_a_node_has_the_machine_of_its_name(cloud):
    cloud.add('n7')
    assert make('n7', azure_resource_group='hpc').power_status(Deadline(30)) == 'on'


def test_the_size_is_read_and_changed_and_is_so_when_it_is_said(driver, machine):
    machine.power, machine.slow = 'deallocated', 3
    assert driver.machine_type(Deadline(30)) == 'Standard_B2s'
    driver.set_machine_type('Standard_F4s_v2', Deadline(30))
    assert (machine.size, machine.provisioning) == ('Standard_F4s_v2', 'Succeeded')
    driver.set_power('on', Deadline(30))


def test_a_size_that_azure_refuses_is_said(driver, machine):
    with pytest.raises(errors.BmcRefused) as raised:
        driver.set_machine_type('Standard_F4s_v2', Deadline(30))
    assert raised.value.reason == 'Azure: Resizing needs a deallocated machine.'


def test_a_change_that_fails_later_is_said(driver, machine):
    machine.power, machine.slow = 'deallocated', 10**6
    machine_look = machine.look
    machine.look = lambda: (machine_look(), setattr(machine, 'provisioning', 'Failed'))
    with pytest.raises(errors.BmcRefused, match='Azure could not make it Standard_F4s_v2'):
        driver.set_machine_type('Standard_F4s_v2', Deadline(30))


def test_a_state_that_does_not_follow_is_said(driver, machine, monkeypatch):
    monkeypatch.setattr(machine, 'begin', lambda **_more: None)
    driver._sleep = time.sleep
    with pytest.raises(errors.StateNotReached, match='power off was accepted and the machine is'):
        driver.set_power('off', Deadline(2))


def test_a_fleet_that_is_asked_at_once_shares_connections(cloud):
    CONF.set_override('timeout', 60, 'azure')
    for number in range(150):
        cloud.add(f'vm{number}')
    drivers = [make(azure_resource_group='hpc', azure_name=f'vm{number}') for number in range(150)]
    running, most, lock = 0, 0, threading.Lock()

    def answer(_method, _path):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    cloud.answer = answer
    states = []
    threads = [
        threading.Thread(target=lambda one=one: states.append(one.power_status(Deadline(60))))
        for one in drivers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert states == ['on'] * 150
    assert most <= azure._CONNECTIONS


# -- names -----------------------------------------------------------------------------------------


def test_a_key_that_is_missing_is_named():
    with pytest.raises(errors.BmcRefused) as raised:
        make(azure_name='vm1').power_status(Deadline(30))
    assert raised.value.reason == "The azure_resource_group for node 'n1' has not been set!"


@pytest.mark.parametrize('name', ['../vm1', '-rf', '$(id)', 'a/b', 'ü', 'x' * 81])
def test_a_nodes_name_that_is_none_of_azure_is_not_sent(cloud, name):
    with pytest.raises(errors.BmcRefused, match='azure_name is missing'):
        make(name, azure_resource_group='hpc').power_status(Deadline(30))
    assert cloud.requests == []


def test_a_machine_that_there_is_not_is_refused(driver, cloud):
    cloud.machines.clear()
    with pytest.raises(errors.BmcRefused, match='Azure: The Resource .* was not found'):
        driver.power_status(Deadline(30))


# -- who obmd is -----------------------------------------------------------------------------------


def test_one_token_is_asked_for_all(driver, cloud):
    before = cloud.tokens
    for _ in range(3):
        driver.power_status(Deadline(30))
    assert cloud.tokens == before + 1


def test_a_secret_that_is_wrong_is_said_and_not_shown(driver, cloud, caplog):
    caplog.set_level(logging.DEBUG)
    cloud.secret_file.write_text('wrong-geheim')
    with pytest.raises(errors.BmcRefused) as raised:
        driver.power_status(Deadline(30))
    assert 'AADSTS7000215' in raised.value.reason
    assert 'geheim' not in raised.value.reason + caplog.text


@pytest.mark.parametrize(
    ('option', 'value', 'said'),
    [
        ('subscription_id', '', 'Azure: [azure] subscription_id is not set'),
        ('client_secret_file', '/none', 'Azure: [azure] client_secret_file: No such file'),
    ],
)
def test_what_is_not_configured_is_named(driver, option, value, said):
    CONF.set_override(option, value, 'azure')
    with pytest.raises(errors.BmcRefused) as raised:
        driver.power_status(Deadline(30))
    assert raised.value.reason.startswith(said)


def test_a_certificate_that_nobody_signed_is_refused(driver, cloud):
    CONF.set_override('ca_file', '', 'azure')
    with pytest.raises(errors.ObmdError):
        driver.power_status(Deadline(20))
    assert cloud.requests == []


# -- an Azure that is not well ---------------------------------------------------------------------


def fail(status):
    return lambda method, path: (status, {}, {'error': {'code': 'X', 'message': 'oops'}})


def test_a_restart_is_sent_once_whatever_it_answers(driver, cloud):
    cloud.answer = fail(503)
    with pytest.raises(errors.OutcomeUnknown, match='Azure: oops'):
        driver.set_power('reset', Deadline(30))
    assert len(cloud.requests) == 1


def test_a_read_that_fails_is_tried_again(driver, cloud):
    cloud.answer = lambda method, path: None if len(cloud.requests) > 1 else fail(503)(method, path)
    assert driver.power_status(Deadline(30)) == 'on'
    assert len(cloud.requests) == 2


@pytest.fixture
def hang(cloud):
    """Azure answers nothing until the test is over."""
    end = threading.Event()
    cloud.answer = lambda method, path: end.wait(60) and None
    yield
    end.set()


@pytest.mark.parametrize(
    ('call', 'kind'),
    [
        (lambda driver, deadline: driver.power_status(deadline), errors.BmcSilent),
        (lambda driver, deadline: driver.set_power('off', deadline), errors.OutcomeUnknown),
    ],
)
def test_an_azure_that_is_silent_costs_the_deadline_and_no_more(driver, hang, call, kind):
    began = time.monotonic()
    with pytest.raises(kind):
        call(driver, Deadline(2))
    assert time.monotonic() - began < 12


def test_a_process_that_goes_down_waits_for_no_answer(driver, hang):
    threading.Timer(0.3, driver.abort, [errors.Unavailable('going down')]).start()
    with pytest.raises(errors.Unavailable, match='going down'):
        driver.power_status(Deadline(60))


def test_a_hostile_answer_is_an_error(driver, cloud):
    cloud.answer = lambda method, path: (200, {}, ['x'])
    with pytest.raises(errors.BmcSilent, match='not one of Azure'):
        driver.power_status(Deadline(10))
