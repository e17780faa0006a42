"""``obmd-conductor``, put together; imported once the process is patched."""

import sys
import urllib.parse

from obmd import version
from obmd.cmd import serve as parts
from obmd.cmd import startup
from obmd.common import errors
from obmd.common import listening
from obmd.common import rpc
from obmd.common import secrets
from obmd.conductor import service
from obmd.conf import CONF
from obmd.db import conductors
from obmd.db import engine
from obmd.drivers import registry
from obmd.streams import server


def serve(args):
    """Run until a signal.  :returns: int, exit status.  :raises Fatal: it cannot start."""
    startup.configure(args, 'obmd-conductor')
    startup.set_up_logging('obmd-conductor')
    listening.raise_file_limit()
    tls = parts.check(CONF.conductor)
    registry.load()
    keyring = secrets.Keyring.load(secrets.key_paths()[0])
    engine.setup()
    engine.check_schema()
    sock = parts.bind(CONF.conductor)
    url = callback_url(parts.url_of(CONF.conductor, sock.getsockname()))
    bus = rpc.Bus(pool=CONF.conductor.rpc_pool)
    stop = startup.Stop()
    exits = []

    def lost():
        print('obmd-conductor: declared dead by others; start it again', file=sys.stderr)
        exits.append(1)
        stop.now()

    conductor = service.Conductor(bus, keyring, url, conductors.CONDUCTOR, lost, version.VERSION)
    listener = parts.serving.Listener(
        sock, server.make_app(conductor.tickets), 'streams', tls, CONF.api.max_connections
    )
    listener.start()
    try:
        conductor.start()
        stop.wait(CONF.conductor.stop_timeout)
    finally:
        conductor.stop()
        listener.stop(grace=0.5)
        bus.close()
    return exits[0] if exits else 0


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
