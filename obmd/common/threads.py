"""Starting a thread of work that nobody joins.

Plain ``threading`` everywhere else; a process that is monkey-patched (``obmd.cmd``) gets green
threads from the same calls.  What must be a thread of the operating system, because it may
block in a call that no patch makes yield (a disk), uses the ``native_*`` functions: they are
taken here before ``obmd.cmd`` patches anything.
"""

import _thread
import logging
import os
import queue
import socket
import time

LOG = logging.getLogger(__name__)

_start_native = _thread.start_new_thread
native_sleep = time.sleep
native_write = os.write
native_open = os.open
native_read = os.read
#: a queue whose put() never waits and whose get() a native thread may wait in
native_queue = queue.SimpleQueue


def spawn(function, *args):
    """Run ``function(*args)`` in a thread of its own; an error that escapes it is logged.

    ``_thread`` and not ``threading.Thread``: a sweep starts thousands, and the latter waits
    for each to have begun.
    """
    _thread.start_new_thread(_run, (function, args))


def _run(function, args):
    try:
        function(*args)
    except Exception:
        LOG.exception('%s failed', getattr(function, '__qualname__', function))


def spawn_native(function):
    """Run ``function()`` in a thread of the operating system.

    It must not touch anything that waits by a patched call: no lock, queue or logger.
    """
    _start_native(_run_native, (function,))


def _run_native(function):
    try:
        function()
    except Exception as error:
        native_log(f'obmd: {getattr(function, "__qualname__", function)} failed: {error!r}')


def native_log(line):
    """Say ``line`` on standard error, from a native thread."""
    try:
        native_write(2, line.encode('utf-8', 'replace') + b'\n')
    except OSError:
        pass


class Bell:
    """Rung by a native thread, heard by one that may be green."""

    def __init__(self):
        self._hear, self._ring = socket.socketpair()
        self._ring.setblocking(False)

    def ring(self):
        """From any thread; never waits."""
        try:
            native_write(self._ring.fileno(), b'\0')
        except OSError:
            pass  # full: it is heard anyway

    def wait(self):
        """Until it was rung since the last time."""
        self._hear.recv(4096)
