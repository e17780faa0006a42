"""Output of jobs on this conductor's disk, and reading it while it is written.

One file a job, ``state_path/jobs/<uuid>``, written by the runner (:mod:`obmd.runner.output`) and
read by any number of readers, each with an offset of its own.  What is read soon after it was
written comes from the page cache: memory does not grow with the output.
"""

import dataclasses
import os
import re
import threading
import time

from obmd.common import errors
from obmd.common import threads
from obmd.common.disk import Disk
from obmd.runner import frames

#: folder in state_path
FOLDER = 'jobs'
#: file in it that is locked while a runner lives
LOCK = '.runner'
#: what may be a file's name
NAME = re.compile('[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}')
#: bytes read at once, and frames given at once: one of either is a millisecond of work
CHUNK, BATCH = 262144, 1000

STDOUT, STDERR, END, GAP = frames.STDOUT, frames.STDERR, frames.END, frames.GAP


@dataclasses.dataclass(frozen=True, slots=True)
class Frame:
    """A piece of a job's output.

    :ivar position: int, of the run in its job.
    :ivar kind: :data:`STDOUT`, :data:`STDERR`, :data:`END` or :data:`GAP`.
    :ivar data: bytes of output; (outcome, status) for an END; int, bytes missing, for a GAP.
    """

    position: int
    kind: int
    data: object


class _Growth:
    """How far a job's file is written, and who waits for more."""

    def __init__(self):
        self.size = 0
        self.changed = threading.Condition()
        self.settled = False


class Spools:
    """:param state_path: str."""

    def __init__(self, state_path, disk=None):
        self._folder = os.path.join(state_path, FOLDER)
        self._disk = disk or Disk()
        self._growing = {}

    def create(self, job):
        """Make the file of a job if it is not there.

        :returns: int, descriptor to read and append; the caller closes it.
        :raises OSError: it cannot be.  :raises Unavailable: the disk does not answer.
        """
        path = self._path(job)
        descriptor = self._disk.call(_create, self._folder, path)
        self._growing.setdefault(job, _Growth())
        return descriptor

    def open_lock(self):
        """:returns: int, descriptor of a file that a runner keeps locked as long as it lives."""
        path = os.path.join(self._folder, LOCK)
        return self._disk.call(_create, self._folder, path)

    def wrote(self, job, size):
        """The runner has written: ``size`` bytes of the file are whole frames."""
        growth = self._growing.get(job)
        if growth is not None:
            with growth.changed:
                growth.size = size
                growth.changed.notify_all()

    def settle(self, job):
        """Nobody writes that file any more: it is as long as it is."""
        growth = self._growing.pop(job, None)
        if growth is not None:
            with growth.changed:
                growth.settled = True
                growth.changed.notify_all()

    def reader(self, job, cursor=None, position=None):
        """:param cursor: str of :attr:`Reader.cursor`, or None for the start.
        :param position: int, the only run whose frames are wanted, or None.
        :raises NotFound: there is no such file here.
        :raises InvalidInput: no cursor of this file.
        """
        try:
            descriptor = self._disk.call(_open, self._path(job))
        except OSError as error:
            raise errors.NotFound(
                f'the output of job {job} is not here: {error.strerror}'
            ) from None
        return Reader(self._disk, descriptor, self._growing.get(job), cursor, position)

    def jobs(self):
        """:returns: dict of job uuid to (bytes, wall clock of the last write)."""
        return self._disk.call(_list, self._folder)

    def remove(self, job):
        """Delete its output; harmless when there is none.  Readers keep what they have open.

        :raises OSError: it cannot be.
        """
        self.settle(job)
        self._disk.call(_remove, self._path(job))

    def _path(self, job):
        if not NAME.fullmatch(job):
            raise errors.InvalidInput(f'{job!r} is no id of a job')
        return os.path.join(self._folder, job)


