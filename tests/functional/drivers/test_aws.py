"""The driver aws against moto's server, which answers as EC2 does."""

import contextlib
import socket
import threading
import time

import boto3
import pytest
from moto.server import ThreadedMotoServer

from obmd.common import errors
from obmd.common.deadline import Deadline
from obmd.conf import CONF
from obmd.drivers.base import NodeRef
from obmd.drivers.cloud import aws

REGION = 'eu-west-2'


@pytest.fixture(scope='module')
def cloud():
    """A client of the local EC2."""
    server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)
    server.start()
    address = '{}:{}'.format(*server.get_host_and_port())
    client = boto3.client(
        'ec2',
        region_name=REGION,
        endpoint_url=f'http://{address}',
        aws_access_key_id='a',
        aws_secret_access_key='b',
    )
    client.address = address
    yield client
    server.stop()


@pytest.fixture(autouse=True)
def _options(cloud, tmp_path):
    keys = tmp_path / 'credentials'
    keys.write_text('[default]\naws_access_key_id = a\naws_secret_access_key = hush\n')
    CONF.set_override('credentials_file', str(keys), 'aws')
    CONF.set_override('endpoint_url', f'http://{cloud.address}', 'aws')
    yield
    for name in ('credentials_file', 'endpoint_url', 'timeout', 'region'):
        CONF.clear_override(name, 'aws')
    aws._session.cache_clear()
    aws._made.cache_clear()


@pytest.fixture
def ec2_id(cloud):
    made = cloud.run_instances(
        ImageId='ami-12c6146b', MinCount=1, MaxCount=1, InstanceType='t3.medium'
    )
    return made['Instances'][0]['InstanceId']


@pytest.fixture
def server_log(monkeypatch):
    """A list that a call of EC2 puts something into."""
    made = []
    original = aws._in_time
    monkeypatch.setattr(aws, '_in_time', lambda **more: (made.append(1), original(**more))[1])
    aws._made.cache_clear()
    aws._instances.cache_clear()
    return made


def make(**info):
    return aws.AwsDriver(NodeRef('n1', 'uuid-1'), info)


@pytest.fixture
def driver(ec2_id):
    return make(ec2_id=ec2_id, aws_region=REGION)


def state(cloud, ec2_id):
    answer = cloud.describe_instances(InstanceIds=[ec2_id])
    return answer['Reservations'][0]['Instances'][0]['State']['Name']


def test_an_instance_is_stopped_started_and_rebooted(driver, cloud, ec2_id):
    assert driver.power_status(Deadline(30)) == 'on'
    driver.set_power('reset', Deadline(30))
    assert driver.power_status(Deadline(30)) == 'on'
    driver.set_power('off', Deadline(30))
    assert state(cloud, ec2_id) == 'stopped'
    assert driver.power_status(Deadline(30)) == 'off'
    driver.set_power('on', Deadline(30))
    assert driver.power_status(Deadline(30)) == 'on'


