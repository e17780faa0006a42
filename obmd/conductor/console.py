"""One node's console: a source that comes back by itself, one ring, any number of viewers.

The source is the driver's SOL session.  It is wanted while somebody watches, or always where
``[console] capture`` says so.  When it drops, viewers stay; it is opened again after growing,
jittered pauses.  All state changes happen under one lock that is never held across anything that
waits: the driver's callbacks come from the I/O loop.
"""

import logging
import random
import secrets
import threading
import time

from obmd.common import errors
from obmd.common import threads
from obmd.common.deadline import Deadline
from obmd.conf import CONF
from obmd.drivers import base
from obmd.streams import readers
from obmd.streams import ring
from obmd.streams import viewer

LOG = logging.getLogger(__name__)

#: seconds up after which the pauses before a reconnect start small again
STEADY = 60.0
#: what stands in the node's row when another client took the SOL session from us
FOREIGN = 'foreign'


class _Sink(base.ConsoleSink):
    """Takes what one opening of the source delivers; a former one is not listened to."""

    def __init__(self, console):
        self._console = console

    def data(self, chunk):
        self._console.feed(self, chunk)

    def lost(self, error):
        self._console.source_lost(self, error)


class _Attempt:
    """One try to open the source, waited for by any number of viewers."""

    def __init__(self, takeover):
        self.takeover = takeover
        self.error = None
        self.done = threading.Event()


