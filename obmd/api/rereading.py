"""Rows that are read again, for all who wait for one of them at once.

When a conductor goes, thousands of calls may wait for the new owners of its nodes: they cost one
query for each 500 of them, not one each.
"""

import threading
import time

from obmd.common import errors
from obmd.db import nodes


class Rereading:
    """:param read: ``read(uuids)`` gives the rows.  :param sleep: for tests."""

    def __init__(self, read=nodes.by_uuids, sleep=time.sleep):
        self._read = read
        self._sleep = sleep
        self._lock = threading.Lock()
        self._next = {}

    def get(self, uuid, pause):
        """The node as it is in a moment.

        :param pause: seconds to wait first, for others to join and for the node to move; one of
            a few: only those join who wait as long.
        :returns: :class:`obmd.db.nodes.Node`, or None: it was deleted.
        :raises Unavailable: the database does not answer.
        """
        with self._lock:
            batch = self._next.get(pause)
            lead = batch is None
            if lead:
                batch = self._next[pause] = _Batch()
            batch.uuids.add(uuid)
        if lead:
            self._sleep(pause)
            with self._lock:
                del self._next[pause]
            batch.run(self._read)
        batch.done.wait()
        if batch.error is not None:
            # A copy: one exception object raised in many threads mixes their tracebacks.
            raise errors.from_wire(batch.error.to_wire())
        return batch.rows.get(uuid)


class _Batch:
    def __init__(self):
        self.uuids = set()
        self.rows = {}
        self.error = errors.ObmdError('internal error of the API')
        self.done = threading.Event()

    def run(self, read):
        try:
            self.rows = {node.uuid: node for node in read(self.uuids)}
            self.error = None
        except errors.ObmdError as error:
            self.error = error
        finally:
            self.done.set()
