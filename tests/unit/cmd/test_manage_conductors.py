"""``obmd-manage conductor ...`` and ``node owner`` over a real table; time is the test's."""

import json

import pytest

from obmd.cmd.manage import app as manage
from obmd.cmd.manage import conductors as listing
from obmd.cmd.manage import drains
from obmd.cmd.manage import removal
from obmd.conf import CONF
from obmd.db import conductors
from obmd.db import engine
from obmd.db import nodes
from obmd.db import owners

HOSTILE = ['x', '', ' ', "c1' OR '1'='1", 'c1\x00', 'C1', 'c1 ', 'ä' * 300, '\udcff', '\x1b[2J']


class Time:
    """Stands in for the module: a sleep costs nothing and lets things happen."""

    def __init__(self):
        self.now = 0.0
        self.meanwhile = lambda: None

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        self.meanwhile()


@pytest.fixture
def time(monkeypatch):
    made = Time()
    for module in (listing, drains, removal):
        monkeypatch.setattr(module, 'time', made)
    return made


@pytest.fixture
def table(fleet, monkeypatch):
    """Commands that leave the database open for the test.  Three nodes of rack1."""
    monkeypatch.setattr(engine, 'dispose', lambda: None)
    monkeypatch.setattr(manage.base, 'open_database', lambda: None)
    yield fleet
    monkeypatch.undo()


def conductor(name, group='rack1', **values):
    row = conductors.Conductor(name * 32, f'c{name}', group, ('ipmi',), f'http://c{name}', **values)
    conductors.register(row)
    return row.incarnation


def own(incarnation, *names):
    for name in names:
        node = nodes.get(name)
        owners.claim(node.uuid, incarnation, node.owner, node.owner_epoch)


def beating(incarnation):
    """It lives: its beat moves at each look."""
    count = iter(range(1, 10000))
    return lambda: conductors.beat(incarnation, next(count))


def rows():
    return {row.host: row for row in conductors.all()}


@pytest.fixture
def loaded(table):
    """c1 owns all three nodes, c2 none."""
    own(conductor('1'), 'n0', 'n1', 'n2')
    conductor('2')
    return table


# -- list -----------------------------------------------------------------------------------------


def test_the_list_is_sorted_and_has_owned_nodes_and_shares(loaded):
    conductor('0', 'rack9', drained=True, state='dead')
    listed = json.loads(loaded('conductor', 'list', '--share', '-f', 'json')[1])
    assert [row['Host'] for row in listed] == ['c0', 'c1', 'c2']
    assert [row['State'] for row in listed] == ['dead', 'live', 'live']
    assert [row['Drained'] for row in listed] == ['yes', 'no', 'no']
    assert [row['Nodes'] for row in listed] == [0, 3, 0]
    assert sum(row['Share'] for row in listed) == 3
    assert listed[0]['Share'] == 0


def test_one_whose_beat_stands_still_is_listed_as_silent_when_watched(loaded, time):
    time.meanwhile = beating('2' * 32)
    listed = json.loads(loaded('conductor', 'list', '--watch', '3', '--share', '-f', 'json')[1])
    assert [(row['State'], row['Share']) for row in listed] == [('silent', 0), ('live', 3)]
    assert time.now == 3


@pytest.mark.parametrize('value', ['0', '-1', 'x', 'nan', 'inf', '1e9', ''])
@pytest.mark.parametrize(
    'argv',
    [
        ('conductor', 'list', '--watch'),
        ('conductor', 'remove', 'c1', '--watch'),
        ('conductor', 'drain', 'c1', '--timeout'),
    ],
)
def test_a_time_that_cannot_be_is_status_2(run, argv, value):
    assert run(*argv, value)[0] == 2


# -- drain ----------------------------------------------------------------------------------------


def test_a_drain_tells_who_takes_what(loaded):
    conductor('3')
    status, said, errors = loaded('conductor', 'drain', 'c1')
    assert (status, errors) == (0, '')
    assert said == (
        "c1 is drained: it owns 3 nodes\n  3 nodes of group 'rack1' with driver ipmi: for c2, c3\n"
    )
    assert [row.drained for row in rows().values()] == [True, False, False]