class Console:
    """:param live: :class:`obmd.conductor.node.LiveNode`.
    :param guard: :class:`obmd.conductor.revocation.Revocation`.
    :param timers: :class:`obmd.common.timers.Timers`.
    :param log: object with ``write(uuid, chunk)`` that never blocks, or None.
    """

    def __init__(self, live, guard, timers, log=None, clock=time.monotonic, uniform=random.uniform):
        self._live = live
        self._guard = guard
        self._timers = timers
        self._log = log
        self._clock = clock
        self._uniform = uniform
        self._always = CONF.console.capture == 'always' and not live.driver.always_on_demand
        self._ring = ring.Ring(CONF.console.ring_size, secrets.token_hex(8))
        # What comes from now on is later than the issue of the token in the row.
        self._ring.set_barrier(live.token_id)
        self._lock = threading.Lock()
        self._viewers = set()
        self._attempt = None
        self._sink = None
        self._handle = None
        self._up_since = None
        self._failures = 0
        self._timer = None
        self._closed = False

    @property
    def up(self):
        return self._handle is not None

    @property
    def viewers(self):
        """Number of viewers."""
        return len(self._viewers)

    def start(self):
        """Open the source now if it is to be captured always."""
        if self._always:
            self._start_attempt()

    # -- viewers ------------------------------------------------------------------------------

    def watch(self, token_id, replay, cursor, takeover, deadline):
        """Prepare a stream for a viewer; the source is up when this returns, or there is history.

        :param replay: bytes of history, or None.  :param cursor: ``(ring, offset)`` or None.
        :returns: ``(stream, headers)``.
        :raises: BmcSilent, BmcRefused, CredentialsRefused, ConsoleHeld, within ``deadline``.
        """
        # Placed before the source starts: its first viewer gets its first byte.
        reader, gap = readers.start_reader(self._ring, token_id, replay, cursor)
        stream = viewer.ConsoleStream(
            reader, self._guard, self._live.uuid, token_id, self._live.driver.line_chunks
        )
        headers = {'Obmd-Cursor': f'{self._ring.id}:{reader.offset}'}
        if gap is not None:
            headers['Obmd-Gap'] = str(gap)
        with self._lock:
            self._viewers.add(stream)
        stream.on_end(lambda: self._leave(stream))
        try:
            self._connect(takeover, deadline)
        except errors.ObmdError:
            if not replay or reader.offset == self._ring.end:
                stream.end('the console could not be opened')
                raise
            self._try_later()
        return stream, headers

    def set_barrier(self, token_id):
        """A new token: what was before it is not for its holder."""
        self._ring.set_barrier(token_id)

    def _leave(self, stream):
        with self._lock:
            self._viewers.discard(stream)
            last = not self._viewers and not self._always and not self._closed
        if last:
            self._timers.after(CONF.console.linger, self._close_if_unwatched)

    def _close_if_unwatched(self):
        with self._lock:
            if self._viewers or self._always or self._handle is None:
                return
            handle = self._drop_handle()
        handle.close(Deadline(self._live.driver.answer_within))
        self._live.set_sol_holder(None)

    # -- opening ------------------------------------------------------------------------------

    def _connect(self, takeover, deadline):
        """Return when the source is up; else raise why it is not."""
        while True:
            attempt = self._start_attempt(takeover)
            if attempt is None:
                return
            if not attempt.done.wait(deadline.remaining):
                raise errors.BmcSilent('the console did not open in time', self._live.name)
            if attempt.error is None:
                return
            if not (takeover and isinstance(attempt.error, errors.ConsoleHeld)) or attempt.takeover:
                raise errors.from_wire(attempt.error.to_wire())

    def _start_attempt(self, takeover=False):
        """:returns: the attempt under way, begun if there was none; None when the source is up."""
        with self._lock:
            if self._handle is not None:
                return None
            if self._closed:
                raise errors.Unavailable('the console is closing', self._live.name, 1)
            if self._attempt is not None:
                return self._attempt
            attempt = self._attempt = _Attempt(takeover)
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        threads.spawn(self._open, attempt)
        return attempt

    def _open(self, attempt):
        sink = _Sink(self)
        handle = None
        self._sink = sink
        try:
            handle = self._open_source(sink, attempt.takeover)
        except errors.ObmdError as error:
            attempt.error = error
        except Exception:
            LOG.exception('%s: the console could not be opened', self._live.name)
            attempt.error = errors.ObmdError('internal error of the driver', self._live.name)
        with self._lock:
            self._attempt = None
            late = handle is not None and (self._closed or self._sink is not sink)
            if handle is not None and not late:
                self._handle = handle
                self._up_since = self._clock()
        attempt.done.set()
        if late:
            handle.close(Deadline(self._live.driver.answer_within))
        elif attempt.error is not None:
            self._failed(attempt.error)
        else:
            LOG.info('%s: console up', self._live.name)
            self._live.set_sol_holder(f'{self._live.incarnation} {handle.peer}')
            if not self._viewers and not self._always:
                self._timers.after(CONF.console.linger, self._close_if_unwatched)

    def _open_source(self, sink, takeover):
        deadline = Deadline(CONF.console.connect_timeout)
        with self._live.bmc() as driver:
            try:
                return driver.open_console(sink, deadline)
            except errors.ConsoleHeld:
                # Taken over once, on request, or when the row says that it is our own session
                # or that of a predecessor which died with it.
                ours = self._live.sol_holder not in (None, FOREIGN)
                if not takeover and not ours:
                    raise
                self._live.set_sol_holder(None)
                return driver.open_console(sink, deadline, takeover=True)

    # -- what the source tells; from the I/O loop, so nothing here waits ------------------------

    def feed(self, sink, chunk):
        if sink is self._sink:
            self._ring.append(chunk)
            if self._log is not None:
                self._log.write(self._live.uuid, chunk)

    def source_lost(self, sink, error):
        with self._lock:
            if sink is not self._sink:
                return
            self._sink = None
            self._handle = None
            steady = self._up_since is not None and self._clock() - self._up_since >= STEADY
            if steady:
                self._failures = 0
            self._up_since = None
        threads.spawn(self._after_loss, error)

    def _after_loss(self, error):
        if isinstance(error, errors.ConsoleHeld):
            self._live.set_sol_holder(FOREIGN)
        self._failed(error)

    def _failed(self, error):
        LOG.warning('%s: console down: %s', self._live.name, error.reason)
        self._try_later()

    def _try_later(self):
        with self._lock:
            wanted = self._always or self._viewers
            busy = self._handle is not None or self._attempt is not None or self._timer is not None
            if self._closed or busy or not wanted:
                return
            self._timer = self._timers.after(self._pause(), self._try_again)

    def _pause(self):
        """Seconds until the next try: doubling, jittered so that a rack does not come at once."""
        longest = CONF.console.retry_max
        pause = min(longest, CONF.console.retry_min * 2 ** min(self._failures, 16))
        self._failures += 1
        return self._uniform(pause / 2, pause)

    def _try_again(self):
        with self._lock:
            self._timer = None
            if self._closed or not (self._always or self._viewers):
                return
        self._start_attempt()

    # -- the end ------------------------------------------------------------------------------

    def close(self, deadline, reason, deactivate=True):
        """End the viewers and give the source back.  :param reason: str, for the log."""
        with self._lock:
            self._closed = True
            viewers = list(self._viewers)
            handle = self._drop_handle()
            if self._timer is not None:
                self._timer.cancel()
        for stream in viewers:
            stream.end(reason)
        if handle is not None:
            handle.close(deadline, deactivate)
            if deactivate:
                self._live.set_sol_holder(None)

    def _drop_handle(self):
        """Forget the source; the caller holds the lock and closes what is returned."""
        handle, self._handle, self._sink = self._handle, None, None
        return handle
