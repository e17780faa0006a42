"""One question to a BMC for all who ask it while it is busy."""

import logging
import threading
import time

from obmd.common import errors
from obmd.common import threads

LOG = logging.getLogger(__name__)

#: seconds after which a BMC that has not answered may not have many more callers wait for it
SLOW = 1.0


class SharedRead:
    """An answer is given only to those who asked before it was read: who comes while a read is
    under way shares the next one.  So any number of callers cost a BMC two reads, and every
    answer is fresh.

    :param read: ``read(deadline)``.
    :param limit: callers that may wait at once for a BMC that is slow to answer.
    """

    def __init__(self, read, limit, node_name, clock=time.monotonic):
        self._read = read
        self._limit = limit
        self._node_name = node_name
        self._clock = clock
        self._asked_at = None
        self._lock = threading.Lock()
        self._waiting = 0
        self._running = False
        self._next = None

    def get(self, deadline):
        """:raises BmcSilent: no answer within ``deadline``; and what ``read`` raises."""
        with self._lock:
            if self._waiting >= self._limit and self._clock() - self._asked_at > SLOW:
                raise errors.Unavailable(
                    f'{self._waiting} calls wait for this node already', self._node_name, 1
                )
            self._waiting += 1
            batch = self._next = self._next or _Batch()
            batch.deadline = max(batch.deadline or deadline, deadline, key=lambda d: d.remaining)
            lead = not self._running
            if lead:
                self._running = True
                self._asked_at = self._clock()
                self._next = None
        try:
            if lead:
                self._lead(batch)
            return batch.result(deadline, self._node_name)
        finally:
            with self._lock:
                self._waiting -= 1

    def _lead(self, batch):
        try:
            batch.run(self._read)
        finally:
            with self._lock:
                following, self._next = self._next, None
                self._running = following is not None
                self._asked_at = self._clock()
            if following is not None:
                threads.spawn(self._lead, following)


class _Batch:
    def __init__(self):
        self.deadline = None
        self._done = threading.Event()
        self._value = None
        self._error = errors.ObmdError('internal error of the driver')

    def run(self, read):
        try:
            self._value = read(self.deadline)
            self._error = None
        except errors.ObmdError as error:
            self._error = error
        except Exception:
            LOG.exception('a read failed')
        finally:
            self._done.set()

    def result(self, deadline, node_name):
        if not self._done.wait(deadline.remaining):
            raise errors.BmcSilent('the BMC did not answer in time', node_name)
        if self._error is not None:
            # A copy: one exception object raised in many threads mixes their tracebacks.
            raise errors.from_wire(self._error.to_wire())
        return self._value
