import json

import pytest

from tests.unit.client.conftest import stream

NODES = [{'name': 'n1', 'driver': 'ipmi', 'ranks': ['metal'], 'parameters': {'a': '1'}}]


@pytest.fixture
def api(api):
    api.on('GET', '/nodes', {'nodes': NODES, 'next': None})
    api.on('GET', '/nodes/n1', NODES[0])
    return api


def write(tmp_path, text):
    path = tmp_path / 'nodes.yaml'
    path.write_text(text)
    return str(path)


def bodies(api, method, path):
    return [request.value for request in api.asked(method, path)]


def test_a_list_takes_a_range_and_filters(api, obm):
    assert (
        obm.run('node', 'list', '@x,n[1-3]', '--rank', 'metal', '--group', 'g', '-f', 'json') == 0
    )
    assert api.requests[0].query == {
        'nodes': '@x,n[1-3]',
        'rank': 'metal',
        'conductor_group': 'g',
    }
    assert json.loads(obm.out)[0]['Ranks'] == ['metal']


def test_a_table_shows_ranks_as_words(api, obm):
    obm.run('node', 'list', '-f', 'value', '-c', 'Ranks')
    assert obm.out == 'metal\n'


def test_what_a_node_says_does_not_command_the_terminal(api, obm):
    api.on('GET', '/nodes/n1', {'name': 'n1', 'last_error': '\x1b]0;x\x07'})
    obm.run('node', 'show', 'n1')
    assert '\x1b' not in obm.out


def test_a_password_comes_from_a_file(api, obm, tmp_path):
    obm_file = tmp_path / 'obm.yaml'
    obm_file.write_text('addr: 10.0.0.1\nuser: admin\npass: hunter2\n')
    api.on('POST', '/nodes', (201, NODES[0]))
    words = ['--driver', 'ipmi', '--obm', str(obm_file), '--rank', 'metal', '--parameter', 'a=b=c']
    assert obm.run('node', 'create', 'n1', *words) == 0
    assert bodies(api, 'POST', '/nodes') == [
        {
            'name': 'n1',
            'obm': {
                'type': 'ipmi',
                'info': {'addr': '10.0.0.1', 'user': 'admin', 'pass': 'hunter2'},
            },
            'ranks': ['metal'],
            'parameters': {'a': 'b=c'},
        }
    ]


def test_a_password_may_come_from_standard_input(api, obm):
    obm.stdin = stream('{"pass": "hunter2"}')
    api.on('POST', '/nodes', (201, NODES[0]))
    obm.run('node', 'create', 'n1', '--driver', 'ipmi', '--obm', '-')
    assert bodies(api, 'POST', '/nodes')[0]['obm']['info'] == {'pass': 'hunter2'}


def test_a_file_that_is_no_yaml_is_not_repeated(api, obm, tmp_path):
    path = write(tmp_path, 'pass: "hunter2\n')
    assert obm.run('node', 'create', 'n1', '--driver', 'ipmi', '--obm', path) == 1
    assert 'hunter2' not in obm.err


def test_parameters_that_are_not_named_stay(api, obm):
    api.on('GET', '/nodes/n1', {'name': 'n1', 'parameters': {'a': '1', 'b': '2'}})
    api.on('PATCH', '/nodes/n1', {})
    assert obm.run('node', 'set', 'n1', '--parameter', 'c=3', '--unset-parameter', 'a') == 0
    assert bodies(api, 'PATCH', '/nodes/n1') == [{'parameters': {'b': '2', 'c': '3'}}]


def test_a_change_of_nothing_is_told(api, obm):
    assert obm.run('node', 'set', 'n1') == 1
    assert api.requests == []


def test_several_are_deleted_after_a_yes_only(api, obm):
    api.on('GET', '/nodes', {'nodes': [{'name': 'n1'}, {'name': 'n2'}], 'next': None})
    obm.answer('n\n')
    assert obm.run('node', 'delete', 'n[1-2]') == 1
    assert 'Delete n[1-2] (2 nodes)' in obm.err
    assert api.asked('DELETE', '/nodes/n1') == []


