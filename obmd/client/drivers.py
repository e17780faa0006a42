"""Kinds of BMCs that a node may have."""

from obmd.client import transport as transports


class Drivers:
    """:param transport: :class:`obmd.client.transport.Transport`."""

    def __init__(self, transport):
        self._transport = transport

    def list(self):
        """:returns: list of dicts: ``name``, ``capabilities``, ``info_schema``."""
        return self._transport.read('/drivers')['drivers']

    def get(self, name):
        """:returns: dict."""
        return self._transport.read(f'/drivers/{transports.segment(name)}')
