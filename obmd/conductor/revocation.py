"""Revocation is a promise: a stream ends when its token does, even if every message is lost.

Being told (``cut``) ends streams within milliseconds.  Besides, one query per interval compares
the tokens of all live nodes with what their streams were opened with.  A stream may not write a
byte when its last check is older than the interval, unless the database was asked and did not
answer: then it may go on until the grace has passed.
"""

import logging
import threading

from obmd.common import clock
from obmd.common import errors
from obmd.common import metrics
from obmd.common import threads
from obmd.db import nodes

LOG = logging.getLogger(__name__)

#: part of the interval after which the next check starts, so that its answer is there in time
EARLY = 0.8
#: why a stream is cut, as metrics and as the log tell it
_WHY = {
    'revoked': 'its token was revoked',
    'unchecked': 'its token could not be checked',
    'deleted': 'the node was deleted',
}


class Revocation:
    """The guard of a conductor's console streams.

    :param interval: seconds, ``[console] revocation_check_interval``.
    :param grace: seconds, ``[console] revocation_grace``.
    :param watched: callable giving the uuids of the nodes that this conductor holds.
    :param on_deleted: called with the uuid of a node that is no longer registered.
    :param on_read: called with each answer of ``fetch``, for what else it tells.
    :param fetch: as :func:`obmd.db.nodes.standings`.
    """

    def __init__(
        self,
        interval,
        grace,
        watched,
        on_deleted,
        on_read=lambda _standings: None,
        fetch=nodes.standings,
        clock=clock.boot_time,
    ):
        self._interval = interval
        self._grace = max(grace, interval)
        self._watched = watched
        self._on_deleted = on_deleted
        self._on_read = on_read
        self._fetch = fetch
        self._clock = clock
        self._streams = {}
        self._count = 0
        self._lock = threading.Lock()
        self._failing = False
        self._checked_at = clock()
        self._wanted = threading.Event()
        self._round = threading.Condition()
        self._stopped = False

    def __len__(self):
        """Number of open streams."""
        return self._count

    @property
    def age(self):
        """Seconds since the last check that the database answered was begun."""
        return self._clock() - self._checked_at

    def now(self):
        """:returns: float, seconds of the clock that checks are judged by."""
        return self._clock()

    def start(self):
        threads.spawn(self._run)

    def stop(self):
        self._stopped = True
        self._wanted.set()

    def add(self, stream, compared_at):
        """Guard ``stream``.

        :param compared_at: ``now()`` from just before its token was read from the database.
        """
        stream.checked_at = compared_at
        with self._lock:
            self._streams.setdefault(stream.node_uuid, set()).add(stream)
            self._count += 1
        stream.on_end(lambda: self._forget(stream))

    def cut(self, node_uuid, token_id, reason='revoked'):
        """End the streams of a node that were not opened with ``token_id`` (None: all); of those
        that were opened without a token all when it is deleted.

        :param reason: ``revoked`` or ``deleted``.
        """
        with self._lock:
            streams = list(self._streams.get(node_uuid, ()))
        for stream in streams:
            if reason == 'deleted' or stream.is_by_token and stream.token_id != token_id:
                _cut(stream, reason)

    def allows(self, stream):
        """May ``stream`` write one more byte?  Waits for a check when the last one is too old."""
        began = self._clock()
        while stream.ended is None:
            now = self._clock()
            age = now - stream.checked_at
            # A check that began after the byte came is good however long it took.
            fresh = age <= self._interval or stream.checked_at >= began
            if fresh or (self._failing and age <= self._grace):
                return True
            if self._failing or now - began > self._grace:
                _cut(stream, 'unchecked')
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
        with self._lock:
            uuids = set(self._streams)
        uuids.update(self._watched())
        try:
            standings = self._fetch(uuids)
        except Exception as error:
            self._could_not_check(error)
            standings = None
        else:
            self._judge(uuids, standings, asked)
            self._failing = False
            self._checked_at = asked
        with self._round:
            self._round.notify_all()
        if standings is not None:
            self._tell_deleted(uuids.difference(standings))
            self._on_read(standings)

    def _judge(self, uuids, standings, asked):
        for stream in self._open_streams():
            if stream.checked_at > asked or stream.node_uuid not in uuids:
                continue
            row = standings.get(stream.node_uuid)
            right = not stream.is_by_token or (row is not None and row.token_id == stream.token_id)
            if row is not None and right:
                stream.checked_at = asked
            else:
                _cut(stream, 'revoked')

    def _could_not_check(self, error):
        if isinstance(error, errors.ObmdError):
            LOG.warning('tokens cannot be checked: %s', error.reason)
        else:
            LOG.exception('the check of tokens failed')
        self._failing = True
        now = self._clock()
        for stream in self._open_streams():
            if now - stream.checked_at > self._grace:
                _cut(stream, 'unchecked')

    def _tell_deleted(self, uuids):
        for uuid in uuids:
            try:
                self._on_deleted(uuid)
            except errors.ObmdError as error:
                LOG.warning('a deleted node is not forgotten yet: %s', error.reason)
                return

    def _open_streams(self):
        with self._lock:
            return [stream for streams in self._streams.values() for stream in streams]

    def _forget(self, stream):
        with self._lock:
            self._count -= 1
            streams = self._streams[stream.node_uuid]
            streams.discard(stream)
            if not streams:
                del self._streams[stream.node_uuid]

    def _run(self):
        while not self._stopped:
            self._wanted.wait(EARLY * self._interval)
            self._wanted.clear()
            if not self._stopped:
                self.check()


def _cut(stream, reason):
    if stream.ended is None:
        metrics.STREAMS_CUT.count(reason)
        stream.end(_WHY[reason])
