"""Who did what on which nodes, from where, with which result."""

from obmd.client import pages


class Audit:
    """:param transport: :class:`obmd.client.transport.Transport`."""

    def __init__(self, transport):
        self._transport = transport

    def list(self, **filters):
        """Yield each entry, the newest first.

        :param filters: of the query: ``since``, ``until``, ``subject``, ``action``, ``command``,
            ``job``, ``node``; None is left out.
        """
        return pages.every(self._transport, '/audit', 'audit', **filters)