def test_one_that_cannot_be_deleted_does_not_keep_the_others(api, obm):
    api.on('GET', '/nodes', {'nodes': [{'name': 'n1'}, {'name': 'n2'}], 'next': None})
    api.refuse('DELETE', '/nodes/n1', 503, 'unavailable', 'later')
    api.on('DELETE', '/nodes/n2', (200, b''))
    assert obm.run('node', 'delete', 'n[1-2]', '--yes') == 1
    assert (obm.out, obm.err) == ('n2: OK\n', 'obm: n1: later\n')


IMPORT = """\
__meta__: {anything: 1}
base: &base {ip: 10.0.0.1}
n1: {ranks: metal, a: '1'}
n2: {ranks: [aws, cloud], ec2_id: i-1, yes_it_is: true, list: [1, 2]}
"""


def test_a_file_is_imported(api, obm, tmp_path):
    api.on('POST', '/nodes', (201, {}))
    assert obm.run('node', 'import', write(tmp_path, IMPORT)) == 0
    sent = {body['name']: body for body in bodies(api, 'POST', '/nodes')}
    assert sent['n2'] == {
        'name': 'n2',
        'ranks': ['aws', 'cloud'],
        'parameters': {'ec2_id': 'i-1', 'yes_it_is': True, 'list': [1, 2]},
    }
    assert sorted(obm.out.split('\n')) == ['', 'base: created', 'n1: unchanged', 'n2: created']


def test_a_node_that_differs_is_changed(api, obm, tmp_path):
    api.on('PATCH', '/nodes/n1', {})
    assert obm.run('node', 'import', write(tmp_path, 'n1: {a: "2"}\n')) == 0
    assert bodies(api, 'PATCH', '/nodes/n1') == [{'ranks': [], 'parameters': {'a': '2'}}]


def test_a_dry_run_of_an_import_changes_nothing(api, obm, tmp_path):
    assert obm.run('node', 'import', '--dry-run', write(tmp_path, IMPORT)) == 0
    assert {request.method for request in api.requests} == {'GET'}


def test_a_node_that_is_refused_is_named_and_the_others_go_on(api, obm, tmp_path):
    api.refuse('POST', '/nodes', 400, 'invalid_input', 'PATH is no name for a parameter')
    text = 'n1: {ranks: metal, a: "1"}\nn2: {PATH: /}\n'
    assert obm.run('node', 'import', write(tmp_path, text)) == 1
    assert obm.out == 'n1: unchanged\n'
    assert 'obm: n2: PATH is no name for a parameter' in obm.err
    assert '1 refused, 1 unchanged' in obm.err or '1 unchanged, 1 refused' in obm.err


def test_nodes_that_are_not_in_the_file_are_told_of(api, obm, tmp_path):
    api.on('POST', '/nodes', (201, {}))
    obm.run('node', 'import', write(tmp_path, 'n2: {}\n'))
    assert '1 that are not in the file left as they are' in obm.err


@pytest.mark.parametrize(
    ('text', 'word'),
    [
        ('n1: 5\n', 'n1: names and values'),
        ('n1: {ranks: 5}\n', 'n1: ranks must'),
        ('n1: {ranks: [a, [b]]}\n', 'n1: ranks must'),
        ('- n1\n', 'names and values'),
        ('{}\n', 'names no node'),
        ('007: {}\n', 'the name 7 needs quotes'),
        ('n1: {on: 1}\n', 'n1: the name True needs quotes'),
        ('n1: {a: 2026-11-20}\n', 'n1: the value 2026-11-20 needs quotes'),
        ('n1: {a: [.nan]}\n', 'n1: the value nan needs quotes'),
        ('n1: {a: {b: -.inf}}\n', 'n1: the value -inf needs quotes'),
        ('n1: [\n', 'line 2: this is not YAML'),
    ],
)
def test_what_is_wrong_with_a_file_is_named(api, obm, tmp_path, text, word):
    assert obm.run('node', 'import', write(tmp_path, text)) == 1
    assert word in obm.err
    assert api.requests == []
