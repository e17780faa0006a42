"""A node's lock, seen by who finds it busy, and gone with the conductor that held it."""

import collections
import contextlib
import threading
import time

import pytest

from obmd.testing.fleet import Fleet
from tests.functional.deployment import Split
from tests.functional.deployment import wait_until
from tests.functional.test_obmd_door import check_error

pytestmark = pytest.mark.needs('initdb')

#: seconds from a power command to the change: a write lasts as long
POWER_DELAY = 6.0

CONFIG = {'conductor': {'max_writes': 1, 'power_timeout': 30}, 'api': {'call_timeout': 30}}

AGENT_VERSION = {'X-OpenStack-Ironic-API-Version': '1.72'}

Row = collections.namedtuple('Row', 'owner epoch purpose caller since')


@pytest.fixture(scope='module')
def split(rabbitmq, postgresql):
    fleet = Fleet(2, power_on=True, power_delay=POWER_DELAY)
    with fleet, Split(rabbitmq, postgresql, workers=1, config=CONFIG) as split:
        for number in range(2):
            split.register(f'slow{number}', 'ipmi', fleet.info(number))
        split.wait_until_settled()
        yield split


def row(split, name):
    """:returns: :class:`Row`, as one look at the database has it."""
    columns = 'owner, owner_epoch, lock_purpose, lock_caller, lock_since'
    return Row(*split.query(f"SELECT {columns} FROM nodes WHERE name = '{name}'").split('|'))


class Call:
    """A power call in a thread."""

    def __init__(self, node, operation):
        self._answer = None
        self._thread = threading.Thread(target=self._run, args=(node, operation), daemon=True)
        self._thread.start()

    def _run(self, node, operation):
        self._answer = node.post(operation)

    @property
    def done(self):
        return self._answer is not None

    def answer(self):
        """:returns: requests.Response."""
        self._thread.join(60)
        assert self._answer is not None, 'no answer'
        return self._answer

    def request(self):
        """:returns: str, its id."""
        return self.answer().headers['X-Openstack-Request-Id']


@contextlib.contextmanager
def killed(process):
    """``process`` is gone without a word for as long as this lasts."""
    process.kill()
    try:
        yield
    finally:
        process.start()


def wait_for_lock(split, name):
    return wait_until(lambda: (now := row(split, name)).purpose and now, 10, 'a lock', 0.02)


def test_who_finds_a_node_busy_is_told_and_the_row_tells_operators(split):
    node = split.node('slow0')
    operation = 'power_off' if node.power() == 'on' else 'power_on'
    running = Call(node, operation)
    shown = wait_for_lock(split, 'slow0')
    # one has the only place to wait, the other finds it taken
    calls = [Call(node, operation) for _ in range(2)]
    waiting, answer = sorted((call.answer() for call in calls), key=lambda one: one.status_code)
    assert waiting.status_code == 200, waiting.text
    check_error(answer, 409, 'node_busy')
    reason = answer.json()['error']['reason']
    print(reason)
    assert reason.endswith('; 1 more wait')
    since = time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime(float(shown.since)))
    assert f'{operation.replace("_", " ")} since {since} (' in reason
    assert f"asked for by the holder of the node's token (request {running.request()})" in reason
    assert '127.0.0.1' not in reason
    assert shown.caller == (
        f"the holder of the node's token from 127.0.0.1 (request {running.request()})"
    )
    assert running.answer().status_code == 200
    wait_until(lambda: not row(split, 'slow0').purpose, 5, 'the end of the lock')


def test_a_busy_node_gives_no_agent_its_token(split):
    mac = '52:54:00:00:10:00'
    described = {'ports': [mac], 'expect_agent': True}
    assert split.as_admin('PATCH', '/api/v1/nodes/slow0', json=described).status_code == 200

    def look_up():
        asked = {'params': {'addresses': mac}, 'headers': AGENT_VERSION}
        return split.call('GET', '/v1/lookup', **asked)

    node = split.node('slow0')
    running = Call(node, 'power_off' if node.power() == 'on' else 'power_on')
    wait_for_lock(split, 'slow0')
    answer = look_up()
    assert answer.status_code == 409, answer.text
    assert 'agent_token' not in answer.text
    assert running.answer().status_code == 200
    wait_until(lambda: not row(split, 'slow0').purpose, 5, 'the end of the lock')
    answer = look_up()
    assert answer.status_code == 200, answer.text
    assert len(answer.json()['config']['agent_token']) == 43


def test_a_dead_conductor_takes_its_lock_along(split):
    node = split.node('slow1')
    operation = 'power_off' if node.power() == 'on' else 'power_on'
    cut_off = Call(node, operation)
    before = wait_for_lock(split, 'slow1')
    seen = []
    with killed(split.owner('slow1')):
        killed_at = time.monotonic()

        def taken_over():
            now = row(split, 'slow1')
            seen.append(now)
            return now.owner != before.owner

        wait_until(taken_over, 15, 'another owner', 0.02)
        print(f'another owner after {time.monotonic() - killed_at:.1f} s')
        assert seen[0] == before
        for now in seen:
            assert now == before if now.epoch == before.epoch else not now.purpose
        assert cut_off.answer().status_code in (503, 504)
        answer = node.call('PUT', 'boot_device', json={'bootdev': 'pxe'})
        assert answer.status_code == 200, answer.text
        after = Call(node, 'power_on')
        assert after.answer().status_code == 200, after.answer().text
    wait_until(lambda: not row(split, 'slow1').purpose, 5, 'the end of the lock')
    split.wait_until_settled()


def test_a_conductor_that_was_stopped_does_not_touch_the_lock_of_the_next_owner(split):
    node = split.node('slow1')
    split.wait_until_settled()
    stopped = split.owner('slow1')
    cut_off = Call(node, 'power_off' if node.power() == 'on' else 'power_on')
    before = wait_for_lock(split, 'slow1')
    stopped.pause()
    try:
        wait_until(lambda: row(split, 'slow1').owner != before.owner, 15, 'another owner', 0.05)
        assert cut_off.answer().status_code in (503, 504)
        # whatever became of that one: now a command that takes its time
        running = Call(node, 'power_off' if node.power() == 'on' else 'power_on')
        shown = wait_for_lock(split, 'slow1')
    finally:
        stopped.resume()
    seen = set()
    while not running.done:
        seen.add(row(split, 'slow1'))
        time.sleep(0.02)
    assert running.answer().status_code == 200, running.answer().text
    assert running.request() in shown.caller
    assert {now for now in seen if now.purpose} == {shown}
    wait_until(lambda: not row(split, 'slow1').purpose, 5, 'the end of the lock')
