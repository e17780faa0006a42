"""``obmd-conductor``, put together; imported once the process is patched."""

import logging
import threading
import urllib.parse

from obmd import version
from obmd.cmd import serve as parts
from obmd.cmd import startup
from obmd.common import errors
from obmd.common import exposition
from obmd.common import listening
from obmd.common import rpc
from obmd.common import secrets
from obmd.conductor import rpcapi
from obmd.conductor import service
from obmd.conductor import status
from obmd.conf import CONF
from obmd.db import conductors
from obmd.db import engine
from obmd.drivers import registry
from obmd.streams import server

LOG = logging.getLogger(__name__)

#: seconds that the listener and then the bus take at most to close, once nothing is owned
CLOSING = 0.5


def serve(args):
    """Run until a signal.  :returns: int, exit status.  :raises Fatal: it cannot start."""
    startup.configure(args, 'obmd-conductor')
    startup.set_up_logging('obmd-conductor')
    listening.raise_file_limit()
    tls = parts.check(CONF.conductor)
    exposition.begin('conductor')
    registry.load()
    keyring = secrets.Keyring.load(secrets.key_paths()[0])
    engine.setup()
    engine.check_schema()
    sock = parts.bind(CONF.conductor)
    url = callback_url(parts.url_of(CONF.conductor, sock.getsockname()))
    bus = rpc.Bus(pool=CONF.conductor.rpc_pool)
    conductors_ = _Succession(bus, keyring, url)
    app = exposition.measured(server.make_app(conductors_, conductors_.reasons))
    listener = parts.serving.Listener(sock, app, 'streams', tls, CONF.api.max_connections)
    with parts.metrics_listener():
        listener.start()
        try:
            conductors_.run()
        finally:
            listener.stop(grace=CLOSING)
            bus.close()
    return 0


class _Succession:
    """This process's conductor, and its successor when others have declared it dead."""

    def __init__(self, bus, keyring, url):
        self._bus = bus
        self._keyring = keyring
        self._url = url
        self._stop = startup.Stop()
        self._conductor = None
        self._lost = threading.Event()

    def redeem(self, ticket):
        """As ``obmd.streams.tickets.Tickets.redeem``."""
        if self._conductor is None:
            raise errors.NotFound('no such ticket; this conductor has only begun to start')
        return self._conductor.tickets.redeem(ticket)

    def reasons(self):
        """As ``obmd.conductor.status.Status.reasons``."""
        if self._conductor is None:
            return status.NOT_YET
        return self._conductor.status.reasons()

    def run(self):
        """Until a signal."""
        if not self._bus.reach(rpcapi.TOPIC, lambda: self._stop.wanted):
            return
        self._begin()
        try:
            while not self._stop.wanted:
                self._stop.pause()
                if self._lost.is_set() and not self._stop.wanted:
                    LOG.warning('declared dead by others; starting anew')
                    self._conductor.abandon()
                    self._begin_again()
        finally:
            self._stop.limit(CONF.conductor.handover_timeout + CONF.conductor.stop_timeout)
            self._conductor.stop()
            self._stop.limit(2 * CLOSING)

    def _begin(self):
        self._lost.clear()
        self._conductor = service.Conductor(
            self._bus,
            self._keyring,
            self._url,
            conductors.CONDUCTOR,
            self._declared_dead,
            version.VERSION,
        )
        self._conductor.start()

    def _begin_again(self):
        """Until it succeeds: the database may go as it came."""
        while not self._stop.wanted:
            if not self._bus.reach(rpcapi.TOPIC, lambda: self._stop.wanted):
                return
            try:
                self._begin()
                return
            except errors.Unavailable as error:
                LOG.warning('cannot start anew: %s', error.reason)
                self._conductor.abandon()
                self._stop.rest(CONF.conductor.heartbeat_interval)

    def _declared_dead(self):
        self._lost.set()
        self._stop.wake()


def callback_url(own):
    """:param own: the URL of the listener itself.  :returns: str.

    :raises Fatal: tickets and console bytes would cross a network in clear.
    """
    url = CONF.conductor.callback_url or own
    listens_on = listening.parse_address(CONF.conductor.listen)[0]
    if not CONF.conductor.callback_url and listens_on in ('', '0.0.0.0', '::'):
        raise errors.Fatal(
            '[conductor] listen is every address: say in callback_url which of them viewers use'
        )
    try:
        parsed = urllib.parse.urlsplit(url)
        host, port = parsed.hostname, parsed.port or 80
    except ValueError:
        host = None
    more = not host or parsed.query or parsed.fragment or '@' in parsed.netloc
    if more or parsed.scheme not in ('http', 'https'):
        raise errors.Fatal('[conductor] callback_url must be http(s)://HOST[:PORT][/PATH]')
    plain = parsed.scheme == 'http' and not CONF.conductor.insecure
    if plain and not listening.is_loopback((host, port)):
        raise errors.Fatal(
            f'[conductor] callback_url {url} is plain http and not loopback: use https, or set '
            '[conductor] insecure'
        )
    return url
