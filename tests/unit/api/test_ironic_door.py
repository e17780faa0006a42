"""The contract of lookup and heartbeat, row by row, and what hostile callers send."""

import json
import re
import urllib.parse
import uuid

import pytest
import webtest

from obmd.api import app as api_app
from obmd.api import descriptions as api_descriptions
from obmd.api import rates
from obmd.api.ramdisk import envelope
from obmd.common import errors
from obmd.common import secrets
from obmd.db import agents
from obmd.db import descriptions
from obmd.db import engine
from obmd.db import nodes
from tests.unit.api.conftest import basic

MAC, OTHER_MAC, UNKNOWN_MAC = '52:54:00:00:00:01', '52:54:00:00:00:02', '52:54:00:ff:ff:ff'
NOW = 1_000_000.0
TOKEN = 'T' * 43
V = 'X-OpenStack-Ironic-API-Version'
NOT_FOUND = 'Resource could not be found.'
URL = 'https://10.0.0.9:9999'
PEM = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n'
NEITHER = "At least one of 'addresses' and 'node_uuid' parameters is required"
MISSING = 'Missing mandatory parameter: callback_url'


def version(text='1.72'):
    return {} if text is None else {V: text}


def fault(response, status):
    """The text of an error, having checked its form."""
    assert response.status_int == status, response.text
    assert response.headers['Content-Type'] == 'application/json'
    assert set(response.json) == {'error_message'}
    inner = json.loads(response.json['error_message'])
    assert set(inner) == {'faultcode', 'faultstring', 'debuginfo'}
    assert inner['debuginfo'] is None
    assert inner['faultcode'] == ('Client' if status < 500 else 'Server')
    assert 'Traceback' not in response.text
    check_headers(response)
    return inner['faultstring']


def check_headers(response, spoken=None):
    assert response.headers['X-OpenStack-Ironic-API-Minimum-Version'] == '1.1'
    assert response.headers['X-OpenStack-Ironic-API-Maximum-Version'] == '1.72'
    assert re.fullmatch('req-[0-9a-f-]{36}', response.headers['X-OpenStack-Request-ID'])
    assert re.fullmatch(r'1\.\d+', response.headers[V])
    if spoken is not None:
        assert response.headers[V] == spoken


@pytest.fixture(autouse=True)
def clock(api):
    api.services.clock = lambda: NOW
    api.conductor.agent_heartbeat = lambda node, beat, deadline: api.conductor._call(
        'agent_heartbeat', node, beat
    )
    api.conductor.open_configdrive = lambda node, deadline: api.conductor._call(
        'open_configdrive', node
    )


def make(name='n1', macs=(MAC,), expects=True, **description):
    made = nodes.create(name, 'mock', '', 'sealed', 'key', '', str(uuid.uuid4()))
    descriptions.change(made.uuid, ports=macs, **description)
    if expects:
        agents.expect(made.uuid, NOW + 60)
    return made


@pytest.fixture
def machine(api):
    made = make(properties={'cpus': 4})
    say(api, made, {'image': 'x', 'root_password': 'hunter2'})
    return made


def say(api, node, instance_info):
    """As an admin says it: masked, and sealed where there are secrets."""
    said = api_descriptions.columns(
        api.services.public_key, node.uuid, {'instance_info': instance_info}
    )
    descriptions.change(node.uuid, **said)


@pytest.fixture
def reporting(machine):
    """A node whose agent has its token."""
    agents.issue_token(machine.uuid, secrets.token_hash(TOKEN), agents.get(machine.uuid).generation)
    return machine


@pytest.fixture
def lookup(api):
    def ask(query=f'addresses={MAC}', text='1.72', headers=None):
        if isinstance(query, dict):
            query = urllib.parse.urlencode(query)
        return api.app.get(
            f'/v1/lookup?{query}', headers={**version(text), **(headers or {})}, expect_errors=True
        )

    return ask


@pytest.fixture
def heartbeat(api):
    def beat(ident, text='1.72', body=None, query='', headers=None, **fields):
        if body is None:
            given = {
                'callback_url': URL,
                'agent_token': TOKEN,
                'agent_version': '13.0.0',
                **fields,
            }
            given = {name: value for name, value in given.items() if value is not ...}
            body = json.dumps(given).encode()
        return api.app.post(
            f'/v1/heartbeat/{ident}?{query}',
            body,
            headers={**version(text), **(headers or {})},
            expect_errors=True,
        )

    return beat


@pytest.fixture
def reads(monkeypatch):
    """What was read from the database, and the comparisons of tokens."""
    done = []
    reader, matches = engine.reader, secrets.matches

    def counted_reader(*args):
        done.append('read')
        return reader(*args)

    def counted_matches(token, stored):
        done.append('compare')
        return matches(token, stored)

    monkeypatch.setattr(engine, 'reader', counted_reader)
    monkeypatch.setattr(secrets, 'matches', counted_matches)
    return done


class TestDiscovery:
    @pytest.mark.parametrize('headers', [{}, {V: '1.68'}, {V: 'nonsense'}])
    def test_root_needs_no_version(self, api, headers):
        response = api.app.get('/', headers=headers, status=200)
        v = {
            'id': 'v1',
            'links': [{'href': 'http://localhost/v1/', 'rel': 'self'}],
            'status': 'CURRENT',
            'min_version': '1.1',
            'version': '1.72',
        }
        assert set(response.json) == {'name', 'description', 'default_version', 'versions'}
        assert response.json['default_version'] == v
        assert response.json['versions'] == [v]
        check_headers(response)

    @pytest.mark.parametrize('path', ['/v1', '/v1/'])
    def test_v1_names_its_collections(self, api, path):
        response = api.app.get(path, status=200)
        found = response.json
        assert found['id'] == 'v1'
        assert found['media_types'] == {
            'base': 'application/json',
            'type': 'application/vnd.openstack.ironic.v1+json',
        }
        assert found['version']['version'] == '1.72'
        for name in ('lookup', 'heartbeat'):
            assert [link['rel'] for link in found[name]] == ['self', 'bookmark']
            assert found[name][0]['href'] == f'http://localhost/v1/{name}/'
        check_headers(response, '1.1')

    def test_v1_leaves_out_what_is_switched_off(self, api, conf):
        conf('agent', enable_ramdisk_endpoints=False)
        assert not {'lookup', 'heartbeat'} & set(api.app.get('/v1').json)

    def test_links_are_those_of_the_callers_url(self, api):
        response = api.app.get(
            '/', headers={'Host': 'obmd.example.org'}, extra_environ={'SCRIPT_NAME': '/bm'}
        )
        href = response.json['versions'][0]['links'][0]['href']
        assert href == 'http://obmd.example.org/bm/v1/'


