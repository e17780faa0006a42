"""The ``dummy`` driver: power in memory, console from a TCP port; for experiments."""

import ipaddress
import socket

from obmd.common import errors
from obmd.common import threads
from obmd.conf import CONF
from obmd.drivers import base


class DummyDriver(base.Driver, base.Power, base.BootDevice, base.Console):
    """``info``: ``{"addr": "host:port"}``; the address is looked at when a console opens."""

    schema = {
        'type': 'object',
        'required': ['addr'],
        'properties': {
            'addr': {
                'type': 'string',
                'maxLength': 1024,
                'description': 'host:port that the console connects to by TCP.',
            },
        },
    }
    boot_devices = None
    cycles_itself = True
    always_on_demand = True

    def __init__(self, node, info):
        super().__init__(node, info)
        self._power = self.OFF
        self._device = None

    @classmethod
    def address(cls, info):
        return info['addr']

    def power_status(self, deadline):
        return self._power

    def set_power(self, action, deadline):
        self._power = self.OFF if action in (self.OFF, self.SOFT_OFF) else self.ON

    def set_boot_device(self, device, deadline):
        self._device = device

    def boot_device(self, deadline):
        return self._device

    def open_console(self, sink, deadline, takeover=False):
        try:
            connection = self._connect(deadline)
        except TimeoutError:
            raise errors.BmcSilent(
                f'no answer from the console at {self.info["addr"]}', self.node.name
            ) from None
        except (OSError, UnicodeError, ValueError) as error:
            raise errors.BmcRefused(
                f'no console at {self.info["addr"]}: {error}', self.node.name
            ) from None
        handle = _Connection(connection, sink, self.node.name)
        threads.spawn(handle.run)
        return handle

    def _connect(self, deadline):
        host, colon, port = self.info['addr'].rpartition(':')
        if not (
            colon and port.isascii() and port.isdigit() and len(port) < 6 and int(port) < 65536
        ):
            raise ValueError('not host:port')
        failure = ValueError('no address')
        for *_, address in socket.getaddrinfo(host.strip('[]'), int(port), 0, socket.SOCK_STREAM):
            if not (CONF.dummy.allow or ipaddress.ip_address(address[0]).is_loopback):
                raise ValueError('not a loopback address, and [dummy] allow is false')
            try:
                # The address that was judged is the one connected to, not the name again.
                return socket.create_connection(address[:2], timeout=max(0.1, deadline.remaining))
            except OSError as error:
                failure = error
        raise failure


class _Connection(base.ConsoleHandle):
    def __init__(self, connection, sink, node_name):
        self._connection = connection
        self._sink = sink
        self._node_name = node_name
        self._closed = False

    def run(self):
        self._connection.settimeout(None)
        reason = 'the other end closed the connection'
        try:
            while chunk := self._connection.recv(4096):
                self._sink.data(chunk)
        except OSError as error:
            reason = str(error)
        if not self._closed:
            self._connection.close()
            self._sink.lost(errors.BmcSilent(reason, self._node_name))

    def close(self, deadline, deactivate=True):
        self._closed = True
        try:
            self._connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._connection.close()
