import json
import os
import stat

import pytest

from obmd.cmd.manage import app as manage
from obmd.common import secrets
from obmd.db import agents
from obmd.db import conductors
from obmd.db import descriptions
from obmd.db import engine
from obmd.db import nodes
from obmd.db import owners
from obmd.db import schema


def test_a_database_is_set_up_checked_and_named(run):
    assert run('db', 'check')[0] == 1
    newest = schema.head()
    assert run('db', 'upgrade') == (0, f'from revision nothing to {newest}\n', '')
    assert run('db', 'upgrade') == (0, f'already at revision {newest}\n', '')
    assert run('db', 'check') == (0, '', '')
    assert run('db', 'version') == (0, f'database: {newest}\nobmd: {newest}\n', '')


@pytest.mark.parametrize(
    'argv',
    [
        ['db', 'check'],
        ['rekey'],
        ['node', 'list'],
        ['node', 'show', 'x'],
        ['node', 'retry', 'x'],
        ['conductor', 'list'],
        ['key', 'list'],
    ],
)
def test_an_error_is_one_line_and_names_the_command_that_helps(run, argv):
    status, output, said = run(*argv)
    assert (status, output) == (1, '')
    assert said.count('\n') == 1
    assert said.startswith('obmd-manage: ')
    assert 'run "obmd-manage ' in said


def test_a_configuration_file_may_stand_after_the_command(run, tmp_path):
    other = tmp_path / 'other.conf'
    other.write_text(f'[DEFAULT]\nstate_path = {tmp_path}/other\n')
    assert run('db', 'upgrade', '--config-file', str(other))[0] == 0
    assert (tmp_path / 'other' / 'obmd.sqlite').exists()
    assert not (tmp_path / 'state').exists()


def test_the_environment_sets_options(run, tmp_path, monkeypatch):
    monkeypatch.setenv('OS_DATABASE__CONNECTION', f'sqlite:///{tmp_path}/env.sqlite')
    assert run('db', 'upgrade')[0] == 0
    assert (tmp_path / 'env.sqlite').exists()


@pytest.mark.parametrize(
    ('connection', 'said'),
    [
        ('postgresql://obmd:geheim@127.0.0.1:1/obmd', 'postgresql at 127.0.0.1:1: Connection ref'),
        ('nonsense:geheim', 'not a database URL'),
        ('oracle://obmd:geheim@h/d', '"oracle" is not one of'),
    ],
)
def test_a_database_that_cannot_be_used_is_one_line_without_the_password(
    run, monkeypatch, connection, said
):
    monkeypatch.setenv('OS_DATABASE__CONNECTION', connection)
    status, output, errors = run('db', 'check')
    assert (status, output, errors.count('\n')) == (1, '', 1)
    assert said in errors
    assert 'geheim' not in errors


def test_a_missing_configuration_file_is_one_line(run):
    status, output, said = run('--config-file', '/none.conf', 'db', 'check')
    assert (status, output) == (1, '')
    assert '/none.conf' in said
    assert said.count('\n') == 1


def test_keys_are_made_added_and_listed_by_id(run, tmp_path):
    first = run('key', 'new')[1].split()[1]
    second = run('key', 'new')[1].split()[1]
    status, output, _ = run('key', 'list', '-f', 'json')
    assert status == 0
    listed = [(one['Key id'], one['Half'], one['Newest']) for one in json.loads(output)]
    assert listed == [
        (first, 'private', False),
        (second, 'private', True),
        (second, 'public', True),
    ]
    for word in (tmp_path / 'state' / 'conductor.key').read_text().split()[1::2]:
        assert word not in output


def test_an_api_host_lists_its_public_key(run, tmp_path):
    made = run('key', 'new')[1].split()[1]
    os.unlink(tmp_path / 'state' / 'conductor.key')
    output = run('key', 'list', '-f', 'json')[1]
    assert [(one['Key id'], one['Half']) for one in json.loads(output)] == [(made, 'public')]


