"""What a conductor answers, and what it refuses before anything reaches a BMC."""

import base64
import itertools
import json

import pytest

from obmd.common import callers
from obmd.common import errors
from obmd.common import rpc
from obmd.common import secrets
from obmd.common.deadline import Deadline
from obmd.conductor import agents
from obmd.conductor import console
from obmd.conductor import holdings
from obmd.conductor import manager
from obmd.conductor import ownership
from obmd.conductor import revocation
from obmd.conductor import routing
from obmd.conductor import rpcapi
from obmd.conf import CONF
from obmd.db import agents as agent_rows
from obmd.db import conductors
from obmd.db import descriptions
from obmd.db import nodes
from obmd.db import owners
from obmd.db import registrations
from obmd.drivers import base
from obmd.streams import tickets
from tests.unit.conductor import fakes

HOST = 'host-1'
STOPPING = errors.Unavailable('obmd is stopping', retry_after=5)


class Rig:
    """A manager behind a bus, over a real table."""

    def __init__(self, keyring, spawned, in_process=False):
        self.spawned = spawned
        self.ids = itertools.count()
        self.clock = fakes.Clock()
        self.timers = fakes.Timers()
        self.tickets = tickets.Tickets(10, limit=5, clock=self.clock)
        self.holdings = holdings.Holdings(
            'me', keyring, self._console, lambda _live: None, self.timers
        )
        self.revocation = revocation.Revocation(
            5, 30, lambda: self.holdings.uuids, self._deleted, clock=self.clock
        )
        self.lease = fakes.Lease()
        self.refreshed = 0
        self.agents = agents.Agents('me', self.holdings, self.lease, self.timers, self.clock)
        self.manager = manager.Manager(
            'me',
            self.holdings,
            self.revocation,
            self.tickets,
            self.agents,
            'http://callback/',
            self.lease,
            self._refresh,
        )
        bus = rpc.LocalBus()
        bus.serve(rpcapi.TOPIC, HOST, self.manager)
        self.client = bus.client(rpcapi.TOPIC, rpcapi.VERSION)
        self.agent_client = bus.client(rpcapi.TOPIC, rpcapi.AGENTS)
        router = routing.Router(512, 7)
        members = [conductors.Conductor('me', HOST, '', ('fake', 'power'), 'http://callback')]
        router.look(members, [])
        self.holdings.rings = ownership.Rings(members, 512)
        self.api = rpcapi.ConductorAPI(bus, router, self.tickets if in_process else None)

    def _console(self, live):
        return console.Console(live, self.revocation, self.timers)

    def _deleted(self, uuid):
        self.manager.forget(uuid)

    def _refresh(self):
        self.refreshed += 1

    def call(self, method, row, **changes):
        args = changes.pop('args', {})
        call = {
            'node': row.uuid,
            'owner': 'me',
            'epoch': None,
            'id': f'call-{next(self.ids)}',
            'timeout': 30,
            **changes,
        }
        return self.client.call(HOST, method, 30, call=call, **args)

    def driver(self, row):
        return self.holdings.find(row.uuid).driver


@pytest.fixture
def rig(keyring, register, spawned):
    return Rig(keyring, spawned)


@pytest.fixture
def row(register):
    made = register('n1')
    nodes.set_token('n1', 'hash', 't1')
    return made


def reached(driver):
    return [call[0] for call in driver.calls]


WRITES = [
    ('set_power', {'action': 'on'}),
    ('power_cycle', {'force': True}),
    ('set_boot_device', {'device': 'pxe'}),
]
CALLS = [
    *WRITES,
    ('power_status', {}),
    ('event_log', {'limit': 5}),
    ('open_console', {'token_id': 't1', 'replay': None, 'cursor': None, 'takeover': False}),
]


# -- fences ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(('method', 'args'), CALLS)
def test_a_call_that_is_meant_for_it_reaches_the_bmc(rig, row, method, args):
    rig.call(method, row, args=args)
    assert reached(rig.driver(row))


