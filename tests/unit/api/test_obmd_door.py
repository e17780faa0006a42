"""OBMd's API: every row of its contract that needs no BMC."""

import base64
import json

import pytest
from nacl import public as nacl

from obmd.api import app as api_app
from obmd.api import operations
from obmd.common import callers
from obmd.common import errors
from obmd.common import rpc
from obmd.common.deadline import Deadline
from obmd.conductor import routing
from obmd.conductor import shadow
from obmd.conductor import writes
from obmd.db import audit
from obmd.db import nodes
from obmd.db import owners
from obmd.drivers import registry
from tests.unit.api.conftest import error
from tests.unit.api.conftest import offer

PICKY = {'type': 'picky', 'info': {'host': '10.0.0.4', 'password': 's3cret'}}
MOCK = {'type': 'mock', 'info': {}}


def put(api, admin, body, path='/node/n1'):
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    return api.app.put(path, body, headers=admin, expect_errors=True)


class TestRegister:
    def test_success_is_200_and_empty(self, api, admin):
        response = put(api, admin, MOCK)
        assert (response.status_int, response.body) == (200, b'')
        assert response.headers['Content-Length'] == '0'

    def test_nothing_is_asked_of_the_content_type(self, api, admin):
        for number, content_type in enumerate(
            ('', 'text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data', 'x')
        ):
            headers = {**admin, 'Content-Type': content_type}
            api.app.put(f'/node/n{number}', json.dumps(MOCK), headers=headers, status=200)

    def test_a_node_that_exists_is_409_and_stays(self, api, admin):
        put(api, admin, MOCK)
        response = put(api, admin, PICKY)
        assert response.status_int == 409
        assert error(response)['kind'] == 'node_exists'
        assert nodes.get('n1').driver == 'mock'

    def test_what_is_stored_is_sealed_with_what_it_belongs_to(self, api, admin, private_key):
        put(api, admin, PICKY)
        node = nodes.get('n1')
        assert (node.driver, node.address) == ('picky', '10.0.0.4')
        assert 's3cret' not in repr(node) + node.sealed_info
        plain = nacl.SealedBox(private_key).decrypt(base64.b64decode(node.sealed_info))
        sealed = json.loads(plain)
        assert sealed['uuid'] == node.uuid
        assert sealed['info'] == {'host': '10.0.0.4', 'password': 's3cret', 'port': 623}

    def test_unknown_keys_are_ignored(self, api, admin):
        body = {**PICKY, 'more': [1], 'info': {**PICKY['info'], 'colour': 'red'}}
        assert put(api, admin, body).status_int == 200

    def test_keys_are_taken_in_any_case_as_go_takes_them(self, api, admin):
        assert put(api, admin, {'Type': 'mock', 'INFO': {}}).status_int == 200

    @pytest.mark.parametrize(
        'type_', ['mock', 'http://schema.massopencloud.org/haas/v0/obm/mock', 'dummy']
    )
    def test_types_and_their_aliases(self, api, admin, type_):
        assert put(api, admin, {'type': type_, 'info': {'addr': 'x'}}).status_int == 200
        assert nodes.get('n1').driver in ('mock', 'dummy')

    @pytest.mark.parametrize(
        ('body', 'field'),
        [
            (b'', 'empty'),
            (b'  \n', 'empty'),
            (b'{', 'JSON'),
            (b'null', 'body'),
            (b'[]', 'body'),
            (b'"x"', 'body'),
            (b'1', 'body'),
            (b'{} {}', 'JSON'),
            ({}, 'type'),
            ({'type': 'mock'}, 'info'),
            ({'info': {}}, 'type'),
            ({'type': 'mock', 'info': None}, 'info'),
            ({'type': 'mock', 'info': []}, 'info'),
            ({'type': 'mock', 'info': 'x'}, 'info'),
            ({'type': 1, 'info': {}}, 'type'),
            ({'type': None, 'info': {}}, 'type'),
            ({'type': '', 'info': {}}, 'type'),
            ({'type': 'nope', 'info': {}}, 'dummy, mock, picky'),
            ({'type': 'x' * 5000, 'info': {}}, 'type'),
            ({**MOCK, 'group': 5}, 'group'),
            ({**MOCK, 'group': 'x' * 256}, 'group'),
            ({**MOCK, 'group': 'a\x00'}, 'group'),
            ({'type': 'mock', 'info': {'NumWrites': 'x'}}, 'info.NumWrites'),
            ({'type': 'mock', 'info': {'NumWrites': -1}}, 'info.NumWrites'),
            ({'type': 'mock', 'info': {'addr': 3}}, 'info.addr'),
            ({'type': 'dummy', 'info': {}}, 'info.addr'),
            ({'type': 'picky', 'info': {'host': '1.2.3.4'}}, 'info.password'),
            ({'type': 'picky', 'info': {'password': 'hunter2'}}, 'info.host'),
            ({'type': 'picky', 'info': {'host': 'nowhere', 'password': 'hunter2'}}, 'info.host'),
            ({'type': 'picky', 'info': {'host': 'a', 'password': ['hunter2']}}, 'info.password'),
            ({'type': 'picky', 'info': {'host': 'a', 'password': 'hunter2' * 9}}, 'info.password'),
            (
                {'type': 'picky', 'info': {'host': 'a', 'password': 'hunter2', 'port': 0}},
                'info.port',
            ),
            (
                {'type': 'picky', 'info': {'host': 'a', 'password': 'b', 'privilege': 'hunter2'}},
                'user, administrator',
            ),
            ({'type': 'picky', 'info': {'host': 'a\nb', 'password': 'hunter2'}}, 'address'),
        ],
    )
    def test_a_wrong_body_is_400_naming_the_field_and_no_value(self, api, admin, body, field):
        response = put(api, admin, body)
        assert response.status_int == 400
        assert field in error(response)['reason']
        assert 'hunter2' not in response.text
        assert nodes.get('n1') is None

    @pytest.mark.parametrize(
        'body',
        [
            b'[' * 60000,
            b'{"type":' * 8000,
            b'{"type": "mock", "info": ' + b'{"a":' * 30 + b'1' + b'}' * 31,
            b'[' * 500 + b']' * 500,
            b'{"type": "mock", "info": {}, "x": NaN}',
            b'{"type": "mock", "info": {}, "x": Infinity}',
            b'{"type": "mock", "info": {"NumWrites": 1e999}}',
            b'{"type": "mock", "info": {"NumWrites": ' + b'9' * 5000 + b'}}',
            b'{"type": "mock", "info": {"addr": "\\ud800"}}',
            b'{"type": "mock", "info": {"addr": "\xff"}}',
            '{"type": "mock", "info": {}}'.encode('utf-16'),
            b'\xef\xbb\xbf{"type": "mock", "info": {}}',
            b'\x00' * 100,
            bytes(range(256)) * 100,
        ],
    )
    def test_a_hostile_body_is_400(self, api, admin, body):
        response = put(api, admin, body)
        assert response.status_int == 400
        assert error(response)['kind'] == 'invalid_input'

    def test_a_body_above_the_limit_is_413_and_is_not_read(self, api, admin, conf):
        conf(max_body=2000)
        response = put(api, admin, b'{"type": "mock", "info": {"addr": "%s"}}' % (b'x' * 2000))
        assert response.status_int == 413
        assert error(response)['kind'] == 'too_large'

    def test_a_chunked_body_is_bounded_too(self, api, admin, conf):
        conf(max_body=2000)
        body = json.dumps(MOCK).encode()
        for content, status in ((body, 200), (b' ' * 3000 + body, 413)):
            response = api.app.request(
                '/node/n1',
                method='PUT',
                body=content,
                headers={**admin, 'Transfer-Encoding': 'chunked', 'Content-Length': ''},
                expect_errors=True,
            )
            assert response.status_int == status

    def test_a_name_that_quotes_a_secret_is_not_repeated(self, api, admin):
        response = put(api, admin, {'type': 'password=hunter2', 'info': {}})
        assert 'hunter2' not in response.text

    def test_the_group_is_what_the_caller_says(self, api, admin, conf):
        conf(group_by_network=['10.0.0.0/8:ten'], default_group='rest')
        put(api, admin, {**PICKY, 'group': 'mine'})
        put(api, admin, {**PICKY, 'group': ''}, '/node/n2')
        assert [nodes.get(n).conductor_group for n in ('n1', 'n2')] == ['mine', '']

    def test_else_that_of_the_network_else_the_default(self, api, admin, conf):
        conf(group_by_network=['10.0.0.0/8:ten'], default_group='rest')
        put(api, admin, PICKY)
        put(api, admin, MOCK, '/node/n2')
        assert [nodes.get(n).conductor_group for n in ('n1', 'n2')] == ['ten', 'rest']


