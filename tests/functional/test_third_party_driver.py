"""A driver from elsewhere: a package with an entry point, and not a line changed in obmd."""

import os
import subprocess
import sys
import zipfile

import pytest

from tests.functional.deployment import AllInOne
from tests.functional.refusals import run
from tests.functional.test_obmd_door import check_error

#: a wheel (PEP 427) is these files and its modules; so no build tool needs to be installed
METADATA = {
    'WHEEL': 'Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
    'METADATA': 'Metadata-Version: 2.1\nName: acme-obm\nVersion: 1.0\n',
    'entry_points.txt': '[obmd.drivers]\n'
    'acme = acme_obm:AcmeDriver\n'
    'broken = acme_obm_broken:Driver\n',
    'RECORD': '',
}

DRIVER = '''\
"""Power through a file, as a stand-in for somebody's own hardware; no console, no boot device."""

import os

from obmd.common import errors
from obmd.drivers import base


class AcmeDriver(base.Driver, base.Power):
    aliases = ('http://acme.example/obm',)
    secret_fields = ('key',)
    schema = {
        'type': 'object',
        'required': ['file', 'key'],
        'properties': {
            'file': {'type': 'string', 'description': 'Where the state is.'},
            'key': {'type': 'string'},
        },
    }

    @classmethod
    def address(cls, info):
        return info['file']

    def _log(self, what):
        with open(self.info['file'] + '.log', 'a') as file:
            file.write(f'{self.node.name} {what}\\n')

    def power_status(self, deadline):
        self._log('status')
        if os.path.exists(self.info['file'] + '.broken'):
            raise errors.BmcRefused('the file says no', self.node.name)
        return 'on' if os.path.exists(self.info['file']) else 'off'

    def set_power(self, action, deadline):
        self._log(action)
        if action == self.ON:
            open(self.info['file'], 'w').close()
        elif os.path.exists(self.info['file']):
            os.remove(self.info['file'])
'''

BROKEN = 'import a_module_that_nobody_has\n'


@pytest.fixture(scope='module')
def package(tmp_path_factory):
    """:returns: the folder that the package was installed into by pip, without any index."""
    source, target = tmp_path_factory.mktemp('source'), tmp_path_factory.mktemp('installed')
    wheel = source / 'acme_obm-1.0-py3-none-any.whl'
    with zipfile.ZipFile(wheel, 'w') as file:
        file.writestr('acme_obm.py', DRIVER)
        file.writestr('acme_obm_broken.py', BROKEN)
        for name, text in METADATA.items():
            file.writestr(f'acme_obm-1.0.dist-info/{name}', text)
    command = [sys.executable, '-m', 'pip', 'install', '-q', '--disable-pip-version-check']
    command += ['--no-index', '--no-deps', '--target', str(target), str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope='module')
def obmd(package):
    config = {'drivers': {'enabled': 'ipmi,acme'}}
    with AllInOne(config=config, env={'PYTHONPATH': str(package)}) as deployment:
        yield deployment


@pytest.fixture
def state(tmp_path):
    return tmp_path / 'state'


@pytest.fixture
def node(obmd, state):
    obmd.register('other', 'acme', {'file': str(state), 'key': 'hunter2-key'})
    yield obmd.node('other')
    obmd.unregister('other')


def test_it_is_used_as_any_other(node, state):
    assert node.power() == 'off'
    assert node.post('power_on').status_code == 200
    assert state.exists()
    assert node.power() == 'on'
    assert node.post('power_cycle', json={'force': True}).status_code == 200
    assert node.post('power_off').status_code == 200
    assert node.power() == 'off'
    log = (state.parent / 'state.log').read_text()
    assert log.startswith('other status\nother on\nother status\n')


def test_it_may_have_other_names(obmd, state):
    obmd.register('alias', 'http://acme.example/obm', {'file': str(state), 'key': 'k'})
    assert obmd.node('alias').power() == 'off'
    obmd.unregister('alias')


def test_its_schema_judges_what_nodes_are_registered_with(obmd):
    for info, field in (({'file': 'x'}, 'info.key'), ({'file': 5, 'key': 'k'}, 'info.file')):
        answer = obmd.as_admin('PUT', '/node/wrong', json={'type': 'acme', 'info': info})
        check_error(answer, 400, 'invalid_input', field)


def test_its_errors_reach_the_caller(node, state):
    (state.parent / 'state.broken').touch()
    error = check_error(node.call('GET', 'power_status'), 502, 'bmc_refused', node='other')
    assert error['reason'] == 'the file says no'


def test_its_secrets_are_sealed(obmd, node):
    assert node.power()
    for folder, _, names in os.walk(obmd.state):
        for name in names:
            with open(os.path.join(folder, name), 'rb') as file:
                assert b'hunter2-key' not in file.read(), name
    assert 'hunter2-key' not in obmd.log()


@pytest.mark.parametrize(
    ('method', 'path', 'body', 'capability'),
    [
        ('GET', 'console', None, 'console'),
        ('PUT', 'boot_device', {'bootdev': 'pxe'}, 'boot_device'),
        ('GET', None, None, 'event_log'),
    ],
)
def test_what_it_cannot_do_is_400_without_touching_it(
    obmd, node, state, method, path, body, capability
):
    if path is None:
        answer = obmd.as_admin(method, '/api/v1/nodes/other/event_log')
    else:
        answer = node.call(method, path, json=body)
    check_error(answer, 400, 'unsupported', capability, node='other')
    assert not (state.parent / 'state.log').exists()


def test_a_sweep_reads_it_too(obmd, node):
    assert [line for _, line in obmd.sweep('other')] == [{'node': 'other', 'power_status': 'off'}]


@pytest.mark.parametrize('type_', ['mock', 'dummy', 'nosuch', 'broken', 'acme_obm:AcmeDriver'])
def test_an_unknown_or_disabled_type_names_the_enabled_ones(obmd, type_):
    answer = obmd.as_admin('PUT', '/node/wrong', json={'type': type_, 'info': {}})
    check_error(answer, 400, 'invalid_input', 'acme, ipmi')


@pytest.mark.parametrize(
    ('enabled', 'reason'),
    [('ipmi,broken', 'a_module_that_nobody_has'), ('ipmi,nosuch', 'nosuch')],
)
def test_a_driver_that_cannot_be_imported_stops_the_start(package, tmp_path, enabled, reason):
    env = {
        'PYTHONPATH': str(package),
        'OS_DRIVERS__ENABLED': enabled,
        'OS_API__LISTEN': '127.0.0.1:0',
    }
    done = run(tmp_path, 'obmd', env=env)
    assert done.returncode == 1
    assert done.stdout == ''
    (line,) = done.stderr.splitlines()
    assert line.startswith('obmd: ')
    assert reason in line
    assert done.seconds < 10
