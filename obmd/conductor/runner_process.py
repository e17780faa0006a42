"""One runner from its start to its end, and the socket to it."""

import fcntl
import os
import select
import socket
import subprocess
import sys
import time

from obmd import runner
from obmd.common import threads
from obmd.runner import messages

#: seconds that a start waits for the runner's predecessor and for its first word
FIRST_WORD = 15.0
#: seconds between two looks whether a runner that was told to end has
COLLECT = 0.5


class RunnerProcess:
    """It is told to end by closing the socket, and ends its scripts before.

    :param spools: :class:`obmd.conductor.spool.Spools`.
    :param settings: dict, the first message to it.
    :raises OSError: it cannot be started, or its predecessor does not end.
    """

    def __init__(self, spools, settings):
        self._decoder = messages.Decoder()
        self._incoming = self._messages()
        lock = spools.open_lock()
        self._socket, theirs = socket.socketpair()
        try:
            self._take(lock)
            self._process = subprocess.Popen(
                [sys.executable, '-I', '-S', runner.PROGRAM, str(theirs.fileno()), str(lock)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), lock),
                env={},
                start_new_session=True,
            )
        except BaseException:
            self._socket.close()
            raise
        finally:
            theirs.close()
            os.close(lock)
        self.send(messages.encode(settings))

    @staticmethod
    def _take(lock):
        """The last runner may be killing its scripts yet."""
        until = time.monotonic() + FIRST_WORD
        while True:
            try:
                return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    raise OSError('the last one has not ended yet') from None
                time.sleep(0.05)

    def first_word(self):
        """:returns: str, why it runs no scripts, or None.  :raises OSError: it died."""
        for message in self._incoming:
            return message['refusal']
        raise OSError('it ended before its first word')

    def news(self):
        """Yield its messages until it has gone."""
        yield from self._incoming

    def send(self, data, descriptor=None):
        """:param data: bytes, a whole message.  :raises OSError: it has gone."""
        if descriptor is not None:
            data = data[self._send_with(data, descriptor) :]
        self._socket.sendall(data)

    def _send_with(self, data, descriptor):
        while True:
            try:
                return socket.send_fds(self._socket, [data], [descriptor])
            except BlockingIOError:
                select.select([], [self._socket], [])

    def close(self):
        """The runner kills everything and ends."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def forget(self):
        """Nobody sends or receives any more."""
        self._socket.close()
        threads.spawn(self._collect)

    def _collect(self):
        while self._process.poll() is None:
            time.sleep(COLLECT)

    def _messages(self):
        while True:
            try:
                data = self._socket.recv(262144)
            except OSError:
                return
            if not data:
                return
            yield from self._decoder.feed(data)
