"""Console logs on disk: one file a node, named by its uuid, for when nobody watches.

Writing happens in one native thread behind a bounded queue: a disk that stalls costs log lines,
which are marked as missing, and never a console byte or a viewer's.
"""

import collections
import logging
import os
import time

from obmd.common import errors
from obmd.common import threads

LOG = logging.getLogger(__name__)

#: bytes that may wait for the disk, over all consoles
QUEUE = 16 * 1024 * 1024
#: seconds between two writes; what is younger is lost with the process
FLUSH = 0.5
#: bytes after which a file is kept as ``.1`` and a new one begun
ROTATE = 16 * 1024 * 1024


class ConsoleLog:
    """:param folder: str, made with mode 0700 if it is not there.
    :raises Fatal: it cannot be made.

    ``write`` is called from the I/O loop and only appends to a deque; all else here runs in the
    native thread and uses nothing that a monkey-patched process replaces.
    """

    def __init__(self, folder):
        self._folder = folder
        self._queue = collections.deque()
        self._queued = 0
        self._written = 0
        self._lost = collections.Counter()
        self._failing = None
        self._stopped = False
        self._done = True
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
        except OSError as error:
            raise errors.Fatal(f'[console] log_dir {folder}: {error.strerror}') from None

    def start(self):
        self._done = False
        threads.spawn_native(self._run)

    def write(self, uuid, chunk):
        """:param chunk: bytes of the console of the node ``uuid``; dropped when the disk lags."""
        if self._queued - self._written > QUEUE:
            self._lost[uuid] += len(chunk)
            return
        if lost := self._lost.pop(uuid, 0):
            chunk = b'\n[obmd: %d bytes missing here, the disk was too slow]\n' % lost + chunk
        self._queued += len(chunk)
        self._queue.append((uuid, chunk))

    def stop(self, deadline, sleep=time.sleep):
        """Write what is queued, within ``deadline``."""
        self._stopped = True
        while not self._done and not deadline.expired:
            sleep(0.05)

    def _run(self):
        while not self._stopped or self._queue:
            self._flush()
            if not self._stopped:
                threads.native_sleep(FLUSH)
        self._done = True

    def _flush(self):
        failed = None
        pending = collections.defaultdict(list)
        while self._queue:
            uuid, chunk = self._queue.popleft()
            pending[uuid].append(chunk)
        for uuid, chunks in pending.items():
            data = b''.join(chunks)
            try:
                self._append(os.path.join(self._folder, uuid + '.log'), data)
            except OSError as error:
                failed = error
                self._lost[uuid] += len(data)
            self._written += len(data)
        if pending:
            self._tell(failed)

    def _tell(self, failed):
        """Said once, loudly, not for every line of every console."""
        was, self._failing = self._failing, failed and failed.errno
        if failed is not None and was != self._failing:
            threads.native_log(f'obmd: console logs are not written: {failed}')
        elif failed is None and was is not None:
            threads.native_log('obmd: console logs are written again')

    def _append(self, path, data):
        fd = threads.native_open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            full = os.fstat(fd).st_size + len(data) > ROTATE
            while data:
                data = data[threads.native_write(fd, data) :]
        finally:
            os.close(fd)
        if full:
            os.replace(path, path + '.1')
