"""UDP sockets and timers on eventlet's hub, for thousands of BMCs in one thread.

The sessions come in here to send, to be called when a packet of theirs arrives and to be called
later.  Nothing here knows IPMI beyond where a packet keeps its session id.

A socket is a listener of the hub, not a green thread: its callback runs in the hub, reads what
has come and hands each packet to the one session that is registered for its sender.  So what is
called from here must not block.  An error while one packet is handled is logged and ends nothing.

All of it belongs to one OS thread, that of the hub; green threads need no locks between two
blocking calls.
"""

import collections
import ipaddress
import logging
import random
import socket
import time

from eventlet import hubs
from eventlet import patcher
from eventlet.support import greenlets

from obmd.drivers import gate

# of an unpatched module: these sockets are read when the hub says so and never waited for
_plain = patcher.original('socket')

LOG = logging.getLogger(__name__)

#: BMCs that share a socket: a burst of answers must fit its receive buffer
MAX_SESSIONS = 64
#: bytes; the kernel cuts it to net.core.rmem_max
RECEIVE_BUFFER = 4 << 20
#: packets read in one go before other sockets and timers get their turn
BATCH = 64
#: bytes of the largest packet that is read whole
MAX_PACKET = 2048


class Waiter:
    """What one green thread waits for.  The first :meth:`send` or :meth:`throw` counts."""

    __slots__ = ('_hub', '_greenlet', '_value', '_error', 'ready')

    def __init__(self, hub=None):
        self._hub = hub or hubs.get_hub()
        self._greenlet = None
        self._value = self._error = None
        self.ready = False

    def send(self, value=None):
        if not self.ready:
            self.ready, self._value = True, value
            self._wake()

    def throw(self, error):
        if not self.ready:
            self.ready, self._error = True, error
            self._wake()

    def wait(self, timeout):
        """:param timeout: seconds.

        :returns: what was sent.
        :raises TimeoutError: nothing was, in time; anything that was thrown.
        """
        if not self.ready:
            self._greenlet = greenlets.getcurrent()
            timer = self._hub.schedule_call_global(timeout, self._switch)
            try:
                self._hub.switch()
            finally:
                timer.cancel()
                self._greenlet = None
        if self._error is not None:
            raise self._error
        if not self.ready:
            raise TimeoutError
        return self._value

    def _wake(self):
        if self._greenlet is not None:
            self._hub.schedule_call_global(0, self._switch)

    def _switch(self):
        if self._greenlet is not None:
            self._greenlet.switch()


class Port:
    """A socket that at most ``MAX_SESSIONS`` sessions share, each with a BMC of its own."""

    def __init__(self, family):
        self.family = family
        self.sessions = {}
        self.socket = _plain.socket(family, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self.socket.bind(('', 0))
        self.number = self.socket.getsockname()[1]

    def send(self, packet, peer, upkeep=False):
        """The one function that writes to a BMC.

        A packet that the gate or the kernel does not take is as good as lost on the way.
        """
        if not gate.allows(upkeep):
            return
        try:
            self.socket.sendto(packet, peer)
        except OSError as error:
            LOG.debug('Sending to %s: %s', peer[0], error)

    def receive(self, _fileno=None):
        recvfrom, sessions = self.socket.recvfrom, self.sessions
        for _ in range(BATCH):
            try:
                packet, peer = recvfrom(MAX_PACKET, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                LOG.debug('Reading from a BMC socket: %s', error)
                return
            session = sessions.get(peer)
            if session is not None:
                deliver(session, packet)


def deliver(session, packet):
    """Give ``packet`` (bytes, from the session's BMC) to ``session`` if it is meant for it.

    An RMCP+ packet of an open session carries our session id in its header (IPMI 2.0 table
    13-8); one of a login carries it in its payload, where a session looks for itself.
    """
    if len(packet) < 16 or packet[0] != 6 or packet[3] != 7:  # RMCP, class IPMI: section 13.1.3
        return
    if packet[4] == 6:
        sid = int.from_bytes(packet[6:10], 'little')
        if sid and sid != session.localsid:
            return
    try:
        session.feed(packet)
    except Exception:
        LOG.debug('A packet of %s made no sense', session.bmc, exc_info=True)


class Reactor:
    """Sockets and timers of the calling thread's hub."""

    def __init__(self, hub=None):
        self._hub = hub or hubs.get_hub()
        self._ports = collections.defaultdict(list)
        self.now = time.monotonic
        self.random = random.SystemRandom().random

    def waiter(self):
        return Waiter(self._hub)

    def sleep(self, seconds):
        try:
            self.waiter().wait(seconds)
        except TimeoutError:
            pass

    def call_later(self, seconds, function, *args):
        """Call ``function`` from the hub.  :returns: an object with ``cancel()``."""
        return self._hub.schedule_call_global(seconds, _guarded, function, args)

    def literal(self, host, port):
        """:returns: (family, socket address) if ``host`` is an address and no name, else None."""
        try:
            version = ipaddress.ip_address(host.partition('%')[0]).version
        except ValueError:
            return None
        if version == 4:
            return socket.AF_INET, (host, port)
        found = _plain.getaddrinfo(host, port, 0, socket.SOCK_DGRAM, 0, socket.AI_NUMERICHOST)
        return socket.AF_INET6, found[0][4]

    def resolve(self, host, port):
        """Look a name up, waiting in the calling green thread.

        :returns: as :meth:`literal`.  :raises OSError: it is unknown.
        """
        found = socket.getaddrinfo(host, port, 0, socket.SOCK_DGRAM)
        return found[0][0], found[0][4]

    def local_address(self, port, peer):
        """:returns: str, ``address:port`` that ``peer`` sees packets from ``port`` come from."""
        with _plain.socket(port.family, socket.SOCK_DGRAM) as probe:
            probe.connect(peer)
            host = probe.getsockname()[0]
        return f'[{host}]:{port.number}' if ':' in host else f'{host}:{port.number}'

    def attach(self, session, family, peer):
        """Register ``session`` for packets from ``peer``.  :returns: its :class:`Port`.

        The least used socket that has no session with this peer yet: so sender and socket name
        one session, even if two nodes were registered with one BMC.
        """
        ports = self._ports[family]
        free = [p for p in ports if len(p.sessions) < MAX_SESSIONS and peer not in p.sessions]
        if free:
            port = min(free, key=lambda p: len(p.sessions))
        else:
            port = Port(family)
            ports.append(port)
            self._hub.add(self._hub.READ, port.socket.fileno(), port.receive, _ignore, None)
        port.sessions[peer] = session
        return port

    def detach(self, session, port, peer):
        if port.sessions.get(peer) is session:
            del port.sessions[peer]


def _ignore(*_args):
    pass


def _guarded(function, args):
    try:
        function(*args)
    except Exception:
        LOG.exception('%s failed', getattr(function, '__qualname__', function))


_reactors = {}


def get():
    """:returns: the :class:`Reactor` of the calling thread's hub."""
    hub = hubs.get_hub()
    if hub not in _reactors:
        _reactors[hub] = Reactor(hub)
    return _reactors[hub]
