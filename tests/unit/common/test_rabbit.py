"""What is said of a broker, how often, and what of oslo.messaging we replace."""

import inspect
import logging
import ssl

import amqp
import pytest
from oslo_messaging._drivers import amqpdriver
from oslo_messaging._drivers import impl_rabbit
from oslo_messaging._drivers import pool

from obmd.common import rabbit

HOST = 'rabbit-1:5671'


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def broker(clock):
    return rabbit.Broker(clock)


@pytest.fixture
def told(caplog):
    caplog.set_level(logging.WARNING, 'obmd.common.rabbit')
    return lambda: [record.getMessage() for record in caplog.records]


def fail_for(broker, clock, seconds, connections=30):
    """Each of some connections tries once a second."""
    until = clock.now + seconds
    while clock.now < until:
        for _ in range(connections):
            broker.failed(HOST, OSError('connection refused'))
        clock.now += 1


def test_an_outage_is_told_at_once_then_at_growing_pauses_up_to_a_minute(broker, clock, told):
    fail_for(broker, clock, 600)
    seconds = [int(line.partition('(for ')[2].split()[0]) for line in told()]
    assert seconds[:6] == [0, 5, 15, 35, 75, 135]
    assert {later - sooner for sooner, later in zip(seconds[4:], seconds[5:], strict=False)} == {60}
    assert all(HOST in line and 'connection refused' in line for line in told())


def test_the_return_of_the_broker_is_told_once(broker, clock, told):
    fail_for(broker, clock, 3)
    for _ in range(30):
        broker.reached(HOST)
    assert told()[1:] == [f'broker {HOST}: connected again after 3 s']


def test_a_broker_that_comes_and_goes_makes_no_storm(broker, clock, told):
    for _ in range(300):
        fail_for(broker, clock, 1, 1)
        broker.reached(HOST)
    assert len(told()) < 30


def test_after_a_calm_the_next_outage_is_told_at_once(broker, clock, told):
    fail_for(broker, clock, 300)
    broker.reached(HOST)
    clock.now += 61
    before = len(told())
    broker.failed(HOST, OSError('gone'))
    assert len(told()) == before + 1


def test_a_broker_that_refused_is_left_alone_for_its_pause(broker, clock):
    broker.refused(5)
    assert broker.refuses
    clock.now += 5
    assert not broker.refuses


@pytest.mark.parametrize(
    ('error', 'said'),
    [
        (amqp.AccessRefused('ACCESS_REFUSED - Login was refused using PLAIN'), 'user or password'),
        (amqp.NotAllowed('NOT_ALLOWED - vhost obmd not found'), 'vhost obmd not found'),
        (
            amqp.PreconditionFailed("PRECONDITION_FAILED - inequivalent arg 'x-queue-type'"),
            'new virtual host',
        ),
        (ssl.SSLCertVerificationError('certificate has expired'), 'certificate has expired'),
        (TimeoutError(), 'TimeoutError'),
    ],
)
def test_a_reason_is_one_line(error, said):
    text = rabbit.explain(error)
    assert said in text
    assert '\n' not in text


def test_each_host_of_a_cluster_is_verified_by_its_own_name():
    """As kombu (transport/pyamqp.py) fills the name in, once for each host that it dials."""
    options = rabbit._PerHost(server_hostname=None, cert_reqs=ssl.CERT_REQUIRED)
    for host in ('rabbit-1', 'rabbit-2'):
        assert options['server_hostname'] is None
        options['server_hostname'] = host
        assert dict(**options) == {'server_hostname': host, 'cert_reqs': ssl.CERT_REQUIRED}


@pytest.mark.parametrize(
    ('function', 'parameters'),
    [
        (impl_rabbit.Connection.__init__, 'self conf url purpose retry'),
        (impl_rabbit.Connection.ensure_connection, 'self'),
        (
            impl_rabbit.Connection.ensure,
            'self method retry recoverable_error_callback error_callback timeout_is_error',
        ),
        (impl_rabbit.Connection._set_current_channel, 'self new_channel'),
        (impl_rabbit.Connection._fetch_ssl_params, 'self'),
        (impl_rabbit.Connection._on_connection_blocked, 'reason'),
        (impl_rabbit.Connection._on_connection_unblocked, ''),
        (impl_rabbit.Connection.set_transport_socket_timeout, 'self timeout'),
        (
            impl_rabbit.Connection.declare_topic_consumer,
            'self exchange_name topic callback queue_name',
        ),
        (amqpdriver.AMQPDriverBase._get_reply_q, 'self'),
        (amqpdriver.AMQPDriverBase._get_connection, 'self purpose retry'),
        (amqpdriver.AMQPDriverBase._get_exchange, 'self target'),
        (pool.ConnectionPool.create, 'self purpose retry'),
    ],
)
def test_what_we_replace_or_call_of_oslo_messaging_is_what_it_was(function, parameters):
    assert list(inspect.signature(function).parameters) == parameters.split()


def test_the_pool_makes_connections_of_the_class_it_is_given():
    assert 'self.connection_cls(self.conf, self.url, purpose, retry=retry)' in inspect.getsource(
        pool.ConnectionPool.create
    )
    assert issubclass(rabbit.Connection, impl_rabbit.Connection)
