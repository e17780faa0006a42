"""``/api/v1/nodes``: the list, registering, and what ranks, parameters and credentials become."""

import base64
import json

import pytest
from nacl import public as nacl

from obmd.common import secrets
from obmd.db import audit
from obmd.db import conductors
from obmd.db import descriptions
from obmd.db import node_groups
from obmd.db import nodes
from obmd.db import owners
from obmd.db import ranks
from obmd.drivers import none
from obmd.drivers import registry
from obmd.drivers.cloud import aws
from tests.unit.api.conftest import error
from tests.unit.api.drivers import ALL
from tests.unit.api.drivers import Picky

PATH = '/api/v1/nodes'
IN_CLOUD = {'ec2_id': 'i-0123456789abcdef0', 'aws_region': 'eu-west-1'}


class Scripted(Picky):
    """Finds its credentials among a node's parameters."""

    @classmethod
    def from_parameters(cls, name, parameters):
        if 'picky_password' not in parameters:
            return None
        left = {one: value for one, value in parameters.items() if one != 'picky_password'}
        return {'host': f'{name}.bmc', 'password': parameters['picky_password']}, left


@pytest.fixture(autouse=True)
def enabled(monkeypatch):
    monkeypatch.setattr(registry, '_enabled', {**ALL, 'picky': Scripted, 'none': none.NoDriver})


@pytest.fixture
def get(api, admin):
    def get(path=PATH, status=200, headers=None, **query):
        answer = api.app.get(path, query, headers=headers or admin, status=status)
        return answer.json if status == 200 else error(answer)

    return get


@pytest.fixture
def post(api, admin):
    def post(status=201, headers=None, **body):
        answer = api.app.post_json(PATH, body, headers=headers or admin, status=status)
        return answer.json if status == 201 else error(answer)

    return post


@pytest.fixture
def patch(api, admin):
    def patch(name, status=200, headers=None, **body):
        headers = headers or admin
        answer = api.app.patch_json(f'{PATH}/{name}', body, headers=headers, status=status)
        return answer.json if status == 200 else error(answer)

    return patch


@pytest.fixture
def in_cloud(post, monkeypatch):
    """A node ``n1`` that is the instance ``IN_CLOUD``."""
    monkeypatch.setitem(registry._enabled, 'aws', aws.AwsDriver)
    post(name='n1', parameters={**IN_CLOUD, 'x': 1})


@pytest.fixture
def fleet(post):
    """n1 to n5; the even ones have the rank ``even`` and the driver mock, n5 is of rack2."""
    for number in range(1, 6):
        even = number % 2 == 0
        post(
            name=f'n{number}',
            obm={'type': 'mock', 'info': {}} if even else None,
            ranks=['x', 'even'] if even else ['odd'],
            conductor_group='rack2' if number == 5 else 'rack1',
        )


def opened(private_key, node):
    class Opener:
        def open(self, sealed, key_id):
            return json.loads(nacl.SealedBox(private_key).decrypt(base64.b64decode(sealed)))

    return secrets.open_info(Opener(), node)


def names(answer):
    return [node['name'] for node in answer['nodes']]


