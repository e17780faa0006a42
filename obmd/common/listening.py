"""Where a service listens: addresses, the rule about plain HTTP, TLS contexts, bound sockets.

Everything that is wrong here is said at start, as one :class:`~obmd.common.errors.Fatal`.
"""

import errno
import ipaddress
import resource
import socket
import ssl

from obmd.common import errors

#: connections that wait to be accepted; the kernel caps it at net.core.somaxconn
BACKLOG = 4096


def parse_address(text):
    """Split ``host:port``, ``:port`` or ``[v6]:port``.

    :returns: (str host, int port); an empty host means all addresses.
    :raises: Fatal.
    """
    host, separator, port = text.strip().rpartition(':')
    bracketed = host.startswith('[') and host.endswith(']')
    if bracketed:
        host = host[1:-1]
    if not separator or (':' in host and not bracketed):
        raise errors.Fatal(f'{text!r} is not an address: host:port, :port or [v6]:port')
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise errors.Fatal(f'{text!r} is not an address: the port must be 0 to 65535')
    return host, int(port)


def resolve(address):
    """:returns: list of (family, sockaddr) that ``address``, (host, port), names.

    :raises: Fatal for a name that does not resolve.
    """
    host, port = address
    if not host:
        if socket.has_dualstack_ipv6():
            return [(socket.AF_INET6, ('::', port, 0, 0))]
        return [(socket.AF_INET, ('0.0.0.0', port))]
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as e:
        raise errors.Fatal(f'cannot resolve the address {host!r} to listen on: {e}') from e
    return [(family, sockaddr) for family, _type, _proto, _name, sockaddr in found]


def is_loopback(address):
    """Whether all that ``address``, (host, port), names is loopback."""
    return all(
        ipaddress.ip_address(sockaddr[0].partition('%')[0]).is_loopback
        for _family, sockaddr in resolve(address)
    )


def check_plaintext(address, insecure, cert, key):
    """The start-up rule of contract and options: TLS, or loopback, or said to be insecure.

    :param address: (host, port).
    :raises: Fatal.
    """
    if bool(cert) != bool(key):
        given, missing = ('certificate', 'key') if cert else ('key', 'certificate')
        raise errors.Fatal(f'a TLS {given} is set without its {missing}')
    if cert and insecure:
        raise errors.Fatal('"insecure" is set together with a TLS certificate: choose one')
    if not cert and not insecure and not is_loopback(address):
        raise errors.Fatal(
            f'plain HTTP on {display(address)} is refused, it is not loopback: '
            'set a TLS certificate and key, or "insecure"'
        )


def _no_password(*_args):
    raise errors.Fatal('the TLS key is encrypted: give one without a passphrase')


def tls_context(cert, key, context_class=ssl.SSLContext):
    """A server's context, TLS 1.2 and up.

    :param cert: file name of the PEM certificate (chain).  :param key: of its private key.
    :raises: Fatal.
    """
    context = context_class(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # a renegotiation would make a write wait for a read
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except (OSError, ValueError) as e:
        # the text of an OSError leaves out which of the two files it was
        raise errors.Fatal(f'cannot use the TLS certificate {cert} with key {key}: {e}') from e
    return context


def display(address):
    """:returns: str, ``host:port`` as a person writes it."""
    host, port = address[:2]
    return f'[{host}]:{port}' if ':' in host else f'{host}:{port}'


def bind(address, reuse_port=False, listen=True, socket_class=socket.socket):
    """A socket bound to ``address``, (host, port), and listening.

    :param reuse_port: several processes share the port (SO_REUSEPORT).
    :raises: Fatal naming an address that is in use, not there or not permitted.
    """
    family, sockaddr = resolve(address)[0]
    sock = socket_class(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # accepted sockets inherit it
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1 if address[0] else 0)
        sock.bind(sockaddr)
        if listen:
            sock.listen(BACKLOG)
    except OSError as e:
        sock.close()
        what = 'is in use' if e.errno == errno.EADDRINUSE else f'cannot be used: {e.strerror}'
        raise errors.Fatal(f'the address {display(address)} {what}') from e
    return sock


def reserve(address):
    """Hold ``address`` for worker processes that bind it with ``reuse_port``.

    :returns: socket, bound and not listening (so it gets no connection); close it at the end.
    :raises: Fatal, also when another process shares the port with SO_REUSEPORT already.
    """
    probe = bind(address)
    bound = (address[0], probe.getsockname()[1])
    probe.close()
    reservation = bind(bound, reuse_port=True, listen=False)
    # with it, Linux would let another process listen where nobody listens yet
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    return reservation


def raise_file_limit():
    """Raise RLIMIT_NOFILE to what is permitted: each viewer and each BMC is a descriptor."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
