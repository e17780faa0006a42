"""``/api/v1/nodes/{id}``: what operators say about a node and see of it."""

import base64
import json
import threading

import pytest
from nacl import public as nacl

from obmd.api import descriptions as words
from obmd.common import errors
from obmd.common import secrets
from obmd.conf import CONF
from obmd.db import agents
from obmd.db import descriptions
from obmd.db import nodes
from obmd.db import owners
from tests.unit.api.conftest import error

MAC1, MAC2 = '52:54:00:00:00:01', '52:54:00:00:00:02'
PATH = '/api/v1/nodes/n1'
NOTHING = {
    'url': None,
    'version': None,
    'status': None,
    'status_message': None,
    'last_heartbeat': None,
    'verify_ca': None,
    'alive': False,
}


@pytest.fixture
def uuid(api):
    made = '9a3c2f10-0d3b-4c55-8a68-0c2e2b9f5e01'
    nodes.create('n1', 'mock', '10.0.0.1', 'x', 'k', 'rack1', made, lambda: 1000.0)
    return made


@pytest.fixture
def patch(api, admin, uuid):
    """Change ``n1``.  :returns: what is answered."""

    def patch(status=200, path=PATH, **body):
        answer = api.app.patch_json(path, body, headers=admin, status=status)
        return answer.json if status == 200 else error(answer)

    return patch


@pytest.fixture
def show(api, admin, uuid):
    return lambda: api.app.get(PATH, headers=admin).json


class Opener:
    """The conductor's keyring, with one key."""

    def __init__(self, private_key):
        self._box = nacl.SealedBox(private_key)

    def open(self, sealed, key_id):
        return json.loads(self._box.decrypt(base64.b64decode(sealed)))


class TestShow:
    def test_a_new_node_has_said_nothing(self, show, uuid):
        assert show() == {
            'uuid': uuid,
            'name': 'n1',
            'driver': 'mock',
            'conductor_group': 'rack1',
            'conductor': None,
            'properties': {},
            'extra': {},
            'instance_info': {},
            'ports': [],
            'ranks': [],
            'parameters': {},
            'credentials_refused': False,
            'expect_agent': False,
            'expect_agent_until': None,
            'agent': NOTHING,
            'reservation': None,
            'target_power_state': None,
            'last_error': None,
            'created_at': '1970-01-01T00:16:40+00:00',
            'updated_at': '1970-01-01T00:16:40+00:00',
        }

    def test_name_and_uuid_lead_to_the_same_node(self, api, admin, show, uuid):
        for ident in (uuid, uuid.upper()):
            assert api.app.get(f'/api/v1/nodes/{ident}', headers=admin).json == show()

    @pytest.mark.parametrize('ident', ['zz', '0' * 36, '%00', '%ff', 'x' * 256, 'n1%2F'])
    def test_another_is_not_found_or_no_name(self, api, admin, uuid, ident):
        answer = api.app.get(f'/api/v1/nodes/{ident}', headers=admin, expect_errors=True)
        assert error(answer)['kind'] in ('not_found', 'invalid_input')

    def test_what_holds_it_and_what_went_wrong(self, show, uuid):
        epoch = owners.claim(uuid, 'c1', None, 0)
        nodes.set_target(uuid, 'c1', epoch, 'on', 2000.0, 'cycle', 'call')
        nodes.set_lock(uuid, 'c1', epoch, 'power cycle', 'admin (req-1)', 1500.0)
        shown = show()
        assert shown['conductor'] == 'host-c1'
        assert shown['target_power_state'] == 'on'
        assert shown['reservation'] == {
            'purpose': 'power cycle',
            'caller': 'admin (req-1)',
            'since': '1970-01-01T00:25:00+00:00',
        }
        nodes.clear_target(uuid, 'c1', epoch, 'the BMC said no')
        assert show()['last_error'] == 'the BMC said no'

    def test_no_credential_no_token_no_address_of_the_bmc(self, api, admin, uuid):
        nodes.set_token('n1', 'thehash', 'theid')
        agents.issue_token(uuid, 'agenthash', agents.get(uuid).generation)
        text = api.app.get(PATH, headers=admin).text
        for word in ('thehash', 'theid', 'agenthash', '10.0.0.1', 'sealed', 'key_id'):
            assert word not in text

    def test_the_admin_only(self, api, uuid):
        api.app.get(PATH, status=401)
        api.app.patch_json(PATH, {'extra': {'a': 1}}, status=401)
        assert descriptions.get(uuid).extra == {}


