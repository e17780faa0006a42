"""What becomes of runs: told to the owner of their job at once, written to their rows soon.

Both go in batches, made of what has come while the last one was under way, and neither waits for
the other.  What cannot be written is kept and tried again for as long as this conductor lives.
"""

import logging
import threading
import time

from obmd.common import errors
from obmd.common import threads
from obmd.db import runs

LOG = logging.getLogger(__name__)

#: seconds for which ends are gathered before they are written, and until a failed try is repeated
GATHER, PAUSE = 0.05, 1.0
LATE = 'its conductor said later: {outcome}, status {status}'


class Reports:
    """:param incarnation: str, of this conductor's start.
    :param tell: ``tell(spec, started, ended)`` passes a report to the owner of a job and returns
        when it was sent: started is a list of positions, ended of :class:`obmd.db.runs.End`.  It is
        called once at a time for each host.
    """

    def __init__(self, incarnation, tell, clock=time.time):
        self._incarnation = incarnation
        self._tell = tell
        self._clock = clock
        self._lock = threading.Lock()
        self._news = {}
        self._unwritten = {}
        self._busy = set()
        self._told = threading.Event()
        self._to_write = threading.Event()
        self._working = False

    def started(self, spec, positions):
        with self._lock:
            self._news_of(spec)[1].extend(positions)
        self._begin()
        self._told.set()

    def ended(self, spec, end):
        """:param end: :class:`obmd.db.runs.End`."""
        with self._lock:
            self._news_of(spec)[2].append(end)
            self._unwritten[end.job_uuid, end.position] = end
        self._begin()
        self._told.set()
        self._to_write.set()

    def _news_of(self, spec):
        news = self._news.setdefault(spec.job, [spec, [], []])
        news[0] = spec  # its owner may be another since the last news
        return news

    def has(self, key):
        """:returns: bool, whether the end of a run is still to be written."""
        return key in self._unwritten

    def flush(self, deadline):
        """Wait until all is written.  :returns: bool, whether it is."""
        while self._unwritten and not deadline.expired:
            time.sleep(min(0.02, deadline.remaining))
        return not self._unwritten

    def _begin(self):
        with self._lock:
            begin, self._working = not self._working, True
        if begin:
            threads.spawn(self._run, self._told, self._tell_all)
            threads.spawn(self._run, self._to_write, self._write_all)

    @staticmethod
    def _run(bell, work):
        while True:
            bell.wait()
            bell.clear()
            try:
                work()
            except Exception:
                LOG.exception('a report of runs has failed')
                time.sleep(PAUSE)
                bell.set()

    def _tell_all(self):
        """What comes while a host is being told is its next report."""
        by_host = {}
        with self._lock:
            for job, news in list(self._news.items()):
                host = news[0].host
                if host not in self._busy:
                    by_host.setdefault(host, []).append(self._news.pop(job))
            self._busy.update(by_host)
        for host, those in by_host.items():
            threads.spawn(self._tell_host, host, those)

    def _tell_host(self, host, those):
        try:
            for spec, started, ended in those:
                self._tell(spec, started, ended)
        finally:
            with self._lock:
                self._busy.discard(host)
            self._told.set()

    def _write_all(self):
        with self._lock:
            ends = list(self._unwritten.values())
        if not ends:
            return
        try:
            late = runs.end(self._incarnation, ends, self._clock())
            for end in late:
                text = LATE.format(outcome=end.outcome, status=end.status)
                runs.annotate(end.job_uuid, end.position, text)
        except errors.Unavailable:
            time.sleep(PAUSE)
            self._to_write.set()
            return
        with self._lock:
            for end in ends:
                self._unwritten.pop((end.job_uuid, end.position), None)
        time.sleep(GATHER)