def test_a_repeated_drain_is_harmless(loaded):
    assert loaded('conductor', 'drain', 'c1') == loaded('conductor', 'drain', 'c1')


def test_a_drain_without_another_conductor_says_that_the_nodes_stay(table):
    own(conductor('1'), 'n0')
    conductor('2', 'rack2')
    conductor('3', drained=True)
    status, said, _ = table('conductor', 'drain', 'c1')
    assert status == 0
    assert (
        "1 node: every live conductor of group 'rack1' with driver ipmi is drained: c1, c3" in said
    )
    status, _, errors = table('conductor', 'drain', 'c1', '--wait')
    assert status == 1
    assert 'obmd-manage: nodes stay where they are: 1 node: every live conductor' in errors


@pytest.mark.parametrize('command', ['drain', 'undrain', 'remove'])
@pytest.mark.parametrize('name', HOSTILE)
def test_an_unknown_host_is_one_printable_line(loaded, command, name):
    before = conductors.all()
    status, said, errors = loaded('conductor', command, name)
    assert (status, said, errors.count('\n')) == (1, '', 1)
    assert 'there is no conductor "' in errors
    assert '\x1b' not in errors
    assert conductors.all() == before


@pytest.mark.parametrize('state', ['live', 'leaving'])
def test_an_all_in_one_is_not_drained(table, state):
    conductor('1', kind=conductors.ALL_IN_ONE, state=state)
    status, said, errors = table('conductor', 'drain', 'c1')
    assert (status, said) == (1, '')
    assert 'all-in-one' in errors
    assert not rows()['c1'].drained


def test_of_a_dead_row_and_a_live_one_of_a_host_the_live_one_is_drained(table):
    conductor('1', state='dead')
    conductors.register(conductors.Conductor('9' * 32, 'c1', 'rack1', ('ipmi',), 'http://c1'))
    assert table('conductor', 'drain', 'c1')[0] == 0
    assert [(row.state, row.drained) for row in conductors.all()] == [
        ('dead', False),
        ('live', True),
    ]


@pytest.mark.parametrize(('drained', 'said'), [(False, 'is not running'), (True, 'already')])
def test_who_does_not_run_cannot_be_drained(table, drained, said):
    conductor('1', state='dead', drained=drained)
    status, _, errors = table('conductor', 'drain', 'c1')
    assert status == 1
    assert said in errors


def test_waiting_shows_what_is_left_and_ends_when_nothing_is(loaded, time):
    names = iter(['n0', 'n1', 'n2'])

    def move():
        if (name := next(names, None)) is not None:
            own('2' * 32, name)

    time.meanwhile = move
    status, _, shown = loaded('conductor', 'drain', 'c1', '--wait')
    assert status == 0
    assert shown.splitlines() == [f'nodes left: {left} of 3' for left in (3, 2, 1, 0)]


def test_waiting_for_what_is_busy_ends_in_time_and_names_it(loaded, time):
    status, _, errors = loaded('conductor', 'drain', 'c1', '--wait', '--timeout', '7')
    assert status == 1
    assert '3 nodes still there after 7 s: n0, n1, n2' in errors
    assert 7 <= time.now < 9
    assert rows()['c1'].drained


def test_waiting_ends_when_somebody_undrains(loaded, time):
    time.meanwhile = lambda: conductors.undrain('1' * 32)
    status, _, errors = loaded('conductor', 'drain', 'c1', '--wait')
    assert status == 1
    assert 'c1 is not drained any more; it owns 3 nodes' in errors


def test_waiting_goes_on_over_a_restart(loaded, time):
    def restart():
        conductors.mark_dead('1' * 32)
        conductors.register(conductors.Conductor('9' * 32, 'c1', 'rack1', ('ipmi',), 'http://c1'))
        time.meanwhile = lambda: own('2' * 32, 'n0', 'n1', 'n2')

    time.meanwhile = restart
    assert loaded('conductor', 'drain', 'c1', '--wait')[0] == 0
    assert [row.incarnation[0] for row in conductors.all() if row.drained] == ['9']


def test_an_interrupted_wait_leaves_the_drain(loaded, time):
    def interrupt():
        raise KeyboardInterrupt

    time.meanwhile = interrupt
    assert loaded('conductor', 'drain', 'c1', '--wait')[0] == manage.INTERRUPTED
    assert rows()['c1'].drained