class TestUnregister:
    def test_it_is_gone_and_its_conductor_is_told(self, api, admin, node):
        response = api.app.delete('/node/n1', headers=admin)
        assert (response.status_int, response.body) == (200, b'')
        assert nodes.get('n1') is None
        assert api.conductor.told == [('node_deleted', 'n1')]

    def test_an_unknown_node_is_200(self, api, admin):
        response = api.app.delete('/node/n1', headers=admin)
        assert (response.status_int, response.body) == (200, b'')
        assert api.conductor.told == []

    def test_its_token_is_dead_when_the_name_is_used_again(self, api, admin, node):
        api.app.delete('/node/n1', headers=admin)
        put(api, admin, MOCK)
        api.app.get(f'/node/n1/power_status?token={node}', status=401)


class TestTokens:
    def test_the_answer_is_byte_for_byte(self, api, admin, node):
        response = api.app.post('/node/n1/token', headers=admin)
        token = response.json['token']
        assert response.body == b'{"token":"%s"}\n' % token.encode()
        assert len(token) == 32 and set(token) <= set('0123456789abcdef')
        assert response.headers['Content-Type'] == 'application/json'

    def test_a_new_one_is_told_to_the_conductor(self, api, admin, node):
        api.app.post('/node/n1/token', headers=admin)
        assert api.conductor.told == [('token_changed', 'n1', nodes.get('n1').token_id)]

    def test_for_an_unknown_node_it_is_404(self, api, admin):
        response = api.app.post('/node/n1/token', headers=admin, expect_errors=True)
        assert response.status_int == 404
        assert error(response)['node'] == 'n1'

    def test_taken_away_it_is_refused(self, api, admin, node):
        response = api.app.delete('/node/n1/token', headers=admin)
        assert (response.status_int, response.body) == (200, b'')
        assert api.conductor.told == [('token_changed', 'n1', None)]
        api.app.get(f'/node/n1/power_status?token={node}', status=401)

    def test_taking_away_what_is_not_there_is_200(self, api, admin, node):
        api.app.delete('/node/n1/token', headers=admin, status=200)
        api.app.delete('/node/n1/token', headers=admin, status=200)
        api.app.delete('/node/nobody/token', headers=admin, status=200)

    def test_a_conductor_that_cannot_be_told_fails_no_request(self, api, admin, node):
        api.conductor.token_changed = lambda node: 1 / 0
        api.app.post('/node/n1/token', headers=admin, status=200)


