"""Streams that are read with an access token end when it does.

A request is judged when it comes; a stream goes on for as long as it likes.  So the tokens behind
open streams are read again at each ``[console] revocation_check_interval``, and with them whether
the node of a stream is still one of the token's; where the database does not answer, a stream may
go on for ``[console] revocation_grace``, and then ends too.  Tokens without an id have no row:
their streams end when they expire, or are not taken any more.
"""

import dataclasses
import logging
import threading
import time

from obmd.api import bearer
from obmd.common import clock as clocks
from obmd.common import errors
from obmd.common import threads
from obmd.conf import CONF
from obmd.db import access_tokens

LOG = logging.getLogger(__name__)

ENDED, UNCHECKED = 'its access token has ended', 'its access token could not be checked'
OUTSIDE = 'its node is not for its access token any more'


@dataclasses.dataclass(frozen=True)
class _Watched:
    identity: bearer.Identity
    node: str | None
    checked_at: float


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

    def add(self, stream, identity, node=None):
        """End ``stream`` when the token of ``identity`` does.

        :param stream: :class:`obmd.streams.viewer.Stream`.
        :param identity: :class:`obmd.api.bearer.Identity`; the admin's rights do not end.
        :param node: str, whose the stream is: it ends too when the token is not for it any more.
        """
        if identity.is_admin:
            return
        with self._lock:
            self._streams[stream] = _Watched(identity, node, self._clock())
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
        nodes = {}
        for watched in streams.values():
            nodes.setdefault(watched.identity, set()).add(watched.node)
        found = {identity: self._judge(identity, names) for identity, names in nodes.items()}
        for stream, watched in streams.items():
            ends = found[watched.identity]
            if ends is None:
                if self._clock() - watched.checked_at > CONF.console.revocation_grace:
                    stream.end(UNCHECKED)
            elif watched.node in ends:
                stream.end(ends[watched.node])
            else:
                with self._lock:
                    if stream in self._streams:
                        self._streams[stream] = dataclasses.replace(watched, checked_at=asked)

    def _judge(self, identity, nodes):
        """:param nodes: set of str, and None for streams of no node.

        :returns: dict of those whose streams end -> why, or None: nobody knows.
        """
        try:
            if not self._is_good(identity):
                return dict.fromkeys(nodes, ENDED)
            return dict.fromkeys(identity.outside(nodes - {None}), OUTSIDE)
        except errors.ObmdError as error:
            LOG.warning('an access token cannot be checked: %s', error.reason)
            return None

    def _is_good(self, identity):
        now = self._wall_clock()
        if identity.expires_at is not None and identity.expires_at <= now:
            return False
        if identity.jti is None:
            return CONF.actions.allow_unscoped_tokens
        row = self._fetch(identity.jti)
        return row is not None and row.revoked_at is None and now < row.expires_at
