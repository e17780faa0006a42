"""What a viewer reads: an endless answer that ends when its right to it does.

A server iterates over it; an object with ``is_stream`` gets its headers out before the first
byte and is closed when the client has gone (``obmd.common.serving``).
"""

import collections
import threading

#: seconds a silent stream sleeps at most before it looks whether it should still be there
IDLE = 30.0


class Stream:
    """Base of streams: an iterator of bytes with an end that others can bring about."""

    is_stream = True
    #: seconds that one write to the client may stand still; None: any number
    write_timeout = None
    #: (seconds, zeros) of ``obmd.common.keepalive``, or None: it may be silent
    keepalive = None
    #: of a console: whether it ends when the node's token does
    is_by_token = True

    def __init__(self):
        self.ended = None
        self._callbacks = []
        self._lock = threading.Lock()

    def __iter__(self):
        return self

    def __next__(self):
        raise StopIteration

    def on_end(self, callback):
        """Call ``callback()`` once at the end, at once if that has been."""
        with self._lock:
            if self.ended is None:
                self._callbacks.append(callback)
                return
        callback()

    def end(self, reason):
        """End the stream from outside: cleanly, at once.  :param reason: str, for the log."""
        with self._lock:
            if self.ended is not None:
                return
            self.ended = reason
            callbacks, self._callbacks = self._callbacks, []
        self._wake()
        for callback in callbacks:
            callback()

    def close(self):
        """The client has gone, or the server is done with it."""
        self.end('closed')

    def _wake(self):
        """Make a waiting ``__next__`` return."""


class ConsoleStream(Stream):
    """A viewer of a console.

    :param reader: :class:`obmd.streams.readers.Reader`.
    :param guard: object with ``allows(stream) -> bool`` saying whether the stream's token was
        checked recently enough for one more byte; may wait for a check.
    :param node_uuid, token_id: what the guard checks.
    :param line_chunks: yield one line at a time.
    """

    def __init__(self, reader, guard, node_uuid, token_id, line_chunks=False):
        super().__init__()
        self.node_uuid = node_uuid
        self.token_id = token_id
        self.checked_at = None
        self._reader = reader
        self._guard = guard
        self._line_chunks = line_chunks
        self._lines = collections.deque()
        self._rest = b''

    @property
    def lost(self):
        """Bytes that the ring had overwritten before this viewer took them."""
        return self._reader.lost

    @property
    def offset(self):
        """Of the next byte that it takes from the ring."""
        return self._reader.offset

    def wake(self):
        """What it would tell besides bytes may have changed."""

    def __next__(self):
        while self.ended is None:
            chunk = self._lines.popleft() if self._lines else self._read()
            if not chunk:
                continue
            if self.ended is not None or not self._guard.allows(self):
                break
            return chunk
        raise StopIteration

    def _read(self):
        chunk = self._reader.read(IDLE)
        if not self._line_chunks:
            return chunk
        # A line that the reader cut, or that is not there whole yet, waits for its end.
        *lines, self._rest = (self._rest + chunk).split(b'\n')
        self._lines.extend(line + b'\n' for line in lines)
        return self._lines.popleft() if self._lines else b''

    def _wake(self):
        self._reader.close()


class LineStream(Stream):
    """Lines that many threads put, in the order in which they come.

    It ends after ``finish()`` once all are read.  All of them are kept for a client that is slow,
    so one that reads nothing at all is cut.
    """

    write_timeout = 60.0

    def __init__(self):
        super().__init__()
        self._lines = collections.deque()
        self._bell = threading.Event()
        self._finished = False

    def put(self, line):
        """:param line: bytes with its newline.  After the end it is dropped."""
        if self.ended is None:
            self._lines.append(line)
            self._bell.set()

    def finish(self):
        self._finished = True
        self._bell.set()

    def __next__(self):
        while self.ended is None:
            self._bell.clear()
            # Asked before the lines: the last of them is put before the finish.
            finished = self._finished
            if self._lines:
                return self._take()
            if finished:
                self.end('finished')
                break
            self._bell.wait(IDLE)
        raise StopIteration

    def _take(self):
        return b''.join(self._lines.popleft() for _ in range(len(self._lines)))

    def _wake(self):
        self._bell.set()
