"""The bytes of one console: a bounded history with absolute offsets.

A source appends; any number of readers hold an offset each (``obmd.streams.readers``).  A slow
reader costs nothing and delays nobody: what it has not read when the ring wraps is lost to it
alone, and it is told how much.
"""

import collections
import threading

#: holders of access tokens that a ring remembers, those that came last; others are new to it
MOST_HOLDERS = 256


class Ring:
    """History of at most ``size`` bytes.

    :param size: bytes kept.
    :param ring_id: str, random per ring; with an offset it names a byte for ever.
    :param tap: told of all that comes, in its order, while nothing else can: object with
        ``data(offset, chunk)`` and ``barrier(offset, token_id)`` that never block; or None.
    """

    def __init__(self, size, ring_id, tap=None):
        self.id = ring_id
        self._tap = tap
        self.end = 0
        self._size = size
        # Grows to ``size`` and then wraps; the byte at offset n is at n % size all along.
        self._buffer = bytearray()
        self._barrier = 0
        self._barrier_token = None
        # offsets at which holders of access tokens came first, in the order they came last
        self._holders = collections.OrderedDict()
        self._lock = threading.Lock()
        self._bells = set()

    @property
    def start(self):
        """Offset of the oldest byte that is still here."""
        with self._lock:
            return self._start()

    def _start(self):
        return self.end - len(self._buffer)

    def append(self, chunk):
        """Add ``chunk`` (bytes) and wake the readers.  Never blocks for longer than a copy."""
        if not chunk:
            return
        with self._lock:
            if self._tap is not None:
                self._tap.data(self.end, chunk)
            for low in range(0, len(chunk), self._size):
                self._put(chunk[low : low + self._size])
            bells = list(self._bells)
        for bell in bells:
            bell()

    def _put(self, piece):
        position = self.end % self._size
        first = self._size - position
        # Slice assignment beyond the end of a bytearray extends it.
        self._buffer[position : position + len(piece)] = piece[:first]
        if len(piece) > first:
            self._buffer[: len(piece) - first] = piece[first:]
        self.end += len(piece)

    def read(self, offset, limit):
        """What stands at ``offset``, at most ``limit`` bytes.

        :returns: ``(data, lost)``: bytes (empty at the end), and how many bytes between
            ``offset`` and the first byte of ``data`` are gone.
        """
        with self._lock:
            start = max(offset, self._start())
            stop = min(self.end, start + limit)
            if stop <= start:
                return b'', start - offset
            low, high = start % self._size, (stop - 1) % self._size + 1
            if low < high:
                data = bytes(self._buffer[low:high])
            else:
                data = bytes(self._buffer[low:]) + bytes(self._buffer[:high])
            return data, start - offset

    def attach(self, bell):
        """Call ``bell()`` after each append; it must not block."""
        with self._lock:
            self._bells.add(bell)

    def detach(self, bell):
        with self._lock:
            self._bells.discard(bell)

    def set_barrier(self, token_id):
        """A new token was issued: its holder, often a new tenant, sees nothing from before."""
        with self._lock:
            self._set_barrier(token_id)

    def _set_barrier(self, token_id):
        if token_id != self._barrier_token:
            self._barrier_token = token_id
            self._barrier = self.end
            if self._tap is not None:
                self._tap.barrier(self.end, token_id)

    def oldest_for(self, token_id):
        """Offset behind which the holder of ``token_id`` may not read.

        A token that the ring was not told of starts now: its issue may have been missed.
        """
        with self._lock:
            self._set_barrier(token_id)
            return max(self._barrier, self._start())

    def oldest_since(self, holder):
        """Offset behind which the holder of an access token may not read.

        The ring is not told when such a token is issued, so it is taken to be as old as its first
        coming here: what was before may be another's.

        :param holder: str, who.
        """
        with self._lock:
            came = self._holders.setdefault(holder, self.end)
            self._holders.move_to_end(holder)
            if len(self._holders) > MOST_HOLDERS:
                self._holders.popitem(last=False)
            return max(came, self._barrier, self._start())
