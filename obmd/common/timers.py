"""Things to do later, from one thread.

A heap and one sleeping thread serve every pause of a process: thousands of consoles that wait
for their next try cost an entry each, not a thread each.
"""

import heapq
import itertools
import threading
import time

from obmd.common import threads


class Timer:
    """A call that is due at some time; ``cancel()`` forgets it."""

    __slots__ = ('function',)

    def __init__(self, function):
        self.function = function

    def cancel(self):
        self.function = None


class Timers:
    """:param clock: callable giving monotonic seconds."""

    def __init__(self, clock=time.monotonic, spawn=threads.spawn):
        self._clock = clock
        self._spawn = spawn
        self._heap = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._running = False

    def after(self, seconds, function):
        """Call ``function()`` in a thread of its own ``seconds`` from now.  :returns: Timer."""
        timer = Timer(function)
        with self._changed:
            heapq.heappush(self._heap, (self._clock() + seconds, next(self._order), timer))
            if not self._running:
                self._running = True
                self._spawn(self._run)
            elif self._heap[0][2] is timer:
                self._changed.notify()
        return timer

    def _run(self):
        while True:
            with self._changed:
                while not self._heap or self._heap[0][0] > self._clock():
                    wait = self._heap[0][0] - self._clock() if self._heap else None
                    self._changed.wait(wait)
                function = heapq.heappop(self._heap)[2].function
            if function is not None:
                self._spawn(function)
