"""The file of a job's output: who wrote what, in order.

It begins with :data:`MAGIC` and eight random bytes that name this file, then frames: a header
(position of the run in its job, kind, length) and as many bytes.  One process writes it, and a
frame that a crash has torn is the last one.
"""

import json
import os
import struct

MAGIC = b'obmdout1'
#: bytes of random name behind the magic
NAME = 8
#: offset of the first frame
FIRST = len(MAGIC) + NAME

#: position, kind, length of what follows
HEADER = struct.Struct('>IBI')
STDOUT, STDERR, END, GAP = 1, 2, 3, 4
KINDS = (STDOUT, STDERR, END, GAP)
#: bytes of one frame's payload
LONGEST = 65536
_COUNT = struct.Struct('>Q')


class Damaged(ValueError):
    """What stands there is no frame."""


def opening():
    """:returns: bytes, what a new file begins with."""
    return MAGIC + os.urandom(NAME)


def name_of(head):
    """:param head: bytes from the start of a file.  :returns: str, its random name, or None."""
    if len(head) < FIRST or not head.startswith(MAGIC):
        return None
    return head[len(MAGIC) : FIRST].hex()


def header(position, kind, length):
    return HEADER.pack(position, kind, length)


def end(outcome, status):
    """:returns: bytes, the payload of an END frame."""
    return json.dumps({'outcome': outcome, 'status': status}).encode()


def read_end(payload):
    """:returns: (outcome, status).  :raises Damaged:"""
    try:
        said = json.loads(payload)
        return said['outcome'], said['status']
    except (ValueError, TypeError, KeyError):
        raise Damaged('no end of a run') from None


def gap(count):
    """:returns: bytes, the payload of a GAP frame.  :param count: bytes that are missing."""
    return _COUNT.pack(count)


def read_gap(payload):
    """:returns: int.  :raises Damaged:"""
    try:
        return _COUNT.unpack(payload)[0]
    except struct.error:
        raise Damaged('no count of missing bytes') from None


def parse(data, start=0, most=None):
    """Take whole frames off ``data``.

    :param most: int, how many at most, or None.
    :returns: (list of (position, kind, payload), offset behind the last whole frame).
    :raises Damaged:
    """
    found, size = [], len(data)
    while size - start >= HEADER.size and (most is None or len(found) < most):
        position, kind, length = HEADER.unpack_from(data, start)
        if kind not in KINDS or length > LONGEST:
            raise Damaged(f'no frame at {start}')
        begin = start + HEADER.size
        if size - begin < length:
            break
        start = begin + length
        found.append((position, kind, bytes(data[begin:start])))
    return found, start
