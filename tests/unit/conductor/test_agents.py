"""Agents of a conductor's nodes, over real tables, with clocks that the test turns."""

import logging
import threading

import pytest

from obmd.common import errors
from obmd.common import metrics
from obmd.common.deadline import Deadline
from obmd.conductor import agents
from obmd.conductor import holdings
from obmd.conductor import ownership
from obmd.db import agents as rows
from obmd.db import conductors
from obmd.db import nodes
from obmd.db import owners
from tests.unit.conductor import fakes

TOKEN, OTHER = 'a' * 64, 'b' * 64
URL = 'https://10.0.0.1:9999'
TIMEOUT = 300
WALL = 1_700_000_000.0


class Rig:
    """Agents of a conductor that owns what it is asked for."""

    def __init__(self, keyring, clock, wall_clock, incarnation='me'):
        self.incarnation = incarnation
        self.clock = clock
        self.wall_clock = wall_clock
        self.timers = fakes.Timers()
        self.lease = fakes.Lease()
        self.holdings = holdings.Holdings(
            incarnation, keyring, lambda _live: None, lambda live: self.agents.adopt(live), None
        )
        member = conductors.Conductor(incarnation, 'host', '', ('fake',), 'http://callback')
        self.holdings.rings = ownership.Rings([member], 8)
        self.agents = agents.Agents(
            incarnation, self.holdings, self.lease, self.timers, clock, wall_clock
        )

    def take(self, *beats):
        return self.agents.take(list(beats), Deadline(5))

    def fire(self, seconds):
        """Let the timers go off that are set to ``seconds``."""
        due = [timer for timer in self.timers.pending if timer.seconds == seconds]
        for timer in due:
            self.timers.all.remove(timer)
            timer.function()
        return len(due)

    def pass_(self, seconds):
        self.clock.now += seconds
        self.wall_clock.now += seconds

    def live(self, node):
        return self.holdings.find(node.uuid)

    def alive(self, node):
        return self.agents.state(self.live(node))['alive']


@pytest.fixture
def clock():
    return fakes.Clock(5000.0)


@pytest.fixture
def wall_clock():
    return fakes.Clock(WALL)


@pytest.fixture
def rig(keyring, clock, wall_clock, database, drivers):
    return Rig(keyring, clock, wall_clock)


@pytest.fixture
def successor(keyring, wall_clock):
    """``successor(node)``: another conductor, with a clock of its own, that has just taken it."""

    def make(node):
        made = Rig(keyring, fakes.Clock(70.0), wall_clock, 'another')
        now = nodes.get_by_uuid(node.uuid)
        owners.claim(node.uuid, 'another', now.owner, now.owner_epoch)
        return made

    return make


@pytest.fixture
def node(register):
    return with_token(register('n1'))


@pytest.fixture
def written(monkeypatch):
    """What was asked of the table: a list of lists of beats."""
    calls, record = [], rows.record

    def spy(beats, owner):
        calls.append(beats)
        return record(beats, owner)

    monkeypatch.setattr(rows, 'record', spy)
    return calls


def with_token(node, token=TOKEN):
    assert rows.issue_token(node.uuid, token, rows.get(node.uuid).generation)
    return node


def beat(node, **changes):
    unsaid = {'verify_ca': None, 'status': None, 'status_message': None}
    told = {'url': URL, 'version': '11.0', **unsaid, **changes}
    return {'node': node.uuid, 'epoch': None, 'token_hash': TOKEN, **told}


def down(monkeypatch, *names):
    def fail(*_args, **_kwargs):
        raise fakes.DOWN

    for name in names:
        monkeypatch.setattr(rows, name, fail)


# -- what a heartbeat leaves in the row -----------------------------------------------------------


def test_what_an_agent_tells_is_in_the_row_when_it_is_answered(rig, node):
    told = {'verify_ca': 'PEM', 'status': 'start', 'status_message': 'it began'}
    assert rig.take(beat(node, **told)) == [None]
    row = rows.get(node.uuid)
    assert (row.url, row.version, row.heartbeat_at) == (URL, '11.0', WALL)
    assert {name: getattr(row, name) for name in told} == told


