"""What the services share when they put themselves together."""

import contextlib
import os

from obmd.api import bearer
from obmd.common import errors
from obmd.common import exposition
from obmd.common import listening
from obmd.common import secrets
from obmd.common import serving
from obmd.conf import CONF

#: connections to ``[metrics] listen`` at once
METRICS_CONNECTIONS = 64


def check(options):
    """:returns: the TLS context or None.  :raises Fatal: what ``options`` may not be."""
    address = listening.parse_address(options.listen)
    listening.check_plaintext(address, options.insecure, options.tls_cert, options.tls_key)
    if options.tls_cert:
        return serving.tls_context(options.tls_cert, options.tls_key)
    return None


def bind(options, reuse_port=False):
    return serving.bind(listening.parse_address(options.listen), reuse_port)


def metrics_address():
    """:returns: str, where ``/metrics`` is served apart from all else, or ''."""
    return CONF.metrics.listen if CONF.metrics.enabled else ''


@contextlib.contextmanager
def metrics_listener(reuse_port=False):
    """Serve ``/metrics`` where ``[metrics] listen`` says, if it does.

    :raises Fatal: the port is in use.
    """
    address = metrics_address()
    if not address:
        yield
        return
    sock = serving.bind(listening.parse_address(address), reuse_port)
    app = exposition.measured(exposition.application)
    listener = serving.Listener(sock, app, 'metrics', None, METRICS_CONNECTIONS)
    listener.start()
    try:
        yield
    finally:
        listener.stop()


def url_of(options, address):
    """:returns: str, the URL of a listener on this machine.  :param address: (host, port)."""
    host, port = address[:2]
    if host in ('0.0.0.0', '::'):
        host = '127.0.0.1' if host == '0.0.0.0' else '::1'
    return f'{"https" if options.tls_cert else "http"}://{listening.display((host, port))}'


def make_state_folder():
    """The all-in-one's, for its owner alone.  :raises Fatal: it cannot be made."""
    try:
        os.makedirs(CONF.state_path, mode=0o700, exist_ok=True)
    except OSError as error:
        raise errors.Fatal(
            f'state_path cannot be used: {CONF.state_path}: {error.strerror}'
        ) from None


def own_admin_token():
    """The all-in-one's: made at its first start.  :returns: (path, hash)."""
    path = CONF.api.admin_token_file or os.path.join(CONF.state_path, 'admin-token')
    if not os.path.exists(path):
        secrets.write_secret(path, secrets.new_token() + '\n')
    return path, secrets.token_hash(secrets.read_admin_token(path))


def own_jwt_key():
    """The all-in-one's: its secret is made at its first start.  :returns: bytes."""
    path = secrets.jwt_secret_path()
    if not os.path.exists(path):
        secrets.write_secret(path, secrets.new_jwt_secret() + '\n')
    return bearer.load_key(path)


def own_keys():
    """The all-in-one's key pair, made at its first start.  :returns: (Keyring, PublicKey)."""
    private_path, public_path = secrets.key_paths()
    if not os.path.exists(private_path) and not os.path.exists(public_path):
        secrets.create_keys(private_path, public_path)
    return secrets.Keyring.load(private_path), secrets.PublicKey.load(public_path)
