"""Who asked for something: known to the API, carried in the header of a call.

What one caller may be told about another (:meth:`Caller.__str__`) has no address; the log and the
node's row have it (:attr:`Caller.full`).  All of it is bounded and printable, whatever a client, a
proxy in front or a conductor of another version has sent.
"""

import dataclasses
import ipaddress
import re

ADMIN, HOLDER, BEARER, OBMD = 'admin', 'holder', 'bearer', 'obmd'
_NAMES = {
    ADMIN: 'the admin',
    HOLDER: "the holder of the node's token",
    BEARER: 'the holder of an access token',
    OBMD: 'obmd itself',
}
_REQUEST_ID = re.compile('[0-9A-Za-z-]{1,64}')


@dataclasses.dataclass(frozen=True)
class Caller:
    """:ivar who: ``ADMIN``, ``HOLDER``, ``BEARER``, ``OBMD`` (work that goes on by itself) or
        None: not known.
    :ivar request_id: str or None, of the request, or of the one that began what goes on.
    :ivar address: str or None, of the client.
    """

    who: str | None = None
    request_id: str | None = None
    address: str | None = None

    def __str__(self):
        return self._text('')

    @property
    def full(self):
        """str, at most 255 characters, with the client's address."""
        return self._text(f' from {self.address}' if self.address else '')

    def _text(self, place):
        request = f' (request {self.request_id})' if self.request_id else ''
        return f'{_NAMES.get(self.who, "a caller that is not known")}{place}{request}'

    def to_wire(self):
        """:returns: dict of what is known."""
        known = dataclasses.asdict(self)
        return {name: value for name, value in known.items() if value is not None}


UNKNOWN = Caller()


def make(who, request_id, address):
    """A caller of what was sent: what is not of the form that it must have is left out."""
    return Caller(
        who if isinstance(who, str) and who in _NAMES else None,
        request_id if _is_request_id(request_id) else None,
        _address(address),
    )


def from_wire(wire):
    """:param wire: what a call's header has, None from an API that does not send it."""
    if not isinstance(wire, dict):
        return UNKNOWN
    return make(wire.get('who'), wire.get('request_id'), wire.get('address'))


def _is_request_id(text):
    return isinstance(text, str) and _REQUEST_ID.fullmatch(text) is not None


def _address(text):
    """An IP address out of REMOTE_ADDR, X-Forwarded-For or ``for=`` of RFC 7239.

    Of several the last: the proxy in front of us wrote it, the others are hearsay.
    """
    if not isinstance(text, str):
        return None
    text = text.rpartition(',')[2].strip().strip('"')
    if text.startswith('['):
        text = text[1:].partition(']')[0]
    elif text.count(':') == 1:
        text = text.partition(':')[0]
    try:
        # a zone is any text
        return str(ipaddress.ip_address(text.partition('%')[0]))
    except ValueError:
        return None
