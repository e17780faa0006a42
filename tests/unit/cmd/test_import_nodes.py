"""``obmd-manage import-nodes`` and ``group``: a fleet out of a file."""

import io
import os

import pytest

from obmd.cmd.manage import import_nodes
from obmd.common import secrets
from obmd.db import audit
from obmd.db import descriptions
from obmd.db import engine
from obmd.db import nodes
from obmd.db import owners
from obmd.db import ranks

FILE = """
__meta__:
  metal: &metal
    ranks: [metal]
    ipmi_username: admin
    ipmi_password: geheim
n1:
  <<: *metal
  ip: 10.1.0.1
  gpu: true
  disks: [sda, {size: 5}]
n2:
  <<: *metal
  ipmi_host: 10.0.0.2
login1:
  ranks: login
"""


@pytest.fixture
def set_up(run):
    run('db', 'upgrade')
    run('key', 'new')
    engine.setup()
    return run


@pytest.fixture
def load(set_up, tmp_path):
    """``load(text, *options)`` imports a file.  :returns: (status, lines, error output)."""

    def load(text, *options):
        path = tmp_path / 'nodes.yaml'
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        status, output, problems = set_up('import-nodes', str(path), *options)
        assert 'geheim' not in output + problems
        engine.setup()
        return status, output.splitlines(), problems

    return load


def account(name):
    keyring = secrets.Keyring.load(secrets.key_paths()[0])
    return secrets.open_info(keyring, nodes.get(name))


def said(name):
    uuid = nodes.get(name).uuid
    return ranks.get(uuid), descriptions.get(uuid).parameters


def test_nodes_are_registered_as_the_file_says(load):
    status, lines, problems = load(FILE)
    assert (status, problems) == (0, '')
    assert lines == [
        'n1: created',
        'n2: created',
        'login1: created: no credentials, so nothing but scripts',
        '3 created, 0 changed, 0 unchanged, 0 refused',
    ]
    assert said('n1') == (
        ['metal'],
        {'ip': '10.1.0.1', 'gpu': True, 'disks': ['sda', {'size': 5}]},
    )
    assert said('login1') == (['login'], {})
    assert [nodes.get(name).driver for name in ('n1', 'n2', 'login1')] == ['ipmi', 'ipmi', 'none']
    assert account('n1') == {'addr': 'n1.bmc', 'port': 623, 'user': 'admin', 'password': 'geheim'}
    assert account('n2')['addr'] == '10.0.0.2'


def test_the_same_file_again_changes_nothing(load):
    load(FILE)
    before = [nodes.get(name) for name in ('n1', 'n2', 'login1')]
    assert load(FILE)[:2] == (0, ['0 created, 0 changed, 3 unchanged, 0 refused'])
    assert [nodes.get(name) for name in ('n1', 'n2', 'login1')] == before


def test_what_the_file_says_otherwise_is_changed_and_told(load):
    load(FILE)
    uuid = nodes.get('n1').uuid
    owners.claim(uuid, 'c1', None, 0)
    nodes.refuse_credentials(uuid, 'wrong password')
    other = (
        FILE.replace('geheim', 'geheim2')
        .replace('gpu: true', 'gpu: 2')
        .replace('ranks: login', 'ranks: [login, x]')
    )
    assert load(other)[:2] == (
        0,
        [
            'n1: changed: parameters, credentials',
            'n2: changed: credentials',
            'login1: changed: ranks',
            '0 created, 3 changed, 0 unchanged, 0 refused',
        ],
    )
    assert said('n1')[1]['gpu'] == 2
    assert said('login1')[0] == ['login', 'x']
    assert account('n1')['password'] == 'geheim2'
    node = nodes.get('n1')
    assert (node.uuid, node.owner, node.credentials_refused) == (uuid, 'c1', None)


