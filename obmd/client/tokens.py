"""Tokens of users: what they may, on which nodes, until when."""

from obmd.client import pages
from obmd.client import transport as transports


class Tokens:
    """:param transport: :class:`obmd.client.transport.Transport`."""

    def __init__(self, transport):
        self._transport = transport

    def issue(self, **claims):
        """:param claims: ``days`` (float), ``label`` (str), ``commands`` (list of str), ``nodes``
            (str, a range), ``operations`` (list of str); None is left out.

        :returns: dict; its ``token`` is shown this once.
        """
        given = {name: value for name, value in claims.items() if value is not None}
        return self._transport.write('POST', '/tokens', given)

    def list(self):
        """Yield each token that was issued, as a dict without the token itself."""
        return pages.every(self._transport, '/tokens', 'tokens')

    def revoke(self, token):
        """:param token: str, its id (the claim ``jti``).  :returns: dict, as it is then."""
        return self._transport.write('DELETE', f'/tokens/{transports.segment(token)}')
