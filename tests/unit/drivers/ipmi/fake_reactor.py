"""The reactor's interface on a clock that jumps, with fake BMCs at the other end of the wire."""

import heapq
import itertools
import socket

from obmd.drivers import gate
from obmd.drivers.ipmi.reactor import deliver


class Timer:
    def __init__(self, function, args):
        self.function, self.args = function, args

    def cancel(self):
        self.function = None


class Waiter:
    """Waiting lets the time run."""

    def __init__(self, reactor):
        self._reactor = reactor
        self._value = self._error = None
        self.ready = False

    def send(self, value=None):
        if not self.ready:
            self.ready, self._value = True, value

    def throw(self, error):
        if not self.ready:
            self.ready, self._error = True, error

    def wait(self, timeout):
        self._reactor.run(timeout, lambda: self.ready)
        if self._error is not None:
            raise self._error
        if not self.ready:
            raise TimeoutError
        return self._value


class Link:
    def __init__(self, reactor, session, peer):
        self._reactor, self._session, self._peer = reactor, session, peer

    def send(self, packet, peer, upkeep=False):
        reactor = self._reactor
        reactor.upkeep.append(upkeep)
        if not gate.allows(upkeep):
            return
        reactor.sent += 1
        bmc = reactor.bmcs.get(peer)
        if bmc is not None:
            for taken in reactor.fault(bytes(packet), 'in'):
                reactor.call_later(reactor.way, self._arrive, bmc, taken)

    def _arrive(self, bmc, packet):
        for answer in bmc.handle(packet):
            self.push(answer)

    def push(self, answer):
        for sent in self._reactor.fault(answer, 'out'):
            self._reactor.call_later(self._reactor.way, self._deliver, sent)

    def _deliver(self, packet):
        if self._reactor.attached.get(self._peer) is self._session:
            deliver(self._session, packet)


class FakeReactor:
    """:ivar way: seconds that a packet takes.  :ivar sent: packets that we sent.

    :ivar upkeep: list of bool, what was said of each packet that was to be sent.
    :ivar bmcs: dict (host, port) -> ``tests.fake_bmc.FakeBmc``; nobody answers elsewhere.
    :ivar fault: callable (packet, 'in' or 'out') -> list of packets that get through.
    """

    def __init__(self, bmcs=()):
        self.bmcs = dict(bmcs)
        self.fault = lambda packet, way: [packet]
        self.way = 0.001
        self.sent = 0
        self.upkeep = []
        self.attached = {}
        self.links = {}
        self._now = 1000.0
        self._timers = []
        self._order = itertools.count()

    def now(self):
        return self._now

    def random(self):
        return 0.5

    def waiter(self):
        return Waiter(self)

    def call_later(self, seconds, function, *args):
        timer = Timer(function, args)
        heapq.heappush(self._timers, (self._now + seconds, next(self._order), timer))
        return timer

    def run(self, seconds, done=lambda: False):
        """Let time run for ``seconds`` or until ``done()``."""
        end = self._now + seconds
        while not done():
            if not self._timers or self._timers[0][0] > end:
                self._now = end
                return
            self._now, _, timer = heapq.heappop(self._timers)
            if timer.function is not None:
                timer.function(*timer.args)

    def literal(self, host, port):
        return socket.AF_INET, (host, port)

    def attach(self, session, family, peer):
        self.attached[peer] = session
        self.links[peer] = Link(self, session, peer)
        return self.links[peer]

    def detach(self, session, link, peer):
        if self.attached.get(peer) is session:
            del self.attached[peer]

    def local_address(self, link, peer):
        return '192.0.2.1:40000'
