"""Bytes that a client takes in and does not see, while a stream is silent.

Some clients give up when nothing comes for a while and ask again: OpenFlight Action's after 60 s.
In a chunked body (RFC 9112, section 7.1) the size of a chunk may have zeros in front.  So in each
pause one ``0`` of the next chunk's size is sent ahead of it.

A proxy that makes chunks of its own swallows them.  Clients that read at most 16 digits of a size
(curl, Go) get no more than :data:`DIGITS` zeros; they have no such time limits by themselves.
"""

import threading
import time

from obmd.common import timers

#: zeros in front of a size, for everybody and for who takes any number: 5 more digits are a chunk
DIGITS, MANY = 10, 100_000

_timers = timers.Timers()


class Keepalive:
    """Stands between a stream and its client.

    :param sendall: of the client's socket.
    :param seconds: of silence after which a byte is sent, and between two of them.
    :param most: zeros in front of one chunk.
    :param clock: monotonic, s.
    """

    def __init__(self, sendall, seconds, most=DIGITS, timers=_timers, clock=time.monotonic):
        self._sendall = sendall
        self._seconds = seconds
        self._most = most
        self._timers = timers
        self._clock = clock
        self._lock = threading.Lock()
        self._zeros = 0
        self._sent_at = clock()
        self._stopped = False
        # one timer for as long as the stream lives: it finds out by itself how long it is silent
        self._wait(seconds)

    def send(self, data):
        """Send whole chunks, headers or the end; then the next silence begins.

        :raises OSError: the client has gone.
        """
        with self._lock:
            self._sendall(data)
            self._zeros = 0
            self._sent_at = self._clock()

    def cancel(self):
        """Nothing is sent by itself any more."""
        self._stopped = True
        self._timer.cancel()

    def _wait(self, seconds):
        self._timer = self._timers.after(seconds, self._look)

    def _look(self):
        if self._stopped:
            return
        # who has the lock is sending: that is no silence
        if self._lock.acquire(blocking=False):
            try:
                self._beat()
            except OSError:
                return  # the client has gone; who writes to it next is told
            finally:
                self._lock.release()
        self._wait(max(0.0, self._sent_at + self._seconds - self._clock()) or self._seconds)

    def _beat(self):
        if self._clock() - self._sent_at < self._seconds or self._zeros >= self._most:
            return
        self._sendall(b'0')
        self._zeros += 1
        self._sent_at = self._clock()
