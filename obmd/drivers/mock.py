"""The ``mock`` driver: reaches nothing, always succeeds; for tests of obmd's callers.

Its console counts lines, one a chunk, and goes on counting for the next viewer.
"""

import itertools
import threading

from obmd.common import threads
from obmd.drivers import base

#: lines a second of the console
RATE = 100


class MockDriver(base.Driver, base.Power, base.BootDevice, base.Console, base.MachineType):
    """``info``: ``{"addr": str, "NumWrites": int}``, both optional."""

    aliases = ('http://schema.massopencloud.org/haas/v0/obm/mock',)
    schema = {
        'type': 'object',
        'properties': {
            'addr': {'type': 'string', 'maxLength': 1024, 'description': 'Any text.'},
            'NumWrites': {
                'type': 'integer',
                'minimum': 0,
                'maximum': 2**53,
                'description': 'The number that the console starts from.',
            },
        },
    }
    boot_devices = ('A', 'B')
    cycles_itself = True
    line_chunks = True
    always_on_demand = True
    machine_types = {'general-small': 'mock.small', 'general-large': 'mock.large'}

    def __init__(self, node, info):
        super().__init__(node, info)
        self._machine_type = self.machine_types['general-small']
        self._device = None
        # Shared by whoever asks: no number is ever given twice.
        self._numbers = itertools.count(int(info.get('NumWrites', 0)))

    @classmethod
    def address(cls, info):
        return info.get('addr', '')

    def power_status(self, deadline):
        return 'Mock Status'

    def set_power(self, action, deadline):
        pass

    def set_boot_device(self, device, deadline):
        self._device = device

    def boot_device(self, deadline):
        return self._device

    def machine_type(self, deadline):
        return self._machine_type

    def set_machine_type(self, raw, deadline):
        self._machine_type = raw

    def open_console(self, sink, deadline, takeover=False):
        handle = _Counter(self, sink)
        threads.spawn(handle.run)
        return handle

    def take_line(self):
        return b'%d\n' % next(self._numbers)


class _Counter(base.ConsoleHandle):
    def __init__(self, driver, sink):
        self._driver = driver
        self._sink = sink
        self._stopped = threading.Event()

    def run(self):
        while not self._stopped.is_set():
            self._sink.data(self._driver.take_line())
            self._stopped.wait(1 / RATE)

    def close(self, deadline, deactivate=True):
        self._stopped.set()
