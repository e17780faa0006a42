"""MAC addresses (EUI-48, IEEE 802) as obmd writes them: lower case with colons."""

import re

_MAC = re.compile('[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\\1){4}[0-9A-Fa-f]{2}')


def normalise(text):
    """:param text: str, six pairs of digits with colons or with hyphens, in either case.

    :returns: str as obmd writes it, or None: it is no MAC address.
    """
    return text.lower().replace('-', ':') if _MAC.fullmatch(text) else None