class TestVersions:
    @pytest.mark.parametrize(
        ('headers', 'spoken'),
        [
            ({}, '1.1'),
            ({V: '1.1'}, '1.1'),
            ({V: '1.72'}, '1.72'),
            ({V: 'latest'}, '1.72'),
            ({V: 'LATEST'}, '1.72'),
            ({V: ' 1.30 '}, '1.30'),
            ({'OpenStack-API-Version': 'baremetal 1.40'}, '1.40'),
            ({'OpenStack-API-Version': 'baremetal latest'}, '1.72'),
            ({'OpenStack-API-Version': 'compute 2.1, baremetal 1.40'}, '1.40'),
            ({'OpenStack-API-Version': 'compute 2.1'}, '1.1'),
            ({'OpenStack-API-Version': 'baremetal 1.40', V: '1.50'}, '1.40'),
        ],
    )
    def test_one_in_range_is_spoken(self, api, headers, spoken):
        check_headers(api.app.get('/v1', headers=headers, status=200), spoken)

    @pytest.mark.parametrize(
        'text',
        [
            '',
            '1',
            '1.',
            '1.0',
            '1.73',
            '1.9999',
            '1.99999999999999999999',
            '2.1',
            '0.1',
            'abc',
            '1.a',
            '1.1.1',
            '1.01',
            '-1.1',
            '1.-1',
            '１.22',
            '1.22,1.23',
            '1.22, 1.22',
            'latest,latest',
        ],
    )
    @pytest.mark.parametrize('path', ['/v1', '/v1/lookup', '/v1/heartbeat/x'])
    def test_any_other_is_406(self, api, path, text):
        method = 'POST' if 'heartbeat' in path else 'GET'
        text = text.encode().decode('latin-1')
        response = api.app.request(path, method=method, headers={V: text}, expect_errors=True)
        fault(response, 406)

    @pytest.mark.parametrize(
        'text', ['baremetal', 'baremetal 1.9999', 'baremetal 1.22, baremetal 1.23']
    )
    def test_the_general_header_is_judged_alike(self, api, text):
        headers = {'OpenStack-API-Version': text}
        fault(api.app.get('/v1', headers=headers, expect_errors=True), 406)

    @pytest.mark.parametrize('text', [None, '1.1', '1.21'])
    def test_lookup_and_heartbeat_are_404_before_22(self, api, lookup, heartbeat, reporting, text):
        assert fault(lookup(text=text), 404) == NOT_FOUND
        assert fault(heartbeat(reporting.uuid, text=text), 404) == NOT_FOUND


class TestPaths:
    @pytest.mark.parametrize(
        'path',
        [
            '/v1/nodes',
            '/v1/lookup/',
            '/v1/lookup/x',
            '/v1/Lookup',
            '/v1/heartbeat',
            '/v1/heartbeat/',
            '/v1//lookup',
            '/v1/look%00up',
            '/v1/%FF',
            '/v1/lookup%2F',
        ],
    )
    def test_any_other_is_this_doors_404(self, api, path):
        for method in ('GET', 'POST'):
            response = api.app.request(path, method=method, expect_errors=True)
            assert fault(response, 404) == NOT_FOUND

    @pytest.mark.parametrize(
        ('path', 'allowed'),
        [
            ('/', 'GET'),
            ('/v1', 'GET'),
            ('/v1/lookup', 'GET'),
            ('/v1/heartbeat/n1', 'POST'),
            ('/v1/heartbeat/a/b', 'POST'),
        ],
    )
    @pytest.mark.parametrize('method', ['PUT', 'DELETE', 'PATCH', 'OPTIONS'])
    def test_another_method_is_this_doors_405(self, api, path, allowed, method):
        response = api.app.request(path, method=method, expect_errors=True)
        fault(response, 405)
        assert response.headers['Allow'] == allowed

    @pytest.mark.parametrize('path', ['/', '/v1', '/v1/lookup', '/v1/heartbeat/n1'])
    def test_head_is_405(self, api, path):
        assert api.app.head(path, expect_errors=True).status_int == 405

    def test_switched_off_both_are_404(self, lookup, heartbeat, reporting, conf):
        conf('agent', enable_ramdisk_endpoints=False)
        assert fault(lookup(), 404) == NOT_FOUND
        assert fault(heartbeat(reporting.uuid), 404) == NOT_FOUND

    def test_a_fault_of_the_service_is_this_doors_500(self, lookup, machine, monkeypatch):
        monkeypatch.setattr(agents, 'find', lambda macs: 1 / 0)
        assert fault(lookup(), 500) == 'Internal error'

    def test_a_database_that_is_away_is_503_with_retry_after(self, lookup, machine, monkeypatch):
        def away(macs):
            raise errors.Unavailable('the database at db1 does not answer', retry_after=3)

        monkeypatch.setattr(agents, 'find', away)
        response = lookup()
        assert fault(response, 503) == 'Not now, try again later'
        assert response.headers['Retry-After'] == '3'

    @pytest.mark.parametrize(
        ('error', 'status', 'text'),
        [
            (errors.KeyMissing, 500, 'Internal error'),
            (errors.SealMismatch, 500, 'Internal error'),
            (errors.OutcomeUnknown, 504, 'Internal error'),
            (errors.BmcRefused, 502, 'Internal error'),
            (errors.Unavailable, 503, 'Not now, try again later'),
            (errors.NotOwner, 503, 'Not now, try again later'),
        ],
    )
    def test_why_obmd_can_not_is_in_its_log_alone(
        self, lookup, machine, monkeypatch, caplog, error, status, text
    ):
        def fails(macs):
            raise error('no key 77aa in /etc/obmd/keys', 'n1')

        monkeypatch.setattr(agents, 'find', fails)
        with caplog.at_level('INFO', 'obmd.api.ramdisk'):
            assert fault(lookup(), status) == text
        assert f'{status}, node n1, {error.kind}: no key 77aa in /etc/obmd/keys' in caplog.text


