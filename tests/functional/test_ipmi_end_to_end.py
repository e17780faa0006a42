"""obmd in one process over ipmi_sim: power, boot device, faults of a BMC, wrong passwords."""

import statistics
import threading
import time

import pytest

from tests.functional.deployment import AllInOne
from tests.functional.deployment import wait_until
from tests.functional.farm import Farm
from tests.functional.other_client import CountingRelay
from tests.functional.test_obmd_door import check_error

pytestmark = pytest.mark.needs('ipmi_sim', 'ipmitool')

#: seconds a BMC has to answer here
DEADLINE = 3.0
#: what a busy test machine may add
SLACK = 2.0


@pytest.fixture(scope='module')
def farm():
    with Farm(4, rate=5, power_on=True, boot_delay=0.05) as farm:
        yield farm


@pytest.fixture(scope='module')
def obmd(farm):
    with AllInOne(config={'ipmi': {'deadline': DEADLINE}}) as deployment:
        for bmc in farm.bmcs:
            deployment.register_bmc(bmc)
        yield deployment


@pytest.fixture
def node(obmd):
    return obmd.node('node0001')


@pytest.fixture
def bmc(farm):
    return farm.bmcs[0]


@pytest.fixture
def victim(farm, obmd):
    """(BMC, Node) for tests of faults; the BMC is well again afterwards."""
    bmc = farm.bmcs[1]
    yield bmc, obmd.node(bmc['name'])
    farm.resume(bmc)


def timed(function, *args, **kwargs):
    """:returns: (what it returns, seconds)."""
    started = time.monotonic()
    return function(*args, **kwargs), time.monotonic() - started


