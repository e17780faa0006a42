"""The bus between API and conductors.

``Bus`` is oslo.messaging on whatever ``transport_url`` says (RabbitMQ).  ``LocalBus`` is the same
client and dispatcher within one process, without a broker: what an all-in-one uses, because
oslo.messaging's ``fake://`` polls and adds up to 50 ms to a call.

An answer is ``{"value": ...}`` or ``{"error": wire form}``: errors cross the bus as data
(:func:`answers`), so that nothing of a remote traceback can reach a caller.
"""

import contextlib
import functools
import json
import logging
import math
import threading

import oslo_messaging
from oslo_messaging import opts as messaging_opts
from oslo_messaging.rpc import dispatcher as rpc_dispatcher

from obmd.common import errors
from obmd.common import metrics
from obmd.common import rabbit
from obmd.common import threads
from obmd.conf import CONF

LOG = logging.getLogger(__name__)

#: seconds a caller waits beyond the callee's own deadline, so that the better error arrives
GRACE = 2.0
#: seconds within which a server must have its queues, once the broker was reached
SERVE_LIMIT = 10.0
#: seconds that closing may take when the broker does not answer
CLOSE_LIMIT = 0.5
#: errors of a callee's dispatcher: it is of an earlier version than the method
TOO_OLD = ('UnsupportedVersion', 'NoSuchMethod')
#: seconds after which an upgrade that goes on may be over
UPGRADE_PAUSE = 10
#: least seconds without a sign of a callee after which it counts as dead
MONITOR_MIN = 3


class NoAnswer(errors.OutcomeUnknown):
    """A conductor was called and is silent: to a write an unknown outcome, to a read nothing.

    :ivar server: str, the conductor's host.
    :ivar gone: bool, whether it is known not to live any more.
    """

    #: how it is counted
    timed_out = True

    def __init__(self, server, gone=False):
        super().__init__(f'the conductor {server} does not answer; outcome unknown')
        self.server = server
        self.gone = gone


def answers(method):
    """Decorate an RPC endpoint's method: its outcome becomes data."""

    @functools.wraps(method)
    def answer(self, context, **args):
        try:
            with metrics.Timer(metrics.CALLS, method.__name__):
                return {'value': method(self, context, **args)}
        except errors.ObmdError as error:
            return {'error': error.to_wire()}
        except Exception:
            LOG.exception('%s failed', method.__name__)
            return {'error': errors.ObmdError('internal error of the conductor').to_wire()}

    return answer


def _open(answer):
    if 'error' in answer:
        raise errors.from_wire(answer['error'])
    return answer['value']


class Bus:
    """oslo.messaging.  Build it after a fork, never before.

    :param pool: calls that a server of this process works on at once.
    """

    def __init__(self, pool=None):
        for group, options in messaging_opts.list_opts():
            CONF.register_opts(options, group=group)
        if pool is not None:
            CONF.set_default('executor_thread_pool_size', pool)
            # A call that waits for the pool in this process's memory does not expire; at the
            # broker it does.
            CONF.set_default('rabbit_qos_prefetch_count', pool, 'oslo_messaging_rabbit')
        self._transport = _transport()
        self._broker = rabbit.adopt(self._transport)
        self._expecting = False

    def client(self, topic, version):
        target = oslo_messaging.Target(topic=topic, version=version)
        client = oslo_messaging.get_rpc_client(self._transport, target, retry=1)
        return _Client(client, self.check)

    def check(self, patience=0.0):
        """:param patience: seconds to wait for a broker that is not there.

        :raises Unavailable: it is not there, or answers could not arrive.
        """
        if not self._expecting:
            self._expecting = True
            threads.spawn(self._expect)
        if not self._broker.usable.wait(patience):
            raise errors.Unavailable('the message bus cannot be reached', retry_after=5)

    def _expect(self):
        try:
            rabbit.expect_answers(self._transport)
        except BaseException:
            self._expecting = False
            raise

    def reach(self, topic, give_up):
        """Wait until the broker lets us serve ``topic``: until then nothing is registered.

        :param give_up: callable, whether to wait no more.  :returns: bool, whether it does.
        """
        reached = _Outcome()
        threads.spawn(reached.take, rabbit.rehearse, self._transport, topic)
        while not reached.known.wait(0.2):
            if give_up():
                return False
        reached.get()
        return True

    def serve(self, topic, server, *endpoints):
        """Answer calls to ``server`` with the methods of ``endpoints``.

        :returns: ``stop`` function.

        :raises Unavailable: the broker does not let us.
        """
        target = oslo_messaging.Target(topic=topic, server=server)
        service = oslo_messaging.get_rpc_server(self._transport, target, endpoints)
        started = _Outcome()
        threads.spawn(started.take, service.start)

        def stop():
            started.known.wait()
            service.stop()
            service.wait()

        if not started.known.wait(SERVE_LIMIT):
            threads.spawn(stop)
            raise errors.Unavailable(f'the message bus cannot be used: {self._broker.reason}')
        started.get()
        return stop

    def close(self):
        closed = _Outcome()
        threads.spawn(closed.take, self._transport.cleanup)
        closed.known.wait(CLOSE_LIMIT)


