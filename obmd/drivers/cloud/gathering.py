"""Questions about many machines of a cloud in few calls.

A cloud bounds calls by the minute, and answers for two hundred machines as fast as for one.  Who
asks within a moment of another shares one call; each answer is read after its question came.
"""

import threading
import time

from obmd.common import threads
from obmd.drivers.cloud import calls

#: seconds that the first of some waits for others
MOMENT = 0.02


class Gathering:
    """:param ask: ``ask(names, deadline)``, given a list, gives a dict of name to answer.
    :param most: names in one call.
    """

    def __init__(self, ask, most, sleep=time.sleep):
        self._ask = ask
        self._most = most
        self._sleep = sleep
        self._lock = threading.Lock()
        self._next = None

    def get(self, name, deadline):
        """:returns: the answer for ``name``, or None: there is none.

        :raises Late: no answer within ``deadline``.  :raises: what ``ask`` raises.
        """
        with self._lock:
            call = self._next
            if call is None:
                call = self._next = _Call(deadline)
                threads.spawn(self._run, call)
            call.names[name] = True
            call.deadline = max(call.deadline, deadline, key=lambda one: one.remaining)
            if len(call.names) >= self._most:
                self._next = None
        if not call.done.wait(deadline.remaining):
            raise calls.Late
        if call.error is not None:
            raise call.error
        return call.answers.get(name)

    def _run(self, call):
        self._sleep(MOMENT)
        with self._lock:
            if self._next is call:
                self._next = None
        try:
            call.answers = self._ask(list(call.names), call.deadline)
        except Exception as error:  # it is of those who asked
            call.error = error
        finally:
            call.done.set()


class _Call:
    def __init__(self, deadline):
        self.deadline = deadline
        self.names = {}
        self.answers = {}
        self.error = None
        self.done = threading.Event()