class TestList:
    def test_nodes_are_listed_by_name(self, get, fleet):
        answer = get()
        assert names(answer) == ['n1', 'n2', 'n3', 'n4', 'n5']
        assert answer['next'] is None
        assert answer['nodes'][1]['ranks'] == ['x', 'even']
        assert answer['nodes'][1]['driver'] == 'mock'
        assert 'parameters' not in answer['nodes'][1]

    def test_page_by_page(self, get, fleet):
        seen, asked = [], {'limit': 2}
        while True:
            answer = get(**asked)
            seen += names(answer)
            if answer['next'] is None:
                break
            asked['marker'] = answer['next']
        assert seen == ['n1', 'n2', 'n3', 'n4', 'n5']

    def test_a_range_page_by_page_in_its_order(self, get, fleet):
        text = 'n5,n[2-4],n1'
        assert names(get(nodes=text)) == ['n5', 'n2', 'n3', 'n4', 'n1']
        first = get(nodes=text, limit=3)
        assert (names(first), first['next']) == (['n5', 'n2', 'n3'], 'n3')
        assert names(get(nodes=text, limit=3, marker='n3')) == ['n4', 'n1']

    @pytest.mark.parametrize(
        ('query', 'found'),
        [
            ({'driver': 'mock'}, ['n2', 'n4']),
            ({'driver': 'none', 'conductor_group': 'rack1'}, ['n1', 'n3']),
            ({'rank': 'even'}, ['n2', 'n4']),
            ({'rank': 'nosuch'}, []),
            ({'nodes': 'n[3-5]', 'rank': 'odd'}, ['n3', 'n5']),
            ({'nodes': '@even,n5', 'driver': 'none'}, ['n5']),
            ({'conductor': 'h1'}, ['n3']),
            ({'conductor': 'h1', 'nodes': 'n[1-2]'}, []),
            ({'conductor': 'nosuch'}, []),
        ],
    )
    def test_filters(self, get, fleet, query, found):
        conductors.register(conductors.Conductor('c1', 'h1', '', ('none',), 'http://x'))
        owners.claim(nodes.get('n3').uuid, 'c1', None, 0)
        try:
            assert names(get(**query)) == found
        finally:
            conductors.remove('c1')

    @pytest.mark.parametrize(
        ('query', 'status'),
        [
            ({'nodes': 'n1,zz'}, 404),
            ({'nodes': '@nosuch'}, 404),
            ({'nodes': 'n['}, 400),
            ({'nodes': ''}, 400),
            ({'nodes': 'n[1-999999999]'}, 400),
            ({'limit': '0'}, 400),
            ({'limit': 'x'}, 400),
            ({'rank': 'a\0b'}, 400),
            ({'marker': '\0'}, 400),
            ({'colour': 'red'}, 400),
        ],
    )
    def test_what_cannot_be_listed(self, get, fleet, query, status):
        get(status=status, **query)

    def test_a_token_sees_its_nodes_alone(self, get, fleet, bearer_of):
        mine = bearer_of(operations=['status'], nodes='n[2-3],gone')
        assert names(get(headers=mine)) == ['n2', 'n3']
        assert names(get(headers=mine, rank='even')) == ['n2']
        get(headers=mine, nodes='n1', status=404)
        one, other = (
            get(headers=mine, nodes=text, status=404)['reason'] for text in ('n[1,4]', 'n[1,9]')
        )
        assert one.replace('4', '9') == other
        gone = bearer_of(operations=['status'], nodes='n2,@gone')
        assert names(get(headers=gone)) == ['n2']
        get(f'{PATH}/n2', headers=mine, status=403)


