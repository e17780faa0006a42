"""Nodes, and what their BMCs do."""

import base64
import json

from obmd.client import errors
from obmd.client import events
from obmd.client import pages
from obmd.client import transport as transports

#: seconds that an answer may take beyond the deadline that it was asked with
GRACE = 10.0


class Nodes:
    """:param transport: :class:`obmd.client.transport.Transport`."""

    def __init__(self, transport):
        self._transport = transport

    def list(self, nodes=None, driver=None, conductor_group=None, rank=None, conductor=None):
        """Yield each node: in the order of the range, else by name.

        :param nodes: str, a range.  :param conductor: str, host of the one that owns them.
        """
        return pages.every(
            self._transport,
            '/nodes',
            'nodes',
            nodes=nodes,
            driver=driver,
            conductor_group=conductor_group,
            rank=rank,
            conductor=conductor,
        )

    def after(self, name, limit):
        """:returns: list of dicts, at most ``limit`` nodes whose names follow ``name``."""
        return self._transport.read('/nodes', marker=name or None, limit=limit)['nodes']

    def get(self, node):
        """:param node: str, name or uuid.  :returns: dict."""
        return self._transport.read(_path(node))

    def create(self, node):
        """:param node: dict: ``name``, ``obm`` (``{"type", "info"}``), ``ranks``,
            ``parameters``, ``conductor_group``, ...

        :returns: dict, as it is then.
        """
        return self._transport.write('POST', '/nodes', node)

    def change(self, node, changes):
        """A merge patch.  :param changes: dict.  :returns: dict, the node as it is then."""
        return self._transport.write('PATCH', _path(node), changes)

    def delete(self, node):
        self._transport.write('DELETE', _path(node))

    def power(self, node):
        """:returns: str, ``on`` or ``off``, read from the BMC now."""
        return self._transport.read(_path(node, 'power'))['power_status']

    def set_power(self, node, action):
        """:param action: ``on``, ``off``, ``soft_off``, ``cycle``, ``reset`` or ``diag``.

        :returns: dict.
        """
        return self._transport.write('PUT', _path(node, 'power'), {'action': action})

    def sweep(self, nodes, deadline=None):
        """Yield ``{"node", "power_status"}`` or ``{"node", "error"}``, as the answers come.

        :param nodes: str, a range.  :param deadline: float seconds.
        """
        timeout = None if deadline is None else deadline + GRACE
        with self._transport.stream(
            '/power', timeout=timeout, nodes=nodes, deadline=deadline
        ) as answer:
            yield from _lines(answer)

    def boot_device(self, node):
        """:returns: dict."""
        return self._transport.read(_path(node, 'boot_device'))

    def set_boot_device(self, node, device):
        """:param device: str, ``disk``, ``pxe``, ...  :returns: dict."""
        return self._transport.write('PUT', _path(node, 'boot_device'), {'device': device})

    def event_log(self, node, limit=None):
        """:returns: list of dicts, oldest first."""
        return self._transport.read(_path(node, 'event_log'), limit=limit)['events']

    def console(self, node, **options):
        """Yield what the console says, as it says it, without end.

        :param options: of the query: ``cursor``, ``replay``, ``takeover``.
        :returns: iterator of dicts with ``event``: ``data`` (its ``data`` is bytes, its ``cursor``
            resumes behind them), ``gap`` (``bytes``, or None), ``state`` (``up``, ``down``).
        :raises Unreachable: the connection broke off.
        """
        # an empty line now and then keeps a silent one
        with self._transport.stream(
            _path(node, 'console'), timeout=events.SILENCE, **options
        ) as answer:
            for line in _lines(answer):
                if 'data' in line:
                    line['data'] = base64.b64decode(line['data'])
                yield line


def _path(node, *more):
    return '/'.join(('/nodes', transports.segment(node), *more))


def _lines(answer):
    """:returns: iterator of what each line says; one that is cut short is left out."""
    rest = b''
    for chunk in transports.chunks(answer):
        *lines, rest = (rest + chunk).split(b'\n')
        for line in lines:
            if not line.strip():
                continue
            try:
                yield json.loads(line)
            except ValueError:
                raise errors.BadAnswer(f'{answer.url}: a line is not JSON') from None
