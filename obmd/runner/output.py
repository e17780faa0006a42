"""Writing what runs print, in one thread: a disk that stalls never delays a kill or a limit.

What a full disk does not take is lost, and counted: a GAP frame says how many bytes of which run
are missing as soon as there is room.  Ends of runs are kept until they can be written.
"""

import collections
import errno
import os
import queue
import sys
import threading
import time

from obmd.runner import frames

#: bytes that may wait for the disk; who prints more waits
MOST = 8 * 1024 * 1024
#: seconds for which what comes is gathered before it is written
GATHER = 0.004
#: seconds between two tries on a disk that is full
RETRY = 1.0
#: buffers of one writev(2), two a frame
BUFFERS = 512
#: bytes after which the free space is looked at again
LOOK = 4 * 1024 * 1024
#: bytes of an old file that are read at once
CHUNK = 1024 * 1024

_OPEN, _CLOSE, _STOP = 'open', 'close', 'stop'


class File:
    """The file of one job.

    :param fd: int, open for reading and appending; closed here.
    :param reserve: bytes that must stay free on its disk.
    :ivar found: int, bytes of output that were in it at :meth:`begin`.
    """

    def __init__(self, fd, reserve):
        self.size = self.found = 0
        self._fd = fd
        self._reserve = reserve
        self._look_at = 0
        self._full = False
        self._gaps = collections.Counter()
        self._ends = []
        self._failed = None

    @property
    def owes(self):
        """Whether something is to be written yet."""
        return bool(self._gaps or self._ends)

    def begin(self):
        """Find where to go on: behind the last whole frame."""
        size = os.fstat(self._fd).st_size
        if frames.name_of(os.pread(self._fd, frames.FIRST, 0)) is not None:
            self.size, self.found = _last_whole(self._fd, size)
        if self.size < size:
            os.ftruncate(self._fd, self.size)
        if self.size == 0:
            self._append([])

    def write(self, batch):
        """:param batch: list of (position, kind, payload)."""
        if self._is_full():
            batch = [frame for frame in batch if not self._lose_data(frame)]
        wanted = [(p, frames.GAP, frames.gap(n)) for p, n in self._gaps.items()]
        wanted += [(p, frames.END, payload) for p, payload in self._ends]
        self._gaps.clear()
        self._ends = []
        wanted += batch
        while wanted:
            some, wanted = wanted[: BUFFERS // 2], wanted[BUFFERS // 2 :]
            done = self._append(some)
            if done < len(some):
                for frame in some[done:] + wanted:
                    self._lose(frame)
                return

    def close(self):
        os.close(self._fd)

    def _append(self, batch):
        """:returns: int, how many of the frames are in the file."""
        buffers, ends = [], []
        total = self.size
        if self.size == 0:
            buffers.append(frames.opening())
            total += frames.FIRST
        first = total
        for position, kind, payload in batch:
            buffers += (frames.header(position, kind, len(payload)), payload)
            total += frames.HEADER.size + len(payload)
            ends.append(total)
        try:
            reached = self.size + os.writev(self._fd, buffers)
            self._tell(None)
        except OSError as error:
            reached = self.size
            self._tell(error)
        done = sum(1 for end in ends if end <= reached)
        whole = ends[done - 1] if done else first if reached >= first else 0
        if whole < reached:
            os.ftruncate(self._fd, whole)
        self.size = whole
        return done

    def _is_full(self):
        if self._full or self.size >= self._look_at:
            state = os.fstatvfs(self._fd)
            self._full = state.f_bavail * state.f_frsize < self._reserve
            self._look_at = self.size + LOOK
        return self._full

    def _lose_data(self, frame):
        if frame[1] in (frames.STDOUT, frames.STDERR):
            self._tell(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
            self._lose(frame)
            return True
        return False

    def _lose(self, frame):
        position, kind, payload = frame
        if kind == frames.END:
            self._ends.append((position, payload))
        elif kind == frames.GAP:
            self._gaps[position] += frames.read_gap(payload)
        else:
            self._gaps[position] += len(payload)

    def _tell(self, error):
        """Said once a time that it fails."""
        code = None if error is None else error.errno
        if code != self._failed:
            self._failed = code
            why = 'is written again' if error is None else f'is not written: {error.strerror}'
            print(f'obmd-runner: output of a job {why}', file=sys.stderr, flush=True)


class Files:
    """The files of all open jobs, and the thread that writes them.

    :param wake: callable, called in that thread when :meth:`written` has news.
    """

    def __init__(self, wake, reserve):
        self._wake = wake
        self._reserve = reserve
        self._queue = queue.SimpleQueue()
        self._files = {}
        self._put = 0
        self._done = 0
        self._written = {}
        self._found = {}
        self._closed = []
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def crowded(self):
        """Whether as much waits for the disk as may."""
        return self._put - self._done > MOST

    def open(self, job, fd):
        self._queue.put((_OPEN, job, fd))

    def write(self, job, position, kind, payload):
        """:param payload: bytes, as many as :data:`frames.LONGEST` at most."""
        self._put += len(payload)
        self._queue.put((job, position, kind, payload))

    def close(self, job):
        self._queue.put((_CLOSE, job))

    def written(self):
        """:returns: dict of job to the size of its file, of those that have grown since."""
        with self._lock:
            grown, self._written = self._written, {}
        return grown

    def found(self):
        """:returns: dict of job to the bytes of output that were in its file when it was opened."""
        with self._lock:
            found, self._found = self._found, {}
        return found

    def closed(self):
        """:returns: list of jobs whose files were closed since."""
        with self._lock:
            closed, self._closed = self._closed, []
        return closed

    def finish(self, seconds):
        """Write what is queued, for so long at most."""
        self._queue.put((_STOP,))
        self._thread.join(seconds)

    def _run(self):
        going = True
        while going:
            batch = self._gather()
            jobs = {}
            for item in batch:
                if item[0] == _STOP:
                    going = False
                elif item[0] in (_OPEN, _CLOSE):
                    self._write(jobs)
                    jobs = {}
                    (self._open if item[0] == _OPEN else self._close)(*item[1:])
                else:
                    jobs.setdefault(item[0], []).append(item[1:])
            for job, file in self._files.items():
                if file.owes:
                    jobs.setdefault(job, [])
            self._write(jobs)

    def _gather(self):
        owing = any(file.owes for file in self._files.values())
        try:
            batch = [self._queue.get(timeout=RETRY if owing else None)]
        except queue.Empty:
            return []
        time.sleep(GATHER)
        try:
            while True:
                batch.append(self._queue.get_nowait())
        except queue.Empty:
            return batch

    def _open(self, job, fd):
        if job in self._files:
            os.close(fd)
            return
        file = self._files[job] = File(fd, self._reserve)
        try:
            file.begin()
        except OSError as error:
            print(f'obmd-runner: output of a job: {error}', file=sys.stderr, flush=True)
        with self._lock:
            self._written[job] = file.size
            self._found[job] = file.found
        self._wake()

    def _close(self, job):
        file = self._files.pop(job, None)
        if file is not None:
            file.close()
        with self._lock:
            self._closed.append(job)
        self._wake()

    def _write(self, jobs):
        for job, batch in jobs.items():
            file = self._files.get(job)
            try:
                if file is not None:
                    file.write(batch)
            except OSError as error:
                print(f'obmd-runner: output of a job: {error}', file=sys.stderr, flush=True)
            self._done += sum(len(payload) for _, _, payload in batch)
            if file is not None:
                with self._lock:
                    self._written[job] = file.size
        if jobs:
            self._wake()


def _last_whole(fd, size):
    """:returns: (the offset behind the last whole frame, bytes of output before it)."""
    at, data, start, output = frames.FIRST, b'', frames.FIRST, 0
    while True:
        if not start <= at <= start + len(data) - frames.HEADER.size:
            start, data = at, os.pread(fd, CHUNK, at)
            if len(data) < frames.HEADER.size:
                return at, output
        _, kind, length = frames.HEADER.unpack_from(data, at - start)
        after = at + frames.HEADER.size + length
        if kind not in frames.KINDS or length > frames.LONGEST or after > size:
            return at, output
        at = after
        if kind in (frames.STDOUT, frames.STDERR):
            output += length
