"""Commands that may be run on nodes: those that come with obmd, and an administrator's."""

from obmd.client import transport as transports


class Commands:
    """:param transport: :class:`obmd.client.transport.Transport`."""

    def __init__(self, transport):
        self._transport = transport

    def list(self):
        """:returns: list of dicts: ``name``, ``summary``, ``syntax``, ``confirmation``, ..."""
        return self._transport.read('/commands')['commands']

    def get(self, name):
        """:returns: dict."""
        return self._transport.read(f'/commands/{transports.segment(name)}')