class TestPower:
    def test_status_is_byte_for_byte(self, api, node):
        api.conductor.answers['power_status'] = 'Mock Status'
        response = api.app.get(f'/node/n1/power_status?token={node}')
        assert response.body == b'{"power_status":"Mock Status"}\n'
        assert response.headers['Content-Type'] == 'application/json'

    @pytest.mark.parametrize('state', ['on', 'off'])
    @pytest.mark.parametrize('body', [b'', b'{}', b'not json', b'\xff' * 100, b'x' * 70000])
    def test_on_and_off_ignore_the_body(self, api, node, state, body):
        response = api.app.post(f'/node/n1/power_{state}?token={node}', body)
        assert (response.status_int, response.body) == (200, b'')
        assert api.conductor.calls == [('set_power', 'n1', state)]

    @pytest.mark.parametrize(
        ('body', 'force'),
        [
            (b'', False),
            (b'\n', False),
            (b'null', False),
            (b'{}', False),
            (b'{"force": false}', False),
            (b'{"force": null}', False),
            (b'{"force": true}', True),
            (b'{"Force": true}', True),
            (b'{"force": true, "more": 1}', True),
        ],
    )
    def test_cycle(self, api, node, body, force):
        response = api.app.post(f'/node/n1/power_cycle?token={node}', body)
        assert (response.status_int, response.body) == (200, b'')
        assert api.conductor.calls == [('power_cycle', 'n1', force)]

    @pytest.mark.parametrize(
        'body', [b'{"force": 1}', b'{"force": "true"}', b'[]', b'true', b'"x"', b'{', b'\xff']
    )
    def test_cycle_with_wrong_types_is_400(self, api, node, body):
        response = api.app.post(f'/node/n1/power_cycle?token={node}', body, expect_errors=True)
        assert response.status_int == 400
        error(response)
        assert api.conductor.calls == []


