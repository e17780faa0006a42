"""obmd's own API: the sweep, the event log, the pages for monitoring."""

import json
import threading

import pytest

from obmd.api import delivery
from obmd.common import errors
from obmd.common import rpc
from obmd.conductor import routing
from obmd.conductor import rpcapi
from obmd.db import node_groups
from obmd.db import nodes
from obmd.streams import viewer
from tests.unit.api.conftest import error
from tests.unit.api.conftest import offer


def line(name, state='on'):
    return json.dumps({'node': name, 'power_status': state}).encode() + b'\n'


def error_line(name, kind):
    told = {'node': name, 'error': {'kind': kind, 'reason': 'why'}}
    return json.dumps(told).encode() + b'\n'


@pytest.fixture
def fleet(api):
    for number in range(1, 7):
        nodes.create(f'n{number}', 'mock', '', 'x', 'k', '', f'uuid{number}')


class Plan:
    """Answers ``open_sweep`` by conductor, one offer or error after another."""

    def __init__(self, api, **by_conductor):
        self.by_conductor = by_conductor
        self.asked = []
        api.conductor.open_sweep = self.open

    def open(self, incarnation, group, deadline):
        self.asked.append((incarnation, sorted(node.name for node in group)))
        answer = self.by_conductor[incarnation].pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class TestSweep:
    def sweep(self, api, admin, query, **kwargs):
        response = api.app.get(f'/api/v1/power?{query}', headers=admin, **kwargs)
        if response.status_int == 200:
            assert response.headers['Content-Type'] == 'application/x-ndjson'
            lines = [json.loads(text) for text in response.body.splitlines()]
            names = [told['node'] for told in lines]
            assert len(set(names)) == len(names)
            return {
                told['node']: told.get('power_status') or told['error']['kind'] for told in lines
            }
        return response

    def test_one_line_a_node_and_one_call_a_conductor(self, api, admin, fleet):
        plan = Plan(api, c1=[offer(line('n2'), line('n1', 'off') + line('n3'))])
        assert self.sweep(api, admin, 'nodes=n[1-3]') == {'n1': 'off', 'n2': 'on', 'n3': 'on'}
        assert plan.asked == [('c1', ['n1', 'n2', 'n3'])]
        assert api.services.slots.taken == 0

    def test_lines_are_passed_on_as_they_came_in_their_order(self, api, admin, fleet):
        lines = [line('n3'), error_line('n1', 'bmc_silent'), line('n2')]
        Plan(api, c1=[offer(*lines)])
        response = api.app.get('/api/v1/power?nodes=n[1-3]', headers=admin)
        assert response.body == b''.join(lines)

    def test_lines_may_be_cut_anywhere(self, api, admin, fleet):
        text = line('n1') + line('n2')
        Plan(api, c1=[offer(*(text[i : i + 7] for i in range(0, len(text), 7)))])
        assert self.sweep(api, admin, 'nodes=n[1-2]') == {'n1': 'on', 'n2': 'on'}

    def test_streams_of_several_conductors_are_merged(self, api, admin, fleet):
        api.router.owners = {'n1': 'c1', 'n2': 'c2', 'n3': 'c3'}
        plan = Plan(
            api, c1=[offer(line('n1'))], c2=[offer(line('n2'))], c3=[offer(line('n3', 'off'))]
        )
        found = self.sweep(api, admin, 'nodes=n[1-3]')
        assert found == {'n1': 'on', 'n2': 'on', 'n3': 'off'}
        assert len(plan.asked) == 3

    def test_unknown_and_unroutable_nodes_are_error_lines(self, api, admin, fleet):
        api.router.owners = {'n2': errors.Unavailable('no conductor', 'n2', 5)}
        Plan(api, c1=[offer(line('n1'))])
        response = api.app.get('/api/v1/power?nodes=n[1-2],zz', headers=admin)
        lines = {told['node']: told for told in map(json.loads, response.body.splitlines())}
        assert lines['zz'] == {
            'node': 'zz',
            'error': {'kind': 'not_found', 'reason': 'there is no such node'},
        }
        assert lines['n2']['error'] == {'kind': 'unavailable', 'reason': 'no conductor'}
        assert lines['n1'] == {'node': 'n1', 'power_status': 'on'}

    def test_the_rest_of_a_stream_that_breaks_is_asked_for_once_more(self, api, admin, fleet):
        broken = offer(line('n1'), line('n2')[:-5])
        plan = Plan(api, c1=[broken, offer(line('n3', 'off'), line('n2'))])
        found = self.sweep(api, admin, 'nodes=n[1-3]')
        assert found == {'n1': 'on', 'n2': 'on', 'n3': 'off'}
        assert plan.asked == [('c1', ['n1', 'n2', 'n3']), ('c1', ['n2', 'n3'])]

    def test_a_stream_that_breaks_again_leaves_error_lines_for_the_rest(self, api, admin, fleet):
        Plan(api, c1=[offer(line('n1'), line('n2')[:-5]), offer(), offer()])
        found = self.sweep(api, admin, 'nodes=n[1-3]')
        assert found == {'n1': 'on', 'n2': 'unavailable', 'n3': 'unavailable'}

    @pytest.mark.parametrize(
        'silence', [rpc.NoAnswer('host1'), delivery.NotDelivered('refused', retry_after=1)]
    )
    def test_a_conductor_that_is_silent_is_asked_thrice(self, api, admin, fleet, silence):
        plan = Plan(api, c1=[silence, offer(line('n1'))])
        assert self.sweep(api, admin, 'nodes=n1') == {'n1': 'on'}
        plan.by_conductor['c1'] = [silence, silence, silence, offer(line('n1'))]
        assert self.sweep(api, admin, 'nodes=n1') == {'n1': 'unavailable'}
        assert len(plan.by_conductor['c1']) == 1

    def test_one_that_goes_before_it_is_called_is_left_to_its_heir(self, api, admin, fleet):
        Plan(api, c1=[routing.OwnerGone('gone', retry_after=7), offer(line('n1'))])
        assert self.sweep(api, admin, 'nodes=n1') == {'n1': 'on'}

    def test_one_that_is_gone_is_not_counted_as_silent(self, api, admin, fleet):
        Plan(api, c1=[*[rpc.NoAnswer('host1', gone=True)] * 4, offer(line('n1'))])
        assert self.sweep(api, admin, 'nodes=n1') == {'n1': 'on'}

    def test_the_stream_of_a_conductor_that_is_gone_is_not_waited_for(self, api, admin, fleet):
        silent = viewer.LineStream()
        hung = rpcapi.StreamOffer('http://c1/stream/x', {}, silent)
        plan = Plan(api, c1=[hung, offer(line('n1'))])

        api.router.gone_meanwhile = ['c1']
        assert self.sweep(api, admin, 'nodes=n1') == {'n1': 'on'}
        assert silent.ended
        assert len(plan.asked) == 2

    def test_a_dead_owners_heir_is_waited_for(self, api, admin, fleet):
        gone = routing.OwnerGone('gone', 'n1', 7)
        gone.heir = True
        Plan(api, c2=[offer(line('n1'))])
        looks = iter([gone, gone, gone, 'c2'])
        split = api.router.split

        def moves(nodes):
            api.router.owners['n1'] = next(looks)
            return split(nodes)

        api.router.split = moves
        assert self.sweep(api, admin, 'nodes=n1') == {'n1': 'on'}

    def test_a_conductor_that_cannot_be_asked_leaves_error_lines(self, api, admin, fleet):
        api.router.owners = {'n1': 'c1', 'n2': 'c2', 'n3': 'c3'}
        Plan(
            api, c1=[errors.Unavailable('gone')], c2=[ValueError('hunter2')], c3=[offer(line('n3'))]
        )
        found = self.sweep(api, admin, 'nodes=n[1-3]')
        assert found == {'n1': 'unavailable', 'n2': 'internal', 'n3': 'on'}

    def test_a_name_is_answered_once_whatever_a_conductor_says(self, api, admin, fleet):
        junk = b'junk\n[]\n"x"\n{"node": ["n1"]}\n{"node": "n1", "error": 5}\n{}\n'
        Plan(api, c1=[offer(line('n9'), junk, line('n1'), line('n1', 'off'), line('n2'))])
        assert self.sweep(api, admin, 'nodes=n[1-2]') == {'n1': 'on', 'n2': 'on'}

    def test_a_node_that_moved_is_asked_for_once_more(self, api, admin, fleet):
        plan = Plan(
            api,
            c1=[
                offer(line('n1'), error_line('n2', 'not_owner')),
                offer(line('n2', 'off')),
            ],
        )
        assert self.sweep(api, admin, 'nodes=n[1-2]') == {'n1': 'on', 'n2': 'off'}
        assert plan.asked == [('c1', ['n1', 'n2']), ('c1', ['n2'])]

    def test_one_that_was_deleted_meanwhile_is_not_found(self, api, admin, fleet):
        Plan(api, c1=[offer(error_line('n1', 'not_owner'), line('n2'))])
        ask = api.conductor.open_sweep

        def open_sweep(*args):
            nodes.delete('n1')
            return ask(*args)

        api.conductor.open_sweep = open_sweep
        assert self.sweep(api, admin, 'nodes=n[1-2]') == {'n1': 'not_found', 'n2': 'on'}

    def test_many_lines_of_one_error_let_others_in(self, api, admin, monkeypatch):
        pauses = []
        monkeypatch.setattr('obmd.api.sweep.time.sleep', pauses.append)
        found = self.sweep(api, admin, 'nodes=x[1-2000]')
        assert set(found.values()) == {'not_found'} and len(found) == 2000
        assert pauses.count(0) >= 10

    def test_one_that_does_not_arrive_is_said_to_move(self, api, admin, fleet, monkeypatch):
        monkeypatch.setattr('obmd.api.operations.MOVE_TIMEOUT', 0.01)
        monkeypatch.setattr('obmd.api.operations.MOVE_PAUSE', 0.02)
        plan = Plan(api, c1=[errors.NotOwner('no'), offer(error_line('n1', 'not_owner'))])
        assert self.sweep(api, admin, 'nodes=n1') == {'n1': 'not_owner'}
        assert len(plan.asked) == 2

    def test_one_whose_owner_has_just_gone_is_looked_for_once_more(self, api, admin, fleet):
        Plan(api, c1=[offer(line('n1'))], c2=[offer(line('n2', 'off'))])
        api.router.owners['n2'] = routing.OwnerGone('gone', 'n2', 7)
        split = api.router.split

        def found_at_second_sight(nodes):
            outcome = split(nodes)
            api.router.owners['n2'] = 'c2'
            return outcome

        api.router.split = found_at_second_sight
        assert self.sweep(api, admin, 'nodes=n[1-2]') == {'n1': 'on', 'n2': 'off'}

    def test_one_whose_owner_stays_gone_is_unavailable(self, api, admin, fleet):
        api.router.owners['n1'] = routing.OwnerGone('gone', 'n1', 7)
        assert self.sweep(api, admin, 'nodes=n1') == {'n1': 'unavailable'}

    def test_a_conductor_that_hangs_holds_nobody(self, api, admin, fleet, monkeypatch):
        monkeypatch.setattr('obmd.api.sweep.GRACE', 0.05)
        api.router.owners = {'n2': 'c2'}
        hung = type(offer())('http://c2/stream/x', {}, viewer.LineStream())
        Plan(api, c1=[offer(line('n1'))], c2=[hung])
        found = self.sweep(api, admin, 'nodes=n[1-2]&deadline=0.05')
        assert found == {'n1': 'on', 'n2': 'unavailable'}
        assert hung.stream.ended

    def test_a_client_that_goes_ends_the_conductors_streams(self, api, admin, fleet):
        opened = threading.Event()
        source = viewer.LineStream()

        def open_sweep(incarnation, group, deadline):
            opened.set()
            return type(offer())('http://c1/stream/x', {}, source)

        api.conductor.open_sweep = open_sweep
        request = api.app.RequestClass.blank('/api/v1/power?nodes=n[1-3]', headers=admin)
        body = api.application(request.environ, lambda *args: None)
        assert body.is_stream and opened.wait(5)
        source.put(line('n1'))
        assert next(iter(body)) == line('n1')
        body.close()
        ended = threading.Event()
        source.on_end(ended.set)
        assert ended.wait(5)
        assert api.services.slots.taken == 0

    @pytest.mark.parametrize(
        'query',
        [
            '',
            'nodes=',
            'nodes=n[1-',
            'nodes=n[1-99999]',
            'nodes=n*',
            'nodes=n1&deadline=0',
            'nodes=n1&deadline=-1',
            'nodes=n1&deadline=x',
            'nodes=n1&deadline=nan',
            'nodes=n1&deadline=inf',
            'nodes=n1&deadline=1e9',
            'nodes=n1&deadline=',
            'nodes=' + 'x' * 17000,
        ],
    )
    def test_a_wrong_parameter_is_400(self, api, admin, query):
        response = api.app.get(f'/api/v1/power?{query}', headers=admin, status=400)
        error(response)
        assert api.services.slots.taken == 0

    def test_a_group_is_the_nodes_that_are_in_it(self, api, admin, fleet):
        node_groups.put('row', 'n[1-2]')
        Plan(api, c1=[offer(line('n1'), line('n2'))])
        assert self.sweep(api, admin, 'nodes=@row') == {'n1': 'on', 'n2': 'on'}

    def test_a_group_that_is_not_there_is_404(self, api, admin):
        answer = api.app.get('/api/v1/power?nodes=@nosuch', headers=admin, status=404)
        assert 'nosuch' in error(answer)['reason']

    def test_range_limits_come_from_the_configuration(self, api, admin, fleet, conf):
        conf(max_range=2)
        api.app.get('/api/v1/power?nodes=n[1-3]', headers=admin, status=400)
        Plan(api, c1=[offer(line('n1'), line('n2'))])
        api.app.get('/api/v1/power?nodes=n[1-2]', headers=admin, status=200)

    def test_the_admin_only(self, api, node):
        api.app.get('/api/v1/power?nodes=n1', status=401)
        api.app.get(f'/api/v1/power?nodes=n1&token={node}', status=401)

    def test_sweeps_count_as_streams(self, api, admin, fleet, conf):
        conf(max_streams=1)
        api.services.slots.take()
        api.app.get('/api/v1/power?nodes=n1', headers=admin, status=503)

    def test_a_database_that_is_away_is_an_error_before_the_headers(
        self, api, admin, fleet, monkeypatch
    ):
        def away(names):
            raise errors.Unavailable('the database does not answer', retry_after=2)

        monkeypatch.setattr(nodes, 'by_names', away)
        api.app.get('/api/v1/power?nodes=n1', headers=admin, status=503)
        assert api.services.slots.taken == 0


