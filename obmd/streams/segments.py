"""Where a console's log lies on disk, and how its index reads.

``<log_dir>/<uuid>/`` holds numbered segments, each a pair: ``<number>.log``, the bytes of the
console as they came, and ``<number>.index``, one JSON object a line that says what they are.  Who
writes makes segments of its own and never touches another's, so any number of conductors may
share a folder.

A line of an index has ``at`` (offset in the segment), ``offset`` (of the same byte in the ring)
and ``time`` (wall clock, seconds).  A line without ``event`` says when the bytes from there on
came.  Events: ``begin`` (an owner's first segment) and ``continue`` (its later ones), both with
all that is known: node, uuid, host, owner, ring, token, source; ``token`` (a token was issued:
what follows is in its time), ``up`` and ``down`` (of the source), ``gap`` (``lost`` bytes are
missing, ``marker`` bytes of the segment say so), ``end`` (the owner gave the console up).
"""

import json
import os
import re

#: what may be a folder's name: a uuid, and nothing that leads elsewhere
NAME = re.compile('[0-9A-Za-z_-]{1,64}')
LOG, INDEX = '.log', '.index'
_NUMBER = re.compile(r'([0-9]{8,12})\.(?:log|index)')
#: seconds of output that one line of an index covers at most
MARK = 5.0
#: seconds since 1970; a later time is damage
LATEST = 1e11
#: bytes of one line of an index; a longer one is damage
LONGEST_LINE = 65536


def folder_of(log_dir, uuid):
    """:returns: str, the folder of a node's segments.  :raises ValueError: no uuid."""
    if not NAME.fullmatch(uuid):
        raise ValueError(f'{uuid!r} cannot name a folder')
    return os.path.join(log_dir, uuid)


def path_of(folder, number, kind):
    """:param kind: :data:`LOG` or :data:`INDEX`."""
    return os.path.join(folder, f'{number:08d}{kind}')


def numbers(folder):
    """:returns: list of int, the segments in ``folder``, oldest first.  :raises OSError:"""
    with os.scandir(folder) as entries:
        found = {match[1] for entry in entries if (match := _NUMBER.fullmatch(entry.name))}
    return sorted(map(int, found))


def size_of(folder, number):
    """:returns: (bytes of both files, time of the last write)."""
    size, written_at = 0, 0.0
    for kind in (LOG, INDEX):
        try:
            status = os.stat(path_of(folder, number, kind))
        except FileNotFoundError:
            continue
        size += status.st_size
        written_at = max(written_at, status.st_mtime)
    return size, written_at


def remove(folder, number):
    """The bytes first: an index alone says what is no more, bytes alone say nothing."""
    for kind in (LOG, INDEX):
        try:
            os.unlink(path_of(folder, number, kind))
        except FileNotFoundError:
            pass


def line_of(entry):
    """:param entry: dict.  :returns: bytes, its line in an index."""
    return json.dumps(entry, separators=(',', ':')).encode() + b'\n'


def read_index(folder, number):
    """:returns: list of dict, in order; lines that a crash has torn are left out.

    Never raises for what stands in the file: a segment whose index is gone has no entries.
    """
    entries = []
    try:
        with open(path_of(folder, number, INDEX), 'rb') as file:
            while line := file.readline(LONGEST_LINE):
                entry = _parse(line)
                if entry is not None:
                    entries.append(entry)
    except OSError:
        pass
    return sorted(entries, key=lambda entry: entry['at'])


def _parse(line):
    try:
        entry = json.loads(line)
        at, offset, time = entry['at'], entry['offset'], entry['time']
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if type(at) is not int or type(offset) is not int or not isinstance(time, int | float):
        return None
    possible = at >= 0 and offset >= 0 and 0 <= time < LATEST
    return entry if possible else None
