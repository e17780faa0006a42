"""A console's log on disk: what it says, put back to the offsets of its ring; and a disk that
stalls."""

import collections
import contextlib
import os
import time

from obmd.streams import segments

#: bytes (by offset in the ring), gaps: list of (offset, bytes lost), entries of the index
Written = collections.namedtuple('Written', 'known gaps entries')


def read(folder, patched=()):
    """:param patched: dict of segment number -> bytes to take for what its file holds.
    :returns: dict of ring -> :class:`Written`.
    """
    rings = {}
    for number in segments.numbers(folder):
        entries = segments.read_index(folder, number)
        if not entries:
            continue
        data = _content(folder, number, patched)
        written = rings.setdefault(entries[0]['ring'], Written({}, [], []))
        written.entries.extend(entries)
        for entry, after in zip(entries, [*entries[1:], None], strict=True):
            start, offset = entry['at'], entry['offset']
            if entry.get('event') == 'gap':
                written.gaps.append((offset, entry['lost']))
                start, offset = start + entry['marker'], offset + entry['lost']
            for byte in data[start : after['at'] if after else None]:
                assert offset not in written.known, f'{offset} is there twice'
                written.known[offset] = byte
                offset += 1
    return rings


def _content(folder, number, patched):
    if number in patched:
        return patched[number]
    with open(segments.path_of(folder, number, segments.LOG), 'rb') as file:
        return file.read()


def text(written):
    """:returns: bytes, from the ring's first to the first that is missing."""
    found = bytearray()
    while len(found) in written.known:
        found.append(written.known[len(found)])
    return bytes(found)


class Stall:
    """The segment that is written now becomes a FIFO that nobody reads: its open() hangs, and with
    it the thread that writes for all consoles of its conductor.

    :ivar writer_is_there: bool, whether its end lets somebody go on.
    """

    def __init__(self, folder, owner):
        self._folder = folder
        self.number = max(
            number
            for number in segments.numbers(folder)
            if segments.read_index(folder, number)[0]['owner'] == owner
        )
        self._path = segments.path_of(folder, self.number, segments.LOG)
        self.writer_is_there = True

    def __enter__(self):
        os.mkfifo(self._path + '.fifo')
        os.link(self._path, self._path + '.aside')
        os.replace(self._path + '.fifo', self._path)
        # a writer that had the file open still may write
        time.sleep(0.2)
        with open(self._path + '.aside', 'rb') as file:
            self._before = file.read()
        return self

    def __exit__(self, *unused):
        fifo = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
        os.replace(self._path + '.aside', self._path)
        self._taken, piece, until = b'', bytearray(65536), time.monotonic() + 10
        while self.writer_is_there and time.monotonic() < until:
            count = None
            with contextlib.suppress(BlockingIOError):
                # os.read would wait: these tests are monkey-patched
                count = os.readv(fifo, [piece])
                self._taken += piece[:count]
            if self._taken and count == 0:
                break
            time.sleep(0.01)
        os.close(fifo)

    def whole(self):
        """:returns: what the segment would hold, its number as the key."""
        with open(self._path, 'rb') as file:
            data = file.read()
        size = len(self._before)
        return {self.number: data[:size] + self._taken + data[size:]}
