"""One console's log as one owner writes it: segments, their index, what is missing.

All of this runs in the log's native thread (``obmd.conductor.console_log``) and uses nothing that
a monkey-patched process replaces.  Each byte has its offset in the ring, so what was lost, by the
queue or by the disk, shows by itself when the next byte comes and is counted exactly.
"""

import contextlib
import dataclasses
import os

from obmd.common import threads
from obmd.streams import segments

#: segments of one node, however small: each restart begins one
MOST_SEGMENTS = 256
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclasses.dataclass(frozen=True)
class Limits:
    """:ivar segment: bytes of a segment with its index.  :ivar count: full segments kept."""

    segment: int
    count: int


@dataclasses.dataclass(frozen=True)
class Item:
    """What happened, in the order in which it did.

    :ivar kind: ``data``, ``token``, ``up``, ``down`` or ``end``.
    :ivar offset: in the ring, of the first byte of ``value`` or of the next byte.
    :ivar time: wall clock, seconds.
    :ivar value: bytes, a token's id or a reason.
    """

    kind: str
    offset: int
    time: float
    value: bytes | str | None = None

    @property
    def end(self):
        """Offset in the ring behind it."""
        return self.offset + (len(self.value) if self.kind == 'data' else 0)


@dataclasses.dataclass(frozen=True)
class Loss:
    """Nothing was taken up to ``offset``; from there on these hold."""

    offset: int
    time: float
    token: str | None
    source: str | None


@dataclasses.dataclass
class _State:
    """What has been told up to some byte."""

    next: int
    token: str | None
    source: str | None
    marked_at: float = float('-inf')

    def note(self, item):
        if item.kind == 'token':
            self.token = item.value
        elif item.kind == 'up':
            self.source = 'up'
        elif item.kind in ('down', 'end'):
            self.source = item.value
        else:
            self.next = item.end

    def skip(self, loss):
        self.next = max(self.next, loss.offset)
        self.token, self.source = loss.token, loss.source


class _Plan:
    """What one write brings to a segment: bytes, and the lines of the index about them.

    :param state: of which a copy is carried on.  :param size: of the segment before.
    """

    def __init__(self, state, size):
        self.state = dataclasses.replace(state)
        self.data = bytearray()
        self.entries = []
        self._size = size
        #: (first byte in ``data``, its offset in the ring or None: a marker)
        self._spans = []

    def take(self, item):
        state = self.state
        if item.kind != 'data':
            told = {} if item.kind == 'up' else {_FIELD[item.kind]: item.value}
            self._tell(item.offset, item.time, event=item.kind, **told)
            state.note(item)
            return
        if item.end <= state.next:
            return  # it is on disk: only what was to be said of it was not
        if item.offset > state.next:
            self._gap(item.offset, item.time)
        if not state.marked_at <= item.time < state.marked_at + segments.MARK:
            self._tell(item.offset, item.time)
            state.marked_at = item.time
        self._spans.append((len(self.data), state.next))
        self.data += item.value[state.next - item.offset :]
        state.note(item)

    def mark(self, loss):
        before = self.state.next
        self.state.skip(loss)
        after, self.state.next = self.state.next, before
        self._gap(after, loss.time)

    def _gap(self, offset, time):
        state, lost = self.state, offset - self.state.next
        marker = b'\n[obmd: %d bytes missing here]\n' % lost if lost else b''
        told = {'event': 'gap', 'lost': lost, 'marker': len(marker)}
        self._tell(state.next, time, **told, token=state.token, source=state.source)
        if marker:
            self._spans.append((len(self.data), None))
            self.data += marker
        state.next = offset
        state.marked_at = float('-inf')

    def _tell(self, offset, time, **more):
        at = self._size + len(self.data)
        self.entries.append({'at': at, 'offset': offset, 'time': round(time, 3), **more})

    def whole(self, written):
        """What stays when only so many bytes were written: all but a marker at their end.

        :returns: (bytes, offset in the ring behind them or None: as before).
        """
        offset = None
        for (start, of_ring), (stop, _) in zip(
            self._spans, [*self._spans[1:], (written, None)], strict=True
        ):
            if start >= written:
                break
            stop = min(stop, written)
            if of_ring is not None:
                offset = of_ring + stop - start
            elif stop == written:
                return start, offset
        return written, offset


