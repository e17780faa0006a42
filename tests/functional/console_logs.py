"""What a console's log on disk says, put back to the offsets of its ring."""

import collections

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
