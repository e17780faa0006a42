"""``obm`` with a running obmd and its simulated machines."""

import json
import os
import signal
import subprocess

import pytest

from tests.functional.client.test_command_line import settings
from tests.functional.deployment import BIN
from tests.functional.deployment import AllInOne
from tests.functional.deployment import wait_until

#: name -> (metadata, what default.sh does)
COMMANDS = {
    'greet': ('help: {summary: Say hello, syntax: "NAME [WHOM]"}', 'echo "hello $1 from $name"'),
    'fail': ('help: {summary: Fail}', 'echo "no" >&2; case $name in *-2) exit 7;; esac'),
    'wait': ('help: {summary: Wait}', 'echo begun; sleep 600'),
    'binary': ('help: {summary: Bytes}', r"printf 'a\377\000b'"),
    'alone': (
        'help: {summary: Without nodes, has_context: false}\nconfirmation: Really?',
        'echo "by $request_username: $*"',
    ),
    'flood': ('help: {summary: Much}', 'head -c 5000000 /dev/zero | tr "\\0" x; echo'),
    'room': ('help: {summary: Where}', 'echo "room $room, ranks of $name"'),
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('commands')
    for name, (metadata, script) in COMMANDS.items():
        (folder / name).mkdir()
        (folder / name / 'metadata.yaml').write_text(metadata + '\n')
        path = folder / name / 'default.sh'
        path.write_text(f'#!/bin/bash\n{script}\n')
        path.chmod(0o755)
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope='module')
def obmd(folder):
    config = {'actions': {'command_dirs': str(folder)}}
    options = {'args': ['--demo'], 'env': {'OBMD_DEMO_NODES': '4'}, 'wait': '/readyz'}
    with AllInOne(config=config, **options) as one:
        yield one


class Obm:
    """The command line of somebody with a token."""

    def __init__(self, obmd, token):
        self._env = settings(obmd, OBM_TOKEN=token)

    def start(self, *words, command='obm', **options):
        return subprocess.Popen(
            [os.path.join(BIN, command), *words],
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        )

    def __call__(self, *words, stdin=b'', **options):
        """:returns: (int exit status, str stdout, str stderr)."""
        with self.start(*words, **options) as process:
            out, err = process.communicate(stdin, timeout=60)
        return process.returncode, out.decode(errors='replace'), err.decode()

    def json(self, *words):
        status, out, err = self(*words, '-f', 'json')
        assert (status, err) == (0, '')
        return json.loads(out)


@pytest.fixture(scope='module')
def obm(obmd):
    return Obm(obmd, obmd.admin_token)


def test_power_is_changed_and_told(obm):
    assert obm('power', 'off', 'demo-1') == (0, 'OK\n', '')
    assert obm('power', 'status', 'demo-1') == (123, 'OFF\n', '')
    assert obm('power', 'on', 'demo-1') == (0, 'OK\n', '')
    assert obm('status', 'demo-1', command='power') == (0, 'ON\n', '')


def test_several_are_named_and_the_largest_status_counts(obm):
    assert obm('power', 'off', 'demo-2')[0] == 0
    status, out, err = obm('power', 'status', 'demo-[1-3]')
    assert (status, err) == (123, '')
    assert sorted(out.splitlines()) == ['demo-1: ON', 'demo-2: OFF', 'demo-3: ON']
    status, out, _ = obm('power', 'on', 'demo-[1-3]')
    assert (status, sorted(out.splitlines())) == (0, [f'demo-{n}: OK' for n in (1, 2, 3)])


def test_off_of_several_without_a_terminal_is_not_done(obm):
    status, out, err = obm('power', 'off', 'demo-[1-3]')
    assert (status, out) == (1, '')
    assert '--yes' in err
    assert obm('power', 'status', 'demo-[1-3]')[0] == 0


@pytest.mark.parametrize('nodes', ['demo-[1-9]', 'zzz', 'demo-[', '@nothing', 'n[1-999999999]'])
def test_a_range_with_a_mistake_runs_nothing(obm, nodes):
    before = len(obm.json('job', 'list'))
    status, out, err = obm('power', 'on', nodes)
    assert (status, out) == (1, '')
    assert err.startswith('obm: ')
    assert len(err.splitlines()) == 1
    assert len(obm.json('job', 'list')) == before


def test_a_dry_run_tells_who_would_run_what(obm):
    status, out, err = obm('power', 'off', 'demo-[1-2]', '--dry-run')
    assert (status, err) == (0, '')
    assert [line.partition(': ')[0] for line in out.splitlines()] == ['demo-1', 'demo-2']
    assert obm('power', 'status', 'demo-[1-2]')[0] == 0


def test_commands_are_listed(obm):
    listed = {one['Name']: one['Summary'] for one in obm.json('action', 'list')}
    assert listed['greet'] == 'Say hello'
    assert {'power-off', 'estate-change', 'ipmi-sel'} <= listed.keys()
    assert obm.json('action', 'show', 'greet')['syntax'] == 'NAME [WHOM]'


