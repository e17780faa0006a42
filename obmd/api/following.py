"""The stream of a ticket: its lines so far, then live, to the end of its job.

OpenFlight Action's client gives up when nothing has come for 60 s
(``[actions] stream_timeout``), asks again in silence, and prints what it gets.  So

- while the job is silent, its client gets what it does not see (``obmd.common.keepalive``);
- where a proxy swallows that, the place of a client that left after so long a silence is kept for
  as long again: who then asks for the same ticket with the same token goes on there.
"""

import collections
import logging
import threading
import time

from obmd.api import lines
from obmd.common import errors
from obmd.common import keepalive
from obmd.common import threads
from obmd.common import timers
from obmd.conf import CONF
from obmd.streams import viewer

LOG = logging.getLogger(__name__)

#: parts of the time that a client waits: until something is sent, and after which it may have left
#: because nothing came
SOON, LATE = 0.4, 0.9
#: seconds between two looks whether the client is still there, and whether its token is still good
LOOK, CHECK = 2.0, 15.0
#: places that are kept at once
MOST_PLACES = 256

_timers = timers.Timers()


class Place:
    """How far somebody has read the output of a job.

    :param output: :class:`obmd.api.output.Output`.
    :param with_names: whether each line begins with the node's name.
    """

    def __init__(self, output, with_names):
        self._output = output
        self._lines = lines.Lines(with_names)
        # who comes back may do so before the read of who left has ended
        self._lock = threading.Lock()
        self._made = b''

    def read(self, timeout):
        """:returns: bytes, the same ones until :meth:`taken`; empty: nothing came in time."""
        with self._lock:
            if not self._made:
                self._made = self._lines.of(self._output.read(timeout))
            return self._made

    def taken(self):
        self._made = b''

    @property
    def finished(self):
        return self._output.finished and not self._made

    def close(self):
        # it tells others, and may wait for them
        threads.spawn(self._output.close)


class Places:
    """Those of clients that may come back."""

    def __init__(self, timers=_timers, most=MOST_PLACES):
        self._timers = timers
        self._most = most
        self._lock = threading.Lock()
        self._kept = collections.OrderedDict()

    def keep(self, key, place, seconds):
        """:param key: what a client that comes back has in common with the one that left."""
        with self._lock:
            dropped = [self._kept.pop(key, None)]
            if len(self._kept) >= self._most:
                dropped.append(self._kept.popitem(last=False)[1])
            self._kept[key] = place
        for one in filter(None, dropped):
            one.close()
        self._timers.after(seconds, lambda: self._forget(key, place))

    def take(self, key):
        """:returns: :class:`Place`, or None: none is kept."""
        with self._lock:
            return self._kept.pop(key, None)

    def _forget(self, key, place):
        with self._lock:
            if self._kept.get(key) is not place:
                return
            del self._kept[key]
        place.close()


class Following(viewer.Stream):
    """What a client reads.

    :param place: :class:`Place`.
    :param key: by which ``places`` keeps it.
    :param check: raises Unauthorized when the client's token is not good any more.
    :param patient: the client takes any number of zeros in front of a chunk's size.
    """

    write_timeout = 60.0

    def __init__(self, place, key, places, check, patient=False, clock=time.monotonic):
        super().__init__()
        self._place = place
        self._key = key
        self._places = places
        self._check = check
        self._clock = clock
        self._timeout = CONF.actions.stream_timeout
        self._told_at = self._checked_at = clock()
        if self._timeout:
            zeros = keepalive.MANY if patient else keepalive.DIGITS
            self.keepalive = SOON * self._timeout, zeros

    def __next__(self):
        while self.ended is None:
            data = self._place.read(LOOK)
            if self.ended is not None or not self._is_good():
                break
            if data:
                self._told_at = self._clock()
                self._place.taken()
                return data
            if self._place.finished:
                self.end('finished')
        raise StopIteration

    def _is_good(self):
        now = self._clock()
        if now - self._checked_at < CHECK:
            return True
        self._checked_at = now
        try:
            self._check()
        except errors.Unauthorized as error:
            LOG.info('a stream of a ticket ends: %s', error.reason)
            self.end('revoked')
            return False
        except errors.Unavailable as error:
            LOG.warning('whether a token is still good is not known: %s', error.reason)
        return True

    def _wake(self):
        silence = self._clock() - self._told_at
        if self.ended == 'closed' and self._timeout and silence >= LATE * self._timeout:
            self._places.keep(self._key, self._place, self._timeout)
        else:
            self._place.close()
