"""Connections to RabbitMQ: oslo.messaging's, with four differences.

* What goes wrong is said in one line of ours, for all connections of the process together, at
  growing pauses; the library's own lines, one for each connection and attempt, are switched off
  (``obmd.conf.libraries``).
* A broker that refuses (credentials, virtual host, a queue of another type) is asked again after
  a pause.  The library asks at once, for ever.
* A certificate is always verified, its name against the host that is dialled, also of a cluster.
* Who wants to call knows whether answers could arrive (:class:`Broker`).

It replaces names of ``oslo_messaging._drivers.impl_rabbit``; a test compares them.
"""

import functools
import logging
import ssl
import threading
import time

import oslo_messaging
from oslo_messaging._drivers import impl_rabbit

from obmd.common import errors
from obmd.common import threads
from obmd.conf import CONF

LOG = logging.getLogger(__name__)

#: seconds until the broker is tried again after it has refused: first, at most
PAUSE_MIN, PAUSE_MAX = 1.0, 5.0
#: seconds until an outage is told again: first, at most
WORD_MIN, WORD_MAX = 5.0, 60.0
#: seconds without a failure after which the next one is told at once
CALM = 60.0
_SLICE = 0.25
#: AMQP 0-9-1, 1.2: access-refused, not-found, precondition-failed, not-allowed
_REFUSALS = (403, 404, 406, 530)


class Broker:
    """What this process knows of its broker.

    :param clock: callable, monotonic seconds.
    :ivar usable: threading.Event, set while answers can arrive.
    """

    def __init__(self, clock=time.monotonic):
        self.usable = threading.Event()
        self.reason = 'not connected yet'
        self._clock = clock
        self._lock = threading.Lock()
        self._since = None
        self._failed_at = float('-inf')
        self._told_at = float('-inf')
        self._word = WORD_MIN
        self._refused_until = float('-inf')

    def failed(self, where, error):
        """:param where: str, the broker's address.  :param error: Exception."""
        with self._lock:
            now = self._clock()
            self.reason = explain(error)
            if self._since is None:
                self._since = now
            if now - self._failed_at > CALM:
                self._word, self._told_at = WORD_MIN, float('-inf')
            self._failed_at = now
            if now - self._told_at < self._word:
                return
            if self._told_at > float('-inf'):
                self._word = min(2 * self._word, WORD_MAX)
            self._told_at = now
            seconds = now - self._since
        LOG.error('broker %s: %s (for %d s; still trying)', where, self.reason, seconds)

    def refused(self, pause):
        """Nobody but who listens tries again for ``pause`` seconds."""
        self._refused_until = self._clock() + pause

    @property
    def refuses(self):
        return self._clock() < self._refused_until

    def reached(self, where):
        """A connection stands."""
        with self._lock:
            since, self._since = self._since, None
            told = since is not None and self._told_at >= since
        self._refused_until = float('-inf')
        if told:
            LOG.warning('broker %s: connected again after %d s', where, self._clock() - since)


def explain(error):
    """:returns: str, one line without anything secret, for an operator."""
    text = ' '.join(str(getattr(error, 'reply_text', None) or error).split())
    if 'ACCESS_REFUSED - Login' in text:
        return 'it refuses user or password of [DEFAULT] transport_url'
    if 'NOT_ALLOWED - vhost' in text or 'NOT_ALLOWED - access to vhost' in text:
        return f'it refuses the virtual host of [DEFAULT] transport_url: {text}'
    if 'inequivalent arg' in text:
        return (
            f'a queue or exchange was made with other options: {text}; stop all services, give '
            'them a new virtual host, start them'
        )
    if 'certificate' in text.lower():
        return f'its certificate or ours is refused: {text}'
    return text or type(error).__name__


class _PerHost(dict):
    """TLS options of a list of hosts.

    kombu fills in the name of the host it dials where it finds None, and keeps the first for all.
    """

    def __getitem__(self, name):
        return None if name == 'server_hostname' else super().__getitem__(name)


