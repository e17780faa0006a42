"""Several worker processes of one service, kept alive by a parent that does nothing else.

Workers are started as processes of their own (not forked: each builds its connections after its
start) and share the port by SO_REUSEPORT (:func:`obmd.common.listening.reserve`).
"""

import ctypes
import logging
import os
import signal
import subprocess
import time

LOG = logging.getLogger(__name__)

#: the worker's number, in its environment
WORKER = 'OBMD_WORKER'
#: PR_SET_PDEATHSIG, prctl(2)
SET_PARENT_DEATH_SIGNAL = 1
#: seconds: the pause before a worker that died young is started again doubles between these
PAUSE_MIN, PAUSE_MAX = 0.5, 30.0
#: seconds after which a worker's death says nothing about its start
SETTLED = 60.0

_WATCHED = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}


def worker_number():
    """:returns: int, or None in a process that is no worker."""
    number = os.environ.get(WORKER)
    return int(number) if number is not None else None


class _Worker:
    def __init__(self, number):
        self.number = number
        self.process = None
        self.started = 0.0
        self.start_at = 0.0
        self.pause = PAUSE_MIN


class Supervisor:
    """Keeps ``count`` workers running until SIGTERM or SIGINT.

    :param command: list of str, what a worker runs; its number is in its environment.
    :param stop_timeout: seconds a worker has after SIGTERM before it is killed.
    :param environment: dict, more of the workers' environment.
    :param on_end: called with the number of a worker that has ended, before the next starts.
    """

    def __init__(
        self,
        command,
        count,
        stop_timeout=5.0,
        clock=time.monotonic,
        environment=None,
        on_end=None,
    ):
        self._environment = environment or {}
        self._on_end = on_end
        self._command = command
        self._stop_timeout = stop_timeout
        self._clock = clock
        self._workers = [_Worker(number) for number in range(count)]
        self._libc = ctypes.CDLL(None, use_errno=True)

    def run(self):
        """Block until told to stop.  :returns: int, the exit status for the parent."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        try:
            told = None
            while told is None:
                self._start_due()
                told = self._wait()
            return self._stop(told)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _start_due(self):
        now = self._clock()
        for worker in self._workers:
            if worker.process is None and worker.start_at <= now:
                worker.started = now
                worker.process = subprocess.Popen(
                    self._command,
                    env={**os.environ, **self._environment, WORKER: str(worker.number)},
                    preexec_fn=self._in_child,
                )

    def _in_child(self):
        # runs between fork and exec of a process with one thread
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
        self._libc.prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)

    def _wait(self):
        """:returns: signal number that says to stop, or None when there may be work."""
        waiting = [w.start_at for w in self._workers if w.process is None]
        # a worker that ends while SIGCHLD is pending for another is seen at the next look
        timeout = min([5.0] + [max(0.0, at - self._clock()) for at in waiting])
        got = signal.sigtimedwait(_WATCHED, timeout)
        self._collect()
        if got is not None and got.si_signo in (signal.SIGTERM, signal.SIGINT):
            return got.si_signo
        return None

    def _collect(self):
        now = self._clock()
        for worker in self._workers:
            if worker.process is None or worker.process.poll() is None:
                continue
            if now - worker.started > SETTLED:
                worker.pause = PAUSE_MIN
            LOG.error(
                'Worker %d (process %d) ended with %d; the next starts in %.1f s',
                worker.number,
                worker.process.pid,
                worker.process.returncode,
                worker.pause,
            )
            if self._on_end is not None:
                self._on_end(worker.number)
            worker.process = None
            worker.start_at = now + worker.pause
            worker.pause = min(worker.pause * 2, PAUSE_MAX)

    def _signal(self, number):
        for worker in self._workers:
            if worker.process is not None and worker.process.poll() is None:
                worker.process.send_signal(number)

    def _stop(self, told):
        self._signal(signal.SIGTERM)
        end = self._clock() + self._stop_timeout
        for worker in self._workers:
            if worker.process is None:
                continue
            try:
                worker.process.wait(max(0.01, end - self._clock()))
            except subprocess.TimeoutExpired:
                LOG.error('Worker %d did not stop in time and is killed', worker.number)
                worker.process.kill()
                worker.process.wait()
        return 0 if told == signal.SIGTERM else 128 + told
