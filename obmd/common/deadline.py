"""A point in monotonic time that a request carries with it, from the door to the packet."""

import time


class Deadline:
    """When an answer must be there.

    :param seconds: float, from now.
    :param clock: callable giving monotonic seconds; tests pass their own.
    """

    __slots__ = ('_at', '_clock')

    def __init__(self, seconds, clock=time.monotonic):
        self._clock = clock
        self._at = clock() + seconds

    @property
    def remaining(self):
        """Seconds left, never negative."""
        return max(0.0, self._at - self._clock())

    @property
    def expired(self):
        return self._clock() >= self._at

    def within(self, seconds):
        """A deadline at most ``seconds`` from now and never later than this one."""
        return Deadline(min(seconds, self.remaining), self._clock)

    def __repr__(self):
        return f'<Deadline in {self.remaining:.3f} s>'
