"""The one gate before every BMC: whether a packet may go out now.

The conductor puts its lease here.  Drivers ask in the function that writes to the wire, so that
no path goes around it.
"""


def _open(upkeep):
    return True


_allows = _open


def allows(upkeep=False):
    """:param upkeep: bool, it only keeps open what is open (acknowledgement, keepalive).

    :returns: bool.
    """
    return _allows(upkeep)


def close_by(check):
    """:param check: callable as :func:`allows`, or None: open to all."""
    global _allows
    _allows = check or _open