class Connection(impl_rabbit.Connection):
    """:param broker: :class:`Broker`."""

    def __init__(self, conf, url, purpose, retry=None, broker=None):
        self._broker = broker
        self._listens = purpose == impl_rabbit.rpc_common.PURPOSE_LISTEN
        self._pause = PAUSE_MIN
        self._tries = len(url.hosts) or 1
        super().__init__(conf, url, purpose, retry)

    def ensure_connection(self):
        """Connect; who listens does so until it succeeds.

        :raises MessageDeliveryFailure: who sends could not.
        """
        while True:
            self._stay_away()
            try:
                self._set_current_channel(None)
                self.connection.ensure_connection(
                    errback=lambda error, _interval: self._failed(error),
                    # each host of a cluster once
                    max_retries=None if self._listens else self._tries,
                    interval_start=self.interval_start,
                    interval_step=self.interval_stepping,
                    interval_max=self.interval_max,
                )
                self._set_current_channel(self.connection.channel())
                self.set_transport_socket_timeout()
                return
            except Exception as error:
                self._refused(error)
                if not self._listens or self._consume_loop_stopped:
                    raise _not_delivered(error) from None

    def ensure(
        self,
        method,
        retry=None,
        recoverable_error_callback=None,
        error_callback=None,
        timeout_is_error=True,
    ):
        def failed(error):
            self._failed(error)
            if recoverable_error_callback:
                recoverable_error_callback(error)

        def refused(error):
            self._refused(error)
            if error_callback:
                error_callback(error)

        while True:
            self._stay_away()
            try:
                return super().ensure(method, retry, failed, refused, timeout_is_error)
            except oslo_messaging.MessageDeliveryFailure:
                if not self._listens or self._consume_loop_stopped:
                    raise

    def _set_current_channel(self, new_channel):
        if new_channel == self.channel:
            return
        super()._set_current_channel(new_channel)
        if new_channel is not None:
            self._pause = PAUSE_MIN
            self._broker.reached(self._where)
            if self._listens:
                self._broker.usable.set()

    def _fetch_ssl_params(self):
        if not self.ssl:
            return False
        params = super()._fetch_ssl_params()
        verified = {
            'cert_reqs': ssl.CERT_REQUIRED,
            'server_hostname': self.ssl_server_hostname,
            **(params if isinstance(params, dict) else {}),
        }
        return verified if self.ssl_server_hostname else _PerHost(verified)

    @property
    def _where(self):
        return f'{self.connection.hostname}:{self.connection.port}'

    def _failed(self, error):
        if self._listens:
            self._broker.usable.clear()
        self._broker.failed(self._where, error)

    def _refused(self, error):
        """It will not do to try again at once."""
        self._failed(error)
        code = getattr(error, 'reply_code', None) or getattr(error, 'code', None)
        if code in _REFUSALS:
            self._broker.refused(PAUSE_MAX)
        if not self._listens:
            return
        until = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, PAUSE_MAX)
        while time.monotonic() < until and not self._consume_loop_stopped:
            time.sleep(_SLICE)

    def _stay_away(self):
        if self._broker.refuses and not self._listens:
            raise _not_delivered(self._broker.reason)

    @staticmethod
    def _on_connection_blocked(reason):
        LOG.error('the broker takes no messages: %s', reason)

    @staticmethod
    def _on_connection_unblocked():
        LOG.warning('the broker takes messages again')


def _not_delivered(error):
    return oslo_messaging.MessageDeliveryFailure(
        error if isinstance(error, str) else explain(error)
    )


def adopt(transport):
    """Let ``transport`` use our connections.

    :param transport: of ``oslo_messaging.get_rpc_transport``.  :returns: :class:`Broker`.
    """
    broker = Broker()
    if isinstance(transport._driver, impl_rabbit.RabbitDriver):
        check_tls()
        transport._driver._connection_pool.connection_cls = functools.partial(
            Connection, broker=broker
        )
    else:
        broker.usable.set()
    return broker


def expect_answers(transport):
    """Make the queue that answers come to; blocks until it is there."""
    if isinstance(transport._driver, impl_rabbit.RabbitDriver):
        transport._driver._get_reply_q()


def rehearse(transport, topic):
    """Declare what a server of ``topic`` declares; blocks until the broker permits it."""
    driver = transport._driver
    if not isinstance(driver, impl_rabbit.RabbitDriver):
        return
    connection = driver._get_connection(impl_rabbit.rpc_common.PURPOSE_LISTEN)
    exchange = driver._get_exchange(oslo_messaging.Target(topic=topic))
    connection.declare_topic_consumer(exchange, topic, lambda _message: None)
    threads.spawn(connection.close)


def check_tls():
    """:raises Fatal: a file of ``[oslo_messaging_rabbit]`` that cannot be used."""
    options = CONF.oslo_messaging_rabbit
    if not options.ssl:
        return
    try:
        context = ssl.create_default_context(cafile=options.ssl_ca_file or None)
        if options.ssl_cert_file:
            context.load_cert_chain(options.ssl_cert_file, options.ssl_key_file or None)
    except OSError as error:
        raise errors.Fatal(
            '[oslo_messaging_rabbit] ssl_ca_file, ssl_cert_file or ssl_key_file cannot be used: '
            f'{error.strerror or error}'
        ) from None
