"""Where an agent says that it can be called: what of it is refused, because whoever calls it would
call something else.

Names are not resolved: what they mean can change until somebody calls.  So one that leads to a
loopback address gets in here, and who calls must look at the address that it connects to.
"""

import ipaddress
import re

from obmd.common import errors

#: characters; longer ones are no URL of an agent
LONGEST = 2048
#: characters of a name (RFC 1035, section 2.3.4)
LONGEST_NAME = 253

#: RFC 3986 without user information and fragment: an authority is a name, an IPv4 or a bracketed
#: IPv6 address, and no percent-encoding, which callers decode or not
_URL = re.compile(
    r'(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?'
    r"(?:[/?][a-z0-9/?:@!$&'()*+,;=._~%-]*)?",
    re.IGNORECASE | re.ASCII,
)
_LABEL = re.compile(r'[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?')
#: a last label that makes resolvers read a host as an IPv4 address: decimal, octal, hexadecimal
_NUMBER = re.compile(r'[0-9]+|0x[0-9a-f]*')
#: names of the machine itself (RFC 6761, section 6.3, and /etc/hosts of the distributions)
_LOCAL_NAMES = frozenset(
    (
        'localhost',
        'localhost4',
        'localhost6',
        'localdomain',
        'ip6-localhost',
        'ip6-loopback',
        'localdomain4',
        'localdomain6',
    )
)
#: "this network" (RFC 1122), which systems take for the machine itself; broadcast
_UNSPECIFIED = ipaddress.ip_network('0.0.0.0/8')
_BROADCAST = ipaddress.ip_address('255.255.255.255')
#: prefixes of IPv6 whose last four bytes are an IPv4 address: compatible (RFC 4291), translated
#: (RFC 2765), NAT64 (RFC 6052, section 2.1); ISATAP (RFC 5214) is judged by itself
_EMBEDDING = tuple(map(ipaddress.ip_network, ('::/96', '::ffff:0:0:0/96', '64:ff9b::/96')))
#: NAT64 within a site (RFC 8215): where in it the IPv4 address is, only its gateway knows
#: (RFC 6052, section 2.2)
_LOCAL_NAT64 = ipaddress.ip_network('64:ff9b:1::/48')
_ISATAP = (0x5EFE, 0x02005EFE)


def check(url, require_tls, allow_local):
    """:param url: str.  :param allow_local: take the addresses that lead to this machine.

    :raises InvalidInput: never quoting ``url``, which may hold a password.
    """
    found = _URL.fullmatch(url) if len(url) <= LONGEST else None
    if found is None:
        raise errors.InvalidInput(
            'callback_url must be an absolute http or https URL, without credentials, blanks '
            'and fragment'
        )
    if require_tls and found['scheme'].lower() != 'https':
        raise errors.InvalidInput('callback_url must be https')
    if found['port'] is not None and not 0 < int(found['port']) < 65536:
        raise errors.InvalidInput('callback_url has a port that is none')
    if _leads_here(found['host'].lower()) and not allow_local:
        raise errors.InvalidInput(
            'callback_url must not be at a loopback, link-local, site-local or unspecified address'
        )


def _leads_here(host):
    """:raises InvalidInput: neither name nor address; a number not written as an address is."""
    labels = host.removesuffix('.').split('.')
    try:
        if host.startswith('['):
            address = ipaddress.IPv6Address(host[1:-1])
        elif _NUMBER.fullmatch(labels[-1]):
            address = ipaddress.IPv4Address(host)
        elif len(host) <= LONGEST_NAME and all(map(_LABEL.fullmatch, labels)):
            return labels[0] in _LOCAL_NAMES or labels[-1] in _LOCAL_NAMES
        else:
            raise ValueError
    except ValueError:
        raise errors.InvalidInput('callback_url has a host that is none') from None
    return any(map(_is_local, (address, *_embedded(address))))


def _embedded(address):
    """IPv4 addresses that systems or gateways make of an IPv6 address."""
    if address.version == 4:
        return
    low = int(address) & 0xFFFFFFFF
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if any(address in network for network in _EMBEDDING) and low > 1:
        yield ipaddress.IPv4Address(low)
    if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
        yield ipaddress.IPv4Address(low)


def _is_local(address):
    if address.is_loopback or address.is_link_local or address.is_unspecified:
        return True
    if address.version == 4 and (address in _UNSPECIFIED or address == _BROADCAST):
        return True
    # fec0::/10, which means another machine at each site (RFC 3879)
    if address.version == 6 and (address.is_site_local or address in _LOCAL_NAT64):
        return True
    # nobody is at a multicast address
    return address.is_multicast