class TestBootDevice:
    def set(self, api, token, body, node='n1'):
        return api.app.put(f'/node/{node}/boot_device?token={token}', body, expect_errors=True)

    @pytest.mark.parametrize('device', ['A', 'B'])
    def test_a_legal_one(self, api, node, device):
        response = self.set(api, node, json.dumps({'bootdev': device}))
        assert (response.status_int, response.body) == (200, b'')
        assert api.conductor.calls == [('set_boot_device', 'n1', device)]

    @pytest.mark.parametrize(
        'body', ['{"bootdev": "pxe"}', '{"bootdev": "a"}', '{"bootdev": ""}', '{}', 'null']
    )
    def test_another_is_400_listing_the_legal_ones(self, api, node, body):
        response = self.set(api, node, body)
        assert response.status_int == 400
        assert 'A, B' in error(response)['reason']

    @pytest.mark.parametrize(
        'body', ['', '{', '[]', '{"bootdev": 1}', '{"bootdev": ["A"]}', '"A"', '{"bootdev": "%s"}']
    )
    def test_a_wrong_body_is_400(self, api, node, body):
        response = self.set(api, node, body.replace('%s', 'x' * 300))
        assert response.status_int == 400
        assert api.conductor.calls == []

    def test_dummy_takes_any(self, api, admin):
        put(api, admin, {'type': 'dummy', 'info': {'addr': 'x'}}, '/node/d')
        token = api.app.post('/node/d/token', headers=admin).json['token']
        assert self.set(api, token, '{"bootdev": "anything"}', 'd').status_int == 200
        assert api.conductor.calls == [('set_boot_device', 'd', 'anything')]


class TestWhatADriverCannot:
    @pytest.mark.parametrize(
        ('method', 'operation', 'body'),
        [('GET', 'console', b''), ('PUT', 'boot_device', b'{"bootdev": "pxe"}')],
    )
    def test_is_400_without_a_call(self, api, admin, method, operation, body):
        put(api, admin, PICKY, '/node/p')
        token = api.app.post('/node/p/token', headers=admin).json['token']
        response = api.app.request(
            f'/node/p/{operation}?token={token}', method=method, body=body, expect_errors=True
        )
        assert response.status_int == 400
        assert error(response)['kind'] == 'unsupported'
        assert api.conductor.calls == []

    def test_is_left_to_the_conductor_when_the_driver_is_not_enabled_here(
        self, api, node, monkeypatch
    ):
        monkeypatch.setattr(registry, 'enabled', dict)
        api.app.get(f'/node/n1/power_status?token={node}', status=200)


WRITES = [
    ('POST', 'power_on', b''),
    ('POST', 'power_off', b''),
    ('POST', 'power_cycle', b'{}'),
    ('PUT', 'boot_device', b'{"bootdev": "A"}'),
]


class TestForWhom:
    """A conductor is told for whom a write is."""

    @staticmethod
    def ask(api, node, method, operation, body, **headers):
        api.app.extra_environ = {'REMOTE_ADDR': '192.0.2.7'}
        response = api.app.request(
            f'/node/n1/{operation}?token={node}',
            method=method,
            body=body,
            headers=headers,
        )
        return api.conductor.kwargs['caller'], response

    @pytest.mark.parametrize(('method', 'operation', 'body'), WRITES)
    def test_it_is_the_holder_of_the_token_with_request_and_address(
        self, api, node, method, operation, body
    ):
        caller, response = self.ask(api, node, method, operation, body)
        number = response.headers['X-Openstack-Request-Id']
        assert caller == callers.Caller(callers.HOLDER, number, '192.0.2.7')

    def test_what_a_client_says_of_itself_does_not_count(self, api, node):
        headers = {
            'X-Openstack-Request-Id': 'req-mine',
            'X-Forwarded-For': '198.51.100.1',
            'User-Agent': 'x\x1b[2J',
        }
        caller, response = self.ask(api, node, *WRITES[0], **headers)
        assert caller.address == '192.0.2.7'
        assert caller.request_id == response.headers['X-Openstack-Request-Id'] != 'req-mine'

    @pytest.mark.parametrize(
        ('headers', 'address'),
        [
            ({'X-Forwarded-For': '198.51.100.1'}, '198.51.100.1'),
            ({'X-Forwarded-For': 'hearsay\x1b[2J, 198.51.100.1'}, '198.51.100.1'),
            ({'Forwarded': 'for="[2001:db8::1]:4711";proto=https'}, '2001:db8::1'),
            ({'X-Forwarded-For': 'n1: power off \x1b[2J' + 'x' * 5000}, None),
        ],
    )
    def test_behind_a_proxy_the_address_is_what_the_proxy_says(
        self, api, node, conf, headers, address
    ):
        conf('oslo_middleware', enable_proxy_headers_parsing=True)
        api.app.app = api_app.make_app(api.services)
        caller, _ = self.ask(api, node, *WRITES[0], **headers)
        assert caller.address == address


