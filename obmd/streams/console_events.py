"""A console as framed events, a JSON line each: for callers who must know what they missed.

``{"event": "state", "state": "up" | "down"}``
    whether the source is there; the first line, and whenever that changes.
``{"event": "data", "offset", "cursor", "data"}``
    bytes in base64; ``offset`` is that of the first one, ``cursor`` resumes behind the last one.
``{"event": "gap", "bytes"}``
    bytes that are gone; null: nobody knows how many.

An empty line now and then keeps a silent connection.
"""

import base64
import json
import time

from obmd.streams import viewer


class ConsoleEvents(viewer.ConsoleStream):
    """As :class:`~obmd.streams.viewer.ConsoleStream`, for a viewer without a token of the node.

    :param is_up: callable that says whether the source is.
    :param gap: int, bytes missing before the first one, ``'unknown'`` or None.
    """

    is_by_token = False

    def __init__(self, reader, guard, node_uuid, is_up, gap=None):
        super().__init__(reader, guard, node_uuid, None)
        self._is_up = is_up
        self._told = None
        self._told_lost = 0
        self._gap = gap

    def wake(self):
        self._reader.wake()

    def _read(self):
        """:returns: bytes, whole lines."""
        up = self._is_up()
        # up is told before what comes then, down behind what came before
        if up and not self._told or self._told is None:
            return self._state(up)
        data = self._reader.read(0)
        if not data and not up and self._told:
            return self._state(up)
        began = time.monotonic()
        if not data:
            data = self._reader.read(viewer.IDLE)
        if data:
            return self._framed(data)
        # else it was woken: by bytes that are taken already, or for a change
        return b'\n' if time.monotonic() - began >= viewer.IDLE else b''

    def _state(self, up):
        lines = _line('state', state='up' if up else 'down')
        if self._told is None and self._gap is not None:
            lines += _line('gap', bytes=None if self._gap == 'unknown' else self._gap)
        self._told = up
        return lines

    def _framed(self, data):
        end = self._reader.offset
        lost = self._reader.lost - self._told_lost
        self._told_lost += lost
        line = _line(
            'data',
            offset=end - len(data),
            cursor=f'{self._reader.ring.id}:{end}',
            data=base64.b64encode(data).decode(),
        )
        return _line('gap', bytes=lost) + line if lost else line


def _line(event, **about):
    return json.dumps({'event': event, **about}, separators=(',', ':')).encode() + b'\n'
