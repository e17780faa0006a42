"""A job's output on its way to the API: the file's opening, where the stream begins, frames.

::

    opening (obmd.runner.frames), offset of the first frame (8 bytes), frames
"""

import struct

from obmd.common import errors
from obmd.runner import frames
from obmd.streams import viewer

OFFSET = struct.Struct('>Q')
#: bytes before the first frame
PREFACE = frames.FIRST + OFFSET.size


class SpoolStream(viewer.Stream):
    """:param reader: :class:`obmd.conductor.spool.Reader`.
    :param offset: int, of the file, at which it begins.
    """

    def __init__(self, reader, offset):
        super().__init__()
        self._reader = reader
        self._offset = offset
        self._begun = False

    def __next__(self):
        while self.ended is None:
            try:
                found = self._reader.read(viewer.IDLE)
            except errors.ObmdError:
                break
            if found:
                return b''.join([*self._preface(), *map(_encoded, found)])
            if self._reader.ended:
                break
        self.end('finished')
        raise StopIteration

    def _preface(self):
        if self._begun:
            return ()
        self._begun = True
        name = self._reader.cursor.partition(':')[0]
        return frames.MAGIC, bytes.fromhex(name), OFFSET.pack(self._offset)

    def _wake(self):
        self._reader.close()


def _encoded(frame):
    if frame.kind == frames.END:
        payload = frames.end(*frame.data)
    elif frame.kind == frames.GAP:
        payload = frames.gap(frame.data)
    else:
        payload = frame.data
    return frames.header(frame.position, frame.kind, len(payload)) + payload


def open_spool(spools, job, cursor):
    """:param spools: :class:`obmd.conductor.spool.Spools`.
    :param cursor: str ``SPOOL:OFFSET`` or None; of another file than the one here: as None.
    :returns: :class:`SpoolStream`.
    :raises NotFound: there is no output of the job here.
    """
    if cursor is not None:
        try:
            reader = spools.reader(job, cursor)
            return SpoolStream(reader, int(cursor.partition(':')[2]))
        except errors.InvalidInput:
            pass
    return SpoolStream(spools.reader(job), frames.FIRST)


def read_preface(data):
    """:param data: bytes, :data:`PREFACE` of them.
    :returns: (str spool, int offset).
    :raises Damaged: it is none.
    """
    name = frames.name_of(data)
    if name is None:
        raise frames.Damaged('no output of a job')
    return name, OFFSET.unpack_from(data, frames.FIRST)[0]
