"""The stream of a ticket: its lines so far, then live, to the end of its job.

OpenFlight Action's client gives up when nothing has come for 60 s
(``[actions] stream_timeout``), asks again in silence, and prints what it gets.  So

- while the job is silent, its client gets what it does not see (``obmd.common.keepalive``);
- where a proxy swallows that, the place of a client that left after so long a silence is kept for
  as long again: who then asks for the same ticket with the same token goes on there,
- where a proxy does not even tell that the client has left, one of those clients that asks again
  from the same address is taken for the one whose stream is silent.
"""

import collections
import threading
import time

from obmd.api import lines
from obmd.common import keepalive
from obmd.common import threads
from obmd.common import timers
from obmd.conf import CONF
from obmd.streams import viewer

#: parts of the time that a client waits: until something is sent, and after which it may have left
#: because nothing came
SOON, LATE = 0.4, 0.9
#: seconds between two looks whether the client is still there
LOOK = 2.0
#: places that are kept at once
MOST_PLACES = 256

#: why a stream ended whose client goes on with its place
_LEFT = 'left'

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
    """Those of clients that may come back.

    A key is what a client that comes back has in common with the one that left.
    """

    def __init__(self, timers=_timers, most=MOST_PLACES):
        self._timers = timers
        self._most = most
        self._lock = threading.Lock()
        self._kept = collections.OrderedDict()
        #: key -> streams that are open
        self._open = {}

    def opened(self, key, stream):
        with self._lock:
            self._open.setdefault(key, []).append(stream)

    def closed(self, key, stream):
        with self._lock:
            streams = self._open.get(key, [])
            if stream in streams:
                streams.remove(stream)
            if not streams:
                self._open.pop(key, None)

    def keep(self, key, place, seconds):
        with self._lock:
            dropped = [self._kept.pop(key, None)]
            if len(self._kept) >= self._most:
                dropped.append(self._kept.popitem(last=False)[1])
            self._kept[key] = place
        for one in filter(None, dropped):
            one.close()
        self._timers.after(seconds, lambda: self._forget(key, place))

    def take(self, key, source=None):
        """:param source: of a client that asks again in silence, or None: it is none of those.

        :returns: :class:`Place`, or None: none is kept.
        """
        with self._lock:
            kept = self._kept.pop(key, None)
            silent = [one for one in self._open.get(key, ()) if one.may_be_left(source)]
        if kept is None and silent:
            kept = silent[0].leave()
        return kept

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
    :param source: str, the address of a client that asks again in silence, or None: it is none of
        those.  They take any number of zeros in front of a chunk's size.
    """

    write_timeout = 60.0

    def __init__(self, place, key, places, source=None, clock=time.monotonic):
        super().__init__()
        self._place = place
        self._key = key
        self._places = places
        self._clock = clock
        self._source = source
        self._timeout = CONF.actions.stream_timeout
        self._told_at = clock()
        if self._timeout:
            zeros = keepalive.DIGITS if source is None else keepalive.MANY
            self.keepalive = SOON * self._timeout, zeros
            places.opened(key, self)

    def __next__(self):
        while self.ended is None:
            data = self._place.read(LOOK)
            if self.ended is not None:
                break
            if data:
                self._told_at = self._clock()
                self._place.taken()
                return data
            if self._place.finished:
                self.end('finished')
        raise StopIteration

    def _is_late(self):
        return self._timeout and self._clock() - self._told_at >= LATE * self._timeout

    def may_be_left(self, source):
        """:returns: bool, whether its client is the one that asks again from ``source``."""
        return source is not None and source == self._source and self._is_late()

    def leave(self):
        """End it for a client that has come back.

        :returns: :class:`Place`, or None: it had ended.
        """
        place = self._place
        self.end(_LEFT)
        return place if self.ended == _LEFT else None

    def _wake(self):
        self._places.closed(self._key, self)
        if self.ended == _LEFT:
            return
        if self.ended == 'closed' and self._is_late():
            self._places.keep(self._key, self._place, self._timeout)
        else:
            self._place.close()
