"""Messages between a conductor and its runner: JSON objects, each behind its length.

They go over a stream socket; the descriptor of a job's file goes beside the message ``job``.

Conductor to runner, by ``do``: ``settings`` (first), ``job``, ``start``, ``kill``, ``say``,
``end``, ``close``, ``lease``.  Runner to conductor: ``ready`` or ``refused`` (first), ``news``.
"""

import json
import struct

LENGTH = struct.Struct('>I')
#: bytes of one message; environment and arguments of a script are bounded far below
LONGEST = 16 * 1024 * 1024


class Broken(ValueError):
    """What came is no message."""


def encode(message):
    """:param message: dict.  :returns: bytes."""
    body = json.dumps(message, separators=(',', ':')).encode()
    if len(body) > LONGEST:
        raise Broken('the message is too long')
    return LENGTH.pack(len(body)) + body


class Decoder:
    """Puts messages together from the pieces in which they come."""

    def __init__(self):
        self._data = bytearray()

    def feed(self, data):
        """:returns: list of dict, the messages that are whole now.  :raises Broken:"""
        self._data += data
        whole, start = [], 0
        while len(self._data) - start >= LENGTH.size:
            length = LENGTH.unpack_from(self._data, start)[0]
            if length > LONGEST:
                raise Broken('the message is too long')
            begin = start + LENGTH.size
            if len(self._data) - begin < length:
                break
            start = begin + length
            try:
                message = json.loads(self._data[begin:start])
            except ValueError:
                raise Broken('the message is no JSON') from None
            if not isinstance(message, dict):
                raise Broken('the message is no object')
            whole.append(message)
        del self._data[:start]
        return whole