# -- undrain --------------------------------------------------------------------------------------


def test_an_undrain_ends_the_drain_and_may_be_repeated(loaded):
    loaded('conductor', 'drain', 'c1')
    status, said, _ = loaded('conductor', 'undrain', 'c1')
    assert (status, said) == (0, 'c1 is not drained any more: it takes its share\n')
    assert not rows()['c1'].drained
    assert loaded('conductor', 'undrain', 'c1') == (0, 'c1 is not drained\n', '')


def test_one_that_does_not_run_is_undrained_too(table):
    conductor('1', state='dead', drained=True)
    assert table('conductor', 'undrain', 'c1')[:2] == (
        0,
        'c1 is not drained any more; it is not running\n',
    )
    assert not rows()['c1'].drained


def test_an_undrain_follows_a_drain_that_a_start_takes_over(table, monkeypatch):
    conductor('1', state='dead', drained=True)
    undrain = conductors.undrain

    def after_a_start(incarnation):
        monkeypatch.setattr(conductors, 'undrain', undrain)
        conductors.register(conductors.Conductor('9' * 32, 'c1', 'rack1', ('ipmi',), 'http://c1'))
        return undrain(incarnation)

    monkeypatch.setattr(conductors, 'undrain', after_a_start)
    assert table('conductor', 'undrain', 'c1')[0] == 0
    assert [row.drained for row in conductors.all()] == [False, False]


# -- remove ---------------------------------------------------------------------------------------


def test_one_that_lives_is_not_removed(loaded, time):
    time.meanwhile = beating('1' * 32)
    status, said, errors = loaded('conductor', 'remove', 'c1')
    assert (status, said) == (1, '')
    assert 'c1 (http://c1) lives: its beat moves' in errors
    assert rows()['c1'].state == 'live'
    assert time.now < 1


def test_one_that_beats_in_the_last_moment_is_not_removed(loaded, time, monkeypatch):
    mark_dead = conductors.mark_dead

    def late(incarnation, beat):
        conductors.beat(incarnation, 99)
        return mark_dead(incarnation, beat)

    monkeypatch.setattr(conductors, 'mark_dead', late)
    assert loaded('conductor', 'remove', 'c1')[0] == 1
    assert rows()['c1'].state == 'live'


def test_one_that_starts_meanwhile_is_not_removed(loaded, time):
    time.meanwhile = lambda: conductors.register(
        conductors.Conductor('9' * 32, 'c1', 'rack1', ('ipmi',), 'http://new')
    )
    status, _, errors = loaded('conductor', 'remove', 'c1')
    assert status == 1
    assert 'http://new' in errors
    assert {row.state for row in conductors.all()} == {'live'}


def test_a_silent_one_is_dead_after_the_time_to_live_and_who_claims_is_told(loaded, time):
    conductors.drain('1' * 32)
    status, said, shown = loaded('conductor', 'remove', 'c1')
    assert status == 0
    assert said == (
        'c1 is dead; 3 nodes to be claimed, then its row goes\n'
        "  3 nodes of group 'rack1' with driver ipmi: for c2\n"
    )
    assert 'watching for 10 s whether c1 lives' in shown
    assert time.now == pytest.approx(10, abs=0.5)
    assert (rows()['c1'].state, rows()['c1'].drained) == ('dead', False)
    assert nodes.get('n0').owner == '1' * 32


def test_nodes_that_nobody_can_claim_are_told(table, time):
    own(conductor('1'), 'n0')
    said = table('conductor', 'remove', 'c1')[1]
    assert "1 node: no live conductor of group 'rack1' with driver ipmi" in said
    assert rows()['c1'].state == 'dead'


def test_one_that_owns_nothing_is_gone_at_once(table, time):
    conductor('1', state='dead', drained=True)
    assert table('conductor', 'remove', 'c1') == (0, 'c1 is removed\n', '')
    assert rows() == {}
    assert table('conductor', 'remove', 'c1')[0] == 1


