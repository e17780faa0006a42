"""One node's console: a source that comes back by itself, one ring, any number of viewers.

The source is the driver's SOL session.  It is wanted while somebody watches, or always where
``[console] capture`` says so.  When it drops, viewers stay; it is opened again after growing,
jittered pauses.  All state changes happen under one lock that is never held across anything that
waits: the driver's callbacks come from the I/O loop.
"""

import contextlib
import logging
import random
import secrets
import threading
import time

from obmd.common import errors
from obmd.common import metrics
from obmd.common import threads
from obmd.common.deadline import Deadline
from obmd.conductor import console_source
from obmd.conf import CONF
from obmd.streams import console_events
from obmd.streams import readers
from obmd.streams import ring
from obmd.streams import viewer

LOG = logging.getLogger(__name__)

#: seconds up after which the pauses before a reconnect start small again; and within which a
#: second loss to another client means that somebody insists
STEADY = 60.0
#: seconds until a row that could not be written is written again
RECORD_AGAIN = 5.0
#: what stands in the node's row when another client took the SOL session from us
FOREIGN = 'foreign'
#: what stands there behind our incarnation while we ask for it: who died then may hold it
OPENING = 'opening'


def is_up(sol_holder):
    """Whether a node's row says that its owner has the console.  :param sol_holder: str or None."""
    return sol_holder not in (None, FOREIGN) and not sol_holder.endswith(OPENING)