def test_a_command_gets_its_arguments_verbatim(obm):
    assert obm('action', 'run', 'greet', 'demo-1', '--', '-v $(id)') == (
        0,
        'hello -v $(id) from demo-1\n',
        '',
    )


def test_a_command_without_nodes_runs_once(obm):
    status, out, err = obm('action', 'run', 'alone', 'a', '--yes')
    assert (status, err) == (0, '')
    assert out.endswith(': a\n')
    assert obm('action', 'run', 'alone', 'a')[0] == 1


def test_a_node_that_fails_is_named(obm):
    status, out, err = obm('action', 'run', 'fail', 'demo-[1-3]')
    assert (status, out) == (7, '')
    lines = sorted(err.splitlines())
    assert lines == ['demo-1: no', 'demo-2: no', 'demo-3: no', 'obm: demo-2: exit status 7']


def test_bytes_are_not_changed(obm):
    with obm.start('action', 'run', 'binary', 'demo-1') as process:
        assert process.communicate(timeout=60)[0] == b'a\xff\0b'


def test_each_node_has_a_file(obm, tmp_path):
    assert obm('action', 'run', 'flood', 'demo-[1-3]', '-o', str(tmp_path)) == (0, '', '')
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes == {f'demo-{n}.out': 5000001 for n in (1, 2, 3)}


def test_a_time_limit_ends_a_run(obm):
    status, out, err = obm('action', 'run', 'wait', 'demo-1', '--timeout', '1')
    assert (status, out) == (124, 'begun\n')
    assert err.startswith('obm: demo-1: timed out')


def test_ctrl_c_cancels_what_runs(obm):
    with obm.start('action', 'run', 'wait', 'demo-[1-2]') as process:
        lines = {process.stdout.readline(), process.stdout.readline()}
        assert lines == {b'demo-1: begun\n', b'demo-2: begun\n'}
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert 'demo-1: cancelled' in err.decode()
    newest = obm.json('job', 'list')[0]
    assert (newest['State'], newest['Status'], newest['Failed']) == ('ended', 130, 2)


def test_a_job_that_was_left_is_watched_and_cancelled(obm):
    status, out, _ = obm('action', 'run', 'wait', 'demo-[1-2]', '--detach')
    assert status == 0
    job = out.strip()
    running = {'demo-1': 'running', 'demo-2': 'running'}

    def states():
        runs = obm.json('job', 'runs', job)
        return {one['Node']: one['State'] for one in runs} == running

    wait_until(states, 30, 'the start of both')
    with obm.start('job', 'watch', job) as process:
        assert process.stdout.readline().endswith(b': begun\n')
        assert obm('job', 'cancel', job) == (0, '', '')
        process.communicate(timeout=60)
    assert process.returncode == 130
    status, out, err = obm('job', 'watch', job)
    assert (status, sorted(out.splitlines())) == (130, ['demo-1: begun', 'demo-2: begun'])


def test_a_job_is_shown(obm):
    obm('action', 'run', 'greet', 'demo-1', 'you')
    newest = obm.json('job', 'list')[0]
    shown = obm.json('job', 'show', newest['Id'])
    assert (shown['command'], shown['arguments'], shown['status']) == ('greet', ['you'], 0)
    assert shown['requested_by_subject'] == 'admin'


def test_what_one_node_wrote_is_printed_while_it_writes(obm):
    job = obm('action', 'run', 'wait', 'demo-[1-2]', '--detach')[1].strip()
    with obm.start('job', 'output', job, 'demo-2') as process:
        assert process.stdout.readline() == b'begun\n'
        assert obm('job', 'cancel', job)[0] == 0
        assert process.communicate(timeout=60) == (b'', b'')
    assert process.returncode == 0


def test_a_console_is_shown_until_ctrl_c(obm):
    obm('power', 'on', 'demo-3')
    with obm.start('console', 'demo-3') as process:
        assert process.stdout.readline()
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b'Traceback' not in err


def test_a_shutdown_is_asked_for(obm):
    assert obm('power', 'soft', 'demo-4') == (0, 'OK\n', '')
    wait_until(lambda: obm('power', 'status', 'demo-4')[1] == 'OFF\n', 30, 'its end')
    obm('power', 'on', 'demo-4')


def test_a_boot_device_is_set_and_shown(obm):
    assert obm('boot', 'set', 'demo-[1-2]', 'pxe')[0] == 0
    status, out, err = obm('boot', 'show', 'demo-[1-2]')
    assert (status, err) == (0, '')
    assert sorted(out.splitlines()) == ['demo-1: pxe', 'demo-2: pxe']


