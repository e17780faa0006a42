"""The runner's end of the socket to its conductor; sending never waits."""

import array
import collections
import os
import socket

from obmd.runner import messages

#: bytes taken at once, and descriptors that may come with them
TAKE, DESCRIPTORS = 262144, 64


class Gone(Exception):
    """The conductor has closed the connection or is no more."""


class Channel:
    def __init__(self, sock):
        self._socket = sock
        self._decoder = messages.Decoder()
        self._descriptors = collections.deque()
        self._unsent = b''
        sock.setblocking(False)

    def fileno(self):
        return self._socket.fileno()

    @property
    def blocked(self):
        """Whether the conductor must read before more can be sent."""
        return bool(self._unsent)

    def receive(self):
        """:returns: list of messages.  :raises Gone:"""
        try:
            data, control, _, _ = self._socket.recvmsg(
                TAKE, socket.CMSG_SPACE(DESCRIPTORS * 4), socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return []
        except OSError:
            raise Gone from None
        for level, kind, content in control:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                whole = len(content) - len(content) % 4
                self._descriptors.extend(array.array('i', content[:whole]))
        if not data:
            raise Gone
        try:
            return self._decoder.feed(data)
        except messages.Broken:
            raise Gone from None

    def descriptor(self):
        """:returns: int, that came with the oldest message that has one.  :raises Gone:"""
        if not self._descriptors:
            raise Gone
        return self._descriptors.popleft()

    def send(self, message):
        """:raises Gone:"""
        self._unsent += messages.encode(message)
        self.flush()

    def flush(self):
        """:raises Gone:"""
        try:
            while self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError:
            raise Gone from None

    def close(self):
        self._socket.close()
        while self._descriptors:
            os.close(self._descriptors.popleft())