class Console:
    """:param live: :class:`obmd.conductor.node.LiveNode`.
    :param guard: :class:`obmd.conductor.revocation.Revocation`.
    :param timers: :class:`obmd.common.timers.Timers`.
    :param log: :class:`obmd.conductor.console_log.ConsoleLog`, or None.
    """

    def __init__(self, live, guard, timers, log=None, clock=time.monotonic, uniform=random.uniform):
        self._live = live
        self._guard = guard
        self._timers = timers
        self._clock = clock
        self._uniform = uniform
        self._always = CONF.console.capture == 'always' and not live.driver.always_on_demand
        ring_id = secrets.token_hex(8)
        self._log = log and log.open(live.uuid, self._about(ring_id), live.token_id)
        self._ring = ring.Ring(CONF.console.ring_size, ring_id, self._log)
        # What comes from now on is later than the issue of the token in the row.
        self._ring.set_barrier(live.token_id)
        self._lock = threading.Lock()
        self._recording = threading.Lock()
        self._viewers = set()
        self._attempt = None
        self._sink = None
        self._handle = None
        self._closing = None
        self._holder = live.sol_holder
        self._up_since = None
        self._taken_at = None
        self._contested = False
        self._failures = 0
        self._timer = None
        self._linger = None
        self._closed = False
        self._deactivate = True

    def _about(self, ring_id):
        live = self._live
        return {
            'node': live.name,
            'uuid': live.uuid,
            'host': CONF.host,
            'owner': live.incarnation,
            'epoch': live.epoch,
            'ring': ring_id,
        }

    @property
    def up(self):
        return self._handle is not None

    @property
    def wanted(self):
        return not self._closed and bool(self._always or self._viewers)

    @property
    def viewers(self):
        """Number of viewers."""
        return len(self._viewers)

    def start(self):
        """Open the source now if it is to be captured always."""
        if self._always:
            self._join_attempt()

    # -- viewers ------------------------------------------------------------------------------

    def watch(self, token_id, replay, cursor, takeover, deadline):
        """Prepare a stream for a viewer; the source is up when this returns, or there is history,
        which waits for no source.

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
        asks_history = bool(replay) or cursor is not None
        self._admit(stream, asks_history, takeover, deadline)
        return stream, headers

    def watch_events(self, holder, replay, cursor, takeover, deadline):
        """As :meth:`watch`, for who needs no token of the node: a stream of framed events.

        :param holder: str, the access token's; history begins when it came first.  None: the admin.
        :returns: :class:`obmd.streams.console_events.ConsoleEvents`.
        """
        oldest = self._ring.start if holder is None else self._ring.oldest_since(holder)
        reader, gap = readers.place(self._ring, oldest, replay, cursor)
        stream = console_events.ConsoleEvents(
            reader, self._guard, self._live.uuid, lambda: self.up, gap
        )
        self._admit(stream, bool(replay) or cursor is not None, takeover, deadline)
        return stream

    def _admit(self, stream, asks_history, takeover, deadline):
        with self._lock:
            self._viewers.add(stream)
            self._stop_linger()
        stream.on_end(lambda: self._leave(stream))
        has_history = asks_history and stream.offset < self._ring.end
        try:
            if has_history and not takeover:
                self._join_attempt()
            else:
                self._connect(takeover, deadline)
        except errors.ObmdError:
            if self._closed or not has_history:
                stream.end('the console could not be opened')
                raise
            self._try_later()

    def set_barrier(self, token_id):
        """A new token: what was before it is not for its holder."""
        self._ring.set_barrier(token_id)

    def _leave(self, stream):
        with self._lock:
            self._viewers.discard(stream)
            self._start_linger()
        if stream.lost:
            # Not here: this may be the I/O loop.
            threads.spawn(LOG.info, '%s: a slow viewer lost %d bytes', self._live.name, stream.lost)

    def _start_linger(self):
        """The caller holds the lock."""
        self._stop_linger()
        if self._handle is not None and not self._viewers and not self._always:
            self._linger = self._timers.after(CONF.console.linger, self._close_if_unwatched)

    def _stop_linger(self):
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None

    def _close_if_unwatched(self):
        with self._lock:
            if self._viewers or self._always or self._handle is None:
                return
            handle = self._drop_handle()
        self._log_down('nobody watches')
        self._close_handle(handle, Deadline(self._live.driver.answer_within))

    # -- opening ------------------------------------------------------------------------------

    def _connect(self, takeover, deadline):
        """Return when the source is up; else raise why it is not.

        Who came while a try was under way has one of his own before he is told that the BMC is
        silent: the other was about to give up.
        """
        came = self._clock()
        while True:
            attempt = self._join_attempt(takeover)
            if attempt is None:
                return
            if not attempt.done.wait(deadline.remaining):
                raise errors.BmcSilent('the console did not open in time', self._live.name)
            if attempt.error is None:
                return
            held = isinstance(attempt.error, errors.ConsoleHeld)
            silent = isinstance(attempt.error, errors.BmcSilent)
            if silent and attempt.began < came and not deadline.expired:
                continue
            if not held or not takeover or attempt.takeover:
                raise errors.from_wire(attempt.error.to_wire())

    def _join_attempt(self, takeover=False):
        """:returns: the attempt under way, begun if there was none; None when the source is up.

        :raises Unavailable: the console is closed.
        """
        with self._lock:
            if self._closed:
                raise self._is_closed()
            if self._handle is not None:
                return None
            if self._attempt is not None:
                return self._attempt
            self._sink = console_source.Sink(self)
            attempt = self._attempt = console_source.Attempt(self._sink, takeover, self._clock())
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        threads.spawn(self._open, attempt)
        return attempt

    def _is_closed(self):
        going = self._live.going
        if going is not None:
            return errors.from_wire(going.to_wire())
        return errors.Unavailable('the console is closing', self._live.name, 1)

    def _open(self, attempt):
        handle = error = None
        try:
            handle = self._open_source(attempt)
        except errors.ObmdError as refusal:
            error = refusal
        except Exception:
            LOG.exception('%s: the console could not be opened', self._live.name)
            error = errors.ObmdError('internal error of the driver', self._live.name)
        with self._lock:
            up = handle is not None and self._sink is attempt.sink and not self._closed
            if up:
                self._attempt = None
                self._handle = handle
                self._up_since = self._clock()
                self._holder = f'{self._live.incarnation} {handle.peer}'
                self._start_linger()
        if up:
            attempt.done.set()
            self._tell_state()
            LOG.info('%s: console up', self._live.name)
            if self._log is not None:
                self._log.up()
            self._record()
            return
        # A source that was lost while it opened is down already (attempt.error); one that opened
        # after the console was closed is given back before anybody can open another.
        if handle is not None and attempt.error is None:
            handle.close(Deadline(self._live.driver.answer_within), self._deactivate)
            error = self._is_closed()
        with self._lock:
            self._attempt = None
            if self._sink is attempt.sink:
                self._sink = None
            attempt.error = attempt.error or error
            silent = isinstance(attempt.error, (errors.BmcSilent, errors.OutcomeUnknown))
            if attempt.sink.announced and silent and self._holder is None:
                # The BMC may have given it to us: what the row says of that stays true.
                self._holder = self._live.sol_holder
        self._log_down(attempt.error.reason)
        if self._closed:
            self._record()  # before who closes goes on: it gives the row away
        attempt.done.set()
        self._failed(attempt.error)

    def _open_source(self, attempt):
        if (closing := self._closing) is not None:
            closing.wait(self._live.driver.answer_within)
        deadline = Deadline(CONF.console.connect_timeout)
        with self._live.bmc() as driver:
            try:
                return driver.open_console(attempt.sink, deadline)
            except errors.ConsoleHeld:
                # Taken over once, on request, or when the row says that it is our own session
                # or that of a predecessor which died with it.
                ours = self._holder not in (None, FOREIGN)
                if not attempt.takeover and not ours:
                    raise
                try:
                    return driver.open_console(attempt.sink, deadline, takeover=True)
                except errors.ConsoleHeld:
                    self._holder = None  # somebody insists
                    raise

    def announce(self):
        """Into the row before the BMC is asked: if we die before its answer is recorded, the next
        owner knows that the session may be ours and not a person's.

        :raises NotOwner: the node is another's.  :raises Unavailable: it is not recorded.
        """
        with self._recording:
            if self._live.sol_holder is not None:
                return
            if not self._live.set_sol_holder(f'{self._live.incarnation} {OPENING}'):
                raise errors.NotOwner('the node has another owner now', self._live.name)

    # -- what the source tells; from the I/O loop, so nothing here waits ------------------------

    def feed(self, sink, chunk):
        if sink is self._sink:
            metrics.CONSOLE_BYTES.count(by=len(chunk))
            self._ring.append(chunk)

    def source_lost(self, sink, error):
        with self._lock:
            if sink is not self._sink:
                return
            self._sink = None
            now = self._clock()
            if isinstance(error, errors.ConsoleHeld):
                self._holder = FOREIGN
                self._contested = self._taken_at is not None and now - self._taken_at < STEADY
                self._taken_at = now
            if self._handle is None:
                self._attempt.error = error  # it is opening: whoever opens it goes on
                return
            self._handle = None
            self._stop_linger()
            if now - self._up_since >= STEADY:
                self._failures = 0
        self._log_down(error.reason)
        self._tell_state()
        threads.spawn(self._failed, error)

    def _tell_state(self):
        """To the viewers who are told whether the source is up."""
        with self._lock:
            viewers = list(self._viewers)
        for stream in viewers:
            stream.wake()

    def _log_down(self, reason):
        if self._log is not None:
            self._log.down(reason)

    def _failed(self, error):
        if self._closed:
            return
        metrics.CONSOLE_FAILURES.count(metrics.outcome(error))
        LOG.warning('%s: console down: %s', self._live.name, error.reason)
        self._try_later()
        self._record()

    def _try_later(self):
        with self._lock:
            wanted = self._always or self._viewers
            busy = self._handle is not None or self._attempt is not None or self._timer is not None
            if self._closed or busy or not wanted:
                return
            self._timer = self._timers.after(self._pause(), self._try_again)

    def _pause(self):
        """Seconds until the next try: doubling, jittered so that a rack does not come at once.

        Where another client took the session twice, the longest: it is its turn now.
        """
        longest = CONF.console.retry_max
        pause = min(longest, CONF.console.retry_min * 2 ** min(self._failures, 16))
        self._failures += 1
        if self._contested:
            pause = longest
        return self._uniform(pause / 2, pause)

    def _try_again(self):
        with self._lock:
            self._timer = None
            if not (self._always or self._viewers):
                return
        with contextlib.suppress(errors.Unavailable):
            self._join_attempt()

    def _record(self):
        """Bring the row to who holds the SOL session now; written one after the other, so that
        the last word in the row is the last that was true."""
        try:
            with self._recording:
                self._live.set_sol_holder(self._holder)
        except errors.ObmdError as error:
            LOG.warning('%s: its SOL holder is not recorded: %s', self._live.name, error.reason)
            if not self._closed:
                self._timers.after(RECORD_AGAIN, self._record)

    # -- the end ------------------------------------------------------------------------------

    def close(self, deadline, reason, deactivate=True):
        """End the viewers and give the source back.  :param reason: str, for the log."""
        with self._lock:
            self._closed = True
            self._deactivate = deactivate
            viewers = list(self._viewers)
            attempt, closing = self._attempt, self._closing
            handle = self._drop_handle() if self._handle is not None else None
            self._stop_linger()
            if self._timer is not None:
                self._timer.cancel()
        for stream in viewers:
            stream.end(reason)
        if self._log is not None:
            self._log.end(reason)
        if handle is not None:
            self._close_handle(handle, deadline, deactivate)
        for pending in (attempt and attempt.done, closing):
            if pending:
                pending.wait(deadline.remaining)

    def _drop_handle(self):
        """Forget the source; the caller holds the lock and closes what is returned."""
        handle, self._handle, self._sink = self._handle, None, None
        self._closing = threading.Event()
        return handle

    def _close_handle(self, handle, deadline, deactivate=True):
        """Nothing is opened meanwhile: a deactivation that comes late would end it."""
        try:
            handle.close(deadline, deactivate)
        finally:
            with self._lock:
                if deactivate:
                    self._holder = None
                closing, self._closing = self._closing, None
            closing.set()
        self._record()
