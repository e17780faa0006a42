"""``/metrics``: what ``obmd.common.metrics`` counts, as the text that Prometheus reads.

Who has a state registers a source with :func:`watch`; it is asked just before the page is made,
never more than once a second, however many ask for the page.

The workers of ``obmd-api`` count together in files of a folder that their parent makes
(:class:`Together`): each keeps its counts and states there, and whichever is asked sums up.
"""

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
import threading
import time

import prometheus_client
from prometheus_client import multiprocess

from obmd import version
from obmd.common import metrics
from obmd.common import pages
from obmd.common import threads
from obmd.conf import CONF

LOG = logging.getLogger(__name__)

PATH = '/metrics'
#: Prometheus' text format
CONTENT_TYPE = prometheus_client.CONTENT_TYPE_PLAIN_0_0_4
#: seconds for which a page is good, and between two looks of a worker at its own states
FRESH, REFRESH = 1.0, 2.0
#: methods that have a label of their own (RFC 9110, RFC 5789)
_METHODS = {m: m for m in ('GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH')}
_CODES = {digit: f'{digit}xx' for digit in '12345'}
_PREFIX = 'obmd-metrics-'

_sources = {}
_pools = {}


def watch(name, source):
    """Call ``source()`` before the page is made: it sets states.  A former ``name`` is replaced.

    It may take its time in slices (``time.sleep(0)``), and must not ask anybody else.
    """
    _sources[name] = source


def watch_pool(name, places):
    """:param places: callable giving (places taken, places that there are), or None: no limit."""
    _pools[name] = places


def begin(service):
    """Count from now on as ``service``: ``api``, ``conductor`` or ``all-in-one``."""
    for metric in metrics.ALL:
        if service == 'all-in-one' or metric.on in (service, metrics.BOTH):
            metric.begin()
    metrics.STARTS.count()
    started = time.time()
    # again and again: in the files of several workers they are gone when one has died
    watch('process', lambda: _tell_process(service, started))
    watch('pools', _tell_pools)
    if _is_worker():
        threads.spawn(_keep_fresh)


def _tell_process(service, started):
    metrics.BUILD.set(1, version.VERSION, service)
    metrics.STARTED.set(started)
    metrics.PROCESSES.set(1)


def _tell_pools():
    for name, places in list(_pools.items()):
        found = places()
        if found is not None:
            metrics.POOL_USED.set(found[0], name)
            metrics.POOL_LIMIT.set(found[1], name)


def _is_worker():
    return metrics.FOLDER in os.environ


def _keep_fresh():
    """Others sum up what this worker last wrote of its states."""
    while True:
        _page.ask_sources()
        time.sleep(REFRESH)


# -- the page -----------------------------------------------------------------------------------


class _Slices:
    """The metrics one by one: making the text of one is short, of all is not."""

    def __init__(self, registry):
        self._registry = registry

    def collect(self):
        for metric in self._registry.collect():
            if metric.name.startswith('obmd_'):
                yield metric
                time.sleep(0)


class Page:
    """The page, made once for all who ask within a second."""

    def __init__(self, clock=time.monotonic):
        self._clock = clock
        self._lock = threading.Lock()
        self._asking = threading.Lock()
        self._text = b''
        self._made_at = None

    def text(self):
        """:returns: bytes."""
        came = self._clock()
        with self._lock:
            if self._made_at is None or came - self._made_at >= FRESH:
                self.ask_sources()
                self._text = prometheus_client.generate_latest(_Slices(_collector()))
                self._made_at = self._clock()
            return self._text

    def ask_sources(self):
        with self._asking:
            for name, source in list(_sources.items()):
                try:
                    source()
                except Exception:
                    LOG.exception('%s cannot tell its state for /metrics', name)
                    metrics.SCRAPE_FAULTS.count()


_page = Page()


def _collector():
    if _is_worker():
        return multiprocess.MultiProcessCollector(None, os.environ[metrics.FOLDER])
    return metrics.registry


def page():
    """:returns: bytes, the page; at most a second old."""
    return _page.text()


def is_here():
    """:returns: bool, whether the service's own listener answers ``/metrics``."""
    return CONF.metrics.enabled and not CONF.metrics.listen


def application(environ, start_response):
    """WSGI application of ``[metrics] listen``: ``GET /metrics`` and nothing else."""
    if environ.get('PATH_INFO') != PATH:
        return pages.error(start_response, '404 Not Found', 'not_found', 'there is no such page')
    environ['obmd.route'] = PATH
    if environ['REQUEST_METHOD'] != 'GET':
        return pages.error(
            start_response, '405 Method Not Allowed', 'method_not_allowed', 'use GET here'
        )
    return pages.page(start_response, '200 OK', CONTENT_TYPE, page())


# -- requests -------------------------------------------------------------------------------------


def measured(app):
    """WSGI middleware: counts the requests of ``app``.

    ``app`` says in ``environ['obmd.route']`` which row of its table a request found.
    """

    def answer(environ, start_response):
        began = time.perf_counter()
        code = '5xx'

        def start(status, headers, exc_info=None):
            nonlocal code
            code = _CODES[status[0]]
            return start_response(status, headers, exc_info)

        try:
            return app(environ, start)
        finally:
            metrics.REQUESTS.observe(
                time.perf_counter() - began,
                _METHODS.get(environ['REQUEST_METHOD'], metrics.OTHER),
                environ.get('obmd.route', metrics.OTHER),
                code,
            )

    return answer


# -- several workers of one service ------------------------------------------------------------


class Together:
    """A folder in which worker processes count together; a context manager in their parent.

    It is in memory where there is such a place: a count must not wait for a disk.

    :ivar environment: dict, what the workers need in theirs.
    """

    def __init__(self):
        self._folder = None
        self._lock = None

    def __enter__(self):
        place = _place()
        _sweep(place)
        while not self._take(tempfile.mkdtemp(prefix=_PREFIX, dir=place)):  # 0700
            pass  # another parent that starts has just swept it away
        return self

    def _take(self, folder):
        try:
            self._lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return False
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        if os.fstat(self._lock).st_nlink == 0:
            os.close(self._lock)
            return False
        self._folder = folder
        return True

    def __exit__(self, *unused):
        os.close(self._lock)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def environment(self):
        return {metrics.FOLDER: self._folder}

    def ended(self, number):
        """The worker ``number`` has ended: what it counted stays, its states go."""
        multiprocess.mark_process_dead(number, self._folder)


def _place():
    for folder in (os.environ.get('RUNTIME_DIRECTORY'), '/dev/shm'):
        if folder and os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK):
            return folder
    return tempfile.gettempdir()


def _sweep(place):
    """Remove what parents that were killed have left: nobody holds its lock."""
    with os.scandir(place) as entries:
        left = [entry.path for entry in entries if entry.name.startswith(_PREFIX)]
    for path in left:
        with contextlib.suppress(OSError):
            held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(held).st_uid == os.geteuid():
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(held)
