"""Whose turn it is: many queues that are served one after the other, so that a long one keeps no
short one waiting."""

import collections
import threading


class Turns:
    """Queues by a key.  May be used by many threads."""

    def __init__(self):
        self._queues = collections.OrderedDict()
        self._lock = threading.Lock()

    def __len__(self):
        with self._lock:
            return sum(len(queue) for queue in self._queues.values())

    def add(self, key, items):
        """Put ``items`` at the end of the queue of ``key``."""
        with self._lock:
            self._queue(key).extend(items)

    def put_back(self, key, items):
        """Put ``items``, that were taken, in front again."""
        with self._lock:
            self._queue(key).extendleft(reversed(items))

    def _queue(self, key):
        return self._queues.setdefault(key, collections.deque())

    def take(self, count):
        """Take up to ``count`` items, one of each queue in turn.

        :returns: list of (key, item).
        """
        taken = []
        with self._lock:
            while self._queues and len(taken) < count:
                key, queue = self._queues.popitem(last=False)
                if queue:
                    taken.append((key, queue.popleft()))
                if queue:
                    self._queues[key] = queue
        return taken

    def drop(self, key):
        """:returns: list of the items that wait under ``key``; they are not there any more."""
        with self._lock:
            return list(self._queues.pop(key, ()))

    def drop_all(self):
        """:returns: list of all items; none is there any more."""
        with self._lock:
            queues, self._queues = self._queues, collections.OrderedDict()
        return [item for queue in queues.values() for item in queue]