def test_a_beat_that_says_nothing_new_writes_its_time_soon_and_once(rig, node, written):
    rig.take(beat(node))
    for _ in range(3):
        rig.pass_(0.5)
        assert rig.take(beat(node)) == [None]
    assert len(written) == 1
    assert rig.fire(agents.FLUSH) == 1
    assert written[1:] == [[(node.uuid, TOKEN, {'heartbeat_at': WALL + 1})]]
    assert rows.get(node.uuid).heartbeat_at == WALL + 1
    assert rig.fire(agents.FLUSH) == 0


@pytest.mark.parametrize(
    'change',
    [{'version': '12.0'}, {'status': 'end'}, {'status_message': 'done'}, {'verify_ca': 'PEM 2'}],
)
def test_what_changes_is_written_at_once_and_nothing_else(rig, node, written, change):
    rig.take(beat(node, status='start', status_message='began', verify_ca='PEM'))
    rig.pass_(10)
    assert rig.take(beat(node, **change)) == [None]
    assert written[1:] == [[(node.uuid, TOKEN, {**change, 'heartbeat_at': WALL + 10})]]


def test_what_an_agent_does_not_say_stays(rig, node, written):
    rig.take(beat(node, status='start', verify_ca='PEM'))
    assert rig.take(beat(node, version=None)) == [None]
    assert len(written) == 1
    row = rows.get(node.uuid)
    assert (row.version, row.status, row.verify_ca) == ('11.0', 'start', 'PEM')


def test_many_beats_are_one_transaction(rig, register, written):
    made = [with_token(register(f'n{number}')) for number in range(30)]
    assert rig.take(*[beat(node) for node in made]) == [None] * 30
    assert rig.take(*[beat(node) for node in made]) == [None] * 30
    rig.fire(agents.FLUSH)
    assert [len(beats) for beats in written] == [30, 30]


def test_two_beats_of_a_node_in_one_message_are_taken_in_their_order(rig, node):
    both = beat(node, status='start'), beat(node, status='end')
    assert rig.take(*both) == [None, None]
    assert rows.get(node.uuid).status == 'end'
    assert rig.live(node).agent.told['status'] == 'end'


def test_two_beats_at_once_leave_row_and_memory_alike(rig, node, in_thread, monkeypatch):
    record = rows.record

    def slowly(beats, owner):
        if not callers:
            callers.append(in_thread(lambda: rig.take(beat(node, status='second'))))
            callers[0]._thread.join(0.05)  # it waits for its turn
        return record(beats, owner)

    callers = []
    monkeypatch.setattr(rows, 'record', slowly)
    assert rig.take(beat(node, status='first')) == [None]
    assert callers[0].result() == [None]
    assert rows.get(node.uuid).status == rig.live(node).agent.told['status'] == 'second'


# -- what is refused ------------------------------------------------------------------------------


def refusals(answers):
    return [(type(error), error.reason) for error in answers]


NOT_ITS_OWN = [(errors.InvalidInput, 'Invalid or missing agent token received.')]
ANOTHER_URL = [(errors.InvalidInput, 'Detected change in ramdisk provided "callback_url"')]


@pytest.mark.parametrize('known', [False, True])
def test_a_token_that_is_not_the_agents_changes_nothing(rig, node, known):
    if known:
        rig.take(beat(node))
    before = rows.get(node.uuid)
    assert refusals(rig.take(beat(node, token_hash=OTHER, url='https://evil'))) == NOT_ITS_OWN
    assert rows.get(node.uuid) == before
    assert rig.alive(node) == known


def test_a_node_without_a_token_takes_no_beat(rig, register):
    node = register('n1')
    assert refusals(rig.take(beat(node))) == NOT_ITS_OWN
    rows.expect(node.uuid, WALL)
    assert refusals(rig.take(beat(node))) == NOT_ITS_OWN
    assert refusals(rig.take(beat(node, token_hash=None))) == NOT_ITS_OWN