@pytest.mark.parametrize(('method', 'args'), CALLS)
@pytest.mark.parametrize(
    ('changes', 'error'),
    [
        ({'owner': 'an earlier start'}, errors.NotOwner),
        ({'epoch': 7}, errors.NotOwner),
        ({'node': 'no such node'}, errors.NotOwner),
        ({'timeout': 0}, errors.BmcSilent),
        ({'timeout': -1}, errors.BmcSilent),
    ],
)
def test_any_other_call_is_refused_and_nothing_is_sent(rig, row, method, args, changes, error):
    driver = rig.driver(row)
    with pytest.raises(error):
        rig.call(method, row, args=args, **changes)
    assert reached(driver) == []


@pytest.mark.parametrize('state', ['fenced', 'suspended'])
@pytest.mark.parametrize(('method', 'args'), CALLS)
def test_without_a_fresh_lease_nothing_is_sent(rig, row, method, args, state):
    driver = rig.driver(row)
    rig.lease.state = state
    with pytest.raises(errors.Unavailable, match=state):
        rig.call(method, row, args=args)
    assert reached(driver) == []


@pytest.mark.parametrize(('method', 'args'), CALLS)
def test_a_node_that_moves_is_asked_for_at_its_next_owner(rig, row, method, args):
    driver = rig.driver(row)
    rig.holdings.leave(row.uuid)
    with pytest.raises(errors.NotOwner):
        rig.call(method, row, args=args)
    assert reached(driver) == []


def test_a_node_that_the_ring_gives_to_another_is_not_claimed_back(rig, row):
    rig.holdings.rings = ownership.Rings(
        [conductors.Conductor('other', 'h', '', ('fake',), 'http://x')], 512
    )
    with pytest.raises(errors.NotOwner):
        rig.call('power_status', row)
    rig.manager.node_changed({}, node=row.uuid)
    assert nodes.get('n1').owner is None


def test_who_is_told_of_a_node_looks_at_the_rings_first(rig, row):
    def join():
        rig.holdings.rings = theirs

    theirs, rig.holdings.rings = rig.holdings.rings, ownership.Rings((), 512)
    rig.manager._refresh = join
    rig.manager.node_changed({}, node=row.uuid)
    assert nodes.get('n1').owner == 'me'


@pytest.mark.parametrize(('method', 'args'), WRITES)
def test_a_write_that_comes_twice_is_carried_out_once(rig, row, method, args):
    rig.call(method, row, args=args, id='once')
    count = len(reached(rig.driver(row)))
    with pytest.raises(errors.OutcomeUnknown):
        rig.call(method, row, args=args, id='once')
    assert len(reached(rig.driver(row))) == count


def test_only_so_many_calls_are_remembered(rig, row, monkeypatch):
    monkeypatch.setattr(manager, 'REMEMBERED', 10)
    for number in range(50):
        rig.call('set_power', row, args={'action': 'on'}, id=str(number))
    assert len(rig.manager._seen) == 10


def test_the_right_epoch_is_let_in(rig, row):
    rig.driver(row)
    assert rig.call('power_status', row, epoch=1) == 'on'


@pytest.mark.parametrize(('method', 'args'), CALLS)
def test_once_it_stops_it_refuses_all_with_the_reason(rig, row, method, args):
    driver = rig.driver(row)
    rig.manager.stop(errors.Unavailable('obmd is stopping', retry_after=5))
    with pytest.raises(errors.Unavailable, match='stopping') as refused:
        rig.call(method, row, args=args)
    assert refused.value.retry_after == 5
    assert reached(driver) == []


def test_a_stopping_conductor_claims_nothing_new(rig, row):
    rig.manager.stop(errors.Unavailable('obmd is stopping'))
    rig.manager.node_changed({}, node=row.uuid)
    assert nodes.get('n1').owner is None


