"""What holds a node, and its shadow in the node's row.

The lock itself is in the owner's memory (:class:`~obmd.conductor.writes.Writes`).  The row only
tells operators what runs, since when and for whom, and only what has gone on for a while: a write
that takes some milliseconds costs the database nothing.  The shadow belongs to the owner's epoch: a
claim and a release clear it, so no dead conductor's lock stays.
"""

import dataclasses
import logging
import threading
import time

from obmd.common import callers
from obmd.common import errors

LOG = logging.getLogger(__name__)

#: seconds for which a node has been held before its row tells
SHOW_AFTER = 0.5
#: seconds until a row that could not be written is tried again: the first pause, the longest
RETRY_MIN, RETRY_MAX = 1.0, 30.0
#: the row may have been written or not
_DOUBT = object()


@dataclasses.dataclass(frozen=True)
class Work:
    """Something that holds a node, or waits for it.

    :ivar purpose: str.
    :ivar caller: :class:`obmd.common.callers.Caller`.
    :ivar began: monotonic seconds, when it got the node.
    :ivar since: the same as wall time.
    """

    purpose: str
    caller: callers.Caller = callers.UNKNOWN
    began: float = 0.0
    since: float = 0.0

    def told(self, now):
        """What others may know of it.  :param now: monotonic seconds."""
        since = time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime(self.since))
        seconds = max(0.0, now - self.began)
        return f'{self.purpose} since {since} ({seconds:.0f} s), asked for by {self.caller}'


class Shadow:
    """Brings a node's row to what holds the node: one write at a time, the last word is written
    last.

    :param record: ``record(work)``, Work or None, gives False when the row is not ours any more.
    :param timers: :class:`obmd.common.timers.Timers`.
    :param doubtful: bool, whether the row tells of something that does not run here.
    """

    def __init__(self, record, timers, node_name, doubtful=False):
        self._record = record
        self._timers = timers
        self._node_name = node_name
        self._lock = threading.Lock()
        self._wanted = None
        self._written = _DOUBT if doubtful else None
        self._timer = None
        self._writing = False
        self._closed = False
        self._pause = RETRY_MIN
        if doubtful:
            self.show(None)

    def show(self, work):
        """``work`` (None: nothing) holds the node from now on.  Never waits."""
        with self._lock:
            if self._closed:
                return
            self._wanted = work
            if self._writing:
                return  # who writes looks again
            if work is self._written:
                self._cancel()
            elif self._timer is None:
                self._plan(0.0 if work is None else SHOW_AFTER)

    def close(self):
        """Write no more: the row is another's from now on.  What is under way is taken back."""
        with self._lock:
            self._closed = True
            self._wanted = None
            self._cancel()

    def _plan(self, seconds):
        self._timer = self._timers.after(seconds, self._write)

    def _cancel(self):
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _write(self):
        with self._lock:
            self._timer = None
            if self._closed or self._writing or self._wanted is self._written:
                return
            self._writing = True
            work = self._wanted
        going_on = True
        while going_on:
            ours = self._try(work)
            with self._lock:
                going_on = self._note(work, ours)
                self._writing = going_on
                work = self._wanted

    def _note(self, work, ours):
        """:param ours: what ``_try`` returned.  :returns: bool, whether to write again now."""
        if ours is None:
            self._written = _DOUBT
            self._plan(self._pause)
            self._pause = min(RETRY_MAX, 2 * self._pause)
            return False
        self._written = work
        self._pause = RETRY_MIN
        if not ours:
            self._closed = True
        return ours and self._wanted is not work

    def _try(self, work):
        """:returns: bool, whether the row is ours; None: nobody knows what was written."""
        try:
            return bool(self._record(work))
        except errors.ObmdError as error:
            LOG.warning('%s: its row does not tell what runs: %s', self._node_name, error.reason)
        except Exception:
            LOG.exception('%s: its row does not tell what runs', self._node_name)
        return None