def test_nodes_are_made_changed_and_deleted(obm):
    words = ['--driver', 'mock', '--obm', '-', '--rank', 'metal', '--parameter', 'room=b12']
    status, _, err = obm('node', 'create', 'm1', *words, stdin=MOCK)
    assert (status, err) == (0, '')
    shown = obm.json('node', 'show', 'm1')
    assert (shown['ranks'], shown['parameters']) == (['metal'], {'room': 'b12'})
    assert obm('node', 'set', 'm1', '--parameter', 'a=b') == (0, 'OK\n', '')
    assert obm.json('node', 'show', 'm1')['parameters'] == {'room': 'b12', 'a': 'b'}
    assert [one['Name'] for one in obm.json('node', 'list', '@metal')] == ['m1']
    assert obm('action', 'run', 'room', '@metal')[1] == 'room b12, ranks of m1\n'
    assert obm('node', 'delete', 'm1') == (0, 'OK\n', '')
    assert obm('node', 'show', 'm1')[0] == 1


#: what the driver mock wants to know
MOCK = b'{"addr": "here", "NumWrites": 0}'
IMPORT = b"""\
__meta__: {x: 1}
i1: {ranks: [metal], ipmi_username: admin, ipmi_password: hunter2, ip: 10.0.0.1}
i2: {ranks: special, PATH: /}
i3: {}
"""


def test_a_file_of_nodes_is_imported(obm):
    status, out, err = obm('node', 'import', '-', stdin=IMPORT)
    assert status == 1
    assert sorted(out.splitlines()) == ['i1: created', 'i3: created']
    assert 'obm: i2: ' in err
    assert 'PATH' in err
    shown = obm.json('node', 'show', 'i1')
    assert (shown['driver'], shown['parameters']) == ('ipmi', {'ip': '10.0.0.1'})
    assert 'hunter2' not in json.dumps(shown)
    assert obm('node', 'import', '-', stdin=b'i3: {}\n')[1] == 'i3: unchanged\n'
    assert obm('node', 'delete', 'i1,i3', '--yes')[0] == 0


def test_a_group_stands_for_nodes(obm):
    assert obm('group', 'set', 'pair', 'demo-[1-2]') == (0, '', '')
    assert [one['Name'] for one in obm.json('group', 'list')] == ['pair']
    status, out, _ = obm('power', 'status', '@pair')
    assert (status, len(out.splitlines())) == (0, 2)
    assert obm('group', 'delete', 'pair') == (0, '', '')


def test_a_user_s_token_may_what_it_says(obm, obmd):
    words = ['--label', 'bob', '--commands', 'power-status', 'greet', '--nodes', 'demo-[1-2]']
    status, out, err = obm('token', 'issue', *words)
    assert (status, err) == (0, '')
    bob = Obm(obmd, out.strip())
    assert bob('power', 'status', 'demo-[1-2]')[0] == 0
    assert bob('action', 'run', 'greet', 'demo-1', 'you')[1] == 'hello you from demo-1\n'
    assert bob('power', 'status', 'demo-3')[0] == 1
    assert bob('power', 'off', 'demo-1')[0] == 1
    assert bob('token', 'list')[0] == 1
    (mine,) = [one for one in obm.json('token', 'list') if one['Label'] == 'bob']
    assert obm('token', 'revoke', mine['Id']) == (0, '', '')
    assert bob('power', 'status', 'demo-1')[0] == 1


def test_the_audit_tells_who_did_what(obm):
    obm('power', 'on', 'demo-1')
    told = obm.json('audit', 'list', '--command', 'power-on', '--node', 'demo-1')
    assert told[0]['Subject'] == 'admin'
    assert told[0]['Nodes'] == 'demo-1'


def test_drivers_are_listed(obm):
    listed = {one['Name']: one['Capabilities'] for one in obm.json('driver', 'list')}
    assert 'power' in listed['ipmi']
    assert obm.json('driver', 'show', 'ipmi')['name'] == 'ipmi'


def test_a_watch_survives_a_restart_of_obmd(obm, obmd, tmp_path):
    """What runs is lost with the only conductor, and that is told."""
    with obm.start('action', 'run', 'wait', 'demo-[1-2]') as process:
        lines = {process.stdout.readline(), process.stdout.readline()}
        assert lines == {b'demo-1: begun\n', b'demo-2: begun\n'}
        obmd.kill()
        obmd.start()
        out, err = process.communicate(timeout=90)
    assert out == b''
    assert process.returncode == 1
    assert 'demo-1: lost' in err.decode()


def test_a_console_survives_a_restart_of_obmd(obm, obmd):
    with obm.start('console', 'demo-3') as process:
        assert process.stdout.readline()
        obmd.kill()
        obmd.start()
        # what was buffered before it was killed is no proof: a machine writes a line a second
        lines = [process.stdout.readline() for _ in range(6)]
        assert all(lines)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b'Traceback' not in err