def test_what_the_driver_lacks_is_refused_without_touching_the_bmc(rig, register, drivers):
    class PowerOnly(base.Driver, base.Power):
        def power_status(self, deadline):
            return 'on'

        def set_power(self, action, deadline):
            pass

    drivers['power'] = PowerOnly
    row = register('n2', driver='power')
    for method, args in CALLS[2:]:
        if method == 'power_status':
            continue
        with pytest.raises(errors.Unsupported) as refused:
            rig.call(method, row, args=args)
        assert refused.value.node == 'n2'


# -- consoles -------------------------------------------------------------------------------------


def open_console(rig, row, **changes):
    args = {'token_id': 't1', 'replay': None, 'cursor': None, 'takeover': False, **changes}
    return rig.call('open_console', row, args=args)


def test_a_console_is_offered_as_a_ticket_and_its_headers(rig, row):
    offer = open_console(rig, row)
    assert offer['url'] == f'http://callback/stream/{offer["ticket"]}'
    assert offer['headers']['Content-Type'] == 'application/octet-stream'
    assert offer['headers']['Cache-Control'] == 'no-store'
    assert offer['headers']['Referrer-Policy'] == 'no-referrer'
    assert offer['headers']['Obmd-Cursor'].endswith(':0')
    stream, headers = rig.tickets.redeem(offer['ticket'])
    assert headers == offer['headers']
    rig.driver(row).sinks[0].data(b'x')
    assert next(stream) == b'x'
    assert len(rig.revocation) == 1
    stream.close()
    assert len(rig.revocation) == 0


def test_a_malformed_cursor_is_the_callers_mistake_and_opens_nothing(rig, row):
    with pytest.raises(errors.InvalidInput):
        open_console(rig, row, cursor='nonsense')
    assert reached(rig.driver(row)) == []


@pytest.mark.parametrize('change', ['rotated', 'taken away', 'deleted'])
def test_a_ticket_of_a_token_that_was_revoked_opens_nothing(rig, row, change):
    live = rig.holdings.find(row.uuid)
    offer = open_console(rig, row)
    {
        'rotated': lambda: nodes.set_token('n1', 'hash', 't2'),
        'taken away': lambda: nodes.clear_token('n1'),
        'deleted': lambda: nodes.delete('n1'),
    }[change]()
    with pytest.raises(errors.Unauthorized):
        rig.tickets.redeem(offer['ticket'])
    assert live.console.viewers == 0


def test_a_ticket_that_nobody_redeems_leaves_no_viewer(rig, row):
    open_console(rig, row)
    assert rig.holdings.find(row.uuid).console.viewers == 1
    rig.clock.now += 11
    rig.tickets.sweep()
    assert rig.holdings.find(row.uuid).console.viewers == 0


def test_a_ticket_that_cannot_be_issued_leaves_no_viewer(rig, row):
    for _ in range(5):
        open_console(rig, row)
    with pytest.raises(errors.Unavailable):
        open_console(rig, row)
    assert rig.holdings.find(row.uuid).console.viewers == 5


def test_a_ticket_that_cannot_be_checked_opens_nothing_and_leaves_no_viewer(rig, row, monkeypatch):
    offer = open_console(rig, row)

    def down(_uuid):
        raise fakes.DOWN

    monkeypatch.setattr(nodes, 'get_by_uuid', down)
    with pytest.raises(errors.Unavailable):
        rig.tickets.redeem(offer['ticket'])
    assert rig.holdings.get(row.uuid).console.viewers == 0


def test_a_ticket_of_a_console_that_was_closed_says_later_not_never(rig, row):
    offer = open_console(rig, row)
    manager.close(rig.holdings.find(row.uuid), STOPPING, STOPPING.reason)
    with pytest.raises(errors.Unavailable):
        rig.tickets.redeem(offer['ticket'])


def test_the_viewers_of_a_conductor_are_bounded_at_the_ticket_and_at_its_redemption(rig, row):
    CONF.set_override('max_viewers', 2, 'console')
    try:
        offers = [open_console(rig, row) for _ in range(3)]
        for offer in offers[:2]:
            rig.tickets.redeem(offer['ticket'])
        with pytest.raises(errors.Unavailable) as full:
            rig.tickets.redeem(offers[2]['ticket'])
        assert full.value.retry_after
        with pytest.raises(errors.Unavailable):
            open_console(rig, row)
        assert rig.holdings.find(row.uuid).console.viewers == 2
    finally:
        CONF.clear_override('max_viewers', 'console')