class TestErrorsOfTheConductor:
    def test_who_finds_the_node_busy_is_told_what_runs_since_when_and_for_whom(self, api, node):
        request = 'req-01234567-89ab-cdef-0123-456789abcdef'
        caller = callers.Caller(callers.HOLDER, request, '192.0.2.7')
        work = shadow.Work('power cycle', caller, began=100.0, since=1795176190.0)
        reason = f'the node is busy: {work.told(112)}; 2 more wait'
        api.conductor.answers['set_power'] = errors.NodeBusy(reason, 'n1', 1)
        response = api.app.post(f'/node/n1/power_on?token={node}', status=409)
        assert error(response) == {
            'kind': 'node_busy',
            'reason': 'the node is busy: power cycle since 2026-11-20 12:03:10 UTC (12 s), '
            f"asked for by the holder of the node's token (request {request}); 2 more wait",
            'node': 'n1',
        }

    @pytest.mark.parametrize(
        ('raised', 'status'),
        [
            (errors.InvalidInput, 400),
            (errors.Unsupported, 400),
            (errors.NodeBusy, 409),
            (errors.ConsoleHeld, 409),
            (errors.BmcRefused, 502),
            (errors.CredentialsRefused, 502),
            (errors.BmcSilent, 504),
            (errors.OutcomeUnknown, 504),
            (errors.StateNotReached, 504),
            (errors.Unavailable, 503),
        ],
    )
    def test_each_has_its_status_its_reason_and_the_node(self, api, node, raised, status):
        api.conductor.answers['set_power'] = raised('the BMC at 10.0.0.4 says so')
        response = api.app.post(f'/node/n1/power_on?token={node}', expect_errors=True)
        assert response.status_int == status
        assert error(response) == {
            'kind': raised.kind,
            'reason': 'the BMC at 10.0.0.4 says so',
            'node': 'n1',
        }
        assert len(api.conductor.calls) == 1

    @pytest.mark.parametrize(('told', 'header'), [(None, '2'), (0.2, '1'), (7.5, '8')])
    def test_unavailable_says_when_to_come_back(self, api, node, told, header):
        api.conductor.answers['power_status'] = errors.Unavailable('no', retry_after=told)
        response = api.app.get(f'/node/n1/power_status?token={node}', status=503)
        assert response.headers['Retry-After'] == header

    @pytest.mark.parametrize(
        'raised', [RuntimeError('password=hunter2'), errors.ObmdError('hunter2'), KeyError('x')]
    )
    def test_anything_else_is_500_and_says_nothing(self, api, node, raised):
        api.conductor.answers['power_status'] = raised
        response = api.app.get(f'/node/n1/power_status?token={node}', expect_errors=True)
        assert response.status_int == 500
        assert error(response)['kind'] == 'internal'
        assert 'hunter2' not in response.text

    def test_a_reason_with_a_credential_in_it_is_scrubbed(self, api, node):
        api.conductor.answers['power_status'] = errors.BmcRefused('password=hunter2 refused')
        response = api.app.get(f'/node/n1/power_status?token={node}', status=502)
        assert 'hunter2' not in response.text


