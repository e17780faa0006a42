"""Who did what on which nodes, from where, with which result."""

from obmd.client import pages


class Audit:
    """:param transport: :class:`obmd.client.transport.Transport`."""

    def __init__(self, transport):
        self._transport = transport

    def list(self, **filters):
        """Yield each entry.  :param filters: of the query: ``since``, ``subject``, ``node``,
        ``command``, ``limit``."""
        return pages.every(self._transport, '/audit', 'audit', **filters)