def test_the_time_between_the_comparison_and_the_first_byte_counts(rig, row, monkeypatch):
    offer = open_console(rig, row)
    original = nodes.get_by_uuid

    def slow(uuid):
        found = original(uuid)
        rig.clock.now += 3
        return found

    monkeypatch.setattr(nodes, 'get_by_uuid', slow)
    stream, _ = rig.tickets.redeem(offer['ticket'])
    assert stream.checked_at == rig.clock.now - 3


# -- news -----------------------------------------------------------------------------------------


def viewer(rig, row, token_id='t1'):
    offer = open_console(rig, row, token_id=token_id)
    return rig.tickets.redeem(offer['ticket'])[0]


def test_a_new_token_ends_the_viewers_of_the_old_one_at_once(rig, row):
    stream = viewer(rig, row)
    nodes.set_token('n1', 'hash', 't2')
    rig.manager.token_changed({}, node=row.uuid, token_id='t2')
    assert stream.ended


def test_history_ends_with_the_token(rig, row):
    viewer(rig, row)
    sink = rig.driver(row).sinks[0]
    sink.data(b'tenant one')
    nodes.set_token('n1', 'hash', 't2')
    rig.manager.token_changed({}, node=row.uuid, token_id='t2')
    sink.data(b'two')
    offer = open_console(rig, row, token_id='t2', replay=1000)
    assert next(rig.tickets.redeem(offer['ticket'])[0]) == b'two'


def test_news_that_were_overtaken_end_nobody_who_has_the_newest_token(rig, row):
    nodes.set_token('n1', 'hash', 't3')
    stream = viewer(rig, row, 't3')
    rig.driver(row).sinks[0].data(b'x')
    for late in ('t2', None):
        rig.manager.token_changed({}, node=row.uuid, token_id=late)
    assert stream.ended is None
    assert next(stream) == b'x'


def test_news_are_believed_when_the_row_cannot_be_read(rig, row, monkeypatch):
    stream = viewer(rig, row)

    def down(_uuid):
        raise fakes.DOWN

    monkeypatch.setattr(nodes, 'get_by_uuid', down)
    rig.manager.token_changed({}, node=row.uuid, token_id='t2')
    assert stream.ended


def test_a_deleted_node_is_let_go_with_its_viewers_and_its_session(rig, row):
    stream = viewer(rig, row)
    driver = rig.driver(row)
    nodes.delete('n1')
    rig.manager.node_deleted({}, node=row.uuid)
    assert stream.ended == 'the node was deleted'
    rig.spawned.join()
    assert driver.handles[0].closed == [True]
    assert reached(driver)[-1] == 'close'
    assert driver.aborted is not None
    assert len(rig.holdings) == 0
    with pytest.raises(errors.NotOwner):
        rig.call('power_status', row)
    rig.manager.node_deleted({}, node=row.uuid)


def test_a_deletion_that_nobody_told_is_found_by_the_next_check(rig, row):
    stream = viewer(rig, row)
    nodes.delete('n1')
    rig.revocation.check()
    assert stream.ended
    rig.spawned.join()
    assert len(rig.holdings) == 0


def test_a_new_node_is_claimed_when_it_is_told(rig, row):
    rig.manager.node_changed({}, node=row.uuid)
    assert nodes.get('n1').owner == 'me'


def change_bmc(keyring, row, driver='fake', info=None, group=None):
    """As the API does it.  :returns: the row as it is then."""
    sealed, key_id = secrets.seal_info(keyring.public, row.uuid, driver, '', info or {})
    obm = registrations.Obm(driver, '', sealed, key_id)
    return registrations.change(row.uuid, obm, group)


