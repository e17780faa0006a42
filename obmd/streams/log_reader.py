"""Reading a console's log back: pieces of bytes and what happened, in order.

Works while somebody writes it, and after a crash: what is torn is left out, bytes that no line of
an index covers any more belong to the last one.
"""

import dataclasses
import itertools

from obmd.streams import segments

#: bytes read at once
CHUNK = 65536


@dataclasses.dataclass(frozen=True)
class Event:
    """:ivar entry: dict, a line of an index with its ``event``."""

    entry: dict


@dataclasses.dataclass(frozen=True)
class Piece:
    """Bytes of the console."""

    data: bytes


def read(folder, since=float('-inf')):
    """Yield :class:`Event` and :class:`Piece`, oldest first.

    :param since: wall clock, seconds; what is known to be older is left out, but for the begin of
        the segment in which the first piece is.
    :raises OSError: there is no such folder, or no right to read it.
    """
    there = segments.numbers(folder)
    for number in there:
        if segments.size_of(folder, number)[1] >= since:
            yield from _read_segment(folder, number, since)


def _read_segment(folder, number, since):
    entries = segments.read_index(folder, number)
    try:
        with open(segments.path_of(folder, number, segments.LOG), 'rb') as file:
            yield from _read_pieces(file, entries, since)
    except FileNotFoundError:
        return  # it went meanwhile


def _read_pieces(file, entries, since):
    if not entries or entries[0]['at'] > 0:
        stop = entries[0]['at'] if entries else None
        yield from _pieces(file, 0, stop)
    head = None
    for entry, after in itertools.zip_longest(entries, entries[1:]):
        start, told = entry['at'], []
        if 'event' in entry:
            event = Event(entry)
            start += _marker(entry)
            if entry['event'] in ('begin', 'continue'):
                head = event
            elif entry['time'] >= since:
                told.append(event)
        if after is None or entry['time'] + segments.MARK >= since:
            told = itertools.chain(told, _pieces(file, start, after and after['at']))
        for part in told:
            if head is not None:
                yield head
                head = None
            yield part
    if head is not None and head.entry['time'] >= since:
        yield head


def _marker(entry):
    """Bytes of the segment that are obmd's own words."""
    marker = entry.get('marker', 0)
    return marker if type(marker) is int and marker >= 0 else 0


def _pieces(file, start, stop):
    file.seek(start)
    while stop is None or start < stop:
        data = file.read(CHUNK if stop is None else min(CHUNK, stop - start))
        if not data:
            return
        start += len(data)
        yield Piece(data)
