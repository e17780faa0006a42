"""Commands of an administrator's own in a running obmd, through the Action door."""

import json

import pytest

from tests.functional import deployment
from tests.functional import flight

NODES = """
__meta__: {ignored: true}
metal01: &metal
  ranks: metal
  ip: 10.0.0.1
  quoted: "it's \\"so\\"\\nand $(id) `id` ;"
  count: 7
  flag: true
  bag: {a: [1, ü]}
  request_username: evil
metal02: {<<: *metal, ranks: [other, metal]}
plain01: {}
"-rf": {ranks: [metal]}
$(id): {ranks: [metal]}
"""

COMMANDS = {
    'show': {'default.sh': 'env -0', 'metal.sh': 'echo "metal $name" "$@"'},
    'power-status': {'metal.sh': 'echo SCRIPT; exit 9'},
    'broken': {'default.txt': None},
    'site': {'default.sh': 'echo "here is ${name-nobody} $*"'},
}
METADATA = {
    'show': 'help: {summary: Show}\nconfirmation: Show %{nodes}?\n',
    'broken': 'help: {summary: Broken}\n',
    'site': 'help: {summary: Site, has_context: false, syntax: "[WORD]"}\n',
}


def write(folder, name, scripts, metadata):
    made = folder / name
    made.mkdir()
    for script, text in scripts.items():
        (made / script).write_text(f'#!/bin/sh\n{text or ""}\n')
        (made / script).chmod(0o644 if text is None else 0o755)
    if metadata is not None:
        (made / 'metadata.yaml').write_text(metadata)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp('commands')
    for name, scripts in COMMANDS.items():
        write(made, name, scripts, METADATA.get(name))
    return made


@pytest.fixture(scope='module')
def one(folder, tmp_path_factory):
    nodes = tmp_path_factory.mktemp('nodes') / 'nodes.yaml'
    nodes.write_text(NODES)
    env = {'SERVICE_SECRET': 'geheim'}
    config = {'actions': {'command_dirs': folder}}
    with deployment.AllInOne(env=env, config=config) as one:
        flight.manage(one, 'import-nodes', str(nodes))
        yield one


@pytest.fixture(scope='module')
def client(one):
    token = flight.manage(one, 'generate-token', '--label', 'alice').strip()
    return flight.Flight(f'{one.url}/action', token, patience=30)


def status_of(client, ticket):
    _status, seen = client.ask('GET', f'/tickets/{ticket["id"]}?include=jobs')
    (job,) = [one for one in seen['included'] if one['type'] == 'jobs']
    return job['attributes']['status']


def test_a_node_runs_the_script_of_its_first_rank_that_has_one(client):
    shown = client.run_and_print('show', 'metal[01-02]', 'a b', '*', group=True)
    assert sorted(shown.decode().splitlines()) == [
        'metal01: metal metal01 a b *',
        'metal02: metal metal02 a b *',
    ]


def environment_of(client, node):
    text = client.run_and_print('show', node).decode()
    return dict(line.split('=', 1) for line in text.rstrip('\n').split('\0') if line)


def test_a_script_has_what_it_is_told_and_nothing_else(client, folder):
    found = environment_of(client, 'plain01')
    assert found.pop('HOME').startswith('/')
    # what a shell sets by itself
    for name in ('PWD', 'OLDPWD', 'SHLVL', '_'):
        found.pop(name, None)
    assert found == {
        'PATH': '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        'LANG': 'C.UTF-8',
        'SCRIPT_ROOT': str(folder),
        'command': 'show',
        'name': 'plain01',
        'request_username': 'root',
        'request_uid': '0',
    }


def test_parameters_reach_a_script_as_they_are(client, folder):
    script = folder / 'show' / 'metal.sh'
    before = script.read_text()
    script.write_text('#!/bin/sh\nenv -0\n')
    try:
        found = environment_of(client, 'metal01')
    finally:
        script.write_text(before)
    assert found['quoted'] == 'it\'s "so"\nand $(id) `id` ;'
    assert (found['count'], found['flag'], found['ip']) == ('7', 'true', '10.0.0.1')
    assert json.loads(found['bag']) == {'a': [1, 'ü']}
    assert found['request_username'] == 'root'


@pytest.mark.parametrize('name', ['-rf', '$(id)'])
def test_a_nodes_name_is_text_and_nothing_else(client, name):
    assert client.run_and_print('show', name).decode() == f'metal {name}\n'


def test_a_script_for_a_rank_goes_before_the_built_in(client, one):
    one.register('mock01', 'mock', {})
    ticket = client.run('power-status', 'metal01')
    assert client.print(ticket) == b'SCRIPT\n'
    assert status_of(client, ticket) == 9
    other = client.run('power-status', 'mock01')
    assert client.print(other) == b'the power status is not known: Mock Status\n'
    assert status_of(client, other) == 1


def test_a_command_without_nodes_runs_once(client):
    assert client.run_and_print('site', None, 'x') == b'here is nobody x\n'


def test_an_invalid_command_is_not_there_and_is_named(client, one):
    assert client.ask('GET', '/commands/broken')[0] == 404
    assert 'its default script is not executable' in one.log()


def test_what_changes_is_seen_without_a_restart(client, folder):
    assert client.ask('GET', '/commands/new')[0] == 404
    write(folder, 'new', {'default.sh': 'echo new'}, 'help: {summary: New}')

    def there():
        return client.ask('GET', '/commands/new')[0] == 200

    deployment.wait_until(there, 30, 'the new command')
    deployment.wait_until(
        lambda: client.run_and_print('new', 'plain01') == b'new\n', 30, 'its first run', 1
    )
    (folder / 'new').rename(folder / '.old')
    deployment.wait_until(lambda: not there(), 30, 'its end')


def test_a_script_that_is_gone_when_it_is_run_is_an_error(client, folder):
    write(folder, 'brief', {'default.sh': 'echo x'}, 'help: {summary: Brief}')
    deployment.wait_until(lambda: client.ask('GET', '/commands/brief')[0] == 200, 30, 'the command')
    (folder / 'brief' / 'default.sh').write_text('#!/no/such/interpreter\n')
    ticket = client.run('brief', 'plain01')
    client.print(ticket)
    assert status_of(client, ticket) not in (None, 0)