class TestCreate:
    def test_a_node_with_all_of_it(self, api, post, private_key):
        shown = post(
            name='n1',
            obm={'type': 'picky', 'info': {'host': 'bmc1', 'password': 'geheim'}},
            conductor_group='rack7',
            ranks=['gpu', 'metal'],
            parameters={'ip': '10.0.0.1', 'disks': ['a', 1]},
            properties={'p': 1},
            extra={'e': 2},
            ports=['52:54:00:AA:00:01'],
            expect_agent=True,
        )
        assert shown['ranks'] == ['gpu', 'metal']
        assert shown['parameters'] == {'ip': '10.0.0.1', 'disks': ['a', 1]}
        assert (shown['driver'], shown['conductor_group']) == ('picky', 'rack7')
        assert (shown['properties'], shown['extra']) == ({'p': 1}, {'e': 2})
        assert shown['ports'] == ['52:54:00:aa:00:01'] and shown['expect_agent']
        assert 'geheim' not in str(shown) and 'bmc1' not in str(shown)
        node = nodes.get('n1')
        assert opened(private_key, node)['password'] == 'geheim'
        assert node.address == 'bmc1'
        assert ('node_changed', 'n1') in api.conductor.told

    def test_a_node_without_a_bmc(self, post):
        assert post(name='n1')['driver'] == 'none'
        assert post(name='n2', obm=None, ranks='metal')['ranks'] == ['metal']

    def test_credentials_among_the_parameters_are_sealed(self, post, private_key):
        shown = post(name='n1', parameters={'picky_password': 'geheim', 'ip': '10.0.0.1'})
        assert shown['driver'] == 'picky'
        assert shown['parameters'] == {'ip': '10.0.0.1'}
        assert descriptions.get(shown['uuid']).parameters == {'ip': '10.0.0.1'}
        assert opened(private_key, nodes.get('n1'))['password'] == 'geheim'

    def test_a_credential_of_a_driver_that_is_off_is_refused(self, post):
        told = post(400, name='n1', parameters={'ipmi_password': 'geheim'})
        assert 'credential' in told['reason'] and 'geheim' not in told['reason']
        assert nodes.get('n1') is None

    def test_where_it_is_then(self, api, admin):
        answer = api.app.post_json(PATH, {'name': 'a#b;ü'}, headers=admin, status=201)
        where = answer.headers['Location']
        assert where == 'http://localhost/api/v1/nodes/a%23b%3B%C3%BC'
        assert api.app.get(where, headers=admin).json['name'] == 'a#b;ü'

    @pytest.mark.parametrize('name', ['-rf', '$(id)', '`id`', '../x', 'x' * 255, '😀'])
    def test_a_name_may_be_any_word(self, post, name):
        assert post(name=name)['name'] == name

    @pytest.mark.parametrize(
        'body',
        [
            {},
            {'name': ''},
            {'name': 'x' * 256},
            {'name': 'a\0b'},
            {'name': 5},
            {'name': 'n1', 'colour': 'red'},
            {'name': 'n1', 'obm': {}},
            {'name': 'n1', 'obm': {'type': 'nosuch'}},
            {'name': 'n1', 'obm': {'type': 'picky', 'info': {'host': 'geheim'}}},
            {'name': 'n1', 'obm': {'type': 'none', 'info': {'a': 1}}},
            {'name': 'n1', 'ranks': ['a b']},
            {'name': 'n1', 'ranks': {'a': 1}},
            {'name': 'n1', 'parameters': []},
            {'name': 'n1', 'parameters': {'LD_PRELOAD': 'geheim'}},
            {'name': 'n1', 'parameters': {'a': None}},
            {'name': 'n1', 'parameters': {'a': 'x\0'}},
            {'name': 'n1', 'ports': ['x']},
            {'name': 'n1', 'conductor_group': 'a\nb'},
        ],
    )
    def test_what_is_wrong_is_refused_and_nothing_is_done(self, post, body):
        assert 'geheim' not in str(post(400, **body))
        assert nodes.get('n1') is None

    @pytest.mark.parametrize(
        'name', ['a b', 'a\nb', 'n\x1b[2J', 'n[1-999999999]', 'a,b', 'n*', '@n']
    )
    def test_a_name_that_forges_a_line_or_is_a_range_is_refused(self, post, name):
        assert post(400, name=name)['reason'].startswith('a node name has no ')
        assert nodes.page(0, 1) == []

    def test_a_name_that_is_taken(self, post):
        first = post(name='n1', ranks=['a'])
        told = post(409, name='n1', ranks=['b'])
        assert (told['kind'], told['node']) == ('node_exists', 'n1')
        assert ranks.get(first['uuid']) == ['a']

    def test_a_port_that_is_taken_leaves_nothing(self, post):
        post(name='n1', ports=['52:54:00:00:00:01'])
        assert post(409, name='n2', ports=['52:54:00:00:00:01'])['kind'] == 'mac_taken'
        assert nodes.get('n2') is None

    def test_a_large_value_is_refused(self, post, conf):
        post(413, name='n1', parameters={'a': 'x' * 1_000_000})
        conf(max_body=2_000_000)
        assert 'longer than' in post(400, name='n1', parameters={'a': 'x' * 1_000_000})['reason']

    def test_it_is_in_the_audit_trail(self, post):
        post(name='n1', parameters={'picky_password': 'geheim'})
        post(409, name='n1')
        refused, done = audit.page(limit=2)
        assert (done.action, done.nodes, done.subject) == ('node create', 'n1', 'admin')
        assert (done.outcome, refused.outcome) == ('ok', 'node_exists')
        assert 'geheim' not in str((done, refused))

    def test_a_token_for_nodes_registers_them_if_it_is_for_all(self, post, bearer_of):
        post(name='n1', headers=bearer_of(operations=['nodes']))
        mine = bearer_of(operations=['nodes'], nodes='n[1-3]')
        assert 'name' in post(403, name='n2', headers=mine)['reason']
        post(403, name='n4', headers=mine)
        post(403, name='n3', headers=bearer_of(operations=['power', 'status']))
        post(401, name='n3', headers={'Authorization': 'Bearer x'})


