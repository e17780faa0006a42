"""Wall clocks that jump, on conductors and API: nothing that is decided hangs on them."""

import json
import time

import pytest
import requests

from tests.functional.deployment import Split
from tests.functional.deployment import wait_until
from tests.functional.farm import Farm
from tests.functional.shifted_clock import Clock

pytestmark = pytest.mark.needs('ipmi_sim', 'initdb')

HOUR = 3600.0
DECADE = 10 * 365 * 24 * HOUR
#: seconds, as set below
TTL, INTERVAL = 3.0, 1.0

CONFIG = {
    'conductor': {'heartbeat_ttl': TTL},
    'console': {'capture': 'always', 'ticket_ttl': 20, 'revocation_check_interval': INTERVAL},
}


@pytest.fixture(scope='module')
def farm():
    with Farm(4, rate=4, power_on=True, boot_delay=0.05) as farm:
        yield farm


class Jumping:
    """A split whose processes have clocks of their own."""

    def __init__(self, split):
        self.split = split
        self.clocks = [
            (process, process.on_clock(Clock(split.folder, f'{number}')))
            for number, process in enumerate([split.api, *split.conductors])
        ]

    def jump(self, process, seconds):
        dict(self.clocks)[process].jump(process, seconds)

    def jump_all(self, seconds):
        for process, clock in self.clocks:
            clock.jump(process, seconds)


@pytest.fixture(scope='module')
def jumping(rabbitmq, postgresql, farm):
    split = Split(rabbitmq, postgresql, conductors=2, workers=1, config=CONFIG)
    made = Jumping(split)
    with split:
        for bmc in farm.bmcs:
            split.register_bmc(bmc)
        yield made


@pytest.fixture
def settled(jumping):
    jumping.jump_all(0)
    jumping.split.wait_until_settled()
    return jumping


def owners(split):
    return split.query('SELECT name, owner, owner_epoch FROM nodes ORDER BY name')


def started(split):
    return split.query('SELECT incarnation, state FROM conductors ORDER BY 1')


@pytest.mark.parametrize('seconds', [HOUR, -HOUR, DECADE, -DECADE])
def test_a_jump_moves_no_node_ends_no_stream_and_fails_no_call(settled, farm, seconds):
    split = settled.split
    node = split.node(farm.bmcs[0]['name'])
    before, rows = owners(split), started(split)
    said = len(split.logs())
    with node.console() as viewer:
        viewer.wait_for(b'line')
        late = node.call('GET', 'console', allow_redirects=False)
        settled.jump_all(seconds)
        until = time.monotonic() + 1.5 * TTL
        while time.monotonic() < until:
            assert node.call('GET', 'power_status').status_code == 200
            time.sleep(0.2)
        viewer.wait_for(b'line', after=len(viewer.data))
        assert not viewer.ended
        # a ticket of before the jump is as good as any, once
        with requests.get(late.headers['Location'], timeout=20, stream=True) as old:
            assert old.status_code == 200
        assert owners(split) == before
        assert started(split) == rows
        split.as_admin('DELETE', f'/node/{node.name}/token')
        viewer.wait_for_end(INTERVAL + 10)
    log = split.logs()[said:]
    assert 'is dead' not in log and 'fenced' not in log and 'suspended' not in log


def test_one_conductor_whose_clock_is_off_takes_nothing_from_the_other(settled, farm):
    split = settled.split
    before = owners(split)
    for seconds in (DECADE, -DECADE):
        settled.jump(split.conductors[0], seconds)
        time.sleep(1.5 * TTL)
        assert owners(split) == before


def die_in_a_soft_cycle(split, farm, seconds):
    """The owner of a node that is off dies, and its row says that it shall be turned on.

    :param seconds: until when, by the clock of who takes it over.
    :returns: its BMC, its node and the dead owner.
    """
    bmc = farm.bmcs[1]
    node = split.node(bmc['name'])
    assert node.post('power_off').status_code == 200
    owner = split.owner(bmc['name'])
    owner.kill()
    split.query(
        "UPDATE nodes SET target_power_state = 'on', target_call_id = 'call', "
        f"target_reason = 'soft power cycle', target_until = {time.time() + seconds} "
        f"WHERE name = '{node.name}'"
    )
    return bmc, node, owner


def shown(split, name):
    return json.loads(split.manage('node', 'show', name, '-f', 'json'))


@pytest.mark.parametrize('seconds', [30, DECADE])
def test_a_soft_cycle_is_carried_on_however_late_its_end_is_said_to_be(settled, farm, seconds):
    split = settled.split
    bmc, node, owner = die_in_a_soft_cycle(split, farm, seconds)
    try:
        wait_until(lambda: farm.read(bmc, 'power') == '1', 30, 'the second half')
        wait_until(lambda: not shown(split, node.name)['target_power_state'], 10)
        assert not shown(split, node.name)['last_error']
    finally:
        owner.start()
        split.wait_for()


def test_a_soft_cycle_whose_time_seems_to_be_over_is_given_up_and_says_so(settled, farm):
    split = settled.split
    bmc, node, owner = die_in_a_soft_cycle(split, farm, -HOUR)
    try:
        wait_until(lambda: shown(split, node.name)['last_error'], 30)
        assert 'clock' in shown(split, node.name)['last_error']
        assert not shown(split, node.name)['target_power_state']
        assert farm.read(bmc, 'power') == '0'
        assert node.post('power_on').status_code == 200
    finally:
        owner.start()
        split.wait_for()