def test_rekey_moves_every_node_to_the_newest_key(fleet, monkeypatch):
    monkeypatch.setattr(manage.base, 'PAGE', 2)
    newest = fleet('key', 'new')[1].split()[1]
    status, output, said = fleet('rekey')
    assert (status, output) == (0, f'newest key: {newest}\n')
    assert '3 nodes seen, 3 sealed anew, 0 failed' in said
    engine.setup()
    keyring = secrets.Keyring.load(secrets.key_paths()[0])
    for number, (_, node) in enumerate(nodes.page(0, 10)):
        assert node.key_id == newest
        assert secrets.open_info(keyring, node)['password'] == f'geheim{number}'
    assert '3 nodes seen, 0 sealed anew, 0 failed' in fleet('rekey')[2]


def test_rekey_tells_of_a_row_that_cannot_be_opened_and_does_the_rest(fleet):
    damaged = nodes.get('n1')
    nodes.reseal(damaged.uuid, damaged.sealed_info, nodes.get('n0').sealed_info, damaged.key_id)
    fleet('key', 'new')
    status, _, said = fleet('rekey')
    assert status == 1
    assert 'n1: the sealed credentials are not those of this node' in said
    assert '3 nodes seen, 2 sealed anew, 1 failed' in said
    assert 'geheim' not in said


def test_rekey_moves_each_instance_info_to_the_newest_key(fleet, monkeypatch):
    monkeypatch.setattr(manage.base, 'PAGE', 1)
    public = secrets.PublicKey.load(secrets.key_paths()[1])
    for name in ('n0', 'n1', 'n2'):
        uuid = nodes.get(name).uuid
        of = 'another' if name == 'n1' else uuid
        sealed, key_id = secrets.seal_json(public, of, {'configdrive': 'geheim'})
        descriptions.change(uuid, sealed_instance_info=sealed, key_id=key_id)
    newest = fleet('key', 'new')[1].split()[1]
    status, _, said = fleet('rekey')
    assert status == 1
    assert "n1: what is sealed is not this node's" in said
    assert '3 nodes seen, 5 sealed anew, 1 failed' in said
    engine.setup()
    keyring = secrets.Keyring.load(secrets.key_paths()[0])
    for name in ('n0', 'n2'):
        uuid = nodes.get(name).uuid
        found = descriptions.get(uuid)
        assert found.key_id == newest
        opened = secrets.open_json(keyring, uuid, found.sealed_instance_info, newest)
        assert opened == {'configdrive': 'geheim'}
    assert '3 nodes seen, 0 sealed anew, 1 failed' in fleet('rekey')[2]


def test_what_is_known_of_an_agent_is_shown_by_name_and_uuid(fleet):
    uuid = nodes.get('n1').uuid
    descriptions.change(uuid, ['52:54:00:00:00:02', '52:54:00:00:00:01'])
    agents.expect(uuid, 4e9)
    agents.issue_token(uuid, 'a' * 64, agents.get(uuid).generation, lambda: 1000.0)
    said = {'url': 'https://10.0.0.9:9999', 'status_message': 'x\x1b[2J', 'heartbeat_at': 1002.5}
    agents.record([(uuid, 'a' * 64, said)])
    for ident in ('n1', uuid):
        shown = json.loads(fleet('node', 'show', ident, '-f', 'json')[1])
        assert shown['ports'] == '52:54:00:00:00:01 52:54:00:00:00:02'
        assert shown['expect_agent'] == 'yes'
        assert shown['agent_url'] == 'https://10.0.0.9:9999'
        assert shown['agent_status_message'] == 'x\\x1b[2J'
        assert shown['agent_last_heartbeat'] == '1970-01-01T00:16:42Z'
        assert 'aaaa' not in str(shown)


def test_nodes_are_listed_and_shown_without_secrets(fleet):
    nodes.set_token('n1', 'thehash', 'theid')
    nodes.refuse_credentials(nodes.get('n1').uuid, 'wrong password\x1b[2J')
    sealed = nodes.get('n1').sealed_info
    _, listed, _ = fleet('node', 'list', '-f', 'json')
    rows = json.loads(listed)
    assert [row['Name'] for row in rows] == ['n0', 'n1', 'n2']
    assert [row['Token'] for row in rows] == ['no', 'yes', 'no']
    assert rows[1]['Problem'] == 'wrong password\\x1b[2J'
    _, shown, _ = fleet('node', 'show', 'n1')
    assert '10.0.0.1' in shown
    assert 'wrong password' in shown
    for output in (listed, shown):
        for secret in ('thehash', 'theid', sealed[:20], '\x1b'):
            assert secret not in output