def test_a_beat_whose_token_was_forgotten_while_it_was_written_is_refused(rig, node, monkeypatch):
    record = rows.record

    def forget_first(beats, owner):
        rig.live(node).forget_agent()
        return record(beats, owner)

    monkeypatch.setattr(rows, 'record', forget_first)
    assert refusals(rig.take(beat(node))) == NOT_ITS_OWN
    assert rows.get(node.uuid).url is None
    assert rig.live(node).agent is None


def test_a_beat_that_was_written_before_its_agent_was_forgotten_is_not_remembered(
    rig, node, monkeypatch
):
    record = rows.record

    def forget_then(beats, owner):
        written = record(beats, owner)
        rig.live(node).forget_agent()
        return written

    monkeypatch.setattr(rows, 'record', forget_then)
    rig.take(beat(node))
    assert rig.live(node).agent is None
    assert not rig.alive(node)


def test_another_url_is_refused_while_the_agent_is_alive(rig, node):
    rig.take(beat(node))
    rig.pass_(TIMEOUT - 1)
    assert refusals(rig.take(beat(node, url='https://10.0.0.2'))) == ANOTHER_URL
    assert rows.get(node.uuid).url == URL


def test_a_refused_beat_is_no_sign_of_life(rig, node):
    rig.take(beat(node))
    rig.pass_(TIMEOUT - 1)
    rig.take(beat(node, url='https://10.0.0.2'))
    rig.pass_(2)
    assert not rig.alive(node)


def test_another_url_is_taken_when_the_agent_is_not_alive_any_more(rig, node):
    rig.take(beat(node))
    rig.pass_(TIMEOUT + 1)
    assert rig.take(beat(node, url='https://10.0.0.2')) == [None]
    assert rows.get(node.uuid).url == 'https://10.0.0.2'


def test_a_new_agent_may_have_another_url(rig, node):
    rig.take(beat(node))
    rows.expect(node.uuid, WALL)
    rows.issue_token(node.uuid, OTHER, rows.get(node.uuid).generation)
    assert rig.take(beat(node, token_hash=OTHER, url='https://10.0.0.2')) == [None]
    assert refusals(rig.take(beat(node))) == NOT_ITS_OWN
    assert rows.get(node.uuid).url == 'https://10.0.0.2'


def test_a_beat_of_a_node_that_was_deleted_goes_back_to_its_sender(rig, node):
    nodes.delete('n1')
    assert [type(error) for error in rig.take(beat(node))] == [errors.NotOwner]


def test_one_that_is_refused_keeps_no_other_of_its_message_back(rig, node, register):
    other = with_token(register('n2'))
    answers = rig.take(beat(node, token_hash=OTHER), beat(other), beat(node))
    assert refusals(answers[:1]) == NOT_ITS_OWN
    assert answers[1:] == [None, None]


def test_a_beat_that_is_nonsense_keeps_no_other_back(rig, node, register):
    other = with_token(register('n2'))
    odd = [{}, None, {**beat(node), 'node': ['x']}, beat(node, verify_ca=7)]
    answers = rig.take(odd[0], beat(node), *odd[1:], beat(other))
    assert [answers[1], answers[-1]] == [None, None]
    assert {error.reason for error in [answers[0], *answers[2:-1]]} == {'internal error'}


def test_a_node_whose_claim_fails_keeps_no_other_back(rig, node, register, monkeypatch):
    other = with_token(register('n2'))
    find = rig.holdings.find

    def fail(uuid):
        if uuid == other.uuid:
            raise RuntimeError('its driver')
        return find(uuid)

    monkeypatch.setattr(rig.holdings, 'find', fail)
    answers = rig.take(beat(other), beat(node))
    assert (answers[0].reason, answers[1]) == ('internal error', None)


def test_what_cannot_be_written_for_one_is_written_for_the_others(rig, node, register, monkeypatch):
    other, record = with_token(register('n2')), rows.record

    def picky(beats, owner):
        if any(uuid == other.uuid for uuid, _, _ in beats):
            raise ValueError('a value')
        return record(beats, owner)

    monkeypatch.setattr(rows, 'record', picky)
    answers = rig.take(beat(other), beat(node))
    assert (answers[0].reason, answers[1]) == ('internal error', None)
    assert rows.get(node.uuid).url == URL