def test_a_dry_run_tells_and_does_nothing(load):
    status, lines, _ = load(FILE, '--dry-run')
    assert status == 0
    assert lines[0] == 'n1: would be created'
    assert lines[-1].endswith('(dry run: nothing was done)')
    assert nodes.get('n1') is None
    load(FILE)
    before = nodes.get('n1')
    lines = load(FILE.replace('geheim', 'geheim2'), '--dry-run')[1]
    assert 'n1: would be changed: credentials' in lines
    assert nodes.get('n1') == before
    assert len(audit.page()) == 1


def test_nodes_that_are_not_in_the_file_stay_and_are_named(load):
    load('n1:\nn2:\nn3: {a: 1}\nx:\n')
    lines = load('n2:\n')[1]
    assert lines[-1] == 'not in the file, and left alone: n[1,3],x'
    assert said('n3') == ([], {'a': 1})


def test_one_that_cannot_be_taken_does_not_stop_the_others(load):
    status, lines, problems = load(
        """
n1: {PATH: /evil, ranks: [a]}
n2: {ipmi_password: geheim}
n3: [a, list]
n4: {ranks: [a b]}
n5: {ip: 2026-11-20}
n6: {empty: }
7: {}
yes: {}
? !!binary "////"
: {}
"n\\n9": {a-b: 1}
"n[1-999999999]": {}
n10: {ranks: [fine]}
"""
    )
    assert status == 1 and '11 nodes were refused' in problems
    told = dict(line.split(': ', 1) for line in lines[:12])
    assert told['n[1-999999999]'].startswith('refused: a node name has no spaces')
    assert told['n1'] == 'refused: parameters: PATH would change how scripts run'
    assert 'ipmi_username' in told['n2']
    assert told['n3'] == 'refused: must be a map of ranks and parameters'
    assert 'ranks.0 must be a word' in told['n4']
    assert 'a date wants quotes' in told['n5']
    assert 'parameters.empty has no value' in told['n6']
    assert told['7'] == told['True'] == 'refused: a name must be text: put it in quotes'
    assert 'a-b' in told['n\\n9']
    assert told['n10'].startswith('created')
    assert [node.name for _, node in nodes.page(0, 100)] == ['n10']


