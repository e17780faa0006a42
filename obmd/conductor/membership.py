"""Who is there: a conductor's own row, and an observer's view of all rows.

No clock of another machine is ever compared.  A live conductor raises the ``beat`` in its row;
an observer calls a row dead when its own regular reads have shown one and the same beat for a
whole time-to-live of its own clock.
"""

import collections
import logging
import threading
import time

from obmd.common import errors
from obmd.common import exposition
from obmd.common import metrics
from obmd.common import threads
from obmd.db import conductors

LOG = logging.getLogger(__name__)


class Watch:
    """Tells live rows from dead ones by watching them.

    :param interval: seconds between two ``see`` calls; a pause of half the time-to-live starts
        the watch over: who could not look cannot say that others did not write.
    :param ttl: seconds without a new beat after which a row is dead.
    """

    def __init__(self, interval, ttl, clock=time.monotonic):
        self._pause = max(1.5 * interval, ttl / 2)
        self._ttl = ttl
        self._clock = clock
        self._seen = {}
        self._last = None

    def see(self, rows):
        """:param rows: all rows of the table.  :returns: the live ones among them."""
        now = self._clock()
        if self._last is not None and now - self._last > self._pause:
            self._seen.clear()
        self._last = now
        rows = [row for row in rows if row.state in conductors.ALIVE]
        seen = {}
        for row in rows:
            beat, since = self._seen.get(row.incarnation, (None, now))
            seen[row.incarnation] = (row.beat, since if beat == row.beat else now)
        self._seen = seen
        return [row for row in rows if now - seen[row.incarnation][1] < self._ttl]


class Observer:
    """Reads the table of conductors at a steady interval and tells who listens.

    :param on_look: called with ``(live, all)`` lists after each successful read.
    """

    def __init__(self, interval, ttl, on_look, clock=time.monotonic):
        self._interval = interval
        self._watch = Watch(interval, ttl, clock)
        self._on_look = on_look
        self._clock = clock
        self._live = ()
        self._looked_at = clock()
        self._stopped = threading.Event()

    def look(self):
        """Read now; returns when who listens has done what follows."""
        self._on_look(*self._see())

    def _see(self):
        rows = conductors.all()
        self._live = self._watch.see(rows)
        self._looked_at = self._clock()
        return self._live, rows

    def tell(self):
        """Set the states for ``/metrics``."""
        groups = collections.Counter((row.conductor_group,) for row in self._live)
        metrics.LIVE_CONDUCTORS.show(groups)
        metrics.LOOK_AGE.set(self._clock() - self._looked_at)

    def start(self):
        exposition.watch('members', self.tell)
        threads.spawn(self._run)

    def stop(self):
        self._stopped.set()

    def _run(self):
        while not self._stopped.wait(self._interval):
            # What follows may take long, and who does not look in time has to start over.
            seen = self._guarded(self._see)
            if seen is not None:
                threads.spawn(self._guarded, self._on_look, *seen)

    @staticmethod
    def _guarded(function, *args):
        try:
            return function(*args)
        except errors.ObmdError as error:
            LOG.warning('a look at the conductors: %s', error.reason)
        except Exception:
            LOG.exception('a look at the conductors failed')


class Heartbeat:
    """Renews one conductor's row.

    :param conductor: the row as registered.
    :param lease: :class:`obmd.conductor.lease.Lease`, told of each renewal.
    :param on_lost: called once when the row was declared dead by others.
    """

    def __init__(self, conductor, interval, lease, on_lost, clock=time.monotonic):
        self._conductor = conductor
        self._lease = lease
        self._interval = interval
        self._on_lost = on_lost
        self._clock = clock
        self._beat = conductor.beat
        self._stopped = threading.Event()
        self._steady_since = None
        #: monotonic time just before the last successful renewal was sent; None before the first
        self.renewed_at = None

    def start(self):
        sent, asked = self._clock(), self._lease.now()
        conductors.register(self._conductor)
        self.renewed_at = self._steady_since = sent
        self._lease.renewed(asked)
        threads.spawn(self._run)

    def stop(self):
        self._stopped.set()

    @property
    def steady_for(self):
        """Seconds for which no renewal has failed or come late; 0 while one has."""
        now = self._clock()
        if self._steady_since is None or now - self.renewed_at > 3 * self._interval:
            return 0.0
        return now - self._steady_since

    def renew(self):
        """One renewal.  :returns: False when the row is no longer ours to renew."""
        sent, asked = self._clock(), self._lease.now()
        if not self.steady_for:
            self._steady_since = None
        self._beat += 1
        try:
            mine = conductors.beat(self._conductor.incarnation, self._beat)
        except BaseException:
            self._steady_since = None
            raise
        if not mine:
            self._lease.revoke()
        else:
            self.renewed_at = sent
            self._lease.renewed(asked)
            self._steady_since = self._steady_since or sent
        return mine

    def _run(self):
        while not self._stopped.wait(self._interval):
            try:
                if not self.renew():
                    if not self._stopped.is_set():
                        self._on_lost()
                    return
            except errors.ObmdError as error:
                metrics.HEARTBEAT_FAILURES.count()
                LOG.warning('the heartbeat cannot be written: %s', error.reason)
            except Exception:
                metrics.HEARTBEAT_FAILURES.count()
                LOG.exception('the heartbeat cannot be written')
