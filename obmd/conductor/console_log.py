"""Console logs on disk, for when nobody watches and for when a conductor dies.

Writing happens in one native thread behind a bounded queue: a disk that stalls, in whatever call,
costs log lines, which are marked as missing, and never a console byte or a viewer's.  Files are
opened for one write each: thousands of consoles hold no descriptor.
"""

import collections
import errno
import logging
import os
import time

from obmd.common import errors
from obmd.common import threads
from obmd.conductor import log_track
from obmd.conductor.log_keeping import Keeping
from obmd.streams import segments

LOG = logging.getLogger(__name__)

#: seconds between two writes; what is younger is lost with the process
FLUSH = 0.5
#: bytes that what is not data counts in the queue
EVENT = 200
#: seconds that a start waits to hear whether the folder can be used; a disk that hangs longer is
#: one that stalls
FIRST_TRY = 2.0


class ConsoleLog:
    """:param folder: str, made with mode 0700 if it is not there.
    :param queue: bytes that may wait for the disk, over all consoles.
    :param limits: :class:`obmd.conductor.log_track.Limits`.
    :param keep: seconds after which a segment is removed, or None.
    :param clock: wall clock.
    :raises Fatal: the folder cannot be made or used.

    :class:`NodeLog` is called from the I/O loop and only appends to a deque; all else here runs
    in the native thread and uses nothing that a monkey-patched process replaces.

    :ivar bytes_written: of consoles, on disk.  :ivar failing: str or None, why not.
    """

    def __init__(self, folder, queue, limits, keep=None, clock=time.time, sleep=time.sleep):
        self.folder = folder
        self.limits = limits
        self.clock = clock
        self.bytes_written = 0
        self.failing = None
        self._most = queue
        self._queue = collections.deque()
        self._queued = 0
        self._done_with = 0
        self._dropped = 0
        self._lost = 0
        self._behind = collections.deque()
        self._marking = set()
        self._failures = {}
        self._lagging = False
        self._stopped = False
        self._done = True
        self._keeping = Keeping(folder, keep, clock) if keep else None
        self._check(sleep)

    @property
    def bytes_queued(self):
        """Bytes that wait for the disk."""
        return self._queued - self._done_with

    @property
    def bytes_lost(self):
        """Bytes of consoles that the log lacks."""
        return self._dropped + self._lost

    def _check(self, sleep):
        """A native thread looks: a disk that hangs must not hold up the start."""
        found = []
        threads.spawn_native(lambda: found.append(_why_unusable(self.folder)))
        until = time.monotonic() + FIRST_TRY
        while not found and time.monotonic() < until:
            sleep(0.005)
        if not found:
            LOG.warning('[console] log_dir %s: the disk does not answer', self.folder)
        elif found[0]:
            raise errors.Fatal(f'[console] log_dir {self.folder}: {found[0]}')

    def open(self, uuid, about, token):
        """:param about: dict, what each segment says of itself.
        :param token: id of the token in whose time the log begins, or None.
        :returns: :class:`NodeLog`, or None where ``uuid`` cannot name a folder.
        """
        try:
            folder = segments.folder_of(self.folder, uuid)
        except ValueError as error:
            LOG.error('no console log: %s', error)
            return None
        return NodeLog(self, log_track.Track(folder, about, token, self.limits), token)

    def put(self, node, item, size):
        """:returns: bool, whether it was taken.  What is no data has room when data has none."""
        data = item.kind == 'data'
        if self._queued - self._done_with > (self._most if data else 2 * self._most):
            self._dropped += size if data else 0
            self._tell_lag()
            return False
        self._queued += size
        self._queue.append((node, item, size))
        return True

    def fall_behind(self, node):
        """``node`` has a loss to be marked."""
        self._behind.append(node)

    def _tell_lag(self):
        if not self._lagging:
            self._lagging = True
            # not here: this is the I/O loop
            threads.spawn(
                LOG.warning, 'the disk of %s is too slow: console logs miss lines', self.folder
            )

    def start(self):
        self._done = False
        threads.spawn_native(self._run)

    def stop(self, deadline, sleep=time.sleep):
        """Write what is queued, within ``deadline``."""
        self._stopped = True
        while not self._done and not deadline.expired:
            sleep(0.05)
        if not self._done:
            LOG.warning('console logs: the disk did not take %d bytes in time', self.bytes_queued)

    # -- the native thread --------------------------------------------------------------------

    def _run(self):
        try:
            while not self._stopped or self._queue:
                self._flush()
                if self._keeping is not None:
                    self._keeping.step()
                if not self._stopped:
                    threads.native_sleep(FLUSH)
        finally:
            self._done = True

    def _flush(self):
        pending = self._losses()
        for _ in range(len(self._queue)):
            node, item, size = self._queue.popleft()
            items, sizes = pending.setdefault(node, ([], []))
            items.append(item)
            sizes.append(size)
        for node, (items, sizes) in pending.items():
            self._write(node, items)
            self._done_with += sum(sizes)
        if pending:
            self._tell()

    def _losses(self):
        """Before the queue is emptied: what was taken before a loss is in it still."""
        pending = {node: ([], []) for node in self._marking}
        for _ in range(len(self._behind)):
            node = self._behind.popleft()
            node.announced = False
            node.track.lose(node.loss)
            pending[node] = ([], [])
        return pending

    def _write(self, node, items):
        track = node.track
        written, lost = track.written, track.lost
        try:
            track.write(items)
            self._failures.pop(node, None)
        except OSError as error:
            self._failures[node] = error
        except Exception as error:
            # A bug must not end the thread that writes for all.
            self._failures[node] = OSError(errno.EIO, f'internal error: {error!r}')
        self.bytes_written += track.written - written
        self._lost += track.lost - lost
        if track.behind and not node.ended:
            self._marking.add(node)
        else:
            self._marking.discard(node)
            if node.ended:
                self._failures.pop(node, None)

    def _tell(self):
        """Said once, loudly, not for every line of every console."""
        was = self.failing
        error = next(iter(self._failures.values()), None)
        self.failing = None if error is None else str(error.strerror)
        if error is not None and was is None:
            threads.native_log(f'obmd: console logs are not written: {error}')
        caught_up = self._lagging and not self._queue
        if error is None and (was is not None or caught_up):
            self._lagging = False
            threads.native_log('obmd: console logs are written again')