class TestChange:
    def test_what_is_given_replaces_and_the_rest_stays(self, patch, show):
        patch(properties={'a': 1, 'b': {'c': 2}}, extra={'x': [1, None]}, ports=[MAC2, MAC1])
        shown = patch(properties={'b': {}})
        assert shown['properties'] == {'b': {}}
        assert shown['extra'] == {'x': [1, None]}
        assert shown['ports'] == [MAC1, MAC2]
        assert shown == show()

    def test_null_is_empty(self, patch):
        patch(properties={'a': 1}, extra={'x': 1}, instance_info={'i': 1}, ports=[MAC1])
        shown = patch(properties=None, extra=None, instance_info=None, ports=None)
        assert [shown[n] for n in ('properties', 'extra', 'instance_info')] == [{}, {}, {}]
        assert shown['ports'] == []

    def test_nothing_given_changes_nothing(self, patch, show):
        before = show()
        assert patch() == before

    def test_by_uuid_too(self, patch, uuid):
        assert patch(path=f'/api/v1/nodes/{uuid}', extra={'a': 1})['extra'] == {'a': 1}

    def test_text_comes_back_as_it_went(self, patch):
        value = {'é😀"\\': ['\u2028', '\x1b[2J', "'; DROP TABLE nodes; --", 2**70, 0.1, '\\u0000']}
        assert patch(extra=value)['extra'] == value

    def test_names_that_cannot_be_set_are_told_and_nothing_is_done(self, patch, show):
        before = show()
        told = patch(400, extra={'a': 1}, uuid='x', colour='red', agent={})
        assert 'not to be set here: agent, colour, uuid; ' in told['reason']
        assert show() == before
        told = patch(400, **{str(number) * 1000: 1 for number in range(30)})
        assert len(told['reason']) < 1000

    @pytest.mark.parametrize('name', ['properties', 'extra', 'instance_info'])
    @pytest.mark.parametrize('value', [[], 'text', 5, True, ''])
    def test_what_should_be_an_object_is_one(self, patch, name, value):
        assert name in patch(400, **{name: value})['reason']

    @pytest.mark.parametrize('body', ['[]', '"text"', '5', 'null', 'true', '', '{', '{"a":1}{}'])
    def test_a_body_is_an_object(self, api, admin, uuid, body):
        headers = {**admin, 'Content-Type': 'application/json'}
        error(api.app.patch(PATH, body, headers=headers, status=400))

    @pytest.mark.parametrize(
        'body',
        [
            b'{"extra":' + b'{"a":' * 40 + b'1' + b'}' * 41,
            b'{"extra":' + b'[' * 30000,
            b'{"extra":{"a":"\\u0000"}}',
            b'{"properties":{"a\\u0000":1}}',
            b'{"instance_info":{"a":[{"b":"x\\u0000"}]}}',
            b'{"extra":{"a":"\\ud800"}}',
            b'{"extra":{"\\udfff":1}}',
            b'{"extra":{"a":"\xff"}}',
            b'{"extra":{"a":NaN}}',
            b'{"extra":{"a":1e999}}',
            b'{"extra":{"a":' + b'9' * 5000 + b'}}',
        ],
    )
    def test_what_cannot_be_kept_is_refused(self, api, admin, uuid, body):
        headers = {**admin, 'Content-Type': 'application/json'}
        error(api.app.patch(PATH, body, headers=headers, status=400))
        assert descriptions.get(uuid) == descriptions.Description()

    def test_an_object_has_an_end(self, api, patch, admin, conf):
        patch(413, extra={'a': 'x' * 65536})
        conf(max_body=1_000_000)
        for name in ('properties', 'extra', 'instance_info'):
            assert patch(**{name: {'a': 'x' * 65528}})[name] == {'a': 'x' * 65528}
            assert name in patch(400, **{name: {'a': 'x' * 65529}})['reason']

    def test_json_is_asked_for(self, api, admin, uuid):
        for kind in ('text/plain', 'application/x-www-form-urlencoded', ''):
            headers = {**admin, 'Content-Type': kind}
            error(api.app.patch(PATH, '{"extra":{}}', headers=headers, status=415))

    def test_another_sites_page_may_not(self, api, admin, uuid):
        headers = {**admin, 'Sec-Fetch-Site': 'cross-site'}
        error(api.app.patch_json(PATH, {'extra': {'a': 1}}, headers=headers, status=403))
        assert descriptions.get(uuid).extra == {}

    def test_a_node_that_is_deleted_meanwhile_is_not_found(self, patch, monkeypatch, uuid):
        columns = words.columns

        def slow(*args):
            nodes.delete('n1')
            return columns(*args)

        monkeypatch.setattr(words, 'columns', slow)
        told = patch(404, extra={'a': 1})
        assert (told['kind'], told['node']) == ('not_found', 'n1')
        assert descriptions.get(uuid) == descriptions.Description()

    def test_changes_at_once_are_all_done(self, patch, show):
        names = ['properties', 'extra', 'instance_info']
        values = {name: {'a': name} for name in names}
        threads = [
            threading.Thread(target=patch, kwargs={name: value}) for name, value in values.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert {name: show()[name] for name in names} == values


class TestPorts:
    @pytest.mark.parametrize(
        'text', ['52:54:00:AB:CD:EF', '52-54-00-ab-cd-ef', '52-54-00-AB-cd-EF']
    )
    def test_spellings_are_one_address(self, patch, text):
        assert patch(ports=[text, '52:54:00:ab:cd:ef'])['ports'] == ['52:54:00:ab:cd:ef']

    @pytest.mark.parametrize(
        'text',
        [
            '',
            '5254.00ab.cdef',
            '525400abcdef',
            '52:54:00:ab:cd',
            '52:54:00:ab:cd:ef:00',
            '52:54:00:ab:cd-ef',
            '52:54:00:ab:cd:eg',
            ' 52:54:00:ab:cd:ef',
            '52:54:00:ab:cd:ef\n',
            '52:54:00:ab:cd:ef,52:54:00:ab:cd:ee',
            '５2:54:00:ab:cd:ef',
            '52:54:00:ab:cd:\ud83d\ude00',
            '2:54:00:ab:cd:ef',
            'x' * 10000,
        ],
    )
    def test_anything_else_is_refused_by_its_place(self, patch, text, uuid):
        text = text.encode('utf-16', 'surrogatepass').decode('utf-16')
        assert 'ports.1 must be a MAC address' in patch(400, ports=[MAC1, text])['reason']
        assert descriptions.get(uuid).ports == ()

    @pytest.mark.parametrize('ports', [{}, MAC1, 5, [5], [None], [[MAC1]], [True]])
    def test_a_list_of_text(self, patch, ports):
        assert 'ports' in patch(400, ports=ports)['reason']

    def test_no_more_than_128(self, patch):
        macs = [f'52:54:00:00:00:{number:02x}' for number in range(129)]
        assert patch(ports=macs[:128])['ports'] == macs[:128]
        assert 'at most 128' in patch(400, ports=macs)['reason']

    def test_another_nodes_is_409_and_names_both(self, patch, uuid):
        nodes.create('other', 'mock', '', 'x', 'k', '', '2' * 36)
        descriptions.change('2' * 36, [MAC2])
        told = patch(409, ports=[MAC1, MAC2.upper()], extra={'a': 1}, expect_agent=True)
        assert (told['kind'], told['node']) == ('mac_taken', 'n1')
        assert MAC2 in told['reason'] and '"other"' in told['reason']
        assert descriptions.get(uuid) == descriptions.Description()
        assert agents.get(uuid) == agents.Agent()


class TestInstanceInfo:
    SECRET = {
        'configdrive': 'H4sIAAAA',
        'image_source': 'http://images/a',
        'root_password': 'geheim1',
        'nested': {'auth_token': 'geheim2', 'list': [{'admin_pass': 'geheim3'}]},
    }

    def test_without_secrets_it_is_kept_as_it_is(self, patch, uuid):
        assert patch(instance_info={'a': 1})['instance_info'] == {'a': 1}
        found = descriptions.get(uuid)
        assert (found.sealed_instance_info, found.key_id) == (None, None)

    def test_secrets_are_sealed_for_the_conductor_and_masked_for_all_others(
        self, api, patch, uuid, private_key
    ):
        shown = patch(instance_info=self.SECRET)['instance_info']
        assert shown['configdrive'] == shown['root_password'] == '******'
        assert shown['nested']['auth_token'] == '******'
        assert shown['image_source'] == 'http://images/a'
        found = descriptions.get(uuid)
        assert found.instance_info == shown
        assert 'geheim' not in repr(found) and 'H4sI' not in repr(found)
        assert found.key_id == api.services.public_key.key_id
        opened = secrets.open_json(
            Opener(private_key), uuid, found.sealed_instance_info, found.key_id
        )
        assert opened == self.SECRET

    def test_a_configdrive_of_any_form_is_masked(self, patch):
        for value in ('text', {'meta_data': {'a': 1}}, ['a']):
            shown = patch(instance_info={'configdrive': value})['instance_info']
            assert shown == {'configdrive': '******'}

    def test_what_was_sealed_goes_with_what_was_said(self, patch, uuid):
        patch(instance_info=self.SECRET)
        patch(extra={'a': 1})
        assert descriptions.get(uuid).sealed_instance_info
        patch(instance_info={'a': 1})
        assert descriptions.get(uuid).sealed_instance_info is None

    def test_what_is_masked_is_not_taken_for_the_secret(self, patch, uuid):
        shown = patch(instance_info=self.SECRET)['instance_info']
        before = descriptions.get(uuid)
        assert '******' in patch(400, instance_info=shown)['reason']
        patch(400, instance_info={'a': [{'b': 'x --password ******'}]})
        assert descriptions.get(uuid) == before


class TestExpectAgent:
    def test_true_is_for_as_long_as_configured(self, patch, uuid, monkeypatch):
        monkeypatch.setattr('time.time', lambda: 1000.0)
        shown = patch(expect_agent=True)
        assert shown['expect_agent'] is True
        assert agents.get(uuid).expect_until == 1000.0 + CONF.agent.expect_timeout

    def test_for_as_long_as_is_said(self, patch, show, monkeypatch):
        now = [1000.0]
        monkeypatch.setattr('time.time', lambda: now[0])
        shown = patch(expect_agent={'seconds': 60})
        assert shown['expect_agent_until'] == '1970-01-01T00:17:40+00:00'
        for now[0], expected in ((1059.9, True), (1060.0, False)):
            assert show()['expect_agent'] is expected

    @pytest.mark.parametrize('value', [False, None])
    def test_none_any_more(self, patch, value):
        patch(expect_agent=True)
        shown = patch(expect_agent=value)
        assert (shown['expect_agent'], shown['expect_agent_until']) == (False, None)

    def test_each_time_begins_anew(self, patch, uuid):
        agents.issue_token(uuid, 'a' * 64, agents.get(uuid).generation)
        agents.record([(uuid, 'a' * 64, {'url': 'https://10.0.0.1'})])
        assert patch(expect_agent=True)['agent'] == NOTHING
        found = agents.get(uuid)
        assert (found.token_hash, found.url) == (None, None)

    @pytest.mark.parametrize(
        'value',
        [
            'true',
            1,
            0,
            [],
            {},
            {'seconds': 0},
            {'seconds': -1},
            {'seconds': True},
            {'seconds': '60'},
            {'seconds': None},
            {'seconds': 1e300},
            {'seconds': 31536001},
            {'seconds': 60, 'minutes': 1},
            {'Seconds': 60},
        ],
    )
    def test_anything_else_is_refused(self, patch, uuid, value):
        assert 'expect_agent' in patch(400, expect_agent=value)['reason']
        assert agents.get(uuid) == agents.Agent()

    def test_with_a_mistake_beside_it_nothing_is_done(self, patch, uuid):
        patch(400, expect_agent=True, ports=['x'])
        assert agents.get(uuid) == agents.Agent()


class TestAgent:
    @pytest.fixture
    def reported(self, uuid):
        agents.issue_token(uuid, 'a' * 64, agents.get(uuid).generation)
        said = {'url': 'https://10.0.0.1:9999', 'status': 'start', 'heartbeat_at': 1000.5}
        agents.record([(uuid, 'a' * 64, said)])

    ROW = {
        **NOTHING,
        'url': 'https://10.0.0.1:9999',
        'status': 'start',
        'last_heartbeat': '1970-01-01T00:16:40+00:00',
    }

    def test_without_a_token_nobody_is_asked(self, api, show):
        assert show()['agent'] == NOTHING
        assert api.conductor.calls == []

    def test_the_owner_knows(self, api, show, reported):
        api.conductor.answers['agent_state'] = {
            'url': 'https://10.0.0.2:9999',
            'version': '11.0',
            'verify_ca': 'PEM',
            'status': 'ok',
            'status_message': 'fine',
            'heartbeat_at': 2000.0,
            'alive': True,
        }
        assert show()['agent'] == {
            'url': 'https://10.0.0.2:9999',
            'version': '11.0',
            'verify_ca': 'PEM',
            'status': 'ok',
            'status_message': 'fine',
            'last_heartbeat': '1970-01-01T00:33:20+00:00',
            'alive': True,
        }

    def test_while_nobody_answers_the_row_tells_and_nobody_knows_whether_it_lives(
        self, api, show, reported
    ):
        api.conductor.answers['agent_state'] = errors.Unavailable('no conductor', 'n1', 5)
        assert show()['agent'] == {**self.ROW, 'alive': None}
