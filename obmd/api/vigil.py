"""Streams that are read with an access token end when it does.

A request is judged when it comes; a stream goes on for as long as it likes.  So the tokens behind
open streams are read again at each ``[console] revocation_check_interval``; where the database does
not answer, a stream may go on for ``[console] revocation_grace``, and then ends too.
"""

import logging
import threading
import time

from obmd.common import clock as clocks
from obmd.common import errors
from obmd.common import threads
from obmd.conf import CONF
from obmd.db import access_tokens

LOG = logging.getLogger(__name__)

ENDED, UNCHECKED = 'its access token has ended', 'its access token could not be checked'


class Vigil:
    """The streams of one process.

    :param fetch: as :func:`obmd.db.access_tokens.get`.
    :param wall_clock: s since the epoch.  :param clock: s, of this host alone.
    """

    def __init__(
        self,
        fetch=access_tokens.get,
        wall_clock=time.time,
        clock=clocks.boot_time,
        spawn=threads.spawn,
    ):
        self._fetch = fetch
        self._wall_clock = wall_clock
        self._clock = clock
        self._spawn = spawn
        self._lock = threading.Lock()
        self._streams = {}
        self._watching = False

    def add(self, stream, identity):
        """End ``stream`` when the token of ``identity`` does.

        :param stream: :class:`obmd.streams.viewer.Stream`.
        :param identity: :class:`obmd.api.bearer.Identity`; the admin's rights do not end.
        """
        if identity.jti is None:
            return
        with self._lock:
            self._streams[stream] = (identity.jti, self._clock())
            begin, self._watching = not self._watching, True
        stream.on_end(lambda: self._forget(stream))
        if begin:
            self._spawn(self._run)

    def _forget(self, stream):
        with self._lock:
            self._streams.pop(stream, None)

    def _run(self):
        pause = threading.Event()
        while True:
            pause.wait(CONF.console.revocation_check_interval)
            with self._lock:
                if not self._streams:
                    self._watching = False
                    return
            self.check()

    def check(self):
        """Look once."""
        with self._lock:
            streams = dict(self._streams)
        asked = self._clock()
        answers = {}
        for stream, (jti, checked_at) in streams.items():
            if jti not in answers:
                answers[jti] = self._is_good(jti)
            if answers[jti] is False:
                stream.end(ENDED)
            elif answers[jti]:
                with self._lock:
                    if stream in self._streams:
                        self._streams[stream] = (jti, asked)
            elif self._clock() - checked_at > CONF.console.revocation_grace:
                stream.end(UNCHECKED)

    def _is_good(self, jti):
        """:returns: bool, or None: nobody knows."""
        try:
            row = self._fetch(jti)
        except errors.ObmdError as error:
            LOG.warning('an access token cannot be checked: %s', error.reason)
            return None
        return row is not None and row.revoked_at is None and self._wall_clock() < row.expires_at