def test_beats_of_nodes_that_must_be_claimed_wait_for_the_others(rig, node, register, monkeypatch):
    other, find = with_token(register('n2')), rig.holdings.find
    rig.live(node)
    written = []
    monkeypatch.setattr(
        rig.holdings,
        'find',
        lambda uuid: written.append((uuid, rows.get(node.uuid).url)) or find(uuid),
    )
    assert rig.take(beat(other), beat(node)) == [None, None]
    assert written == [(node.uuid, None), (other.uuid, URL)]


def test_what_is_not_written_of_a_node_is_written_when_it_is_let_go(rig, node):
    rig.take(beat(node))
    rig.pass_(10)
    rig.take(beat(node))
    assert rows.get(node.uuid).heartbeat_at == WALL
    rig.holdings.leave(node.uuid)
    rig.agents.save(rig.holdings.get(node.uuid))
    assert rows.get(node.uuid).heartbeat_at == WALL + 10


def test_a_node_that_is_let_go_waits_for_times_that_are_being_written(
    rig, node, in_thread, monkeypatch
):
    rig.take(beat(node))
    rig.pass_(10)
    rig.take(beat(node))
    inside, go, record = threading.Event(), threading.Event(), rows.record

    def slow(*args):
        inside.set()
        assert go.wait(10)
        return record(*args)

    monkeypatch.setattr(rows, 'record', slow)
    flush = in_thread(rig.agents.flush)
    assert inside.wait(10)
    seen = []

    def save():
        rig.agents.save(rig.live(node))
        seen.append(rows.get(node.uuid).heartbeat_at)

    saved = in_thread(save)
    threading.Event().wait(0.02)
    assert seen == []
    go.set()
    flush.result()
    saved.result()
    assert seen == [WALL + 10]


# -- owners ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('epoch', [0, 2])
def test_a_beat_for_another_epoch_goes_to_the_owner_of_now(rig, node, epoch):
    assert rig.live(node).epoch == 1
    assert [type(error) for error in rig.take(beat(node, epoch=epoch))] == [errors.NotOwner]
    assert rig.take(beat(node, epoch=1)) == [None]


def test_who_does_not_know_yet_that_the_node_has_moved_writes_nothing(rig, node, successor):
    rig.take(beat(node, status='start'))
    heir = successor(node)
    assert heir.take(beat(node, status='end')) == [None]
    rig.pass_(10)
    assert [type(e) for e in rig.take(beat(node, status='late'))] == [errors.NotOwner]
    assert rig.take(beat(node, status='start')) == [None]
    rig.agents.flush()
    row = rows.get(node.uuid)
    assert (row.status, row.heartbeat_at) == ('end', WALL)
    assert rig.live(node).agent is None


def test_the_next_owner_knows_url_and_window_and_writes_only_the_time(
    rig, node, successor, written
):
    rig.take(beat(node))
    rig.pass_(TIMEOUT - 10)
    heir = successor(node)
    assert refusals(heir.take(beat(node, url='https://10.0.0.2'))) == ANOTHER_URL
    assert heir.take(beat(node)) == [None]
    heir.agents.flush()
    assert written[1:] == [[(node.uuid, TOKEN, {'heartbeat_at': WALL + TIMEOUT - 10})]]


@pytest.mark.parametrize(('wall', 'left'), [(0, TIMEOUT), (100, TIMEOUT - 100), (-1e6, TIMEOUT)])
def test_a_window_goes_on_at_the_next_owner_and_is_never_longer_than_one(
    rig, node, successor, wall, left
):
    rig.take(beat(node))
    rig.wall_clock.now += wall
    heir = successor(node)
    assert heir.alive(node)
    assert heir.fire(agents.ADOPT_AFTER) == 1
    heir.pass_(left - 1)
    assert heir.alive(node)
    heir.pass_(2)
    assert not heir.alive(node)


def test_an_agent_that_is_silent_since_before_the_claim_is_told_of(rig, node, successor, caplog):
    rig.take(beat(node))
    rig.pass_(100)
    heir = successor(node)
    heir.live(node)
    heir.fire(agents.ADOPT_AFTER)
    heir.pass_(TIMEOUT - 100)
    before = missed()
    assert heir.fire(TIMEOUT - 100) == 1
    assert missed() == before + 1