class TestLookup:
    def test_the_answer_has_what_an_agent_needs(self, lookup, machine):
        response = lookup()
        assert response.status_int == 200
        check_headers(response, '1.72')
        node = response.json['node']
        assert node == {
            'uuid': machine.uuid,
            'properties': {'cpus': 4},
            'instance_info': {'image': 'x', 'root_password': '******'},
            'driver_internal_info': {},
            'links': [
                {'href': f'http://localhost/v1/nodes/{machine.uuid}', 'rel': 'self'},
                {'href': f'http://localhost/nodes/{machine.uuid}', 'rel': 'bookmark'},
            ],
        }

    def test_the_configuration_has_every_key_of_ironic(self, lookup, machine, conf):
        conf('agent', heartbeat_timeout=77)
        config = lookup().json['config']
        token = config.pop('agent_token')
        containers = config.pop('agent_containers')
        assert containers['allow_arbitrary_containers'] is False
        assert containers['allowed_containers'] == []
        assert re.fullmatch('[A-Za-z0-9_-]{43}', token)
        assert config == {
            'metrics': {
                'backend': 'noop',
                'prepend_host': False,
                'prepend_uuid': False,
                'prepend_host_reverse': True,
                'global_prefix': None,
            },
            'metrics_statsd': {'statsd_host': 'localhost', 'statsd_port': 8125},
            'heartbeat_timeout': 77,
            'agent_token_required': True,
            'agent_md5_checksum_enable': False,
            'disable_deep_image_inspection': False,
            'permitted_image_formats': ['raw', 'gpt', 'qcow2', 'iso'],
            'agent_skip_bmc_detect': False,
            'enable_bios_bootloader_install': False,
            'tls_min_version': '1.3',
            'tls_cipher_suites': None,
        }

    @pytest.mark.parametrize(
        'query',
        [
            '',
            'addresses=',
            'addresses=,,',
            'addresses=nonsense',
            'addresses=52-54-00-00-00-01',
            'addresses=525400000001',
            'addresses=52:54:00:00:00',
            'addresses=52:54:00:00:00:01:02',
            'addresses=52:54:00:00:00:0g',
            'addresses=%35%32',
            'addresses=%00',
            'addresses=%FF',
            'node_uuid=',
            'addresses=٥٢:54:00:00:00:01',
        ],
    )
    def test_nothing_usable_is_400(self, lookup, query):
        assert fault(lookup(query), 400) == NEITHER

    @pytest.mark.parametrize('text', ['x', '1234', '{}', 'n1', MAC, 'g' * 36, '0' * 36, "' OR 1=1"])
    def test_a_node_uuid_that_is_none_is_400(self, lookup, text):
        found = fault(lookup({'node_uuid': text, 'addresses': MAC}), 400)
        assert found == f'Expected UUID for node_uuid: {text}'

    @pytest.mark.parametrize('query', ['foo=1', f'addresses={MAC}&foo', 'foo=1&foo=2'])
    def test_another_parameter_is_400(self, lookup, query):
        assert fault(lookup(query), 400) == 'Unexpected arguments: foo'

    def test_what_an_answer_repeats_is_short(self, lookup):
        assert len(fault(lookup({'x' * 20000: '1'}), 400)) < 200
        assert len(fault(lookup({'node_uuid': 'x' * 20000}), 400)) < 200

    def test_two_node_uuids_are_400(self, lookup, machine):
        fault(lookup(f'node_uuid={machine.uuid}&node_uuid={uuid.uuid4()}'), 400)

    @pytest.mark.parametrize(
        'query',
        [
            f'addresses={MAC.upper()}',
            f'addresses=%20{MAC}%20,',
            f'addresses={UNKNOWN_MAC},{MAC}',
            f'addresses={UNKNOWN_MAC}&addresses={MAC}',
            f'addresses={MAC},{MAC},{MAC}',
            f'addresses=junk,{MAC},also-junk',
            f'addresses={MAC},' + '00:' * 19 + '00',
        ],
    )
    def test_addresses_are_normalised(self, lookup, machine, query):
        assert lookup(query).json['node']['uuid'] == machine.uuid

    def test_what_is_dropped_is_logged(self, lookup, machine, caplog):
        with caplog.at_level('INFO', 'obmd.api.ramdisk'):
            lookup(f'addresses=junk,{MAC}')
        assert 'names 1 addresses' in caplog.text

    def test_128_addresses_are_taken(self, lookup, machine):
        macs = [f'52:54:00:01:00:{number:02x}' for number in range(127)]
        assert lookup({'addresses': ','.join([*macs, MAC])}).status_int == 200

    def test_thousands_of_addresses_cost_one_read_of_128(self, lookup, machine, monkeypatch):
        asked = []
        find = agents.find
        monkeypatch.setattr(agents, 'find', lambda macs: asked.append(len(macs)) or find(macs))
        macs = [f'52:54:00:{n >> 8:02x}:{n & 255:02x}:aa' for n in range(10_000)]
        assert fault(lookup({'addresses': ','.join(macs)}), 404) == NOT_FOUND
        assert asked == [128]

    def test_128_addresses_may_be_as_many_parameters(self, lookup, machine):
        macs = [f'52:54:00:01:00:{number:02x}' for number in range(127)]
        query = urllib.parse.urlencode({'addresses': [*macs, MAC]}, doseq=True)
        assert lookup(query).json['node']['uuid'] == machine.uuid

    def test_too_many_parameters_are_400(self, lookup):
        fault(lookup('&'.join([f'addresses={MAC}'] * 257)), 400)

    @pytest.mark.parametrize(
        ('junk', 'status'), [(',' * 50_000, 200), ('x,' * 1023, 200), ('x,' * 1024, 404)]
    )
    def test_of_all_that_is_no_address_1024_are_looked_at(self, lookup, machine, junk, status):
        found = lookup({'addresses': f'{UNKNOWN_MAC},{junk[2:]}{MAC}'})
        assert found.status_int == status

    def test_of_addresses_that_are_empty_none_is_looked_at(self, lookup, caplog):
        with caplog.at_level('INFO', 'obmd.api.ramdisk'):
            assert fault(lookup({'addresses': ',' * 50_000}), 400) == NEITHER
        assert caplog.text == ''

    def test_a_node_uuid_wins_over_addresses(self, lookup, machine):
        other = make('n2', [OTHER_MAC])
        for text in (other.uuid, other.uuid.upper()):
            found = lookup({'node_uuid': text, 'addresses': MAC})
            assert found.json['node']['uuid'] == other.uuid
        assert fault(lookup({'node_uuid': str(uuid.uuid4()), 'addresses': MAC}), 404) == NOT_FOUND

    def test_a_name_is_no_node_uuid(self, lookup, machine):
        ident = str(uuid.uuid4())
        make(ident, [OTHER_MAC])
        assert fault(lookup({'node_uuid': ident}), 404) == NOT_FOUND

    def test_no_match_is_404(self, lookup, machine):
        assert fault(lookup(f'addresses={UNKNOWN_MAC}'), 404) == NOT_FOUND

    def test_macs_of_two_nodes_are_404(self, lookup, machine):
        make('n2', [OTHER_MAC])
        assert fault(lookup(f'addresses={MAC},{OTHER_MAC}'), 404) == NOT_FOUND

    def test_a_node_that_expects_no_agent_is_404(self, api, lookup):
        make(expects=False)
        assert fault(lookup(), 404) == NOT_FOUND

    def test_one_that_expected_an_agent_until_now_is_404(self, api, lookup, machine):
        api.services.clock = lambda: NOW + 60
        assert fault(lookup(), 404) == NOT_FOUND
        api.services.clock = lambda: NOW + 59.9
        assert lookup().status_int == 200

    def test_without_restriction_every_node_answers(self, api, lookup, conf):
        made = make(expects=False)
        conf(restrict_lookup=False)
        assert lookup().json['node']['uuid'] == made.uuid

    def test_a_busy_node_without_token_is_409(self, lookup, machine):
        self.busy(machine)
        fault(lookup(), 409)
        assert agents.get(machine.uuid).token_hash is None

    def test_a_busy_node_whose_token_was_issued_answers(self, lookup, machine):
        lookup()
        self.busy(machine)
        assert lookup().status_int == 200

    @staticmethod
    def busy(node):
        with engine.writer() as session:
            nodes.update(session, [nodes._TABLE.c.uuid == node.uuid], lock_purpose='power cycle')

    def test_each_404_costs_the_same(self, api, lookup, machine, reads, monkeypatch):
        make('n2', [OTHER_MAC])
        make('n3', ['52:54:00:00:00:03'], expects=False)
        costs = {}
        for query in (
            f'addresses={UNKNOWN_MAC}',
            f'addresses={MAC},{OTHER_MAC}',
            'addresses=52:54:00:00:00:03',
            f'node_uuid={uuid.uuid4()}',
        ):
            reads.clear()
            response = lookup(query)
            assert fault(response, 404) == NOT_FOUND
            costs[query] = (list(reads), len(response.body), sorted(dict(response.headers)))
        assert set(map(str, costs.values())) == {str(next(iter(costs.values())))}
        assert next(iter(costs.values()))[0] == ['read']


