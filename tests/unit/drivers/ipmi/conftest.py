import pytest

from obmd.common.deadline import Deadline
from obmd.drivers.ipmi.account import Account
from obmd.drivers.ipmi.bmc import Bmc
from tests.fake_bmc import FakeBmc
from tests.unit.drivers.ipmi.fake_reactor import FakeReactor

PEER = ('192.0.2.5', 623)


class Rig:
    """A BMC as we see it (``bmc``), the fake one behind it (``fake``), the time (``reactor``)."""

    def __init__(self):
        self.reactor = FakeReactor()
        self.fake = None
        self.bmc = None

    def connect(self, account=(), **fake):
        self.fake = FakeBmc(**fake)
        self.fake.clock = self.reactor.now
        self.reactor.bmcs[PEER] = self.fake
        return self.client(**dict(account))

    def client(self, **account):
        options = {'user': b'ADMIN', 'password': b'secret'} | account
        self.bmc = Bmc(Account('n1', PEER[0], PEER[1], **options), self.reactor)
        return self.bmc

    def deadline(self, seconds=5.0):
        return Deadline(seconds, self.reactor.now)

    def call(self, netfn, command, data=(), seconds=5.0, **kwargs):
        return self.bmc.call(netfn, command, data, deadline=self.deadline(seconds), **kwargs)

    def push(self, packet):
        self.reactor.links[PEER].push(packet)
        self.reactor.run(0.01)


@pytest.fixture
def rig():
    return Rig()