def test_rows_that_cannot_be_read_after_a_claim_are_read_later(rig, node, successor, monkeypatch):
    rig.take(beat(node))
    heir = successor(node)
    heir.live(node)
    with monkeypatch.context() as patch:
        down(patch, 'among')
        heir.fire(agents.ADOPT_AFTER)
    assert heir.live(node).agent is None
    assert heir.fire(agents.RETRY) == 1
    assert heir.live(node).agent.told['url'] == URL


def test_nodes_that_are_claimed_together_are_read_together(rig, register, monkeypatch):
    made = [register(f'n{number}') for number in range(10)]
    asked = []
    monkeypatch.setattr(rows, 'among', lambda uuids: asked.append(list(uuids)) or {})
    for node in made:
        rig.live(node)
    rig.fire(agents.ADOPT_AFTER)
    assert [len(uuids) for uuids in asked] == [10]


# -- faults ---------------------------------------------------------------------------------------


def unavailable(answers):
    return all(isinstance(error, errors.Unavailable) and error.retry_after for error in answers)


@pytest.mark.parametrize('what', ['among', 'record'])
def test_what_the_database_does_not_take_is_answered_so(rig, node, register, monkeypatch, what):
    other = with_token(register('n2'))
    with monkeypatch.context() as patch:
        down(patch, what)
        assert unavailable(rig.take(beat(node), beat(other)))
        assert rig.live(node).agent is None
    assert rig.take(beat(node), beat(other)) == [None, None]


def test_a_beat_that_says_nothing_new_is_taken_while_the_database_is_down_for_a_moment(
    rig, node, monkeypatch
):
    rig.take(beat(node))
    down(monkeypatch, 'among', 'record')
    assert rig.take(beat(node)) == [None]
    assert rig.alive(node)


def test_no_beat_is_taken_when_times_cannot_be_written_for_long(rig, node, monkeypatch):
    rig.take(beat(node))
    with monkeypatch.context() as patch:
        down(patch, 'record')
        for _ in range(3):
            assert rig.take(beat(node)) == [None]
            rig.pass_(agents.FLUSH)
            assert rig.fire(agents.FLUSH) == 1
        assert unavailable(rig.take(beat(node)))
    rig.fire(agents.FLUSH)
    assert rows.get(node.uuid).heartbeat_at == WALL + 2 * agents.FLUSH
    assert rig.take(beat(node)) == [None]


def test_a_write_that_hangs_holds_no_beat_beyond_its_deadline(rig, node, register):
    other = with_token(register('n2'))
    rig.take(beat(node))
    with rig.agents._writing:
        answers = rig.agents.take([beat(other), beat(node)], Deadline(0.01))
    assert unavailable(answers[:1])
    assert answers[1:] == [None]


def test_a_conductor_without_a_fresh_lease_writes_nothing(rig, node, register):
    other = with_token(register('n2'))
    rig.take(beat(node))
    rig.pass_(1)
    rig.take(beat(node))
    rig.lease.state = 'fenced'
    assert unavailable(rig.take(beat(other)))
    rig.fire(agents.FLUSH)
    assert rows.get(node.uuid).heartbeat_at == WALL
    assert rows.get(other.uuid).url is None
    rig.lease.state = 'fresh'
    rig.fire(agents.FLUSH)
    assert rows.get(node.uuid).heartbeat_at == WALL + 1


def test_an_agent_that_was_forgotten_elsewhere_is_forgotten_when_its_time_is_written(rig, node):
    rig.take(beat(node))
    rig.take(beat(node))
    rows.expect(node.uuid, WALL)
    rig.fire(agents.FLUSH)
    assert rig.live(node).agent is None
    assert rows.get(node.uuid).heartbeat_at is None


# -- windows --------------------------------------------------------------------------------------


def missed():
    return metrics.registry.get_sample_value('obmd_agent_windows_missed_total') or 0


