"""Once, a real machine: qemu behind ipmi_sim boots, talks and goes off through obmd."""

import pytest

from tests.functional.deployment import AllInOne
from tests.functional.deployment import wait_until
from tests.functional.machine import Machine

pytestmark = pytest.mark.needs('ipmi_sim', 'qemu-system-x86_64', 'nasm')


@pytest.fixture(scope='module')
def machine():
    with Machine() as machine:
        yield machine


@pytest.fixture(scope='module')
def node(machine):
    with AllInOne() as obmd:
        obmd.register('machine', 'ipmi', machine.info)
        node = obmd.node('machine')
        wait_until(lambda: node.call('GET', 'power_status').status_code == 200, what='its BMC')
        yield node


def test_it_boots_talks_and_goes_off(machine, node):
    assert node.power() == 'off'
    assert machine.pid is None
    with node.console() as viewer:
        assert node.post('power_on').status_code == 200
        wait_until(lambda: machine.pid, what='qemu')
        assert node.power() == 'on'
        position = viewer.wait_for(b'real VM boot sector running', timeout=60)
        viewer.wait_for(b'alive', timeout=30, after=position)
        pid = machine.pid
        assert node.post('power_off').status_code == 200
        wait_until(lambda: machine.pid is None, what=f'the end of qemu, process {pid}')
        assert node.power() == 'off'
        position = len(viewer.data)
        assert node.post('power_cycle', json={'force': True}).status_code == 200
        viewer.wait_for(b'real VM boot sector running', timeout=60, after=position)
        assert machine.pid not in (None, pid)
        assert not viewer.ended
