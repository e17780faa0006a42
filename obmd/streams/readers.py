"""Readers of a ring: each is a cursor and a bell."""

import threading

from obmd.common import errors
from obmd.common import metrics

#: bytes handed out at once; a viewer that catches up does so in pieces of this size
CHUNK = 16384


class Reader:
    """A cursor on ``ring`` from ``offset`` on."""

    def __init__(self, ring, offset):
        self.ring = ring
        self.offset = offset
        self.lost = 0
        self._bell = threading.Event()
        ring.attach(self._bell.set)

    def wake(self):
        """Make a waiting ``read`` return."""
        self._bell.set()

    def read(self, timeout):
        """The next bytes, after waiting at most ``timeout`` seconds for them; else ``b''``."""
        data = self._take()
        if data or not timeout:
            return data
        self._bell.wait(timeout)
        self._bell.clear()
        return self._take()

    def _take(self):
        data, lost = self.ring.read(self.offset, CHUNK)
        self.lost += lost
        if lost:
            metrics.VIEWER_BYTES_LOST.count(by=lost)
        self.offset += lost + len(data)
        return data

    def close(self):
        self.ring.detach(self._bell.set)
        self._bell.set()


def parse_cursor(text):
    """``RING:OFFSET`` as it stands in ``Obmd-Cursor``.

    :returns: (str, int).  :raises InvalidInput:
    """
    ring_id, colon, offset = text.rpartition(':')
    if not colon or not offset.isascii() or not offset.isdigit() or len(text) > 80:
        raise errors.InvalidInput('cursor must be RING:OFFSET, as in the Obmd-Cursor header')
    return ring_id, int(offset)


def start_reader(ring, token_id, replay=None, cursor=None):
    """Place a reader for a viewer by token, as :func:`place` does.

    :param token_id: str, the viewer's token; history before its issue stays out of reach.
    """
    return place(ring, ring.oldest_for(token_id), replay, cursor)


def place(ring, oldest, replay=None, cursor=None):
    """Place a reader for a viewer.

    :param oldest: int, offset behind which the viewer may not read.
    :param replay: bytes of history asked for, or None for "from now".
    :param cursor: ``(ring_id, offset)`` of the first byte wanted, or None.
    :returns: ``(Reader, gap)``: gap is None (nothing missing), bytes missing before the first
        byte, or ``'unknown'``.
    """
    if cursor is not None:
        ring_id, offset = cursor
        if ring_id != ring.id or offset > ring.end:
            return Reader(ring, oldest), 'unknown'
        if offset < oldest:
            return Reader(ring, oldest), oldest - offset
        return Reader(ring, offset), None
    if replay:
        return Reader(ring, max(oldest, ring.end - replay)), None
    return Reader(ring, ring.end), None