class TestChange:
    def test_ranks_and_parameters_are_replaced(self, post, patch):
        post(name='n1', ranks=['a', 'b'], parameters={'x': 1, 'y': 2})
        assert patch('n1', ranks=['b'])['parameters'] == {'x': 1, 'y': 2}
        shown = patch('n1', parameters={'x': 3})
        assert (shown['ranks'], shown['parameters']) == (['b'], {'x': 3})
        shown = patch('n1', ranks=None, parameters=None)
        assert (shown['ranks'], shown['parameters']) == ([], {})

    @pytest.mark.parametrize(
        ('body', 'named'),
        [
            ({'obm': {'type': 'mock', 'info': {}}}, 'obm'),
            ({'obm': None}, 'obm'),
            ({'conductor_group': 'rack2'}, 'conductor_group'),
            ({'parameters': {**IN_CLOUD, 'picky_password': 'new'}}, 'picky_password'),
            ({'parameters': {**IN_CLOUD, 'ec2_id': 'i-0aaaaaaaaaaaaaaaa'}}, 'ec2_id'),
            ({'parameters': {'ec2_id': 7, 'aws_region': 'eu-west-1'}}, 'ec2_id'),
            ({'parameters': {'x': 2}}, 'aws_region'),
            ({'parameters': None}, 'aws_region'),
        ],
    )
    def test_a_token_for_some_nodes_cannot_make_one_another_machine(
        self, post, patch, get, bearer_of, in_cloud, body, named
    ):
        before = get(f'{PATH}/n1')
        mine = bearer_of(operations=['nodes'], nodes='n1')
        assert named in patch('n1', 403, mine, **body)['reason']
        assert get(f'{PATH}/n1') == before
        refused = audit.page(limit=1)[0]
        assert (refused.action, refused.outcome) == ('node change', 'forbidden')

    def test_a_token_for_some_nodes_changes_the_rest_of_them(self, patch, bearer_of, in_cloud):
        sealed = nodes.get('n1').sealed_info
        mine = bearer_of(operations=['nodes'], nodes='n1')
        shown = patch('n1', 200, mine, parameters={**IN_CLOUD, 'x': 2}, ranks=['a'])
        assert (shown['parameters'], shown['ranks']) == ({**IN_CLOUD, 'x': 2}, ['a'])
        assert nodes.get('n1').sealed_info == sealed

    def test_new_credentials_keep_the_node_and_open_the_gate(self, api, post, patch, private_key):
        made = post(name='n1', parameters={'picky_password': 'old'})
        owners.claim(made['uuid'], 'c1', None, 0)
        nodes.refuse_credentials(made['uuid'], 'wrong password')
        api.conductor.told.clear()
        info = {'host': 'n1.bmc', 'password': 'new'}
        shown = patch('n1', obm={'type': 'picky', 'info': info})
        assert (shown['uuid'], shown['credentials_refused']) == (made['uuid'], False)
        node = nodes.get('n1')
        assert opened(private_key, node)['password'] == 'new'
        assert (node.owner, node.owner_epoch) == ('c1', 2)
        assert api.conductor.told == [('node_changed', 'n1')]

    def test_credentials_among_the_parameters_are_sealed(self, post, patch, private_key):
        post(name='n1')
        shown = patch('n1', parameters={'picky_password': 'geheim', 'a': 1})
        assert (shown['driver'], shown['parameters']) == ('picky', {'a': 1})
        assert opened(private_key, nodes.get('n1'))['password'] == 'geheim'

    def test_a_driver_becomes_another_only_when_that_is_said(self, post, patch):
        post(name='n1', obm={'type': 'mock', 'info': {}})
        told = patch('n1', 400, parameters={'picky_password': 'geheim'})
        assert 'of picky, and the node is of type mock' in told['reason']
        assert nodes.get('n1').driver == 'mock'

    def test_what_says_nothing_of_the_bmc_tells_no_conductor(self, api, post, patch):
        post(name='n1')
        api.conductor.told.clear()
        patch('n1', ranks=['a'], parameters={'b': 1}, extra={'c': 1})
        assert api.conductor.told == []

    def test_another_group_makes_it_nobodys_and_tells_both(self, api, post, patch):
        made = post(name='n1')
        owners.claim(made['uuid'], 'c1', None, 0)
        api.conductor.told.clear()
        assert patch('n1', conductor_group='rack9')['conductor'] is None
        assert nodes.get('n1').owner is None
        assert api.conductor.told == [('node_changed', 'n1')] * 2

    def test_while_something_runs_the_bmc_stays_the_same(self, post, patch):
        made = post(name='n1', parameters={'picky_password': 'old'})
        owners.claim(made['uuid'], 'c1', None, 0)
        nodes.set_lock(made['uuid'], 'c1', 1, 'power cycle', 'admin', 1.0)
        told = patch('n1', 409, parameters={'picky_password': 'new'}, ranks=['a'])
        assert told['kind'] == 'node_busy' and 'power cycle' in told['reason']
        assert ranks.get(made['uuid']) == []
        patch('n1', ranks=['a'])

    def test_no_bmc_any_more(self, post, patch):
        post(name='n1', parameters={'picky_password': 'old'})
        assert patch('n1', obm=None)['driver'] == 'none'