def test_a_node_whose_credentials_were_changed_is_served_with_the_new_ones(rig, row, keyring):
    before = rig.holdings.find(row.uuid)
    now = change_bmc(keyring, row, info={'password': 'new'})
    with pytest.raises(errors.NotOwner):
        rig.call('set_power', row, args={'action': 'on'}, epoch=now.owner_epoch)
    rig.manager.node_changed({}, node=row.uuid)
    rig.spawned.join()
    live = rig.holdings.find(row.uuid)
    assert (live.driver.info, live.epoch) == ({'password': 'new'}, now.owner_epoch)
    rig.call('set_power', row, args={'action': 'on'}, epoch=now.owner_epoch)
    assert reached(live.driver) and 'set_power' not in reached(before.driver)
    assert isinstance(before.going, errors.OutcomeUnknown)


def test_a_node_whose_credentials_are_the_same_again_goes_on(rig, row, keyring):
    live = rig.holdings.find(row.uuid)
    now = change_bmc(keyring, row)
    rig.manager.node_changed({}, node=row.uuid)
    assert rig.holdings.find(row.uuid) is live
    assert (live.epoch, live.going) == (now.owner_epoch, None)
    assert live.set_sol_holder('foreign')
    rig.call('power_status', row, epoch=now.owner_epoch)


def test_a_node_that_was_not_changed_goes_on(rig, row):
    live = rig.holdings.find(row.uuid)
    rig.manager.node_changed({}, node=row.uuid)
    assert rig.holdings.find(row.uuid) is live and live.going is None


def test_a_node_that_was_moved_to_another_group_is_let_go(rig, row, keyring):
    live = rig.holdings.find(row.uuid)
    registrations.change(row.uuid, conductor_group='rack9')
    rig.manager.node_changed({}, node=row.uuid)
    rig.spawned.join()
    assert rig.holdings.get(row.uuid) is None and live.going is not None
    assert nodes.get('n1').owner is None


def test_new_credentials_that_cannot_be_opened_here_are_not_served_with_the_old_ones(
    rig, row, keyring
):
    rig.holdings.find(row.uuid)
    registrations.change(row.uuid, registrations.Obm('fake', '', 'damaged', keyring.public.key_id))
    rig.manager.node_changed({}, node=row.uuid)
    rig.spawned.join()
    with pytest.raises(errors.SealMismatch):
        rig.call('power_status', row)


def test_giving_a_node_back_leaves_its_deferred_work_to_the_next_owner(rig, row):
    live = rig.holdings.find(row.uuid)
    live.set_target('on', 10.0**10, 'soft power cycle', 'call-1')
    manager.close(live, STOPPING, STOPPING.reason)
    assert live.target is None
    assert nodes.get('n1').target_call_id == 'call-1'


# -- for whom a write is --------------------------------------------------------------------------

REQUEST = 'req-01234567-89ab-cdef-0123-456789abcdef'
HOLDER = callers.Caller(callers.HOLDER, REQUEST, '192.0.2.7')


@pytest.mark.parametrize(
    'call',
    [
        lambda api, row, deadline: api.set_power(row, 'on', deadline, caller=HOLDER),
        lambda api, row, deadline: api.power_cycle(row, True, deadline, caller=HOLDER),
        lambda api, row, deadline: api.set_boot_device(row, 'pxe', deadline, caller=HOLDER),
    ],
)
def test_what_lasts_stands_in_the_row_with_who_asked_for_it(rig, row, call):
    driver = rig.driver(row)
    in_row = []

    def while_it_runs():
        rig.timers.fire()
        in_row.append(nodes.get('n1'))

    driver.hooks['power'] = driver.hooks['boot'] = while_it_runs
    call(rig.api, nodes.get('n1'), Deadline(30))
    (now,) = in_row
    assert now.lock_caller == HOLDER.full
    assert now.lock_purpose
    rig.timers.fire()
    assert nodes.get('n1').lock_purpose is None


