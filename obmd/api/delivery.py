"""How a conductor's stream reaches a caller: by redirect, from this process, or passed on.

A stream that is passed on is read over HTTP from the conductor's callback URL as it comes.
"""

import functools
import http.client
import logging
import socket
import ssl
import urllib.parse

from obmd.api import http as api_http
from obmd.common import errors
from obmd.conf import CONF
from obmd.streams import viewer

LOG = logging.getLogger(__name__)

#: seconds for connecting to a conductor and for the headers of its answer
CONNECT_TIMEOUT = 10.0
#: bytes read from a conductor at once
CHUNK = 65536
#: seconds of silence, of one more try, and tries, until a conductor's host counts as gone
KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_COUNT = 15, 5, 3
#: headers of a stream that say how to resume it and what is missing
PASSED_HEADERS = ('obmd-cursor', 'obmd-gap')


class NotDelivered(errors.Unavailable):
    """A conductor promised a stream and does not hand it over; nobody has read a byte of it."""


def respond(services, offer, content_type, release):
    """The answer that carries ``offer``, headers at once.

    :param offer: :class:`obmd.conductor.rpcapi.StreamOffer`.
    :param release: called once when this process passes no byte of the stream any more.
    :raises Unavailable: the conductor does not hand its stream over.
    """
    if offer.stream is None and CONF.api.console_delivery == 'redirect':
        release()
        return api_http.Response(status=307, headers=[('Location', offer.url)])
    if offer.stream is not None:
        stream, headers = offer.stream, offer.headers
    else:
        stream = RemoteStream(offer.url)
        headers = stream.headers
    stream.on_end(release)
    passed = [(k, v) for k, v in headers.items() if k.lower() in PASSED_HEADERS]
    return api_http.Response(stream, content_type=content_type, headers=passed)


class RemoteStream(viewer.Stream):
    """A conductor's stream, read as it comes.

    :param url: callback URL with its ticket; never logged.
    :param silence: seconds without a byte after which the conductor is given up, or None.
    :raises Unavailable: no connection, or the ticket is refused.
    """

    def __init__(self, url, silence=None):
        super().__init__()
        parts = urllib.parse.urlsplit(url)
        self._connection = _connection(parts)
        try:
            self._connection.request('GET', parts.path)
            # a closing answer takes the socket away from the connection
            self._socket = self._connection.sock
            self._answer = self._connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise NotDelivered(
                f'the conductor at {parts.netloc} does not hand its stream over: '
                f'{type(error).__name__}',
                retry_after=1,
            ) from None
        if self._answer.status != 200:
            self._answer.close()
            raise NotDelivered(
                f'the conductor at {parts.netloc} refused its own ticket ({self._answer.status})',
                retry_after=1,
            )
        self._socket.settimeout(silence)
        _notice_a_dead_host(self._socket)
        self.headers = dict(self._answer.getheaders())

    def __next__(self):
        try:
            data = self._answer.read1(CHUNK) if self.ended is None else b''
        except (OSError, ValueError, http.client.HTTPException) as error:
            if self.ended is None:
                LOG.info('a stream of a conductor broke: %s', type(error).__name__)
            data = b''
        if data:
            return data
        self.end('finished')
        self._answer.close()
        self._connection.close()
        raise StopIteration

    def _wake(self):
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except (OSError, ValueError):
            pass


def _connection(parts):
    if parts.scheme == 'https':
        return http.client.HTTPSConnection(
            parts.netloc, timeout=CONNECT_TIMEOUT, context=_context(CONF.api.conductor_cafile)
        )
    return http.client.HTTPConnection(parts.netloc, timeout=CONNECT_TIMEOUT)


@functools.lru_cache(maxsize=4)
def _context(cafile):
    return ssl.create_default_context(cafile=cafile)


def _notice_a_dead_host(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_COUNT)