@pytest.mark.parametrize(
    ('text', 'why'),
    [
        ('n1: {a: 1}\nn2: {a: 1}\nn1: {b: 2}\n', 'line 3: "n1" stands there twice'),
        ('n1: {a: 1, a: 2}', '"a" stands there twice'),
        ('- n1', 'it is no map of nodes'),
        ('text', 'it is no map of nodes'),
        ('n1: [', 'line 2'),
        ('n1: *nope', 'undefined alias'),
        ('n1: {a: 2026-02-31}', 'line 1: a value is no timestamp'),
        ('n1:\n  a: !!bool geheim', 'line 2: a value is no bool'),
        ('n1: {a: !!int ""}', 'line 1: a value is no int'),
        ('n1: {a: !!timestamp x}', 'line 1: a value is no timestamp'),
        ('n1: !!python/object/apply:os.system ["id"]', 'constructor'),
        ('[' * 100_000, 'nested too deeply'),
        (b'n1: \x00', 'no YAML'),
        (b'\xff\xfe\xff', 'no YAML'),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_whole(load, text, why):
    status, lines, problems = load(text)
    assert (status, lines) == (1, [])
    assert why in problems and 'Traceback' not in problems
    assert nodes.page(0, 10) == []


def test_a_file_that_would_grow_without_end_is_refused(load):
    text = 'a0: &a0 {' + ', '.join(f'k{n}: 1' for n in range(10)) + '}\n'
    for n in range(1, 12):
        text += f'a{n}: &a{n} {{<<: [{", ".join([f"*a{n - 1}"] * 10)}]}}\n'
    assert 'too much is merged' in load(text)[2]


def test_a_file_that_is_not_there_or_too_long_is_refused(load, set_up, tmp_path, monkeypatch):
    assert 'No such file' in set_up('import-nodes', str(tmp_path / 'none'))[2]
    assert 'directory' in set_up('import-nodes', str(tmp_path))[2]
    monkeypatch.setattr(import_nodes, 'LARGEST', 10)
    assert 'longer than 10 bytes' in load('n1: {a: 12345}')[2]


def test_it_is_read_from_standard_input(set_up, monkeypatch):
    monkeypatch.setattr('sys.stdin', io.TextIOWrapper(io.BytesIO(b'n1: {a: 1}')))
    status, output, _ = set_up('import-nodes', '-', '--group', 'rack7')
    assert status == 0 and 'n1: created' in output
    engine.setup()
    assert nodes.get('n1').conductor_group == 'rack7'


class TestWithoutThePrivateKey:
    @pytest.fixture(autouse=True)
    def loaded(self, load):
        load(FILE)
        path = secrets.key_paths()[0]
        os.rename(path, f'{path}.away')
        yield
        os.rename(f'{path}.away', path)

    def test_credentials_that_cannot_be_compared_stay_and_that_is_told(self, load):
        before = nodes.get('n1')
        status, lines, _ = load(FILE.replace('geheim', 'geheim2'))
        assert status == 0
        assert lines[0] == '0 created, 0 changed, 3 unchanged, 0 refused'
        assert lines[1].startswith('not compared: the credentials of n[1-2]: the private key')
        assert nodes.get('n1') == before

    def test_they_are_taken_when_that_is_said(self, load):
        before = nodes.get('n1')
        lines = load(FILE.replace('geheim', 'geheim2'), '--credentials')[1]
        assert 'n1: changed: credentials' in lines
        assert nodes.get('n1').sealed_info != before.sealed_info

    def test_another_address_needs_no_comparing(self, load):
        lines = load(FILE.replace('10.0.0.2', '10.0.0.3'))[1]
        assert lines[0] == 'n2: changed: credentials'
        assert nodes.get('n2').address == '10.0.0.3:623'


def test_a_node_that_something_runs_on_keeps_its_bmc(load):
    load(FILE)
    uuid = nodes.get('n1').uuid
    owners.claim(uuid, 'c1', None, 0)
    nodes.set_lock(uuid, 'c1', 1, 'power cycle', 'admin', 1.0)
    status, lines, _ = load(FILE.replace('geheim', 'geheim2'))
    assert status == 1 and lines[0].startswith('n1: refused: power cycle runs')


def test_what_was_done_is_in_the_audit_trail(load):
    load(FILE)
    load(FILE.replace('ranks: login', 'ranks: x'))
    changed, created = audit.page()
    assert (created.action, created.nodes) == ('node import: created', 'n[1-2],login1')
    assert (changed.action, changed.nodes) == ('node import: changed', 'login1')
    assert changed.claimed_uid == os.getuid()


class TestGroups:
    def test_a_group_is_set_listed_and_removed(self, load, set_up):
        load('n1:\nn2: {ranks: gpu}\nn3: {ranks: gpu}\n')
        assert set_up('group', 'set', 'front', 'n1,@gpu!n3')[:2] == (0, 'front: n[1-2]\n')
        assert 'front n[1-2]' in set_up('group', 'list', '-f', 'value')[1]
        assert set_up('group', 'remove', 'front')[0] == 0
        assert set_up('group', 'list', '-f', 'value')[1] == ''
        engine.setup()
        assert [one.action for one in audit.page(limit=2)] == [
            'group remove front',
            'group set front',
        ]

    @pytest.mark.parametrize(
        ('argv', 'why'),
        [
            (('set', 'a', 'zz'), 'no such node: zz'),
            (('set', 'a', '@nosuch'), '"@nosuch"'),
            (('set', 'a b', 'n1'), 'name of a group'),
            (('remove', 'nosuch'), 'no group "nosuch"'),
        ],
    )
    def test_what_cannot_be_done_is_told(self, set_up, argv, why):
        status, _, problems = set_up('group', *argv)
        assert status == 1 and why in problems
