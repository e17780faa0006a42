"""Windows of time that are put off again and again: told when they end.

A heap and one timer for all.  Putting a window off touches neither: its entry is looked at when it
was due, and then put back to where it ends now.
"""

import heapq
import itertools
import logging
import threading
import time

from obmd.common import errors

LOG = logging.getLogger(__name__)

#: windows that are told of in one go
SLICE = 100
#: seconds until those are told of again that could not be
RETRY = 2.0


class Windows:
    """:param until: ``until(item)`` gives when (``clock``) the window of an item ends as of now, or
        None: it is watched no more.
    :param tell: ``tell(items)`` is called with those whose window has ended, at most
        :data:`SLICE`; again later when it raises Unavailable.
    :param timers: :class:`obmd.common.timers.Timers`.
    """

    def __init__(self, until, tell, timers, clock=time.monotonic):
        self._until = until
        self._tell = tell
        self._timers = timers
        self._clock = clock
        self._lock = threading.Lock()
        self._heap = []
        self._order = itertools.count()
        self._timer = self._planned_for = None

    def watch(self, item):
        """Tell when the window of ``item`` has ended."""
        due = self._until(item)
        if due is not None:
            with self._lock:
                self._push(due, item)
                self._plan()

    def _push(self, due, item):
        heapq.heappush(self._heap, (due, next(self._order), item))

    def _plan(self):
        """The caller holds the lock."""
        if not self._heap:
            return
        due = self._heap[0][0]
        if self._timer is not None:
            if self._planned_for <= due:
                return
            self._timer.cancel()
        self._planned_for = due
        self._timer = self._timers.after(max(0.0, due - self._clock()), self._look)

    def _look(self):
        try:
            ended = self._ended()
            while ended:
                self._tell_of(ended[:SLICE])
                del ended[:SLICE]
                time.sleep(0)
        finally:
            with self._lock:
                self._timer = None
                self._plan()

    def _ended(self):
        now, ended = self._clock(), []
        with self._lock:
            while self._heap and self._heap[0][0] <= now:
                item = heapq.heappop(self._heap)[2]
                due = self._until(item)
                if due is None:
                    continue
                if due > now:
                    self._push(due, item)
                else:
                    ended.append(item)
        return ended

    def _tell_of(self, items):
        try:
            self._tell(items)
        except errors.Unavailable as error:
            LOG.warning('%d windows that have ended wait: %s', len(items), error.reason)
            with self._lock:
                for item in items:
                    self._push(self._clock() + RETRY, item)
