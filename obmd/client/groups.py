"""Names for node ranges: ``@name`` in a range."""

from obmd.client import pages
from obmd.client import transport as transports


class Groups:
    """:param transport: :class:`obmd.client.transport.Transport`."""

    def __init__(self, transport):
        self._transport = transport

    def list(self):
        """Yield each group, by name: ``{"name", "nodes"}``."""
        return pages.every(self._transport, '/groups', 'groups')

    def get(self, name):
        """:returns: dict."""
        return self._transport.read(_path(name))

    def put(self, name, nodes):
        """Make a group, or give it other nodes.  :param nodes: str, a range.  :returns: dict."""
        return self._transport.write('PUT', _path(name), {'nodes': nodes})

    def delete(self, name):
        self._transport.write('DELETE', _path(name))


def _path(name):
    return f'/groups/{transports.segment(name)}'
