"""Reading what runs of a job wrote at one conductor, wherever that is by now."""

import logging
import time

from obmd.api import delivery
from obmd.api import operations
from obmd.common import errors
from obmd.conductor import spool_stream
from obmd.runner import frames

LOG = logging.getLogger(__name__)

#: seconds between two tries: first and longest
PAUSE, PAUSE_MAX = 0.2, 2.0
_KINDS = {frames.STDOUT: 'stdout', frames.STDERR: 'stderr'}


def stream_of(offer):
    """:param offer: :class:`obmd.conductor.rpcapi.StreamOffer`.
    :returns: iterator of bytes with ``close``.
    :raises Unavailable: the conductor does not hand it over.
    """
    return offer.stream if offer.stream is not None else delivery.RemoteStream(offer.url)


def lines(stream):
    """Whole lines of chunks that end anywhere; what is torn at the end is left out."""
    rest = b''
    for chunk in stream:
        *whole, rest = (rest + chunk).split(b'\n')
        yield from whole


class Source:
    """What one conductor has of a job's output, of this start and of earlier ones.

    :param conductor: ``obmd.db.conductors.Conductor``.
    :param into: :class:`obmd.api.output.Output`.
    """

    def __init__(self, services, job, conductor, into):
        self._services = services
        self._job = job
        self._conductor = conductor
        self._into = into
        self._spool = None
        self._offset = 0

    def run(self):
        """Until nobody needs it any more, or the conductor is gone."""
        pause = PAUSE
        while not self._into.closed:
            try:
                self._read()
                pause = PAUSE
            except errors.NotFound:
                if self._into.has_nothing(self._conductor):
                    return
            except errors.ObmdError as error:
                LOG.info('job %s: its output cannot be read now: %s', self._job, error.reason)
            except Exception:
                LOG.exception('job %s: its output cannot be read', self._job)
                return
            if not self._lives():
                self._into.gone(self._conductor)
                return
            time.sleep(pause)
            pause = min(2 * pause, PAUSE_MAX)

    def _lives(self):
        living = self._services.router.living
        return any(one.incarnation == self._conductor.incarnation for one in living)

    def _read(self):
        cursor = f'{self._spool}:{self._offset}' if self._spool else None
        offer = self._services.conductor_api.open_job_output(
            self._conductor, self._job, cursor, operations.call_deadline()
        )
        stream = stream_of(offer)
        if not self._into.opened(stream):
            return
        try:
            with self._services.router.watched(self._conductor.incarnation, stream.close):
                self._pass_on(stream)
        finally:
            self._into.dropped(stream)

    def _pass_on(self, stream):
        rest, begun = b'', False
        for chunk in stream:
            data = rest + chunk if rest else chunk
            start = 0
            if not begun:
                if len(data) < spool_stream.PREFACE:
                    rest = data
                    continue
                self._spool, self._offset = spool_stream.read_preface(data)
                start, begun = spool_stream.PREFACE, True
            found, parsed = frames.parse(data, start)
            rest = data[parsed:]
            if found:
                events = [self._event(*one) for one in found]
                self._into.wrote(self._conductor, self._spool, events)

    def _event(self, position, kind, payload):
        self._offset += frames.HEADER.size + len(payload)
        if kind == frames.END:
            return None, position, None, self._offset
        if kind == frames.GAP:
            return 'gap', position, frames.read_gap(payload), self._offset
        return _KINDS[kind], position, payload, self._offset
