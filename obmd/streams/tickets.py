"""Tickets: how a viewer gets from the API to the conductor that has its stream.

A ticket is random, good once and for seconds.  It stands for a stream that is already prepared:
whoever redeems it proves nothing else, so the right is checked when it is issued and again when
it is redeemed (``opener``).
"""

import secrets
import threading
import time

from obmd.common import errors


class Tickets:
    """The tickets of one conductor.

    :param ttl: seconds a ticket lives.
    :param limit: tickets that may be open at once.
    """

    def __init__(self, ttl, limit=10000, clock=time.monotonic, new_id=secrets.token_urlsafe):
        self._ttl = ttl
        self._limit = limit
        self._clock = clock
        self._new_id = new_id
        self._open = {}
        self._lock = threading.Lock()

    def issue(self, opener, abandon):
        """:param opener: called at redemption, gives ``(stream, headers)`` or raises ObmdError.
        :param abandon: called without arguments when nobody came.
        :returns: str, the ticket.
        :raises Unavailable: too many are open.
        """
        now = self._clock()
        ticket = self._new_id()
        with self._lock:
            late = self._drop_late(now)
            full = len(self._open) >= self._limit
            if not full:
                self._open[ticket] = (now + self._ttl, opener, abandon)
        for forgotten in late:
            forgotten()
        if full:
            raise errors.Unavailable('too many streams wait for their viewers', retry_after=1)
        return ticket

    def redeem(self, ticket):
        """:returns: ``(stream, headers)``.  :raises NotFound: unknown, used or too old."""
        now = self._clock()
        with self._lock:
            entry = self._open.pop(ticket, None)
        if entry is None:
            raise errors.NotFound('no such ticket; it may be used or too old')
        until, opener, abandon = entry
        if until < now:
            abandon()
            raise errors.NotFound('no such ticket; it may be used or too old')
        return opener()

    def sweep(self):
        """Forget the tickets that nobody redeemed in time."""
        with self._lock:
            late = self._drop_late(self._clock())
        for forgotten in late:
            forgotten()

    def _drop_late(self, now):
        # Insertion order is order of expiry: look at the oldest only.
        late = []
        while self._open:
            ticket = next(iter(self._open))
            until, _, abandon = self._open[ticket]
            if until >= now:
                break
            del self._open[ticket]
            late.append(abandon)
        return late
