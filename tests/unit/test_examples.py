"""The examples in etc/obmd are what the programs that read them take."""

import json
import pathlib
import re
import shutil
import subprocess

import pytest

from obmd.common import commands
from obmd.conductor import rpcapi
from obmd.conf import CONF

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / 'etc/obmd'
UNITS = sorted(path.name for path in EXAMPLES.glob('*.service'))
#: directives that make a unit harmless
HARDENING = re.compile(
    r'^(UMask|NoNewPrivileges|Protect\w+|Private\w+|Restrict\w+|LockPersonality|SystemCall\w+'
    r'|CapabilityBoundingSet)=.*$',
    re.MULTILINE,
)
HOST = 'obmd.conductor.rack1-conductor'
REPLIES = 'reply_0123456789abcdef0123456789abcdef'


def setting(text, name):
    return re.search(rf'^{name}=(.*)$', text, re.MULTILINE).group(1)


@pytest.mark.parametrize('name', UNITS)
def test_systemd_takes_a_unit(name, tmp_path, program):
    target = tmp_path / name.replace('@.', '@rack1.')
    # what it starts need not be installed here
    target.write_text(re.sub(r'/opt/obmd/bin/\S+', '/bin/true', (EXAMPLES / name).read_text()))
    if '@' in name:
        shutil.copy(target, tmp_path / name)
    done = subprocess.run(
        [program('systemd-analyze'), 'verify', '--man=no', str(target)],
        capture_output=True,
        text=True,
    )
    complaints = [line for line in done.stderr.splitlines() if name.partition('.')[0] in line]
    assert not complaints, done.stderr


@pytest.mark.parametrize('name', UNITS)
def test_all_units_are_as_hard(name):
    texts = [
        {match.group(0) for match in HARDENING.finditer((EXAMPLES / unit).read_text())}
        for unit in ('obmd.service', name)
    ]
    assert texts[0]
    assert texts[0] == texts[1]


@pytest.mark.parametrize('name', [unit for unit in UNITS if 'conductor' in unit])
def test_a_conductor_has_the_time_that_it_needs_to_stop(name):
    seconds = float(setting((EXAMPLES / name).read_text(), 'TimeoutStopSec'))
    assert seconds > CONF.conductor.handover_timeout + CONF.conductor.stop_timeout + 2


def test_each_conductor_of_a_host_has_a_state_folder_of_its_own():
    text = (EXAMPLES / 'obmd-conductor@.service').read_text()
    state = '/var/lib/obmd/%i'
    assert setting(text, 'WorkingDirectory') == state
    assert setting(text, 'Environment') == f'OS_DEFAULT__STATE_PATH={state}'
    assert setting(text, 'StateDirectory').split() == ['obmd', 'obmd/%i']
    assert '--config-file /etc/obmd/conductor-%i.conf' in setting(text, 'ExecStart')
    assert (EXAMPLES / 'conductor-rack1.conf').exists()


def test_a_request_is_sent_to_another_api_only_when_nothing_was_sent():
    text = (EXAMPLES / 'haproxy.cfg').read_text()
    assert re.findall(r'^\s*retry-on (.*)$', text, re.MULTILINE) == ['conn-failure']
    assert 'shutdown-sessions' not in re.sub(r'#.*', '', text)


def test_the_proxy_logs_no_query_and_no_header():
    (format_,) = re.findall(
        r'^\s*log-format "(.*)"$', (EXAMPLES / 'haproxy.cfg').read_text(), re.MULTILINE
    )
    assert not {'%r', '%HU', '%HQ', '%hr', '%hs'} & set(re.findall(r'%\w+', format_))


@pytest.mark.parametrize('right', ['configure', 'write', 'read'])
def test_the_broker_permits_our_names_and_no_others(right):
    definitions = json.loads((EXAMPLES / 'rabbitmq-definitions.json').read_text())
    (permission,) = definitions['permissions']
    pattern = re.compile(permission[right])
    ours = ['obmd', rpcapi.TOPIC, HOST, f'{rpcapi.TOPIC}_fanout', REPLIES]
    assert all(pattern.search(name) for name in ours)
    for other in ('obmd2', 'nova', 'amq.topic', 'xobmd', 'amq.rabbitmq.trace', 'notifications'):
        assert not pattern.search(other), other
    assert bool(pattern.search('amq.default')) == (right == 'write')


def test_only_queues_that_belong_to_a_host_expire_by_policy():
    (policy,) = json.loads((EXAMPLES / 'rabbitmq-definitions.json').read_text())['policies']
    assert re.search(policy['pattern'], HOST)
    assert not re.search(policy['pattern'], rpcapi.TOPIC)
    assert policy['definition']['expires'] >= 3_600_000


def test_the_example_of_a_command_is_a_whole_one():
    folder = EXAMPLES / 'commands-example' / 'load'
    found = commands.read(str(folder.parent), folder.name, commands.files(folder))
    assert found.ranks == ['aws', 'default']
    assert found.notes == ()