class TestAgentToken:
    def test_it_is_told_once(self, lookup, machine):
        first = lookup().json['config']['agent_token']
        assert re.fullmatch('[A-Za-z0-9_-]{43}', first)
        for text in ('1.22', '1.62', '1.72', 'latest'):
            for query in (f'addresses={MAC}', f'node_uuid={machine.uuid}'):
                assert lookup(query, text).json['config']['agent_token'] == '******'
        assert first not in lookup().text

    def test_only_its_hash_is_kept(self, lookup, machine):
        token = lookup().json['config']['agent_token']
        assert agents.get(machine.uuid).token_hash == secrets.token_hash(token)

    def test_no_version_before_62_gets_it(self, lookup, machine):
        assert lookup(text='1.61').json['config']['agent_token'] is None
        assert agents.get(machine.uuid).token_hash is None
        assert len(lookup(text='1.62').json['config']['agent_token']) == 43

    def test_of_two_lookups_at_once_one_gets_it(self, lookup, machine, monkeypatch):
        issue = agents.issue_token

        def late(node_uuid, token_hash, *args):
            issue(node_uuid, 'f' * 64, *args)
            return issue(node_uuid, token_hash, *args)

        monkeypatch.setattr(agents, 'issue_token', late)
        assert lookup().json['config']['agent_token'] == '******'
        assert agents.get(machine.uuid).token_hash == 'f' * 64

    @pytest.mark.parametrize(
        'change', [agents.forget, lambda uuid: agents.expect(uuid, NOW + 60)], ids=['reset', 'anew']
    )
    def test_a_lookup_from_before_a_change_gets_none_and_asks_again(
        self, lookup, machine, monkeypatch, change
    ):
        issue = agents.issue_token

        def late(node_uuid, *args):
            change(node_uuid)
            return issue(node_uuid, *args)

        with monkeypatch.context() as patch:
            patch.setattr(agents, 'issue_token', late)
            assert 'ask again' in fault(lookup(), 409)
        assert len(lookup().json['config']['agent_token']) == 43

    def test_a_lookup_from_before_the_end_of_the_expectation_leaves_no_token(
        self, lookup, machine, monkeypatch
    ):
        issue = agents.issue_token

        def late(node_uuid, *args):
            agents.expect(node_uuid, None)
            return issue(node_uuid, *args)

        monkeypatch.setattr(agents, 'issue_token', late)
        fault(lookup(), 409)
        assert agents.get(machine.uuid).token_hash is None
        fault(lookup(), 404)

    def test_a_token_whose_commit_lost_its_answer_is_told(self, lookup, machine, monkeypatch):
        issue = agents.issue_token

        def lost(*args):
            issue(*args)
            raise errors.Unavailable('the connection was lost')

        monkeypatch.setattr(agents, 'issue_token', lost)
        token = lookup().json['config']['agent_token']
        assert agents.get(machine.uuid).token_hash == secrets.token_hash(token)

    def test_a_token_that_was_not_written_is_503(self, lookup, machine, monkeypatch):
        def lost(*args):
            raise errors.Unavailable('the connection was lost')

        with monkeypatch.context() as patch:
            patch.setattr(agents, 'issue_token', lost)
            fault(lookup(), 503)
        assert len(lookup().json['config']['agent_token']) == 43

    def test_a_node_that_expects_an_agent_anew_gives_a_new_one(self, lookup, machine):
        first = lookup().json['config']['agent_token']
        agents.expect(machine.uuid, NOW + 60)
        second = lookup().json['config']['agent_token']
        assert len(second) == 43 and second != first