def _transport():
    """:raises Fatal: ``transport_url`` cannot be used; it is not shown, it has a password."""
    try:
        return oslo_messaging.get_rpc_transport(CONF)
    except oslo_messaging.DriverLoadFailure as error:
        reason = f'there is no driver "{error.driver}"'
    except (oslo_messaging.InvalidTransportURL, ValueError):
        reason = 'it is not rabbit://USER:PASSWORD@HOST:PORT[,USER:PASSWORD@HOST:PORT]/VHOST'
    raise errors.Fatal(f'[DEFAULT] transport_url cannot be used: {reason}')


class _Client:
    def __init__(self, client, check):
        self._client = client
        self._check = check

    @metrics.timed_call
    def call(self, server, method, timeout, watched=None, **args):
        """Call ``method`` on ``server`` and wait for its answer.

        A callee that is at work says so now and then, so one that has died is noticed within the
        time-to-live of a conductor, however long the call may take.

        :param timeout: seconds the callee gives itself.
        :param watched: ``watched(give_up)`` is a context within which ``give_up()`` is called when
            the callee is known to be gone: then the wait ends at once.
        :raises NoAnswer: it may or may not have been carried out.
        :raises Unavailable: the broker was known to be out of reach, so nothing was sent.
        """
        self._check(min(timeout, GRACE))
        # A broker that hangs holds who publishes up for longer than the call may take.
        outcome = _Outcome()
        threads.spawn(outcome.take, self._call, server, method, timeout, args)
        with watched(outcome.give_up) if watched else contextlib.nullcontext():
            outcome.known.wait(timeout + 2 * GRACE)
        return outcome.get(NoAnswer(server, outcome.given_up))

    def _call(self, server, method, timeout, args):
        prepared = self._client.prepare(
            server=server,
            timeout=timeout + GRACE,
            # oslo.messaging takes whole seconds, of which the callee needs two
            call_monitor_timeout=max(MONITOR_MIN, math.ceil(CONF.conductor.heartbeat_ttl)),
        )
        try:
            return _open(prepared.call({}, method, **args))
        except (oslo_messaging.MessagingTimeout, oslo_messaging.MessageDeliveryFailure):
            # Not delivered may also be not confirmed: the broker passed it on and then died.
            raise NoAnswer(server) from None
        except oslo_messaging.RPCVersionCapError as error:
            raise _other_version(server) from error
        except oslo_messaging.RemoteError as error:
            if error.exc_type in TOO_OLD:
                raise _other_version(server) from None
            LOG.error('call of %s on %s: %s', method, server, error.exc_type)
            raise errors.ObmdError('the conductor failed to answer') from None

    def tell(self, server, method, **args):
        """Send ``method`` in the background; a failure is logged, the answer not waited for."""
        threads.spawn(functools.partial(self.send, server, method, **args))

    def send(self, server, method, **args):
        """As :meth:`tell`, and returns when it was sent.

        Who has much to tell does so in turn: a broker that hangs must not take every connection
        that there is for answers.
        """
        try:
            self._client.prepare(server=server).cast({}, method, **args)
        except oslo_messaging.MessagingException as error:
            metrics.RPC_NEWS_LOST.count()
            LOG.warning('%s could not be told to %s: %s', method, server, error)


def _other_version(server):
    return errors.Unavailable(
        f'the conductor {server} is of another version than the API', retry_after=UPGRADE_PAUSE
    )


class _Outcome:
    """What a call made in another thread returned or raised.

    :ivar known: set when that is there, or nobody waits for it any more.
    """

    def __init__(self):
        self.known = threading.Event()
        self.given_up = False
        self._result = None

    def take(self, function, *args):
        try:
            self._result = function(*args), None
        except Exception as error:
            self._result = None, error
        finally:
            self.known.set()

    def give_up(self):
        self.given_up = True
        self.known.set()

    def get(self, silence=None):
        """:raises: what the function raised; ``silence`` when there is nothing yet."""
        value, error = self._result or (None, silence)
        if error is not None:
            raise error
        return value


class LocalBus:
    """Server and client in one process: the same dispatch, data as JSON, no broker, no wait."""

    def __init__(self):
        self._dispatchers = {}

    def client(self, topic, version):
        return _LocalClient(self._dispatchers, topic, version)

    def serve(self, topic, server, *endpoints):
        self._dispatchers[topic, server] = rpc_dispatcher.RPCDispatcher(endpoints, None)
        return lambda: self._dispatchers.pop((topic, server), None)

    def close(self):
        pass


class _Incoming:
    """What the dispatcher reads of a message."""

    ctxt = {}
    client_timeout = None

    def __init__(self, message):
        self.message = message


class _LocalClient:
    def __init__(self, dispatchers, topic, version):
        self._dispatchers = dispatchers
        self._topic = topic
        self._version = version

    @metrics.timed_call
    def call(self, server, method, timeout, watched=None, **args):
        return _open(self._dispatch(server, method, args))

    def tell(self, server, method, **args):
        threads.spawn(functools.partial(self.send, server, method, **args))

    def send(self, server, method, **args):
        try:
            self._dispatch(server, method, args)
        except errors.Unavailable as error:
            LOG.warning('%s could not be told: %s', method, error.reason)

    def _dispatch(self, server, method, args):
        dispatcher = self._dispatchers.get((self._topic, server))
        if dispatcher is None:
            raise errors.Unavailable(f'the conductor {server} is not running', retry_after=1)
        message = {'method': method, 'args': _copy(args), 'version': self._version}
        return _copy(dispatcher.dispatch(_Incoming(message)))


def _copy(data):
    """What comes out at the other end of a bus: JSON's types, and nothing shared."""
    return json.loads(json.dumps(data))