class Reader:
    """Frames of one job, from some offset on; used by one thread, closed by any."""

    def __init__(self, disk, descriptor, growth, cursor, position):
        self._disk = disk
        self._descriptor = descriptor
        self._growth = growth
        self._position = position
        self._closed = False
        self._reading = threading.Lock()
        self._name = None
        self._wanted, self._at = _parse_cursor(cursor)
        if cursor is not None:
            try:
                self._learn_name()
            except errors.ObmdError:
                self.close()
                raise

    @property
    def cursor(self):
        """str, resumes behind the last frame that :meth:`read` gave; None before there is one."""
        return None if self._name is None else f'{self._name}:{self._at}'

    def read(self, timeout=None):
        """:param timeout: seconds to wait for more, or None for ever.
        :returns: list of :class:`Frame`; empty when there was nothing within ``timeout``, when it
            was closed, and at the end of a file that nobody writes any more.
        :raises Unavailable: the disk does not answer.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while not self._closed:
            end = self._readable()
            if self._at < end and self._learn_name():
                found = self._take(end)
                if found is None:
                    self._growth = None  # what follows was torn when its writer died
                    return []
                if found:
                    return found
            elif not self._wait(until):
                return []
        return []

    def close(self):
        """Ends it and a read that waits; harmless when done before."""
        if not self._closed:
            self._closed = True
            if self._growth is not None:
                with self._growth.changed:
                    self._growth.changed.notify_all()
            threads.spawn(self._close)

    @property
    def ended(self):
        """Whether it was closed, or nobody writes the file any more: when :meth:`read` then gives
        nothing, there is nothing left."""
        return self._closed or self._growth is None or self._growth.settled

    def _close(self):
        with self._reading:
            os.close(self._descriptor)

    def _readable(self):
        """:returns: offset up to which whole frames are."""
        if self._growth is not None and not self._growth.settled:
            return self._growth.size
        return self._call(_size)

    def _wait(self, until):
        """:returns: whether there may be more now."""
        growth = self._growth
        if growth is None:
            return False
        with growth.changed:
            while not self._closed and not growth.settled and growth.size <= self._at:
                left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    return False
                growth.changed.wait(left)
            if growth.settled:
                self._growth = None
        return not self._closed

    def _take(self, end):
        """:returns: list of the next frames wanted, or None where no whole frame follows."""
        data = self._call(os.pread, min(CHUNK, end - self._at), self._at)
        try:
            found, after = frames.parse(data, 0, BATCH)
        except frames.Damaged:
            return None
        if after == 0:
            return None
        self._at += after
        return [_frame(*f) for f in found if self._position in (None, f[0])]

    def _learn_name(self):
        if self._name is None:
            name = frames.name_of(self._call(os.pread, frames.FIRST, 0))
            if self._wanted not in (None, name):
                raise errors.InvalidInput('the cursor is of another output')
            self._name = name
        return self._name is not None

    def _call(self, function, *arguments):
        with self._reading:
            if self._closed:
                return b'' if function is os.pread else 0
            return self._disk.call(function, self._descriptor, *arguments)


def _frame(position, kind, payload):
    if kind == END:
        return Frame(position, kind, frames.read_end(payload))
    return Frame(position, kind, frames.read_gap(payload) if kind == GAP else payload)


def _parse_cursor(cursor):
    """:returns: (name or None, offset)."""
    if cursor is None:
        return None, frames.FIRST
    match = re.fullmatch(r'([0-9a-f]{16}):([0-9]{1,15})', cursor)
    if match is None or int(match[2]) < frames.FIRST:
        raise errors.InvalidInput('that is no cursor')
    return match[1], int(match[2])


# -- in a native thread -------------------------------------------------------------------------


def _create(folder, path):
    os.makedirs(folder, mode=0o700, exist_ok=True)
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    return threads.native_open(path, flags, 0o600)


def _open(path):
    return threads.native_open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)


def _size(descriptor):
    return os.fstat(descriptor).st_size


def _list(folder):
    found = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if NAME.fullmatch(entry.name):
                    state = entry.stat(follow_symlinks=False)
                    found[entry.name] = (state.st_size, state.st_mtime)
    except FileNotFoundError:
        pass
    return found


def _remove(path):
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