class TestConfigdrive:
    @pytest.fixture(autouse=True)
    def sealed(self, api, machine):
        say(api, machine, {'configdrive': 'DRIVE', 'image': 'x'})
        api.conductor.answers['open_configdrive'] = 'DRIVE'

    def test_it_comes_with_the_token_and_then_no_more(self, lookup):
        assert lookup().json['node']['instance_info'] == {'configdrive': 'DRIVE', 'image': 'x'}
        assert lookup().json['node']['instance_info'] == {'configdrive': '******', 'image': 'x'}

    def test_always_it_comes_with_each_answer(self, lookup, conf):
        conf('agent', lookup_configdrive='always')
        for text in ('1.22', '1.72', '1.72'):
            assert lookup(text=text).json['node']['instance_info']['configdrive'] == 'DRIVE'

    def test_never_it_comes_with_none(self, api, lookup, conf):
        conf('agent', lookup_configdrive='never')
        for _ in range(2):
            assert lookup().json['node']['instance_info']['configdrive'] == '******'
        assert api.conductor.calls == []

    def test_who_loses_the_token_to_another_gets_none(self, lookup, monkeypatch):
        issue = agents.issue_token

        def late(node_uuid, token_hash, *args):
            return issue(node_uuid, 'f' * 64, *args) and False

        monkeypatch.setattr(agents, 'issue_token', late)
        found = lookup().json
        assert found['config']['agent_token'] == '******'
        assert found['node']['instance_info']['configdrive'] == '******'

    def test_an_old_version_gets_none_as_it_gets_no_token(self, api, lookup):
        assert lookup(text='1.61').json['node']['instance_info']['configdrive'] == '******'

    def test_a_conductor_that_is_away_does_not_cost_the_token(self, api, lookup, machine):
        api.conductor.answers['open_configdrive'] = errors.Unavailable('gone', retry_after=4)
        response = lookup()
        fault(response, 503)
        assert response.headers['Retry-After'] == '4'
        assert agents.get(machine.uuid).token_hash is None

    def test_other_secrets_stay_hidden_in_that_answer(self, api, lookup, machine):
        say(api, machine, {'configdrive': 'D', 'admin_pass': 'hunter2'})
        api.conductor.answers['open_configdrive'] = 'D'
        assert 'hunter2' not in lookup().text

    def test_a_node_without_one_asks_no_conductor(self, api, lookup, machine):
        say(api, machine, {'admin_pass': 'hunter2'})
        assert lookup().json['node']['instance_info'] == {'admin_pass': '******'}
        assert api.conductor.calls == []


