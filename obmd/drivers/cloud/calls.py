"""Calls of a cloud's library, which waits and tries again by a clock of its own.

A call runs in a thread; who asked waits for it until its deadline, and no longer when the process
goes down.  A call that comes back later is forgotten.
"""

import threading

from obmd.common import errors
from obmd.common import threads


class Late(Exception):
    """No answer within the deadline; what was asked may still happen."""


class Calls:
    """The calls for one node."""

    def __init__(self):
        self._lock = threading.Lock()
        self._waiting = set()
        self._aborted = None

    def run(self, function, deadline):
        """:returns: what ``function()`` gives.  :raises: what it raises; Late; what aborted it."""
        call = _Call(function)
        with self._lock:
            if self._aborted is not None:
                raise errors.from_wire(self._aborted.to_wire())
            self._waiting.add(call)
        try:
            if deadline.expired:
                raise Late
            threads.spawn(call.run)
            call.done.wait(deadline.remaining)
        finally:
            with self._lock:
                self._waiting.discard(call)
        if self._aborted is not None and not call.over:
            raise errors.from_wire(self._aborted.to_wire())
        if not call.over:
            raise Late
        if call.error is not None:
            raise call.error
        return call.value

    def abort(self, error):
        """Every call, now and from now on, ends with ``error``."""
        with self._lock:
            self._aborted = error
            waiting = list(self._waiting)
        for call in waiting:
            call.done.set()


class _Call:
    def __init__(self, function):
        self._function = function
        self.done = threading.Event()
        self.over = False
        self.value = self.error = None

    def run(self):
        try:
            self.value = self._function()
        except Exception as error:  # it is the caller's
            self.error = error
        finally:
            self.over = True
            self.done.set()