class TestDelete:
    def test_a_node_goes_with_what_stands_beside_it(self, api, admin, post):
        made = post(name='n1', ranks=['a'], parameters={'x': 1})
        answer = api.app.delete(f'{PATH}/{made["uuid"]}', headers=self.json(admin), status=204)
        assert answer.body == b''
        assert nodes.get('n1') is None
        assert ranks.get(made['uuid']) == [] and ranks.members('a') == []
        assert descriptions.get(made['uuid']) == descriptions.Description()
        assert ('node_deleted', 'n1') in api.conductor.told
        error(api.app.delete(f'{PATH}/n1', headers=self.json(admin), status=404))

    def test_a_token_deletes_only_its_own(self, api, post, bearer_of):
        post(name='n1')
        for scopes, status in (
            ({'operations': ['power']}, 403),
            ({'operations': ['nodes'], 'nodes': 'n2'}, 404),
            ({'operations': ['nodes'], 'nodes': 'n1'}, 204),
        ):
            headers = self.json(bearer_of(**scopes))
            api.app.delete(f'{PATH}/n1', headers=headers, status=status)

    @staticmethod
    def json(headers):
        return {**headers, 'Content-Type': 'application/json'}


class TestGroups:
    GROUPS = '/api/v1/groups'

    @pytest.fixture(autouse=True)
    def no_groups(self, api):
        for group in node_groups.page():
            node_groups.delete(group.name)
        yield
        for group in node_groups.page():
            node_groups.delete(group.name)

    @pytest.fixture
    def put(self, api, admin):
        def put(name, text, status=200):
            body = {'nodes': text}
            answer = api.app.put_json(f'{self.GROUPS}/{name}', body, headers=admin, status=status)
            return answer.json if status < 300 else error(answer)

        return put

    def test_a_group_is_made_used_changed_and_forgotten(self, api, admin, get, put, fleet):
        assert put('front', 'n[1-3]!n2', 201)['nodes'] == 'n[1,3]'
        assert names(get(nodes='@front')) == ['n1', 'n3']
        assert put('front', '@even')['nodes'] == 'n[2,4]'
        assert get(f'{self.GROUPS}/front')['nodes'] == 'n[2,4]'
        headers = TestDelete.json(admin)
        api.app.delete(f'{self.GROUPS}/front', headers=headers, status=204)
        get(f'{self.GROUPS}/front', status=404)
        error(api.app.delete(f'{self.GROUPS}/front', headers=headers, status=404))
        assert names(get()) == ['n1', 'n2', 'n3', 'n4', 'n5']

    def test_groups_are_listed_page_by_page(self, get, put, fleet):
        for name in ('b', 'a', 'c'):
            put(name, 'n1', 201)
        first = get(self.GROUPS, limit=2)
        assert ([one['name'] for one in first['groups']], first['next']) == (['a', 'b'], 'b')
        rest = get(self.GROUPS, limit=2, marker='b')
        assert ([one['name'] for one in rest['groups']], rest['next']) == (['c'], None)

    def test_a_token_sees_its_part_of_the_groups(self, get, put, fleet, bearer_of):
        for name, text in {'a': 'n4', 'b': 'n[1-4]', 'c': 'n[4-5]', 'd': 'n1', 'e': 'n2'}.items():
            put(name, text, 201)
        mine = bearer_of(operations=['status'], nodes='n[1-2]')
        first = get(self.GROUPS, headers=mine, limit=2)
        shown = [(one['name'], one['nodes']) for one in first['groups']]
        assert (shown, first['next']) == ([('b', 'n[1-2]'), ('d', 'n1')], 'd')
        rest = get(self.GROUPS, headers=mine, limit=2, marker='d')
        assert ([one['name'] for one in rest['groups']], rest['next']) == (['e'], None)
        assert get(f'{self.GROUPS}/b', headers=mine)['nodes'] == 'n[1-2]'

    def test_a_group_without_a_node_that_a_token_is_for_is_not_there(
        self, get, put, fleet, bearer_of
    ):
        put('a', 'n4', 201)
        mine = bearer_of(operations=['status'], nodes='n[1-2]')
        there = get(f'{self.GROUPS}/a', headers=mine, status=404)
        nowhere = get(f'{self.GROUPS}/z', headers=mine, status=404)
        assert there['reason'].replace('"a"', '"z"') == nowhere['reason']

    @pytest.mark.parametrize(
        ('name', 'text', 'status'),
        [
            ('a', 'n1,zz', 404),
            ('a', '@nosuch', 404),
            ('a', 'n1!n1', 400),
            ('a', 'n[', 400),
            ('-rf', 'n1', 400),
            ('a%20b', 'n1', 400),
            ('%00', 'n1', 400),
            ('x' * 65, 'n1', 400),
        ],
    )
    def test_what_cannot_be_a_group(self, put, fleet, name, text, status):
        put(name, text, status)
        assert node_groups.page() == []

    def test_a_name_that_means_something_in_a_range_is_in_no_group(self, api, admin, put):
        mock = {'type': 'mock', 'info': {}}
        api.app.put_json('/node/a%2Cb', mock, headers=admin)
        api.app.patch_json('/api/v1/nodes/a%2Cb', {'ranks': ['odd']}, headers=admin)
        assert 'cannot be in a group' in put('a', '@odd', 400)['reason']

    def test_the_admin_alone_changes_them(self, api, fleet, bearer_of, get):
        mine = bearer_of(operations=['nodes'])
        body = {'nodes': 'n1'}
        error(api.app.put_json(f'{self.GROUPS}/a', body, headers=mine, status=403))
        assert get(self.GROUPS, headers=mine) == {'groups': [], 'next': None}


def test_who_comes_with_a_wrong_access_token_is_asked_for_one(api, admin):
    for headers, asked in (({'Authorization': 'Bearer x'}, 'Bearer '), ({}, 'Basic ')):
        answer = api.app.get(PATH, headers=headers, status=401)
        assert answer.headers['WWW-Authenticate'].startswith(asked)