class TestHeartbeat:
    @pytest.mark.parametrize('by', ['uuid', 'name'])
    def test_it_is_202_without_a_body_and_reaches_the_owner(self, api, heartbeat, reporting, by):
        response = heartbeat(getattr(reporting, by), agent_verify_ca=PEM)
        assert response.status_int == 202
        assert response.body == b''
        check_headers(response, '1.72')
        beat = {
            'token_hash': secrets.token_hash(TOKEN),
            'url': URL,
            'version': '13.0.0',
            'verify_ca': PEM,
            'status': None,
            'status_message': None,
        }
        assert api.conductor.calls == [('agent_heartbeat', 'n1', beat)]

    def test_a_status_comes_without_version(self, api, heartbeat, reporting):
        message = 'failed:\n\tone\x1b[2J\0 two'
        response = heartbeat(
            reporting.uuid,
            agent_version=...,
            agent_status='error',
            agent_status_message=message,
        )
        assert response.status_int == 202
        beat = api.conductor.calls[0][2]
        assert (beat['status'], beat['version']) == ('error', None)
        assert beat['status_message'] == 'failed:\n\tone [2J  two'

    def test_the_query_is_as_good_as_a_body(self, api, heartbeat, reporting):
        query = urllib.parse.urlencode(
            {'callback_url': URL, 'agent_token': TOKEN, 'agent_version': '1'}
        )
        assert heartbeat(reporting.uuid, body=b'', query=query).status_int == 202

    def test_query_and_body_add_up(self, heartbeat, reporting):
        body = json.dumps({'callback_url': URL, 'agent_version': '1'}).encode()
        query = f'agent_token={TOKEN}'
        assert heartbeat(reporting.uuid, body=body, query=query).status_int == 202

    @pytest.mark.parametrize(
        ('body', 'query'),
        [
            (b'{"callback_url": "a", "callback_url": "b"}', ''),
            (b'', 'callback_url=a&callback_url=b'),
            (b'{"callback_url": "a"}', 'callback_url=b'),
            (b'{"callback_url": null}', 'callback_url=b'),
        ],
    )
    def test_a_field_twice_is_400(self, heartbeat, reporting, body, query):
        found = fault(heartbeat(reporting.uuid, body=body, query=query), 400)
        assert found == 'The parameter callback_url is given more than once'

    @pytest.mark.parametrize(
        'body',
        [
            b'',
            b'{}',
            b'{"callback_url": null}',
            b'[]',
            b'5',
            b'null',
            b'"x"',
            b'{',
            b'nonsense',
            b'callback_url=https://10.0.0.9',
            b'\xff\xfe',
            b'{"callback_url": NaN}',
            b'{"callback_url": "\\ud800"}',
            b'[' * 60000,
            b'{"a":' * 10000,
        ],
    )
    def test_no_callback_url_is_400(self, heartbeat, reporting, body):
        assert fault(heartbeat(reporting.uuid, body=body), 400) == MISSING

    @pytest.mark.parametrize('value', [5, 1.5, True, [], ['x'], {}, {'a': 1}])
    def test_a_callback_url_of_another_type_is_400(self, heartbeat, reporting, value):
        found = fault(heartbeat(reporting.uuid, callback_url=value), 400)
        assert found == f'Expected string for callback_url: {value!r}'

    @pytest.mark.parametrize(
        'name', ['agent_version', 'agent_verify_ca', 'agent_status', 'agent_status_message']
    )
    def test_any_field_of_another_type_is_400(self, heartbeat, reporting, name):
        found = fault(heartbeat(reporting.uuid, **{name: 5}), 400)
        assert found == f'Expected string for {name}: 5'

    def test_a_token_of_another_type_is_400_and_not_repeated(self, heartbeat, reporting):
        found = fault(heartbeat(reporting.uuid, agent_token=[TOKEN]), 400)
        assert found == 'Expected string for agent_token: ***'

    def test_an_unknown_field_is_400(self, heartbeat, reporting):
        assert fault(heartbeat(reporting.uuid, foo='x'), 400) == 'Unexpected arguments: foo'

    @pytest.mark.parametrize(
        ('text', 'name', 'value'),
        [
            ('1.35', 'agent_version', '1'),
            ('1.67', 'agent_verify_ca', PEM),
            ('1.71', 'agent_status', 'start'),
            ('1.71', 'agent_status_message', 'x'),
        ],
    )
    def test_a_field_above_the_version_is_400(self, heartbeat, reporting, text, name, value):
        given = {'agent_version': ..., name: value}
        found = fault(heartbeat(reporting.uuid, text, **given), 400)
        assert found == f'Field "{name}" not recognised'

    @pytest.mark.parametrize('text', ['1.36', '1.61', '1.62', '1.68', 'latest'])
    def test_every_version_since_36_can_report(self, heartbeat, reporting, text):
        assert heartbeat(reporting.uuid, text).status_int == 202

    @pytest.mark.parametrize('ident', ['nobody', 'N1', 'n1 ', str(uuid.uuid4())])
    def test_an_unknown_node_is_404(self, heartbeat, reporting, ident):
        quoted = urllib.parse.quote(ident)
        assert fault(heartbeat(quoted), 404) == f'Node {ident} could not be found.'

    @pytest.mark.parametrize('ident', ['a/b', 'a%2Fb', 'a//b', 'a/b/c', 'n1/', '/n1'])
    def test_a_name_with_a_slash_is_404(self, heartbeat, reporting, ident):
        shown = urllib.parse.unquote(ident)
        assert fault(heartbeat(ident), 404) == f'Node {shown} could not be found.'

    @pytest.mark.parametrize('ident', ['%00', '%FF', 'n1%00', 'x' * 256, 'x' * 30000])
    def test_a_name_that_cannot_be_is_404(self, heartbeat, reporting, ident):
        found = fault(heartbeat(ident), 404)
        assert found.startswith('Node ') and len(found) < 300

    @pytest.mark.parametrize('label', ['a b', 'nodé', '节点', 'a%b', '..', 'a?b', '{id}'])
    def test_a_percent_encoded_name_is_that_node(self, api, heartbeat, label):
        made = make(label)
        agents.issue_token(made.uuid, secrets.token_hash(TOKEN), agents.get(made.uuid).generation)
        assert heartbeat(urllib.parse.quote(label, safe='')).status_int == 202

    def test_a_deleted_node_is_404(self, heartbeat, reporting):
        nodes.delete('n1')
        found = fault(heartbeat(reporting.uuid), 404)
        assert found == f'Node {reporting.uuid} could not be found.'

    @pytest.mark.parametrize('token', [..., None, ''])
    def test_no_token_is_400(self, api, heartbeat, reporting, token):
        found = fault(heartbeat(reporting.uuid, agent_token=token), 400)
        assert found == 'Agent token is required for heartbeat processing.'
        assert api.conductor.calls == []

    @pytest.mark.parametrize('token', ['******', 'x', 'T' * 42, 'T' * 44, 't' * 43, 'é' * 43])
    def test_a_wrong_token_is_400(self, api, heartbeat, reporting, token):
        found = fault(heartbeat(reporting.uuid, agent_token=token), 400)
        assert found == 'Invalid or missing agent token received.'
        assert api.conductor.calls == []

    def test_a_node_that_has_no_token_takes_none(self, heartbeat, machine):
        for token in (TOKEN, '0' * 64, ''):
            fault(heartbeat(machine.uuid, agent_token=token), 400)

    def test_a_wrong_token_hides_what_else_is_wrong(self, heartbeat, reporting):
        response = heartbeat(reporting.uuid, agent_token='x', callback_url='ftp://x')
        assert fault(response, 400) == 'Invalid or missing agent token received.'

    def test_a_stranger_costs_the_same_whatever_there_is(self, heartbeat, reporting, reads):
        make('n2', [OTHER_MAC], expects=False)
        costs = []
        for ident, token in (
            ('nobody', TOKEN),
            (str(uuid.uuid4()), TOKEN),
            ('n1', 'wrong'),
            (reporting.uuid, 'wrong'),
            ('n2', TOKEN),
            ('n1', ...),
        ):
            reads.clear()
            assert heartbeat(ident, agent_token=token).status_int in (400, 404)
            costs.append(list(reads))
        assert costs == [['read', 'compare']] * len(costs)

    def test_the_name_of_one_node_does_not_hide_the_uuid_of_another(self, heartbeat, api):
        ident = str(uuid.uuid4())
        make(ident)
        nodes.create('n2', 'mock', '', 'sealed', 'key', '', ident)
        agents.issue_token(ident, secrets.token_hash(TOKEN), agents.get(ident).generation)
        assert heartbeat(ident).status_int == 202
        assert api.conductor.calls[0][1] == 'n2'

    @pytest.mark.parametrize('given', [{}, {'agent_version': ''}, {'agent_status_message': 'x'}])
    def test_neither_version_nor_status_is_400(self, heartbeat, reporting, given):
        fault(heartbeat(reporting.uuid, **{'agent_version': ..., **given}), 400)

    @pytest.mark.parametrize(
        'given',
        [
            {'agent_status': 'nonsense'},
            {'agent_status': ''},
            {'agent_version': 'x' * 65},
            {'agent_version': '1\x1b[2J'},
            {'agent_version': '1\0'},
            {'agent_version': '１'},
            {'agent_verify_ca': 'x'},
            {'agent_verify_ca': PEM + '\0'},
            {'agent_verify_ca': PEM + 'é'},
            {'agent_verify_ca': PEM + 'x' * 32768},
        ],
    )
    def test_what_cannot_be_shown_is_400_naming_the_field(self, api, heartbeat, reporting, given):
        found = fault(heartbeat(reporting.uuid, **given), 400)
        assert next(iter(given)).replace('_', ' ') in found.lower().replace('_', ' ')
        assert api.conductor.calls == []

    def test_a_callback_url_that_changed_is_400_as_the_owner_says(self, api, heartbeat, reporting):
        text = 'Detected change in ramdisk provided "callback_url"'
        api.conductor.answers['agent_heartbeat'] = errors.InvalidInput(text)
        assert fault(heartbeat(reporting.uuid), 400) == text

    def test_a_full_pool_is_503_with_retry_after(self, api, heartbeat, reporting):
        api.conductor.answers['agent_heartbeat'] = errors.Unavailable('full', retry_after=1.0)
        response = heartbeat(reporting.uuid)
        fault(response, 503)
        assert response.headers['Retry-After'] == '1'

    def test_a_node_that_moves_is_asked_for_at_its_next_owner(
        self, api, heartbeat, reporting, monkeypatch
    ):
        monkeypatch.setattr('obmd.api.operations.MOVE_PAUSE', 0)
        api.conductor.answers['agent_heartbeat'] = [errors.NotOwner('moved'), None]
        assert heartbeat(reporting.uuid).status_int == 202

    def test_one_that_is_deleted_meanwhile_is_404(self, api, heartbeat, reporting, monkeypatch):
        monkeypatch.setattr('obmd.api.operations.MOVE_PAUSE', 0)

        def gone(node, beat):
            nodes.delete('n1')
            raise errors.NotOwner('moved')

        api.conductor.answers['agent_heartbeat'] = gone
        found = fault(heartbeat(reporting.uuid), 404)
        assert found == f'Node {reporting.uuid} could not be found.'

    def test_a_body_of_10_mb_is_413(self, heartbeat, reporting):
        fault(heartbeat(reporting.uuid, body=b' ' * 10_000_000), 413)

    @pytest.mark.parametrize('size', [100, 70_000])
    def test_a_chunked_body_is_read_to_its_bound(self, api, reporting, size):
        given = {'callback_url': URL, 'agent_token': TOKEN, 'agent_version': '1'}
        body = json.dumps(given).encode() + b' ' * size
        response = api.app.request(
            f'/v1/heartbeat/{reporting.uuid}',
            method='POST',
            body=body,
            headers={**version(), 'Transfer-Encoding': 'chunked', 'Content-Length': ''},
            expect_errors=True,
        )
        assert response.status_int == (413 if size > 65536 else 202)

    def test_a_callback_url_needs_tls_unless_told_otherwise(self, heartbeat, reporting, conf):
        fault(heartbeat(reporting.uuid, callback_url='http://10.0.0.9:9999'), 400)
        conf('agent', require_tls=False)
        assert heartbeat(reporting.uuid, callback_url='http://10.0.0.9:9999').status_int == 202

    def test_a_local_callback_url_is_refused_unless_allowed(self, heartbeat, reporting, conf):
        fault(heartbeat(reporting.uuid, callback_url='https://127.0.0.1'), 400)
        conf('agent', allow_local_callback=True)
        assert heartbeat(reporting.uuid, callback_url='https://127.0.0.1').status_int == 202

    def test_a_refused_callback_url_is_not_repeated(self, heartbeat, reporting):
        response = heartbeat(reporting.uuid, callback_url='https://me:hunter2@10.0.0.9/')
        assert 'hunter2' not in fault(response, 400)


