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

    def count(self, key):
        """:returns: int, items that wait under ``key``."""
        with self._lock:
            return len(self._queues.get(key, ()))

    def keys(self):
        """:returns: list of the keys that have items, whose turn is next first."""
        with self._lock:
            return [key for key, queue in self._queues.items() if queue]

    def take(self, count, room=None):
        """Take up to ``count`` items, one of each queue in turn.

        :param room: ``room(key)``, how many more of ``key`` may be taken; None: any number.
        :returns: list of (key, item).
        """
        taken, rooms = [], {}
        with self._lock:
            waiting = collections.deque(self._queues)
            while waiting and len(taken) < count:
                key = waiting.popleft()
                queue = self._queues[key]
                if not queue:
                    del self._queues[key]
                    continue
                if key not in rooms:
                    rooms[key] = room(key) if room is not None else count
                if rooms[key] <= 0:
                    continue
                taken.append((key, queue.popleft()))
                rooms[key] -= 1
                if queue:
                    self._queues.move_to_end(key)
                    waiting.append(key)
                else:
                    del self._queues[key]
        return taken

    def take_of(self, key, count):
        """:returns: list of up to ``count`` items of one queue."""
        with self._lock:
            queue = self._queues.get(key, ())
            taken = [queue.popleft() for _ in range(min(count, len(queue)))]
            if key in self._queues:
                self._queues.move_to_end(key)
                if not queue:
                    del self._queues[key]
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
