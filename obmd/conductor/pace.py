"""How many nodes may move at once: as many as their next owners take without a wait.

While a node moves its console is nobody's.  Who gives nodes away knows neither how busy the
next owner is nor how quick its BMCs are; but each node tells how long it was on its way.  So the
number grows while nodes arrive soon and is halved when one took long, as TCP treats its window.
"""

import threading
import time

#: nodes on their way at once: at first, at least and at most
FIRST, LEAST, MOST = 8, 2, 64
#: seconds on the way up to which more nodes may move, and above which fewer
QUICK, SLOW = 0.6, 1.2


class Pace:
    """A semaphore whose size follows what was measured."""

    def __init__(self, clock=time.monotonic):
        self._clock = clock
        self._window = FIRST
        self._moving = 0
        self._slowed_at = float('-inf')
        self._changed = threading.Condition()

    @property
    def window(self):
        """Nodes that may move at once now."""
        return int(self._window)

    def enter(self):
        """Wait for a place."""
        with self._changed:
            while self._moving >= self.window:
                self._changed.wait()
            self._moving += 1

    def leave(self, seconds=None):
        """Give the place back.

        :param seconds: how long a node was on its way; None: it stayed, nothing is learnt.
        """
        with self._changed:
            self._moving -= 1
            if seconds is not None:
                self._learn(seconds)
            self._changed.notify_all()

    def _learn(self, seconds):
        now = self._clock()
        if seconds <= QUICK:
            self._window = min(MOST, self._window + 1)
        elif seconds > SLOW and now - seconds >= self._slowed_at:
            # Once for all that were on their way together: they tell the same thing.
            self._window = max(LEAST, self._window / 2)
            self._slowed_at = now