class TestEventLog:
    @pytest.fixture(autouse=True)
    def picky(self, api):
        nodes.create('p', 'picky', '', 'x', 'k', '', 'uuidp')

    def test_answers_the_records(self, api, admin):
        records = [{'id': 1, 'time': None, 'sensor': 's', 'event': 'e', 'raw': '00'}]
        api.conductor.answers['event_log'] = records
        response = api.app.get('/api/v1/nodes/p/event_log', headers=admin)
        assert response.json == {'node': 'p', 'events': records}
        assert api.conductor.calls == [('event_log', 'p', 100)]

    @pytest.mark.parametrize('limit', ['1', '10000'])
    def test_limit(self, api, admin, limit):
        api.app.get(f'/api/v1/nodes/p/event_log?limit={limit}', headers=admin)
        assert api.conductor.calls == [('event_log', 'p', int(limit))]

    @pytest.mark.parametrize('limit', ['', '0', '-1', '10001', 'x', '1.0'])
    def test_a_wrong_limit_is_400(self, api, admin, limit):
        api.app.get(f'/api/v1/nodes/p/event_log?limit={limit}', headers=admin, status=400)

    def test_an_unknown_node_is_404(self, api, admin):
        response = api.app.get('/api/v1/nodes/nobody/event_log', headers=admin, status=404)
        assert error(response)['node'] == 'nobody'

    def test_a_driver_without_one_is_400(self, api, admin, node):
        response = api.app.get('/api/v1/nodes/n1/event_log', headers=admin, status=400)
        assert error(response)['kind'] == 'unsupported'

    def test_the_admin_only(self, api):
        api.app.get('/api/v1/nodes/p/event_log', status=401)


class TestHealth:
    def test_healthz_answers_while_the_process_does(self, api):
        assert api.app.get('/healthz').json == {'status': 'ok'}

    def test_readyz_runs_each_check(self, api):
        ran = []
        api.services.readiness = (lambda: ran.append(1), lambda: ran.append(2))
        assert api.app.get('/readyz', status=200).json == {'status': 'ok'}
        assert ran == [1, 2]

    def test_readyz_tells_why_not(self, api):
        def fails():
            raise errors.Unavailable('no live conductor', retry_after=3)

        api.services.readiness = (fails,)
        response = api.app.get('/readyz', status=503)
        assert error(response) == {'kind': 'unavailable', 'reason': 'no live conductor'}
        assert response.headers['Retry-After'] == '3'
