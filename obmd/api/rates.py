"""How often one may ask: limits on unauthenticated callers, decided before anything is looked up.

They count in this process alone; workers of one API take equal parts of what an address may.
Memory is bounded: when too many callers are counted at once, the oldest counts are forgotten.
"""

import collections
import functools
import ipaddress
import math
import threading
import time

import limits
from limits import storage
from limits import strategies

from obmd.api import errors as api_errors
from obmd.common import callers
from obmd.common import workers
from obmd.conf import CONF

#: callers that are counted at once, by each of the limits
MOST = 20000
#: bytes of a query or a body that take about as long as a request without
SIZE = 4096


class Windows(storage.Storage):
    """Counts that begin anew after a time, the same for all of them.

    :param clock: monotonic, s.
    """

    STORAGE_SCHEME = None
    base_exceptions = ()

    def __init__(self, clock, most=MOST):
        super().__init__()
        self._clock = clock
        self._most = most
        self._lock = threading.Lock()
        # what begins first ends first: the order of the keys is that of their ends
        self._counts = collections.OrderedDict()

    def incr(self, key, expiry, amount=1):
        now = self._clock()
        with self._lock:
            self._drop(now)
            if key not in self._counts and len(self._counts) >= self._most:
                self._counts.popitem(last=False)
            count = self._counts.setdefault(key, [now + expiry, 0])
            count[1] += amount
            return count[1]

    def _drop(self, now):
        counts = self._counts
        while counts and next(iter(counts.values()))[0] <= now:
            counts.popitem(last=False)

    def get(self, key):
        with self._lock:
            end, count = self._counts.get(key, (0, 0))
        return count if self._clock() < end else 0

    def get_expiry(self, key):
        """:returns: seconds until the count of ``key`` begins anew."""
        with self._lock:
            end, _ = self._counts.get(key, (0, 0))
        return max(0.0, end - self._clock())

    def check(self):
        return True

    def reset(self):
        with self._lock:
            self._counts.clear()

    def clear(self, key):
        with self._lock:
            self._counts.pop(key, None)

    def __len__(self):
        return len(self._counts)


class Rates:
    """The limits of ``[agent]``."""

    def __init__(self, clock=time.monotonic, most=MOST):
        self._addresses = strategies.FixedWindowRateLimiter(Windows(clock, most))
        self._nodes = strategies.FixedWindowRateLimiter(Windows(clock, most))

    def take(self, request):
        """Count a request of an address.  :raises TooManyRequests:"""
        self._take(request, 1)

    def take_size(self, request, size):
        """Count what a request, that was taken, costs beyond one: before it is read.

        :param size: bytes.  No size alone is above the limit.
        :raises TooManyRequests:
        """
        cost = min(size // SIZE, _part(CONF.agent.rate_per_address) - 1)
        if cost > 0:
            self._take(request, cost)

    def _take(self, request, cost):
        most = _part(CONF.agent.rate_per_address)
        if most:
            item = limits.RateLimitItemPerSecond(most)
            _count(self._addresses, item, 'from this address', _network(request), cost=cost)

    def take_node(self, request, *nodes):
        """Count a request for a node.  Each address is counted by itself: else anybody could
        keep a node's own agent from being heard.

        :param nodes: of str, all that the caller names it by; each at most 255 characters.
        :raises TooManyRequests:
        """
        most = CONF.agent.rate_per_node
        if most:
            item = limits.RateLimitItemPerMinute(most)
            network = _network(request)
            for node in nodes:
                _count(self._nodes, item, 'for this node', network, node)


def _part(rate):
    """:returns: int, what this process takes of ``rate``; 0, no limit, stays 0."""
    together = 1 if workers.worker_number() is None else CONF.api.workers
    return math.ceil(rate / together)


def _count(limiter, item, what, *identifiers, cost=1):
    if not limiter.hit(item, *identifiers, cost=cost):
        seconds = limiter.get_window_stats(item, *identifiers).reset_time
        raise api_errors.TooManyRequests(f'Too many requests {what}', retry_after=seconds)


def _network(request):
    return _network_of(request.environ.get('REMOTE_ADDR'))


@functools.lru_cache(1024)
def _network_of(remote):
    """One caller: an IPv4 address, or the /64 of an IPv6 one, which a machine has for itself."""
    text = callers.make(None, None, remote).address
    if text is None or ':' not in text:
        return text or ''
    address = ipaddress.IPv6Address(text)
    return str(address.ipv4_mapped or ipaddress.IPv6Address(int(address) >> 64 << 64))