@pytest.mark.parametrize(('method', 'args'), WRITES)
@pytest.mark.parametrize(
    'caller', [{}, {'caller': None}, {'caller': 'x' * 10000}, {'caller': {'who': ['\n']}}]
)
def test_an_api_that_does_not_tell_for_whom_is_answered(rig, row, caplog, method, args, caller):
    caplog.set_level('INFO')
    rig.call(method, row, args=args, **caller)
    assert reached(rig.driver(row))
    assert any(line.endswith('for a caller that is not known') for line in caplog.messages)


def test_what_goes_on_after_the_answer_is_named_after_the_request(rig, row):
    driver = rig.driver(row)
    in_row = []
    driver.hooks['power', 'soft_off'] = lambda: in_row.append(nodes.get('n1').target_call_id)
    driver.hooks['status'] = lambda: setattr(driver, 'power', 'off' if in_row else 'on')
    rig.api.power_cycle(nodes.get('n1'), False, Deadline(30), caller=HOLDER)
    assert in_row == [REQUEST]
    rig.spawned.join()


# -- framed consoles ------------------------------------------------------------------------------


def framed(rig, **changes):
    """:returns: (stream of events, its headers), as the API of another process gets it."""
    args = {'holder': 'j1', 'replay': None, 'cursor': None, 'takeover': False, **changes}
    offer = rig.api.open_console_events(nodes.get('n1'), Deadline(30), **args)
    return rig.tickets.redeem(offer.url.rpartition('/')[2])


def events(stream, count):
    return [json.loads(line) for _ in range(count) for line in next(stream).splitlines()]


def test_a_framed_console_needs_no_token_of_the_node(rig, register):
    register('n1')
    stream, headers = framed(rig)
    assert headers['Content-Type'] == 'application/x-ndjson'
    assert events(stream, 1) == [{'event': 'state', 'state': 'up'}]
    assert len(rig.revocation) == 1


@pytest.mark.parametrize(('holder', 'seen'), [(None, b'old new'), ('j1', b'new')])
def test_only_the_admin_reads_behind_the_issue_of_the_nodes_token(rig, row, holder, seen):
    stream, _ = framed(rig)
    driver = rig.driver(row)
    driver.sinks[-1].data(b'old ')
    rig.manager.token_changed({}, node=row.uuid, token_id='t1')
    nodes.set_token('n1', 'hash', 't2')
    rig.manager.token_changed({}, node=row.uuid, token_id='t2')
    driver.sinks[-1].data(b'new')
    again, _ = framed(rig, holder=holder, replay=1000)
    told = events(again, 2)[-1]
    assert base64.b64decode(told['data']) == seen
    assert stream.ended is None


@pytest.mark.parametrize('history', [{'replay': 1000}, {'cursor': 0}])
def test_a_new_access_token_reads_nothing_from_before_it_came(rig, row, history):
    stream, _ = framed(rig)
    sink = rig.driver(row).sinks[-1]
    sink.data(b'secret')
    cursor = events(stream, 2)[-1]['cursor']
    if 'cursor' in history:
        history = {'cursor': cursor.partition(':')[0] + ':0'}
    new, _ = framed(rig, holder='j2', **history)
    sink.data(b'new')
    lines = (line for piece in new for line in piece.splitlines())
    told = (one for one in map(json.loads, lines) if one['event'] == 'data')
    assert base64.b64decode(next(told)['data']) == b'new'


def test_an_access_token_goes_on_where_its_connection_broke_off(rig, row):
    stream, _ = framed(rig)
    sink = rig.driver(row).sinks[-1]
    sink.data(b'read')
    cursor = events(stream, 2)[-1]['cursor']
    stream.end('the connection broke off')
    sink.data(b'missed')
    again, _ = framed(rig, cursor=cursor)
    told = [one for one in events(again, 2) if one['event'] != 'state']
    assert [base64.b64decode(one['data']) for one in told] == [b'missed']