def together(count, function):
    """:returns: list of what ``count`` calls at once return."""
    found = []
    threads = [threading.Thread(target=lambda: found.append(function())) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == count
    return found


# -- power and boot device --------------------------------------------------------------------


def test_power_off_and_on_are_verified_when_they_are_answered(farm, bmc, node):
    for operation, seen, status in (
        ('power_off', '0', 'off'),
        ('power_off', '0', 'off'),
        ('power_on', '1', 'on'),
        ('power_on', '1', 'on'),
    ):
        answer = node.post(operation)
        assert (answer.status_code, answer.content) == (200, b'')
        assert farm.read(bmc, 'power') == seen
        assert node.power() == status


def test_a_forced_cycle_resets_a_node_that_is_on(node):
    node.post('power_on')
    with node.console() as viewer:
        viewer.wait_for(b'line')
        assert node.post('power_cycle', json={'force': True}).status_code == 200
        position = viewer.wait_for(b'*** reset ***')
        viewer.wait_for(b'SimBIOS', after=position)
        assert node.power() == 'on'


@pytest.mark.parametrize('body', [{}, {'json': {'force': False}}, {'json': {'force': True}}])
def test_a_cycle_turns_on_a_node_that_is_off(node, body):
    node.post('power_off')
    assert node.post('power_cycle', **body).status_code == 200
    assert node.power() == 'on'


def test_a_soft_cycle_shuts_down_and_turns_on_again(node):
    node.post('power_on')
    with node.console() as viewer:
        viewer.wait_for(b'line')
        answer, seconds = timed(node.post, 'power_cycle')
        assert answer.status_code == 200
        position = viewer.wait_for(b'*** power off ***')
        viewer.wait_for(b'SimBIOS', after=position)
    wait_until(lambda: node.power() == 'on', what='power on')
    print(f'answered after {seconds:.2f} s')


@pytest.mark.parametrize(
    ('device', 'seen'), [('pxe', 'pxe'), ('disk', 'default'), ('none', 'none')]
)
def test_a_boot_device_reaches_the_bmc(farm, bmc, node, device, seen):
    # "default" is what ipmi_sim calls its disk
    assert node.call('PUT', 'boot_device', json={'bootdev': device}).status_code == 200
    assert farm.read(bmc, 'boot') == seen


def test_the_event_log_is_read(obmd):
    answer = obmd.as_admin('GET', '/api/v1/nodes/node0001/event_log?limit=5')
    assert answer.status_code == 200
    assert answer.json()['node'] == 'node0001'
    assert answer.json()['events'][0].keys() == {'id', 'time', 'sensor', 'event', 'raw'}


# -- a BMC that is silent, dead, restarted ----------------------------------------------------


def test_a_silent_bmc_is_504_within_the_deadline(farm, victim):
    bmc, node = victim
    node.power()
    farm.stop(bmc)
    for method, operation in (('GET', 'power_status'), ('POST', 'power_on'), ('GET', 'console')):
        answer, seconds = timed(node.call, method, operation)
        error = check_error(answer, 504, 'bmc_silent', node=bmc['name'])
        assert bmc['address'] in error['reason']
        assert bmc['password'] not in answer.text
        assert seconds < DEADLINE + SLACK
        print(f'{operation}: {seconds:.2f} s')
    farm.resume(bmc)
    assert node.power() == 'on'


def test_a_silent_bmc_delays_nobody_else(farm, node, victim):
    bmc, silent = victim
    before = statistics.median(timed(node.power)[1] for _ in range(20))
    farm.stop(bmc)
    waiting = threading.Thread(target=lambda: answers.extend(together(25, ask)))
    answers = []

    def ask():
        return timed(silent.call, 'GET', 'power_status')

    waiting.start()
    time.sleep(0.2)
    meanwhile = statistics.median(timed(node.power)[1] for _ in range(20))
    assert not answers
    waiting.join()
    print(f'median {before * 1000:.1f} ms, beside 25 who wait {meanwhile * 1000:.1f} ms')
    assert meanwhile < before + 0.2
    for answer, seconds in answers:
        check_error(answer, 504, 'bmc_silent')
        # who came while one was asked already waits for a question of his own
        assert seconds < 2 * DEADLINE + SLACK


def test_a_node_takes_many_callers_at_once(node):
    node.post('power_on')
    answers = together(25, lambda: node.call('GET', 'power_status'))
    assert {answer.status_code for answer in answers} == {200}


def test_more_writes_than_may_wait_are_409(farm, victim):
    bmc, node = victim
    node.power()
    farm.stop(bmc)
    statuses = [answer.status_code for answer in together(25, lambda: node.post('power_on'))]
    assert set(statuses) == {409, 504}
    assert statuses.count(409) >= 25 - 10


def test_a_bmc_killed_in_the_middle_of_a_command_and_restarted(farm, victim):
    bmc, node = victim
    node.power()
    farm.kill(bmc)
    answers = []
    asking = threading.Thread(target=lambda: answers.append(node.call('GET', 'power_status')))
    asking.start()
    time.sleep(0.3)
    farm.start(bmc)
    asking.join()
    assert answers[0].status_code == 200
    assert node.post('power_off').status_code == 200
    assert node.post('power_on').status_code == 200


# -- wrong passwords --------------------------------------------------------------------------


def test_a_wrong_password_is_502_and_not_tried_again(obmd, farm):
    bmc = farm.bmcs[2]
    with CountingRelay(bmc) as relay:
        info = {'addr': '127.0.0.1', 'port': relay.port, 'user': bmc['user'], 'pass': 'wr0ng-pass'}
        obmd.register('refused', 'ipmi', info)
        node = obmd.node('refused')
        error = check_error(
            node.call('GET', 'power_status'), 502, 'credentials_refused', node='refused'
        )
        assert 'wr0ng-pass' not in str(error)
        sent = relay.packets
        assert sent > 0
        for method, operation in (
            ('GET', 'power_status'),
            ('POST', 'power_on'),
            ('POST', 'power_cycle'),
            ('GET', 'console'),
        ):
            answer, seconds = timed(node.call, method, operation)
            check_error(answer, 502, 'credentials_refused', node='refused')
            assert seconds < SLACK
        time.sleep(1)
        assert relay.packets == sent
        obmd.unregister('refused')
        obmd.register('refused', 'ipmi', info | {'pass': bmc['password']})
        assert obmd.node('refused').power() in ('on', 'off')
        obmd.unregister('refused')
    assert 'wr0ng-pass' not in obmd.log()


def test_a_refused_password_is_remembered_over_a_restart(farm):
    bmc = farm.bmcs[2]
    with CountingRelay(bmc) as relay, AllInOne() as obmd:
        info = {'addr': '127.0.0.1', 'port': relay.port, 'user': bmc['user'], 'pass': 'wr0ng-pass'}
        obmd.register('refused', 'ipmi', info)
        node = obmd.node('refused')
        check_error(node.call('GET', 'power_status'), 502, 'credentials_refused')
        obmd.stop()
        sent = relay.packets
        obmd.start()
        check_error(node.call('GET', 'power_status'), 502, 'credentials_refused')
        assert relay.packets == sent


# -- a sweep ----------------------------------------------------------------------------------


def test_a_sweep_answers_each_name_once(obmd, farm, victim):
    bmc, _ = victim
    farm.stop(bmc)
    lines = obmd.sweep('node[0001-0004],nosuch', deadline=DEADLINE)
    by_name = {line['node']: (seconds, line) for seconds, line in lines}
    assert len(lines) == len(by_name) == 5
    for name in ('node0001', 'node0003', 'node0004'):
        assert by_name[name][1]['power_status'] in ('on', 'off')
        assert by_name[name][0] < 1.5
    assert by_name['nosuch'][1]['error']['kind'] == 'not_found'
    assert by_name['node0002'][1]['error']['kind'] == 'bmc_silent'
    assert by_name['node0002'][0] < DEADLINE + SLACK


@pytest.mark.parametrize(
    'parameters',
    [
        {},
        {'nodes': ''},
        {'nodes': 'n[1-'},
        {'nodes': 'n[1-99999999]'},
        {'nodes': '@'},
        {'nodes': 'n@all'},
        {'nodes': 'n' * 20000},
        {'nodes': 'n1', 'deadline': 'x'},
        {'nodes': 'n1', 'deadline': '0'},
        {'nodes': 'n1', 'deadline': '-1'},
        {'nodes': 'n1', 'deadline': 'nan'},
        {'nodes': 'n1', 'deadline': 'inf'},
        {'nodes': 'n1', 'deadline': '1e9'},
    ],
)
def test_a_sweep_of_nonsense_is_400(obmd, parameters):
    answer, seconds = timed(obmd.as_admin, 'GET', '/api/v1/power', params=parameters)
    check_error(answer, 400, 'invalid_input')
    assert seconds < SLACK
