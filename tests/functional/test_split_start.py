"""What ``obmd-api`` and ``obmd-conductor`` refuse to start with."""

import pytest

from tests.functional import refusals
from tests.functional.deployment import write_config

pytestmark = pytest.mark.needs('initdb')

#: name -> (command, options beside those of a service that runs, what the line says)
REFUSALS = {
    'no admin token': (
        'obmd-api',
        {'api': {'admin_token_file': '/nonexistent/admin'}},
        'obmd-manage token new',
    ),
    'no secret for access tokens': (
        'obmd-api',
        {'actions': {'jwt_secret_file': '/nonexistent/secret'}},
        'obmd-manage generate-jwt-secret',
    ),
    'no public key': (
        'obmd-api',
        {'secrets': {'public_key_file': '/nonexistent/pub'}},
        'obmd-manage key new',
    ),
    'plain HTTP': ('obmd-api', {'api': {'listen': '0.0.0.0:0'}}, 'plain HTTP'),
    'an address of another host': ('obmd-api', {'api': {'listen': '192.0.2.1:80'}}, '192.0.2.1:80'),
    'an unknown driver': ('obmd-api', {'drivers': {'enabled': 'nosuch'}}, 'nosuch'),
    'no private key': (
        'obmd-conductor',
        {'secrets': {'private_key_file': '/nonexistent/key'}},
        'obmd-manage key new',
    ),
    'an empty database': (
        'obmd-conductor',
        {'database': {'connection': 'sqlite:///empty.db'}},
        'obmd-manage db upgrade',
    ),
    'no database': (
        'obmd-conductor',
        {'database': {'connection': 'postgresql://u:hunter2@127.0.0.1:1/x'}},
        'database',
    ),
    'plain tickets': (
        'obmd-conductor',
        {'conductor': {'callback_url': 'http://192.0.2.1:1/'}},
        'callback_url',
    ),
}


@pytest.fixture(scope='module')
def refused(split, tmp_path_factory):
    cases = {}
    for name, (command, options, _) in REFUSALS.items():
        folder = tmp_path_factory.mktemp('refused')
        config = split.api_config if command == 'obmd-api' else split.config_of('c1')
        own = {
            'DEFAULT': {'state_path': str(folder)},
            'conductor': {'listen': '127.0.0.1:0'},
            'api': {'workers': 1, 'listen': '127.0.0.1:0'},
        }
        more = write_config(str(folder / 'own.conf'), own, options)
        cases[name] = ([folder, command, '--config-file', config, '--config-file', more], {})
    return refusals.run_all(cases)


@pytest.mark.parametrize('name', REFUSALS)
def test_a_service_refuses_to_start_with(refused, name):
    command, _, reason = REFUSALS[name]
    refusals.check(refused[name], command, reason, limit=30)


def test_two_conductors_of_one_state_folder_are_refused(split):
    command = [split.folder, 'obmd-conductor', '--config-file', split.config_of('c1')]
    done = refusals.run(*command, env={'OS_CONDUCTOR__LISTEN': '127.0.0.1:0'})
    assert done.returncode == 1
    assert 'conductor.lock' in done.stderr.splitlines()[-1]
    split.wait_for()