class TestANodeThatMoves:
    def test_is_called_once_more_at_its_new_owner(self, api, node):
        api.conductor.answers['power_status'] = [errors.NotOwner('no'), 'off']
        response = api.app.get(f'/node/n1/power_status?token={node}')
        assert response.json == {'power_status': 'off'}
        assert len(api.conductor.calls) == 2

    def test_is_called_again_until_it_has_arrived(self, api, node, monkeypatch):
        monkeypatch.setattr(operations, 'MOVE_PAUSE_MAX', 0.001)
        api.conductor.answers['power_status'] = [errors.NotOwner('no')] * 20 + ['off']
        response = api.app.get(f'/node/n1/power_status?token={node}')
        assert response.json == {'power_status': 'off'}

    def test_is_waited_for_as_long_as_the_call_may_take(self, api, node, monkeypatch):
        """What runs there may be a power on that takes longer than most moves."""
        monkeypatch.setattr(operations, 'MOVE_TIMEOUT', 0.0)
        monkeypatch.setattr(operations, 'MOVE_PAUSE_MAX', 0.001)
        api.conductor.answers['set_power'] = [errors.NotOwner('no')] * 20 + [None]
        api.app.post(f'/node/n1/power_on?token={node}', status=200)

    def test_is_asked_less_and_less_often(self, api, node, monkeypatch):
        pauses = []
        again = operations._again
        monkeypatch.setattr(
            operations,
            '_again',
            lambda found, by_token, pause: pauses.append(pause) or again(found, by_token, 0),
        )
        api.conductor.answers['set_power'] = [errors.NotOwner('no')] * 6 + [None]
        api.app.post(f'/node/n1/power_on?token={node}', status=200)
        assert pauses == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]

    def test_is_409_naming_what_runs_when_that_runs_until_the_end(self, api, node, monkeypatch):
        monkeypatch.setattr(operations, 'call_deadline', lambda: Deadline(0.5))
        moves = errors.NotOwner(f'{writes.MOVES}: power off since 12:03:10 UTC (46 s)', 'n1')
        api.conductor.answers['set_power'] = moves
        response = api.app.post(f'/node/n1/power_on?token={node}', status=409)
        assert error(response) == {
            'kind': 'node_busy',
            'reason': 'the node is busy: power off since 12:03:10 UTC (46 s)',
            'node': 'n1',
        }

    def test_is_503_when_it_does_not_arrive(self, api, node, monkeypatch):
        monkeypatch.setattr(operations, 'call_deadline', lambda: Deadline(0.5))
        api.conductor.answers['set_power'] = errors.NotOwner('no')
        response = api.app.post(f'/node/n1/power_on?token={node}', status=503)
        assert error(response)['kind'] == 'not_owner'
        assert response.headers['Retry-After']
        assert len(api.conductor.calls) > 1

    def test_is_called_at_its_new_owner_when_the_old_one_has_gone_since(self, api, node):
        def moves(found, *args):
            if found.owner is None:
                owners.claim(found.uuid, 'new', None, found.owner_epoch)
                raise routing.OwnerGone('gone', 'n1', 7)
            return 'off'

        api.conductor.answers['power_status'] = moves
        response = api.app.get(f'/node/n1/power_status?token={node}')
        assert response.json == {'power_status': 'off'}

    def test_is_503_at_once_when_its_owner_has_gone_and_no_other_came(self, api, node):
        api.conductor.answers['set_power'] = routing.OwnerGone('gone', 'n1', 7)
        response = api.app.post(f'/node/n1/power_on?token={node}', status=503)
        assert response.headers['Retry-After'] == '7'
        assert len(api.conductor.calls) == 1

    def test_is_read_at_the_heir_of_an_owner_that_is_dead(self, api, node, monkeypatch):
        monkeypatch.setattr(operations, 'HEIR_PAUSE', 0.001)
        gone = routing.OwnerGone('gone', 'n1', 7)
        gone.heir = True
        api.conductor.answers['power_status'] = [gone, gone, gone, 'off']
        response = api.app.get(f'/node/n1/power_status?token={node}')
        assert response.json == {'power_status': 'off'}

    def test_is_not_waited_for_by_a_write_whose_owner_is_dead(self, api, node):
        gone = routing.OwnerGone('gone', 'n1', 7)
        gone.heir = True
        api.conductor.answers['set_power'] = [gone, None]
        api.app.post(f'/node/n1/power_on?token={node}', status=503)

    def test_is_503_for_a_read_when_no_heir_has_come_in_time(self, api, node, monkeypatch):
        monkeypatch.setattr(operations, 'HEIR_PAUSE', 0.001)
        monkeypatch.setattr(operations, 'MOVE_TIMEOUT', 0.05)
        gone = routing.OwnerGone('the conductor c1 is not answering', 'n1', 7)
        gone.heir = True
        api.conductor.answers['power_status'] = gone
        response = api.app.get(f'/node/n1/power_status?token={node}', status=503)
        assert 'c1' in error(response)['reason']
        assert response.headers['Retry-After'] == '7'

    def test_is_401_when_its_token_changed_meanwhile(self, api, node):
        def moves(found, *args):
            nodes.set_token('n1', '0' * 64, 'another')
            raise errors.NotOwner('no')

        api.conductor.answers['set_power'] = moves
        api.app.post(f'/node/n1/power_on?token={node}', status=401)
        assert len(api.conductor.calls) == 1

    def test_is_401_when_it_was_deleted_meanwhile(self, api, node):
        def goes(found, *args):
            nodes.delete('n1')
            raise errors.NotOwner('no')

        api.conductor.answers['set_power'] = goes
        api.app.post(f'/node/n1/power_on?token={node}', status=401)


