"""File calls that may stall, made in native threads while the caller alone waits.

A disk that hangs holds up who asked for it and nobody else: not the hub of a process that is
monkey-patched.  What is called must use nothing that such a process replaces (``os.open``,
``os.read``, locks, loggers); ``os.pread``, ``os.fstat``, ``os.unlink`` and the like are as they
are.
"""

import collections
import threading

from obmd.common import errors
from obmd.common import threads

#: seconds after which a disk counts as one that does not answer
PATIENCE = 30.0
#: threads; one stalled call holds one
THREADS = 4


class _Call:
    __slots__ = ('function', 'arguments', 'result', 'error', 'done')

    def __init__(self, function, arguments):
        self.function = function
        self.arguments = arguments
        self.result = self.error = None
        self.done = threading.Event()


class Disk:
    """:param patience: seconds that :meth:`call` waits at most."""

    def __init__(self, patience=PATIENCE):
        self._patience = patience
        self._work = threads.native_queue()
        self._finished = collections.deque()
        self._bell = None
        self._starting = threading.Lock()

    def call(self, function, *arguments):
        """:returns: what ``function(*arguments)`` does, and raises what that raises.

        :raises Unavailable: the disk does not answer; what was asked may yet happen.
        """
        self._start()
        call = _Call(function, arguments)
        self._work.put(call)
        if not call.done.wait(self._patience):
            raise errors.Unavailable('the disk does not answer', retry_after=10)
        if call.error is not None:
            raise call.error
        return call.result

    def _start(self):
        with self._starting:
            if self._bell is None:
                self._bell = threads.Bell()
                threads.spawn(self._wake)
                for _ in range(THREADS):
                    threads.spawn_native(self._run)

    def _run(self):
        while True:
            call = self._work.get()
            try:
                call.result = call.function(*call.arguments)
            except Exception as error:
                call.error = error
            self._finished.append(call)
            self._bell.ring()

    def _wake(self):
        while True:
            self._bell.wait()
            while self._finished:
                self._finished.popleft().done.set()