class Track:
    """:param folder: of :func:`obmd.streams.segments.folder_of`.
    :param about: dict, what a segment says of itself: node, uuid, host, owner, ring.
    :param token: id of the token in whose time it begins, or None.
    :param limits: :class:`Limits`.
    :ivar written: bytes of the console on disk.  :ivar lost: bytes that the disk did not take.
    """

    def __init__(self, folder, about, token, limits):
        self.written = 0
        self.lost = 0
        self._folder = folder
        self._about = about
        self._limits = limits
        self._state = _State(0, token, None)
        self._loss = None
        self._number = None
        self._size = 0
        self._index_size = 0
        self._begun = False

    @property
    def behind(self):
        """Whether something is missing that is not marked yet."""
        return self._loss is not None

    def lose(self, loss):
        """:param loss: :class:`Loss`, of what would have come before its offset."""
        self._loss = loss

    def write(self, items):
        """Append ``items`` (list of :class:`Item`), and mark what is missing.

        :raises OSError: what is not on disk is lost; ``behind`` until that is marked.
        """
        try:
            for part in _parts(items, self._limits.segment // 2):
                self._write_part(part)
            if self._loss is not None:
                self._write_part([])
        except OSError:
            self._fail(items)
            raise

    def _write_part(self, items):
        try:
            self._put(items)
        except FileNotFoundError:
            self._number = None  # somebody removed it: once more, in a new one
            self._put(items)

    def _put(self, items):
        coming = sum(len(item.value) for item in items if item.kind == 'data')
        full = self._size + self._index_size + coming > self._limits.segment
        if self._size and full:
            self._number = None
        if self._number is None:
            if not coming and not (items == [] and self._loss.offset > self._state.next):
                self._remember(items)
                return
            while items and items[0].kind != 'data' and not self._follows_loss(items[0]):
                self._state.note(items.pop(0))
            self._begin(items[0].time if items else self._loss.time)
        plan, loss = _Plan(self._state, self._size), self._loss
        for item in items:
            if loss is not None and self._follows_loss(item):
                plan.mark(loss)
                loss = None
            plan.take(item)
        if not items:
            plan.mark(loss)
            loss = None
        self._carry_out(plan)
        self._state, self._loss = plan.state, loss

    def _follows_loss(self, item):
        return self._loss is not None and item.offset >= self._loss.offset

    def _remember(self, items):
        """There is no segment: the next one says at its begin what holds then."""
        for item in items:
            self._state.note(item)
        if not items:
            self._state.skip(self._loss)
            self._loss = None

    def _fail(self, items):
        """None of what is not on disk is tried again: memory is bounded."""
        state, loss = dataclasses.replace(self._state), self._loss
        time = loss.time if loss else items[-1].time
        for item in items:
            time = item.time
            if loss is not None and self._follows_loss(item):
                state.skip(loss)
                loss = None
            if item.kind != 'data' or item.end > self._state.next:
                if item.kind == 'data':
                    self.lost += item.end - max(item.offset, self._state.next)
                state.note(item)
        if loss is not None:
            state.skip(loss)
        self._loss = Loss(state.next, time, state.token, state.source)

    # -- the disk -----------------------------------------------------------------------------

    def _begin(self, time):
        """Make a segment of one's own.  A folder that somebody removed is made again."""
        for folder in (os.path.dirname(self._folder), self._folder):
            os.makedirs(folder, mode=0o700, exist_ok=True)
        there = segments.numbers(self._folder)
        number = there[-1] + 1 if there else 1
        while not self._make(number, segments.LOG):
            number += 1
        state = self._state
        line = segments.line_of(
            {
                'at': 0,
                'offset': state.next,
                'time': round(time, 3),
                'event': 'continue' if self._begun else 'begin',
                **self._about,
                'token': state.token,
                'source': state.source,
            }
        )
        try:
            self._make(number, segments.INDEX)
            self._append(segments.path_of(self._folder, number, segments.INDEX), line)
        except OSError:
            with contextlib.suppress(OSError):
                segments.remove(self._folder, number)
            raise
        self._begun = True
        self._number, self._size, self._index_size = number, 0, len(line)
        state.marked_at = time
        self._prune([*there, number])

    def _make(self, number, kind):
        """:returns: False when it is there already: another conductor was faster."""
        path = segments.path_of(self._folder, number, kind)
        try:
            os.close(threads.native_open(path, _APPEND | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return False
        return True

    def _prune(self, there):
        """Remove the oldest until there is room for this segment to grow."""
        room = self._limits.segment * (self._limits.count - 1)
        sizes = [segments.size_of(self._folder, number)[0] for number in there]
        while len(there) > 1 and (sum(sizes) > room or len(there) > MOST_SEGMENTS):
            segments.remove(self._folder, there.pop(0))
            sizes.pop(0)

    def _carry_out(self, plan):
        """The bytes first: an index that lacks a line misleads less than one with too many."""
        if plan.data:
            self._append_bytes(plan)
        self._tell(plan.entries)

    def _tell(self, entries):
        if entries:
            lines = b''.join(map(segments.line_of, entries))
            number, self._number = self._number, None  # a line that is torn is the last
            self._append(segments.path_of(self._folder, number, segments.INDEX), lines)
            self._number = number
            self._index_size += len(lines)

    def _append_bytes(self, plan):
        path = segments.path_of(self._folder, self._number, segments.LOG)
        fd, written = threads.native_open(path, _APPEND), 0
        data = memoryview(plan.data)
        try:
            while written < len(data):
                written += threads.native_write(fd, data[written:])
        except OSError:
            stays, offset = plan.whole(written)
            if stays < written:
                os.ftruncate(fd, self._size + stays)
            self._keep(stays, self._state.next if offset is None else offset)
            with contextlib.suppress(OSError):
                self._tell([entry for entry in plan.entries if entry['at'] < self._size])
            raise
        finally:
            os.close(fd)
        self._keep(len(data), plan.state.next)

    def _keep(self, size, offset):
        """So much is on disk and never written again, whatever follows."""
        self._size += size
        self.written += size
        self._state.next = offset

    def _append(self, path, data):
        fd = threads.native_open(path, _APPEND)
        try:
            while data:
                data = data[threads.native_write(fd, data) :]
        finally:
            os.close(fd)


_FIELD = {'token': 'token', 'down': 'reason', 'end': 'reason'}


def _parts(items, most):
    """Yield lists of items with about ``most`` bytes each, so that segments keep their size."""
    part, size = [], 0
    for item in items:
        part.append(item)
        size += len(item.value) if item.kind == 'data' else 0
        if size >= most:
            yield part
            part, size = [], 0
    if part:
        yield part