def test_a_window_without_a_beat_is_told_once(rig, node, caplog):
    caplog.set_level(logging.WARNING)
    before = missed()
    rig.take(beat(node))
    assert rig.alive(node)
    rig.pass_(TIMEOUT)
    assert not rig.alive(node)
    assert rig.fire(TIMEOUT) == 1
    assert missed() == before + 1
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith('n1: no heartbeat of its agent for 300 s')
    assert '2023-11-14 22:13:20 UTC' in told
    assert not rig.timers.pending[1:]
    assert rig.live(node).agent is None


def test_each_beat_puts_the_window_off(rig, node):
    before = missed()
    rig.take(beat(node))
    rig.pass_(200)
    rig.take(beat(node))
    rig.pass_(100)
    rig.fire(TIMEOUT)
    assert missed() == before
    rig.pass_(200)
    assert rig.fire(200) == 1
    assert missed() == before + 1


def test_an_agent_that_comes_back_is_alive_and_may_be_missed_again(rig, node):
    before = missed()
    for number in range(2):
        assert rig.take(beat(node)) == [None]
        assert rig.alive(node)
        rig.pass_(TIMEOUT)
        rig.fire(TIMEOUT)
        assert missed() == before + number + 1


@pytest.mark.parametrize('end', ['forget', 'expect', 'delete', 'move'])
def test_an_agent_that_was_forgotten_is_not_missed(rig, node, end):
    before = missed()
    rig.take(beat(node))
    if end == 'forget':
        rig.live(node).forget_agent()
    elif end == 'expect':
        rows.expect(node.uuid, WALL)
    elif end == 'delete':
        nodes.delete('n1')
    else:
        rig.holdings.drop(node.uuid)
    rig.pass_(TIMEOUT)
    rig.fire(TIMEOUT)
    assert missed() == before


def test_silence_is_judged_again_when_the_conductor_may_not_act_or_rows_are_not_read(
    rig, node, monkeypatch
):
    before = missed()
    rig.take(beat(node))
    rig.pass_(TIMEOUT)
    rig.lease.state = 'suspended'
    rig.fire(TIMEOUT)
    rig.lease.state = 'fresh'
    rig.pass_(agents.RETRY)
    with monkeypatch.context() as patch:
        down(patch, 'among')
        assert rig.fire(agents.RETRY) == 1
    assert missed() == before
    rig.pass_(agents.RETRY)
    assert rig.fire(agents.RETRY) == 1
    assert missed() == before + 1


def test_many_agents_have_one_timer(rig, register):
    made = [with_token(register(f'n{number}')) for number in range(20)]
    rig.fire(agents.ADOPT_AFTER)
    for node in made:
        rig.take(beat(node))
        rig.pass_(1)
    assert len([timer for timer in rig.timers.pending if timer.seconds > 100]) == 1


# -- what is known --------------------------------------------------------------------------------


def test_the_state_of_a_node_without_an_agent_is_empty(rig, register):
    assert set(rig.agents.state(rig.live(register('n1'))).values()) == {None, False}


def test_the_state_tells_the_last_heartbeat_before_it_is_in_the_row(rig, node):
    rig.take(beat(node, verify_ca='PEM', status='start', status_message='began'))
    rig.pass_(7)
    rig.take(beat(node))
    assert rig.agents.state(rig.live(node)) == {
        'url': URL,
        'version': '11.0',
        'verify_ca': 'PEM',
        'status': 'start',
        'status_message': 'began',
        'heartbeat_at': WALL + 7,
        'alive': True,
    }


def test_the_state_forgets_what_was_forgotten_elsewhere(rig, node):
    rig.take(beat(node))
    rows.expect(node.uuid, WALL)
    assert set(rig.agents.state(rig.live(node)).values()) == {None, False}


def test_a_token_that_no_agent_has_used_is_no_agent(rig, node):
    assert not rig.alive(node)


def test_beats_are_counted_by_outcome(rig, node):
    def value(outcome):
        name = 'obmd_agent_heartbeats_total'
        return metrics.registry.get_sample_value(name, {'outcome': outcome}) or 0

    before = value('ok'), value('invalid_input')
    rig.take(beat(node), beat(node, token_hash=OTHER), beat(node))
    assert (value('ok'), value('invalid_input')) == (before[0] + 2, before[1] + 1)
