"""A conductor's right to act, judged by its own clock.

*fresh*: its row was renewed lately.  *fenced*: it was not, for 0.7 of the time-to-live, so others
may soon take its nodes: it starts nothing at a BMC, and only keeps what it has open (SOL
acknowledgements, keepalives).  *suspended*: the whole process stood still (SIGSTOP, a frozen
host); nothing at all goes out until the row has been renewed once more, because others may have
taken the nodes meanwhile.

The age counts from just before the last successful renewal was sent, on a clock that goes on
while the machine sleeps.
"""

import threading

from obmd.common import clock as clocks
from obmd.common import errors
from obmd.common import threads

FRESH, FENCED, SUSPENDED = 'fresh', 'fenced', 'suspended'
#: part of the time-to-live after which who could not renew fences himself
FENCE_AT = 0.7
#: seconds between two ticks, and how late one may come before the process counts as stopped
TICK, LATE = 0.5, 2.0

_WHY = {FENCED: 'it cannot renew its row', SUSPENDED: 'it stood still and must read its row'}


class Lease:
    """:param ttl: seconds, ``[conductor] heartbeat_ttl``."""

    def __init__(self, ttl, clock=clocks.boot_time):
        self._ttl = ttl
        self._clock = clock
        self._renewed_at = None
        self._ticked_at = clock()
        self._suspended_at = None
        self._revoked = False
        self._stopped = threading.Event()

    def start(self):
        self.tick()
        threads.spawn(self._run)

    def stop(self):
        self._stopped.set()

    def now(self):
        """:returns: float, to be taken just before a renewal is sent."""
        return self._clock()

    def renewed(self, sent):
        """The row was renewed by a request that went out at ``sent``, as :meth:`now` told."""
        self._notice_suspension()
        self._renewed_at = sent
        if self._suspended_at is not None and sent >= self._suspended_at:
            self._suspended_at = None

    def revoke(self):
        """The row is another's to judge: nothing may go out any more, for good."""
        self._revoked = True

    def tick(self):
        self._notice_suspension()
        self._ticked_at = self._clock()

    @property
    def age(self):
        """Seconds since the last successful renewal was sent; None before the first."""
        return None if self._renewed_at is None else self._clock() - self._renewed_at

    @property
    def state(self):
        self._notice_suspension()
        if self._revoked or self._suspended_at is not None:
            return SUSPENDED
        if self._renewed_at is None or self._clock() - self._renewed_at > FENCE_AT * self._ttl:
            return FENCED
        return FRESH

    @property
    def why(self):
        """str, what keeps it from being fresh."""
        return _WHY.get(self.state, '')

    def require(self):
        """:raises Unavailable: this conductor may not act now; nothing was sent to a BMC."""
        state = self.state
        if state != FRESH:
            raise errors.Unavailable(f'the conductor is {state}: {_WHY[state]}', None, 2)

    def allows(self, upkeep):
        """Whether a packet may go to a BMC.

        :param upkeep: it only keeps open what is open.
        """
        state = self.state
        return state == FRESH or (upkeep and state == FENCED)

    def _notice_suspension(self):
        # Whoever comes first after a stop notices it: a packet may be due before the tick.
        now = self._clock()
        if now - self._ticked_at > TICK + LATE:
            self._suspended_at = now
            self._ticked_at = now

    def _run(self):
        while not self._stopped.wait(TICK):
            self.tick()