def test_a_framed_console_tells_that_its_source_went_and_came_back(rig, row):
    stream, _ = framed(rig)
    events(stream, 1)
    rig.driver(row).sinks[-1].lost(errors.BmcSilent('it is gone', 'n1'))
    assert events(stream, 1) == [{'event': 'state', 'state': 'down'}]
    rig.spawned.join()
    rig.timers.fire()
    rig.spawned.join()
    assert events(stream, 1) == [{'event': 'state', 'state': 'up'}]


def test_the_boot_device_is_what_the_driver_says(rig, row):
    rig.driver(row).boot_device = lambda deadline: 'pxe'
    assert rig.api.boot_device(nodes.get('n1'), Deadline(30)) == 'pxe'


# -- sweeps ---------------------------------------------------------------------------------------


def sweep(rig, *rows, **changes):
    args = {'incarnation': 'me', 'nodes': [row.uuid for row in rows], 'seconds': 5, **changes}
    return rig.client.call(HOST, 'open_sweep', 5, **args)


def test_a_sweep_is_offered_as_a_ticket_and_asks_nothing_before_it_is_redeemed(rig, row):
    offer = sweep(rig, row)
    assert offer['headers']['Content-Type'] == 'application/x-ndjson'
    assert reached(rig.driver(row)) == []
    stream, _ = rig.tickets.redeem(offer['ticket'])
    assert b''.join(stream) == b'{"node": "n1", "power_status": "on"}\n'


def test_a_sweep_tells_of_nodes_that_are_anothers(rig, row, register):
    other = register('n2')
    owners.claim(other.uuid, 'other', None, 0)
    stream, _ = rig.tickets.redeem(sweep(rig, row, other)['ticket'])
    text = b''.join(stream)
    assert b'"n2", "error": {"kind": "not_owner"' in text
    assert b'"n1", "power_status"' in text


def test_a_sweep_for_an_earlier_start_is_refused(rig, row):
    with pytest.raises(errors.NotOwner):
        sweep(rig, row, incarnation='an earlier start')


def test_a_sweep_ends_with_the_time_that_is_allowed(rig, row):
    driver = rig.driver(row)
    seen = []
    driver.power_status = lambda deadline: seen.append(deadline.remaining) or 'on'
    CONF.set_override('sweep_timeout', 0.5, 'conductor')
    try:
        stream, _ = rig.tickets.redeem(sweep(rig, row, seconds=1000)['ticket'])
        b''.join(stream)
    finally:
        CONF.clear_override('sweep_timeout', 'conductor')
    assert 0 < seen[0] <= 0.5


# -- through the client ---------------------------------------------------------------------------


def test_the_client_calls_the_owner_with_its_epoch(rig, row):
    assert rig.api.power_status(nodes.get('n1'), Deadline(5)) == 'on'
    owned = nodes.get('n1')
    assert owned.owner_epoch == 1
    rig.api.set_power(owned, 'off', Deadline(5))
    assert rig.api.power_status(owned, Deadline(5)) == 'off'
    with pytest.raises(errors.BmcSilent):
        rig.api.power_status(owned, Deadline(0))
    owners.release(owned.uuid, 'me', 1)
    owners.claim(owned.uuid, 'me', None, 1)
    with pytest.raises(errors.NotOwner):
        rig.api.set_power(nodes.get('n1'), 'on', Deadline(5))


def test_the_client_of_one_process_is_given_the_stream_itself(keyring, row, spawned):
    rig = Rig(keyring, spawned, in_process=True)
    offer = rig.api.open_console(nodes.get('n1'), Deadline(5))
    rig.driver(row).sinks[0].data(b'x')
    assert next(offer.stream) == b'x'
    assert offer.url not in repr(offer)


def test_the_client_of_another_process_is_given_an_address(rig, row):
    offer = rig.api.open_sweep('me', [nodes.get('n1')], Deadline(5))
    assert offer.stream is None
    assert offer.url.startswith('http://callback/stream/')


def test_the_client_tells_news_in_the_background(rig, row):
    stream = viewer(rig, row)
    rig.api.token_changed(nodes.set_token('n1', 'hash', 't2'))
    rig.spawned.join()
    assert stream.ended
    gone = nodes.delete('n1')
    rig.api.node_deleted(gone)
    rig.spawned.join()
    assert len(rig.holdings) == 0
    rig.api.node_deleted(gone)
    rig.spawned.join()