class NodeLog:
    """What a console tells its log, in its order; never blocks.

    It is the ``tap`` of the console's ring (:class:`obmd.streams.ring.Ring`).
    """

    def __init__(self, log, track, token):
        self.track = track
        #: what the native thread has yet to hear of
        self.loss = None
        self.announced = False
        self.ended = False
        self._log = log
        self._token = token
        self._source = None
        self._offset = 0

    def data(self, offset, chunk):
        self.up()  # its first bytes may come before whoever opened it goes on
        self._offset = offset + len(chunk)
        self._put('data', offset, chunk, len(chunk))

    def barrier(self, offset, token):
        """A token was issued: what comes is in its time."""
        self._token = token
        self._put('token', offset, token)

    def up(self):
        if self._source != 'up':
            self._source = 'up'
            self._put('up', self._offset)

    def down(self, reason):
        """Told once: not again for each try that fails."""
        if self._source in (None, 'up'):
            self._source = reason
            self._put('down', self._offset, reason)

    def end(self, reason):
        if not self.ended:
            self._put('end', self._offset, reason)
            self.ended = True

    def _put(self, kind, offset, value=None, size=EVENT):
        item = log_track.Item(kind, offset, self._log.clock(), value)
        if self._log.put(self, item, size):
            return
        self.loss = log_track.Loss(item.end, item.time, self._token, self._source)
        if not self.announced:
            self.announced = True
            self._log.fall_behind(self)


def _why_unusable(folder):
    """:returns: str or None."""
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError as error:
        return error.strerror
    return None if os.access(folder, os.R_OK | os.W_OK | os.X_OK) else 'no right to write there'