#: a read -> (method of ConductorAPI, request)
UNANSWERED_READS = {
    'power_status': '/node/n1/power_status?token={}',
    'open_console': '/node/n1/console?token={}',
}
#: a write -> (HTTP method, path, body)
UNANSWERED_WRITES = {
    'set_power': ('POST', '/node/n1/power_on', b''),
    'power_cycle': ('POST', '/node/n1/power_cycle', b''),
    'set_boot_device': ('PUT', '/node/n1/boot_device', b'{"bootdev": "A"}'),
}


class TestAConductorThatDoesNotAnswer:
    @pytest.mark.parametrize('method', UNANSWERED_READS)
    def test_is_asked_once_more_for_a_read(self, api, node, method):
        answer = {'power_status': 'off', 'open_console': offer(b'0\n')}[method]
        api.conductor.answers[method] = [rpc.NoAnswer('c1'), answer]
        api.app.get(UNANSWERED_READS[method].format(node), status=200)
        assert len(api.conductor.calls) == 2

    @pytest.mark.parametrize('method', UNANSWERED_READS)
    def test_and_stays_silent_is_503_naming_it_for_a_read(self, api, node, method):
        api.conductor.answers[method] = rpc.NoAnswer('c1')
        response = api.app.get(UNANSWERED_READS[method].format(node), status=503)
        assert error(response)['kind'] == 'unavailable'
        assert error(response)['node'] == 'n1'
        assert 'the conductor c1 does not answer' in error(response)['reason']
        assert 'unknown' not in error(response)['reason']
        assert response.headers['Retry-After']
        assert len(api.conductor.calls) == 2

    def test_and_is_gone_is_not_counted_as_silent(self, api, node):
        gone = rpc.NoAnswer('c1', gone=True)
        api.conductor.answers['power_status'] = [rpc.NoAnswer('c1'), gone, gone, 'off']
        response = api.app.get(f'/node/n1/power_status?token={node}')
        assert response.json == {'power_status': 'off'}

    @pytest.mark.parametrize('method', UNANSWERED_WRITES)
    def test_leaves_a_write_unknown_and_is_asked_once(self, api, node, method):
        verb, path, body = UNANSWERED_WRITES[method]
        api.conductor.answers[method] = rpc.NoAnswer('c1')
        response = api.app.request(
            f'{path}?token={node}', method=verb, body=body, expect_errors=True
        )
        assert (response.status_int, error(response)['kind']) == (504, 'outcome_unknown')
        assert len(api.conductor.calls) == 1

    def test_is_asked_once_for_a_takeover(self, api, node):
        api.conductor.answers['open_console'] = rpc.NoAnswer('c1')
        response = api.app.get(f'/node/n1/console?token={node}&takeover=true', status=504)
        assert error(response)['kind'] == 'outcome_unknown'
        assert len(api.conductor.calls) == 1

    def test_is_not_asked_again_when_the_deadline_is_near(self, api, node, conf, monkeypatch):
        conf('console', connect_timeout=0.5)
        api.conductor.answers['open_console'] = rpc.NoAnswer('c1')
        monkeypatch.setattr(operations, 'LEAST', 0.6)
        api.app.get(f'/node/n1/console?token={node}', status=503)
        assert len(api.conductor.calls) == 1