class TestRoom:
    def test_who_finds_no_room_is_told_to_come_again(self, api, lookup, reporting, conf, reads):
        conf('agent', max_beats=2)
        with api.services.room, api.services.room:
            response = lookup()
        fault(response, 503)
        assert response.headers['Retry-After'] == '1'
        assert reads == []

    def test_a_heartbeat_needs_room_too(self, api, heartbeat, reporting, conf):
        conf('agent', max_beats=1)
        with api.services.room:
            fault(heartbeat(reporting.uuid), 503)
        assert heartbeat(reporting.uuid).status_int == 202

    def test_room_is_given_back_whatever_came_of_it(self, api, lookup, heartbeat, reporting, conf):
        conf('agent', max_beats=1)
        for _ in range(2):
            fault(lookup(f'addresses={UNKNOWN_MAC}'), 404)
            fault(heartbeat(reporting.uuid, agent_token='x' * 43), 400)
            assert lookup().status_int == 200
        assert api.services.room.taken == 0


class TestRates:
    @pytest.fixture
    def now(self, api):
        now = [0.0]
        api.services.rates = rates.Rates(clock=lambda: now[0])
        return now

    def test_an_address_has_so_many_a_second(self, lookup, machine, conf, now, reads):
        conf('agent', rate_per_address=3)
        for _ in range(3):
            assert lookup().status_int == 200
        reads.clear()
        response = lookup()
        fault(response, 429)
        assert response.headers['Retry-After'] == '1'
        assert reads == []
        now[0] += 1
        assert lookup().status_int == 200

    def test_a_node_has_so_many_a_minute_from_one_address(
        self, api, heartbeat, reporting, conf, now, reads
    ):
        conf('agent', rate_per_node=2)
        for _ in range(2):
            assert heartbeat(reporting.uuid).status_int == 202
        reads.clear()
        now[0] = 20.0
        response = heartbeat(reporting.uuid)
        fault(response, 429)
        assert response.headers['Retry-After'] == '40'
        assert reads == []
        api.app.extra_environ['REMOTE_ADDR'] = '192.0.2.7'
        assert heartbeat(reporting.uuid).status_int == 202

    def test_lookups_are_counted_by_what_they_ask_for(self, lookup, machine, conf, now):
        conf('agent', rate_per_node=1)
        assert lookup().status_int == 200
        fault(lookup(), 429)
        assert lookup(f'node_uuid={machine.uuid}').status_int == 200
        fault(lookup(f'addresses={UNKNOWN_MAC}'), 404)

    def test_each_address_of_a_lookup_is_counted(self, lookup, machine, conf, now, reads):
        conf('agent', rate_per_node=1)
        assert lookup().status_int == 200
        reads.clear()
        for number in range(3):
            fault(lookup(f'addresses=52:54:00:ff:00:0{number},{MAC}'), 429)
        assert reads == []

    def test_a_uuid_is_counted_as_one_in_either_case(self, heartbeat, reporting, conf, now):
        conf('agent', rate_per_node=1)
        assert heartbeat(reporting.uuid).status_int == 202
        fault(heartbeat(reporting.uuid.upper()), 429)

    def test_names_in_another_case_are_other_nodes(self, heartbeat, reporting, conf, now):
        conf('agent', rate_per_node=1)
        assert heartbeat('n1').status_int == 202
        fault(heartbeat('N1'), 404)

    def test_what_is_large_counts_for_more(self, lookup, heartbeat, reporting, conf, now):
        conf('agent', rate_per_address=17)
        fault(heartbeat(reporting.uuid, body=b' ' * 65536), 400)
        fault(lookup(), 429)
        now[0] += 1
        fault(lookup('addresses=' + ',' * 65536), 400)
        fault(lookup(), 429)
        now[0] += 1
        fault(heartbeat(reporting.uuid, body=b'', query='foo=' + 'x' * 65536), 400)
        fault(lookup(), 429)

    def test_a_lookup_and_a_beat_as_agents_send_them_count_for_one(
        self, lookup, heartbeat, reporting, conf, now
    ):
        conf('agent', rate_per_address=2)
        macs = [f'52:54:00:01:00:{number:02x}' for number in range(127)]
        assert lookup({'addresses': ','.join([*macs, MAC])}).status_int == 200
        ca = PEM.replace('MIIB\n', ('x' * 64 + '\n') * 40)
        assert heartbeat(reporting.uuid, agent_verify_ca=ca).status_int == 202
        fault(lookup(), 429)

    def test_what_is_too_much_is_not_parsed(
        self, lookup, heartbeat, reporting, conf, now, monkeypatch
    ):
        def parsed(*args, **kwargs):
            raise AssertionError('it was parsed')

        conf('agent', rate_per_address=20, rate_per_node=4)
        for _ in range(4):
            assert heartbeat('n1').status_int == 202
        monkeypatch.setattr('obmd.api.http.parse_json', parsed)
        monkeypatch.setattr('obmd.api.http.Request.query_pairs', parsed)
        fault(heartbeat('n1'), 429)
        fault(heartbeat(reporting.uuid, body=b' ' * 65536), 429)
        now[0] += 1
        for _ in range(5):
            fault(lookup(headers={V: '1.1'}), 404)
        fault(lookup('addresses=' + ',' * 65536), 429)

    def test_zero_is_no_limit(self, lookup, machine, conf, now):
        conf('agent', rate_per_address=0, rate_per_node=0)
        assert {lookup().status_int for _ in range(50)} == {200}

    def test_the_door_of_operators_is_not_counted(self, api, conf, now):
        conf('agent', rate_per_address=1)
        for _ in range(3):
            api.app.get('/healthz', status=200)
            api.app.get('/', status=200)