def test_it_may_be_watched_for_less_but_not_for_nothing(loaded, time):
    CONF.set_override('heartbeat_interval', 1.5, 'conductor')
    try:
        status, _, errors = loaded('conductor', 'remove', 'c1', '--watch', '2.9')
        assert status == 1
        assert '--watch must be 3 or more' in errors
        assert loaded('conductor', 'remove', 'c1', '--watch', '3')[0] == 0
    finally:
        CONF.clear_override('heartbeat_interval', 'conductor')
    assert time.now == pytest.approx(3, abs=0.5)


# -- node owner -----------------------------------------------------------------------------------


def owner(table, name='n1'):
    return json.loads(table('node', 'owner', name, '-f', 'json')[1])


def test_a_nodes_owner_is_shown_with_who_should_own_it_and_what_runs(loaded):
    one, node = '1' * 32, nodes.get('n1')
    conductors.drain(one)
    nodes.set_sol_holder(node.uuid, one, 1, f'{one} 10.0.0.9:4711')
    nodes.set_target(node.uuid, one, 1, 'on', 5e8, 'power_cycle', 'id')
    nodes.refuse_credentials(node.uuid, 'wrong\x1b[2J')
    shown = owner(loaded)
    assert shown['owner'] == 'c1'
    assert shown['owner_state'] == 'live, drained'
    assert (shown['owner_incarnation'], shown['owner_epoch']) == (one, '1')
    assert shown['should_own'] == 'c2'
    assert shown['sol'] == 'its owner, from 10.0.0.9:4711'
    assert (shown['target_power_state'], shown['target_reason']) == ('on', 'power_cycle')
    assert shown['credentials_refused'] == 'wrong\\x1b[2J'
    assert shown['running'] == ''


def test_what_runs_on_a_node_is_shown_and_named_when_it_stays(loaded, time):
    nodes.set_lock(nodes.get('n1').uuid, '1' * 32, 1, 'power_cycle', 'admin\x1b', 0.5)
    shown = owner(loaded)
    assert (shown['running'], shown['running_for']) == ('power_cycle', 'admin\\x1b')
    assert shown['running_since'] == '1970-01-01T00:00:00Z'
    _, _, errors = loaded('conductor', 'drain', 'c1', '--wait', '--timeout', '1')
    assert 'n0, n1 (power_cycle), n2' in errors


@pytest.mark.parametrize(
    ('holder', 'said'),
    [
        (None, 'nobody'),
        ('foreign', 'somebody else'),
        ('2' * 32 + ' 10.0.0.9:1', 'a former owner, c2, from 10.0.0.9:1'),
        ('7' * 32 + ' 10.0.0.9:1', f'a former owner, {"7" * 32}, from 10.0.0.9:1'),
    ],
)
def test_who_holds_sol_is_said(loaded, holder, said):
    nodes.set_sol_holder(nodes.get('n1').uuid, '1' * 32, 1, holder)
    assert owner(loaded)['sol'] == said


def test_a_node_that_nobody_owns_or_can_own_is_said_so(table):
    shown = owner(table)
    assert (shown['owner'], shown['owner_state']) == ('', 'nobody owns it')
    assert shown['should_own'] == "no live conductor of group 'rack1' with driver ipmi"


def test_an_owner_whose_row_is_gone_is_said_so(table):
    own('8' * 32, 'n1')
    shown = owner(table)
    assert (shown['owner'], shown['owner_state']) == ('', 'its row is gone')


@pytest.mark.parametrize('name', HOSTILE)
def test_the_owner_of_an_unknown_node_is_one_printable_line(table, name):
    status, said, errors = table('node', 'owner', name)
    assert (status, said, errors.count('\n')) == (1, '', 1)
    assert 'there is no node "' in errors
    assert '\x1b' not in errors


@pytest.mark.parametrize(
    'argv',
    [
        ('conductor', 'drain', 'c1'),
        ('conductor', 'undrain', 'c1'),
        ('conductor', 'remove', 'c1'),
        ('node', 'owner', 'n1'),
    ],
)
def test_without_a_database_it_is_one_line(run, monkeypatch, argv):
    monkeypatch.setenv('OS_DATABASE__CONNECTION', 'postgresql://u:geheim@127.0.0.1:1/obmd')
    status, said, errors = run(*argv)
    assert (status, said, errors.count('\n')) == (1, '', 1)
    assert 'geheim' not in errors