def test_many_who_ask_at_once_share_a_call(cloud, ec2_id, server_log):
    drivers = [make(ec2_id=ec2_id, aws_region=REGION) for _ in range(50)]
    drivers += [make(ec2_id='i-1234567890', aws_region=REGION)]
    drivers[0].power_status(Deadline(30))  # makes the client
    server_log.clear()
    states = []

    def ask(driver):
        try:
            states.append(driver.power_status(Deadline(30)))
        except errors.BmcRefused:
            states.append('refused')

    threads = [threading.Thread(target=ask, args=(one,)) for one in drivers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (states.count('on'), states.count('refused')) == (50, 1)
    assert len(server_log) < 25


def test_the_machine_type_is_read_and_changed(driver, cloud, ec2_id):
    assert driver.machine_type(Deadline(30)) == 't3.medium'
    driver.set_power('off', Deadline(30))
    driver.set_machine_type('c5.xlarge', Deadline(30))
    assert driver.machine_type(Deadline(30)) == 'c5.xlarge'
    answer = cloud.describe_instances(InstanceIds=[ec2_id])
    assert answer['Reservations'][0]['Instances'][0]['InstanceType'] == 'c5.xlarge'


def test_the_region_may_be_an_option(ec2_id):
    CONF.set_override('region', REGION, 'aws')
    assert make(ec2_id=ec2_id).power_status(Deadline(30)) == 'on'


@pytest.mark.parametrize(
    ('info', 'key'), [({'aws_region': REGION}, 'ec2_id'), ({'ec2_id': 'i-1'}, 'aws_region')]
)
def test_a_key_that_is_missing_is_named(info, key):
    with pytest.raises(errors.BmcRefused) as raised:
        make(**info).power_status(Deadline(30))
    assert raised.value.reason == f"The {key} for node 'n1' has not been set!"


def test_an_instance_that_there_is_not_is_refused():
    with pytest.raises(errors.BmcRefused, match='EC2: there is no instance i-1234567890'):
        make(ec2_id='i-1234567890', aws_region=REGION).power_status(Deadline(30))


def test_an_instance_that_was_terminated_is_refused(driver, cloud, ec2_id):
    cloud.terminate_instances(InstanceIds=[ec2_id])
    with pytest.raises(errors.BmcRefused, match='the instance is terminated'):
        driver.power_status(Deadline(30))


def test_without_credentials_it_says_so(driver, tmp_path, monkeypatch):
    monkeypatch.setenv('AWS_EC2_METADATA_DISABLED', 'true')
    CONF.set_override('credentials_file', str(tmp_path / 'none'), 'aws')
    with pytest.raises(errors.BmcRefused, match='EC2: Unable to locate credentials'):
        driver.power_status(Deadline(30))


# -- an EC2 that is not well -----------------------------------------------------------------------


class Peer:
    """Listens, and answers each connection with ``answer`` or not at all."""

    def __init__(self, answer=None):
        self._answer = answer
        self._socket = socket.create_server(('127.0.0.1', 0))
        self.requests = []
        self._open = []
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def url(self):
        return f'http://127.0.0.1:{self._socket.getsockname()[1]}'

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self._open.append(connection)
                self.requests.append(connection.recv(65536))
                if self._answer is not None:
                    connection.sendall(self._answer)
                    connection.close()

    def close(self):
        self._socket.close()
        for one in self._open:
            one.close()


@pytest.fixture
def peer():
    made = []

    def make(answer=None):
        made.append(Peer(answer))
        CONF.set_override('endpoint_url', made[-1].url, 'aws')
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize(
    ('call', 'kind'),
    [
        (lambda driver, deadline: driver.power_status(deadline), errors.BmcSilent),
        (lambda driver, deadline: driver.set_power('off', deadline), errors.OutcomeUnknown),
        (lambda driver, deadline: driver.set_power('reset', deadline), errors.OutcomeUnknown),
    ],
)
def test_an_ec2_that_is_silent_costs_the_deadline_and_no_more(driver, peer, call, kind):
    peer()
    began = time.monotonic()
    with pytest.raises(kind, match='EC2 did not answer in time'):
        call(driver, Deadline(1))
    assert time.monotonic() - began < 8


def test_an_ec2_that_is_not_there_is_silent(driver):
    with socket.create_server(('127.0.0.1', 0)) as probe:
        port = probe.getsockname()[1]
    CONF.set_override('endpoint_url', f'http://127.0.0.1:{port}', 'aws')
    with pytest.raises(errors.BmcSilent):
        driver.set_power('on', Deadline(30))


def _answer(status, code, message):
    body = f'<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    body += '</Errors><RequestID>1</RequestID></Response>'
    return (
        f'HTTP/1.1 {status} X\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n'
        f'Connection: close\r\n\r\n{body}'
    ).encode()


def test_what_it_refuses_is_told_in_its_words_and_bounded(driver, peer):
    peer(_answer(403, 'UnauthorizedOperation', 'You are not authorized. ' + 'x' * 5000))
    with pytest.raises(errors.BmcRefused) as raised:
        driver.set_power('on', Deadline(30))
    assert raised.value.reason.startswith('EC2: You are not authorized. ')
    assert len(raised.value.reason) <= 300


def test_a_reboot_is_sent_once_whatever_it_answers(driver, peer):
    asked = peer(_answer(500, 'InternalError', 'oops'))
    with pytest.raises(errors.OutcomeUnknown, match='EC2: oops'):
        driver.set_power('reset', Deadline(30))
    assert len(asked.requests) == 1


def test_after_the_deadline_no_more_is_sent(driver, peer):
    asked = peer(_answer(503, 'Unavailable', 'later'))
    with pytest.raises(errors.ObmdError):
        driver.set_power('on', Deadline(0.2))
    sent = len(asked.requests)
    time.sleep(2)  # the library's own pauses are shorter
    assert len(asked.requests) == sent


def test_what_is_no_answer_is_an_error(driver, peer):
    peer(b'HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 3\r\n\r\n{}\n')
    with pytest.raises(errors.BmcSilent, match='not one of EC2'):
        driver.power_status(Deadline(30))


def test_the_secret_is_not_sent(driver, peer):
    asked = peer(_answer(403, 'AuthFailure', 'no'))
    with pytest.raises(errors.BmcRefused):
        driver.power_status(Deadline(30))
    assert b'hush' not in asked.requests[0]


def test_a_process_that_goes_down_waits_for_no_answer(driver, peer):
    peer()
    threading.Timer(0.3, driver.abort, [errors.Unavailable('going down')]).start()
    with pytest.raises(errors.Unavailable, match='going down'):
        driver.power_status(Deadline(60))
    with pytest.raises(errors.Unavailable, match='going down'):
        driver.power_status(Deadline(60))