def test_a_new_node_is_told_to_whom_the_ring_proposes_and_to_nobody_if_there_is_none(
    rig, row, register
):
    rig.api.node_changed(row)
    rig.api.node_changed(register('n9', group='rack9'))
    rig.spawned.join()
    assert nodes.get('n1').owner == 'me'


# -- ramdisk agents -------------------------------------------------------------------------------


AGENT_TOKEN = 'a' * 64


@pytest.fixture
def agent(row):
    """A node whose agent has its token."""
    assert agent_rows.issue_token(row.uuid, AGENT_TOKEN, agent_rows.get(row.uuid).generation)
    return nodes.get_by_uuid(row.uuid)


def beat(**changes):
    return {'token_hash': AGENT_TOKEN, 'url': 'https://10.0.0.1', 'version': '11.0', **changes}


def test_a_heartbeat_reaches_the_owner_and_its_state_comes_back(rig, agent):
    rig.api.agent_heartbeat(agent, beat(), Deadline(30))
    state = rig.api.agent_state(agent, Deadline(30))
    assert (state['url'], state['version'], state['alive']) == ('https://10.0.0.1', '11.0', True)


def test_a_heartbeat_that_is_refused_says_why_and_of_which_node(rig, agent):
    with pytest.raises(errors.InvalidInput, match='Invalid or missing agent token') as refused:
        rig.api.agent_heartbeat(agent, beat(token_hash='b' * 64), Deadline(30))
    assert refused.value.node == 'n1'


@pytest.mark.parametrize('state', ['fenced', 'suspended'])
def test_a_heartbeat_is_not_taken_by_a_conductor_that_may_not_act(rig, agent, state):
    rig.lease.state = state
    with pytest.raises(errors.Unavailable) as refused:
        rig.api.agent_heartbeat(agent, beat(), Deadline(30))
    assert refused.value.retry_after
    assert agent_rows.get(agent.uuid).url is None


def test_a_heartbeat_for_a_node_of_another_is_not_taken_and_the_conductors_are_looked_at(
    rig, agent
):
    owners.claim(agent.uuid, 'another', None, 0)
    looks = []
    rig.api._router.look_again = lambda: looks.append('look')
    with pytest.raises(errors.NotOwner):
        rig.api.agent_heartbeat(agent, beat(), Deadline(30))
    assert looks == ['look']


def test_a_heartbeat_for_an_earlier_start_is_not_taken(rig, agent):
    with pytest.raises(errors.NotOwner):
        rig.agent_client.call(
            HOST, 'agent_heartbeats', 5, incarnation='before', beats=[], seconds=5
        )


def test_the_configdrive_alone_is_opened_for_the_api(rig, keyring, agent):
    assert rig.api.open_configdrive(agent, Deadline(30)) is None
    secret = {'configdrive': 'very secret', 'admin_pass': 'hunter2'}
    sealed, key_id = secrets.seal_json(keyring.public, agent.uuid, secret)
    descriptions.change(agent.uuid, sealed_instance_info=sealed, key_id=key_id)
    assert rig.api.open_configdrive(agent, Deadline(30)) == 'very secret'


def test_instance_info_of_another_node_is_not_opened(rig, keyring, agent):
    sealed, key_id = secrets.seal_json(keyring.public, 'another', {'configdrive': 'secret'})
    descriptions.change(agent.uuid, sealed_instance_info=sealed, key_id=key_id)
    with pytest.raises(errors.SealMismatch):
        rig.api.open_configdrive(agent, Deadline(30))


def test_an_api_of_version_1_0_is_answered_and_the_news_of_later_ones_need_them(rig, row):
    assert (rpcapi.VERSION, rpcapi.AGENTS) == ('1.0', '1.1')
    assert rig.call('power_status', row) == 'on'
    assert rig.manager.target.version == rpcapi.JOBS
