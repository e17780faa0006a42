"""Revocation is a promise: a stream ends when its token does, even if every message is lost.

Being told (``cut``) ends streams within milliseconds.  Besides, one query per interval compares
the tokens of all live nodes with what their streams were opened with.  A stream may not write a
byte when its last check is older than the interval, unless the database was asked and did not
answer: then it may go on until the grace has passed.
"""

import logging
import threading
import time

from obmd.common import errors
from obmd.common import threads
from obmd.db import nodes

LOG = logging.getLogger(__name__)

#: part of the interval after which the next check starts, so that its answer is there in time
EARLY = 0.8


class Revocation:
    """The guard of a conductor's console streams.

    :param interval: seconds, ``[console] revocation_check_interval``.
    :param grace: seconds, ``[console] revocation_grace``.
    :param watched: callable giving the uuids of the nodes that this conductor holds.
    :param on_deleted: called with the uuid of a node that is no longer registered.
    """

    def __init__(
        self,
        interval,
        grace,
        watched,
        on_deleted,
        fetch=nodes.token_ids,
        clock=time.monotonic,
    ):
        self._interval = interval
        self._grace = max(grace, interval)
        self._watched = watched
        self._on_deleted = on_deleted
        self._fetch = fetch
        self._clock = clock
        self._streams = {}
        self._lock = threading.Lock()
        self._checked_at = float('-inf')
        self._failing = False
        self._wanted = threading.Event()
        self._round = threading.Condition()
        self._stopped = False

    def __len__(self):
        """Number of open streams."""
        return sum(len(streams) for streams in self._streams.values())

    def start(self):
        threads.spawn(self._run)

    def stop(self):
        self._stopped = True
        self._wanted.set()

    def add(self, stream):
        """Guard ``stream``, whose token was compared with the database just now."""
        stream.checked_at = self._clock()
        with self._lock:
            self._streams.setdefault(stream.node_uuid, set()).add(stream)
        stream.on_end(lambda: self._forget(stream))

    def cut(self, node_uuid, token_id, reason='its token was revoked'):
        """End the streams of a node that were not opened with ``token_id`` (None: all)."""
        with self._lock:
            streams = list(self._streams.get(node_uuid, ()))
        for stream in streams:
            if token_id is None or stream.token_id != token_id:
                stream.end(reason)

    def allows(self, stream):
        """May ``stream`` write one more byte?  Waits for a check when the last one is too old."""
        while stream.ended is None:
            age = self._clock() - max(stream.checked_at, self._checked_at)
            if age <= self._interval or (self._failing and age <= self._grace):
                return True
            if self._failing:
                stream.end('its token could not be checked')
                break
            with self._round:
                self._wanted.set()
                self._round.wait(self._interval)
        return False

    def check(self):
        """Compare all streams with the database once.

        A stream opened while the answer was on its way is judged by the next check.
        """
        asked = self._clock()
        uuids = list(self._watched())
        try:
            tokens = self._fetch(uuids)
        except errors.ObmdError as error:
            LOG.warning('tokens cannot be checked: %s', error.reason)
            self._failing = True
        else:
            self._failing = False
            self._checked_at = asked
            self._judge(uuids, tokens, asked)
        with self._round:
            self._round.notify_all()

    def _judge(self, uuids, tokens, asked):
        for uuid in uuids:
            if uuid not in tokens:
                self._on_deleted(uuid)
                continue
            with self._lock:
                streams = [s for s in self._streams.get(uuid, ()) if s.checked_at <= asked]
            for stream in streams:
                if stream.token_id != tokens[uuid]:
                    stream.end('its token was revoked')

    def _forget(self, stream):
        with self._lock:
            streams = self._streams.get(stream.node_uuid)
            if streams:
                streams.discard(stream)
                if not streams:
                    del self._streams[stream.node_uuid]

    def _run(self):
        while not self._stopped:
            self._wanted.wait(EARLY * self._interval)
            self._wanted.clear()
            if not self._stopped:
                try:
                    self.check()
                except Exception:
                    LOG.exception('the check of tokens failed')
                    self._failing = True
