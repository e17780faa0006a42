"""Which conductor group a new node belongs to: by its BMC's address, else the default."""

import functools
import ipaddress

from obmd.common import errors
from obmd.conf import CONF


def group_of(address):
    """:param address: str as a driver's ``address`` tells: an IP address or name, maybe a port.

    :returns: str.  :raises Fatal: ``[api] group_by_network`` cannot be read.
    """
    bmc = _ip_address(address)
    if bmc is not None:
        for network, group in networks(tuple(CONF.api.group_by_network)):
            if bmc in network:
                return group
    return CONF.api.default_group


@functools.lru_cache(maxsize=8)
def networks(pairs):
    """:param pairs: tuple of str, ``CIDR:group``.  :returns: list, the longest prefix first."""
    found = []
    for pair in pairs:
        cidr, _, group = pair.rpartition(':')
        try:
            found.append((ipaddress.ip_network(cidr.strip()), group.strip()))
        except ValueError as e:
            raise errors.Fatal(f'[api] group_by_network: {e}') from None
    return sorted(found, key=lambda pair: -pair[0].prefixlen)


def _ip_address(text):
    host, _, port = text.rpartition(':')
    for candidate in (text, host if port.isdigit() else text):
        try:
            return ipaddress.ip_address(candidate.strip('[]'))
        except ValueError:
            continue
    return None