class TestConsole:
    def get(self, api, token, query='', **kwargs):
        return api.app.get(f'/node/n1/console?token={token}{query}', **kwargs)

    def test_streams_what_the_conductor_offers(self, api, node):
        headers = {'Obmd-Cursor': 'r:5', 'Obmd-Gap': '7', 'Set-Cookie': 'x'}
        api.conductor.answers['open_console'] = offer(b'0\n', b'1\n', headers=headers)
        response = self.get(api, node)
        assert response.body == b'0\n1\n'
        assert response.headers['Content-Type'] == 'application/octet-stream'
        assert (response.headers['Obmd-Cursor'], response.headers['Obmd-Gap']) == ('r:5', '7')
        assert response.headers['Cache-Control'] == 'no-store'
        assert 'Set-Cookie' not in response.headers
        assert api.services.slots.taken == 0

    @pytest.mark.parametrize(
        ('query', 'expected'),
        [
            ('', (None, None, False)),
            ('&replay=0', (0, None, False)),
            ('&replay=65536', (65536, None, False)),
            ('&replay=999999999999999999', (999999999999999999, None, False)),
            ('&cursor=a1B2:77', (None, 'a1B2:77', False)),
            ('&takeover=true', (None, None, True)),
            ('&takeover=false', (None, None, False)),
        ],
    )
    def test_parameters_are_handed_on(self, api, node, query, expected):
        api.conductor.answers['open_console'] = offer()
        self.get(api, node, query)
        assert api.conductor.calls == [('open_console', 'n1', *expected)]

    @pytest.mark.parametrize(
        'query',
        [
            '&replay=',
            '&replay=-1',
            '&replay=x',
            '&replay=1.5',
            '&replay=' + '9' * 30,
            '&replay=%D9%A1',
            '&cursor=',
            '&cursor=abc',
            '&cursor=a:b',
            '&cursor=../x:1',
            '&cursor=' + 'a' * 65 + ':1',
            '&cursor=a:' + '1' * 20,
            '&takeover=yes',
            '&takeover=',
        ],
    )
    def test_a_wrong_parameter_is_400(self, api, node, query):
        response = self.get(api, node, query, status=400)
        error(response)
        assert api.conductor.calls == []

    def test_redirects_to_the_conductor(self, api, node):
        api.services.local = False
        api.conductor.answers['open_console'] = type(offer())('https://c1:8381/stream/t', {}, None)
        response = self.get(api, node, status=307)
        assert response.headers['Location'] == 'https://c1:8381/stream/t'
        assert response.headers['Cache-Control'] == 'no-store'
        assert response.headers['Referrer-Policy'] == 'no-referrer'
        assert response.body == b''

    @pytest.mark.parametrize('raised', [errors.BmcSilent, errors.ConsoleHeld, ValueError])
    def test_an_error_comes_before_any_header(self, api, node, raised):
        api.conductor.answers['open_console'] = raised('why')
        response = self.get(api, node, expect_errors=True)
        assert response.status_int in (504, 409, 500)
        error(response)
        assert api.services.slots.taken == 0

    def test_streams_above_the_cap_are_503(self, api, node, conf):
        conf(max_streams=1)
        api.services.slots.take()
        response = self.get(api, node, status=503)
        assert response.headers['Retry-After'] == '5'
        assert api.conductor.calls == []

    def test_a_redirect_takes_no_slot(self, api, node, conf):
        conf(max_streams=1)
        api.services.local = False
        api.services.slots.take()
        api.conductor.answers['open_console'] = type(offer())('http://c1/stream/t', {}, None)
        self.get(api, node, status=307)

    def test_a_viewer_that_goes_gives_its_slot_back(self, api, node):
        made = offer(b'0\n', b'1\n')
        api.conductor.answers['open_console'] = made
        environ = api.app.RequestClass.blank(f'/node/n1/console?token={node}').environ
        body = api.application(environ, lambda *args: None)
        assert body.is_stream and next(iter(body)) == b'0\n'
        assert api.services.slots.taken == 1
        body.close()
        assert api.services.slots.taken == 0
        body.close()
        assert list(body) == [] and api.services.slots.taken == 0


def test_what_the_admin_does_here_is_audited(api, admin):
    last = max((entry.id for entry in audit.page(limit=1)), default=0)
    for method, path in (
        ('PUT', '/node/audited'),
        ('POST', '/node/audited/token'),
        ('DELETE', '/node/audited/token'),
        ('DELETE', '/node/audited'),
        ('DELETE', '/node/audited'),
    ):
        body = b'{"type": "mock", "info": {}}' if method == 'PUT' else b''
        api.app.request(path, method=method, body=body, headers=admin)
    found = [entry for entry in reversed(audit.page(limit=10)) if entry.id > last]
    assert [(entry.action, entry.nodes) for entry in found] == [
        ('node create', 'audited'),
        ('node token issue', 'audited'),
        ('node token revoke', 'audited'),
        ('node delete', 'audited'),
    ]
    assert {(entry.subject, entry.door) for entry in found} == {('admin', 'obmd')}


def test_what_is_refused_here_is_not_audited_as_done(api):
    last = max((entry.id for entry in audit.page(limit=1)), default=0)
    api.app.put_json('/node/audited', {'type': 'mock', 'info': {}}, status=401)
    assert [entry for entry in audit.page(limit=1) if entry.id > last] == []