class TestPolicy:
    @pytest.fixture
    def rules(self, api, tmp_path, conf):
        def set_rules(text):
            from obmd.api import policy

            path = tmp_path / 'policy.yaml'
            path.write_text(text)
            api.services.policy = policy.Policy(str(path))

        return set_rules

    @pytest.mark.parametrize(
        ('headers', 'status'), [({}, 401), (basic(password='0' * 32), 401), (basic(), 200)]
    )
    def test_a_lookup_for_the_admin_alone(self, lookup, machine, rules, reads, headers, status):
        rules('baremetal:driver:ipa_lookup: role:admin')
        response = lookup(headers=headers)
        if status == 200:
            assert response.status_int == 200
        else:
            fault(response, 401)
            assert response.headers['WWW-Authenticate'].startswith('Basic ')
            assert 'read' not in reads

    def test_what_not_even_the_admin_may_is_403(self, lookup, machine, rules):
        rules("baremetal:driver:ipa_lookup: '!'")
        fault(lookup(headers=basic()), 403)
        fault(lookup(), 401)

    def test_a_rule_is_for_its_endpoint(self, lookup, heartbeat, reporting, rules):
        rules('baremetal:node:ipa_heartbeat: role:admin')
        assert lookup().status_int == 200
        fault(heartbeat(reporting.uuid), 401)
        assert heartbeat(reporting.uuid, headers=basic()).status_int == 202


class TestProvisioningListener:
    @pytest.fixture
    def door(self, api):
        api.services.rates = rates.Rates(clock=lambda: 0.0)
        return webtest.TestApp(api_app.make_ramdisk_app(api.services), lint=False)

    def test_it_serves_the_door(self, door, reporting):
        door.get('/', status=200)
        door.get('/v1', status=200)
        door.get(f'/v1/lookup?addresses={MAC}', headers=version(), status=200)
        given = {'callback_url': URL, 'agent_token': TOKEN, 'agent_version': '1'}
        door.post_json(f'/v1/heartbeat/{reporting.uuid}', given, headers=version(), status=202)

    @pytest.mark.parametrize(
        'path',
        [
            '/healthz',
            '/readyz',
            '/metrics',
            '/node/n1',
            '/node/n1/console',
            '/api/v1/power',
            '/api/v1/nodes/n1',
            '/api',
            '/stream/abc',
            '/v1/nodes',
            '/%00',
        ],
    )
    def test_all_else_is_its_404_whoever_asks(self, door, reporting, path):
        for method in ('GET', 'PUT', 'POST', 'DELETE', 'PATCH'):
            response = door.request(path, method=method, headers=basic(), expect_errors=True)
            assert fault(response, 404) == NOT_FOUND

    def test_limits_hold_over_both_listeners(self, door, lookup, machine, conf):
        conf('agent', rate_per_address=1)
        door.get(f'/v1/lookup?addresses={MAC}', headers=version(), status=200)
        fault(lookup(), 429)

    def test_it_believes_no_headers_of_proxies(self, api, machine, conf):
        conf('oslo_middleware', enable_proxy_headers_parsing=True)
        conf('agent', rate_per_address=1)
        api.services.rates = rates.Rates(clock=lambda: 0.0)
        door = webtest.TestApp(api_app.make_ramdisk_app(api.services), lint=False)
        statuses = []
        for address in ('192.0.2.1', '192.0.2.2'):
            headers = {**version(), 'X-Forwarded-For': address, 'X-Forwarded-Host': 'evil'}
            response = door.get(f'/v1/lookup?addresses={MAC}', headers=headers, expect_errors=True)
            statuses.append(response.status_int)
            assert 'evil' not in response.text
        assert statuses == [200, 429]


class TestRefusals:
    """What a listener answers before there is an application."""

    @pytest.mark.parametrize(
        'line',
        [
            b'GET /v1/lookup?addresses=' + b'00:' * 30000,
            b'GET /v1/lookup HTTP/1.1',
            b'POST /v1/heartbeat/x HTTP/1.1',
            b'GET /v1 HTTP/1.1',
            b'GET / HTTP/1.1',
            b'GET /?x HTTP/1.1',
            b'GET https://obmd.example.org/v1/lookup HTTP/1.1',
        ],
    )
    def test_those_of_this_door_have_its_form(self, line):
        head, body = envelope.refusal_by_path(414, 'URI Too Long', 'too long', line).split(
            b'\r\n\r\n', 1
        )
        assert head.startswith(b'HTTP/1.1 414 URI Too Long\r\n')
        assert b'X-OpenStack-Ironic-API-Maximum-Version: 1.72' in head
        assert b'x-openstack-request-id: req-' in head.lower()
        assert b'Content-Length: %d' % len(body) in head
        inner = json.loads(json.loads(body)['error_message'])
        assert (inner['faultcode'], inner['faultstring']) == ('Client', 'too long')

    @pytest.mark.parametrize(
        'line', [b'', b' ', b'GET', b'GET /node/n1 HTTP/1.1', b'GET /v10 HTTP/1.1', b'\xff \xff']
    )
    def test_all_others_have_obmds(self, line):
        body = envelope.refusal_by_path(400, 'Bad Request', 'no', line).split(b'\r\n\r\n', 1)[1]
        assert set(json.loads(body)) == {'error'}

    def test_on_the_listener_of_agents_all_have_this_doors(self):
        assert b'error_message' in envelope.refusal(400, 'Bad Request', 'no', b'GET /x HTTP/1.1')