def test_what_holds_a_node_is_shown(fleet):
    uuid = nodes.get('n1').uuid
    epoch = owners.claim(uuid, 'a' * 32, None, 0)
    caller = 'the admin from 192.0.2.7 (request req-1)'
    nodes.set_lock(uuid, 'a' * 32, epoch, 'power cycle', caller, 1795176190.0)
    shown = json.loads(fleet('node', 'show', 'n1', '-f', 'json')[1])
    assert shown['lock_purpose'] == 'power cycle'
    assert shown['lock_caller'] == caller
    assert shown['lock_since'] == '2026-11-20T12:03:10Z'


def test_an_unknown_node_is_one_line(fleet):
    for argv in (['node', 'show', 'n9'], ['node', 'retry', 'n9']):
        assert fleet(*argv) == (1, '', 'obmd-manage: there is no node "n9"\n')


def test_refused_credentials_may_be_tried_again(fleet):
    nodes.refuse_credentials(nodes.get('n1').uuid, 'wrong password')
    assert fleet('node', 'retry', 'n1') == (0, '', '')
    engine.setup()
    assert nodes.get('n1').credentials_refused is None


def test_conductors_are_listed_with_their_nodes(fleet):
    conductors.register(conductors.Conductor('a' * 32, 'host1', 'rack1', ('ipmi',), 'http://h1'))
    owners.claim(nodes.get('n1').uuid, 'a' * 32, None, 0)
    (row,) = json.loads(fleet('conductor', 'list', '-f', 'json')[1])
    assert (row['Host'], row['Group'], row['State'], row['Nodes']) == (
        'host1',
        'rack1',
        'live',
        1,
    )
    listed = json.loads(fleet('node', 'list', '-f', 'json')[1])
    assert [one['Owner'] for one in listed] == ['', 'host1', '']


def test_nodes_that_no_conductor_can_own_are_listed_with_the_reason(fleet):
    def problems():
        listed = json.loads(fleet('node', 'list', '-f', 'json')[1])
        engine.setup()
        return [one['Problem'] for one in listed]

    group, driver = nodes.get('n1').conductor_group, nodes.get('n1').driver
    assert len(set(problems())) == 1
    assert problems()[0].startswith('no live conductor of')
    assert group in problems()[0] and driver in problems()[0]
    conductors.register(conductors.Conductor('a' * 32, 'host1', group, (driver,), 'http://h1'))
    assert problems() == ['', '', '']
    owners.claim(nodes.get('n1').uuid, 'a' * 32, None, 0)
    conductors.mark_dead('a' * 32)
    assert all(problem.startswith('no live conductor of') for problem in problems())


def test_a_token_is_printed_or_written_but_not_both(run, tmp_path):
    status, output, _ = run('token', 'new')
    assert status == 0
    assert secrets.parse_token(output.strip())
    path = tmp_path / 'state' / 'admin-token'
    assert run('token', 'new', '--write') == (0, f'{path}\n', '')
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secrets.read_admin_token(str(path)) not in output


def test_every_command_tells_what_it_does_and_takes_a_file(run):
    for name in manage.COMMANDS:
        status, output, _ = run(*name.split(), '--help')
        assert status == 0
        assert '--config-file' in output
        assert len(output.splitlines()) > 6


def test_without_a_command_it_lists_them(run):
    status, output, _ = run()
    assert status == 0
    for name in manage.COMMANDS:
        assert name in output


def test_a_wrong_command_or_option_is_status_2(run):
    assert run('bogus')[0] == 2
    assert run('db', 'check', '--bogus')[0] == 2


def test_an_unexpected_error_is_one_line_too(run, monkeypatch):
    def fail():
        raise ZeroDivisionError('token=geheim\nsecond line')

    monkeypatch.setattr(engine, 'setup', fail)
    status, _, said = run('db', 'check')
    assert status == 1
    assert said.count('\n') == 1
    assert 'geheim' not in said
