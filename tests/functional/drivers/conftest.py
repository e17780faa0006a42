import threading
import time

import pytest

from obmd.common.deadline import Deadline
from obmd.drivers.base import ConsoleSink
from obmd.drivers.base import NodeRef
from obmd.drivers.ipmi.driver import IpmiDriver
from tests.functional.farm import Farm


class Sink(ConsoleSink):
    """What a console delivers, and when it was lost."""

    def __init__(self):
        self.text = b''
        self.error = None
        self._event = threading.Event()

    def data(self, chunk):
        self.text += chunk

    def lost(self, error):
        self.error = error
        self._event.set()

    def wait_lost(self, seconds):
        assert self._event.wait(seconds), f'not lost within {seconds} s'
        return self.error

    def wait_text(self, text, seconds=5):
        end = time.monotonic() + seconds
        while text not in self.text:
            assert time.monotonic() < end, f'{text} not in {self.text[-500:]}'
            time.sleep(0.02)


@pytest.fixture(scope='module')
def farm():
    with Farm(3, rate=5, boot_delay=0.05) as farm:
        yield farm


@pytest.fixture
def bmc(farm):
    return farm.bmcs[0]


@pytest.fixture
def connect():
    """``connect(bmc, field=value)`` gives a driver; all are closed at the end."""
    drivers = []

    def connect(bmc, **info):
        info = {
            'addr': bmc['address'],
            'port': bmc['port'],
            'user': bmc['user'],
            'pass': bmc['password'],
        } | info
        driver = IpmiDriver(NodeRef(bmc['name'], 'uuid'), IpmiDriver.normalise(info))
        drivers.append(driver)
        return driver

    yield connect
    for driver in drivers:
        driver.close(Deadline(1))


@pytest.fixture
def sink():
    return Sink()
