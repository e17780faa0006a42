"""``obmd-manage generate-token``, ``token``, ``generate-jwt-secret`` and ``audit``."""

import json
import os
import stat
import time

import jwt
import pytest

from obmd.api import bearer
from obmd.common import secrets
from obmd.db import access_tokens
from obmd.db import audit
from obmd.db import engine


@pytest.fixture
def ready(run):
    """A database and a secret, left open for the test to look at."""
    run('db', 'upgrade')
    run('generate-jwt-secret')
    engine.setup()
    return run


@pytest.fixture
def issue(ready):
    """Make a token.  :returns: (str token, dict of its claims)."""

    def issue(*argv):
        status, output, said = ready('generate-token', *argv)
        assert status == 0, said
        key = bearer.load_key(secrets.jwt_secret_path())
        return output.rstrip('\n'), jwt.decode(output.strip(), key, ['HS256'])

    return issue


def test_a_secret_is_made_for_its_owner_alone(run):
    status, output, said = run('generate-jwt-secret')
    path = output.strip()
    assert (status, said) == (0, '')
    assert path == secrets.jwt_secret_path()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert len(bearer.load_key(path)) >= 32


def test_a_secret_is_replaced_only_by_force(run):
    path = run('generate-jwt-secret')[1].strip()
    first = bearer.load_key(path)
    status, output, said = run('generate-jwt-secret')
    assert (status, output, said.count('\n')) == (1, '', 1)
    assert '--force' in said and bearer.load_key(path) == first
    assert run('generate-jwt-secret', '--force')[0] == 0
    assert bearer.load_key(path) != first


def test_the_output_of_generate_token_is_a_token_and_nothing_else(issue):
    token, claims = issue()
    assert token.count('.') == 2 and '\n' not in token
    assert set(claims) == {'admin', 'exp', 'jti'}
    assert claims['admin'] is None
    assert claims['exp'] == pytest.approx(time.time() + 30 * 86400, abs=60)


def test_scopes_are_in_the_token_and_in_the_list(ready, issue):
    _, claims = issue(
        *('--commands', 'power-on', 'power-off,power-status', '--nodes', 'n[1-3]'),
        *('--operations', 'jobs', 'console', '--label', 'alice', '--days', '0.5'),
    )
    assert claims['commands'] == ['power-on', 'power-off', 'power-status']
    assert claims['nodes'] == 'n[1-3]'
    assert claims['operations'] == ['jobs', 'console']
    assert claims['exp'] == pytest.approx(time.time() + 43200, abs=60)
    (row,) = json.loads(ready('token', 'list', '-f', 'json')[1])
    assert (
        row.items()
        >= {
            'Id': claims['jti'],
            'Label': 'alice',
            'State': 'good',
            'Commands': 'power-on power-off power-status',
            'Nodes': 'n[1-3]',
            'Operations': 'jobs console',
        }.items()
    )


@pytest.mark.parametrize(
    'argv',
    [
        ['--days', '0'],
        ['--days', 'nan'],
        ['--nodes', 'n['],
        ['--nodes', ''],
        ['--operations', 'root'],
        ['--commands', ','],
        ['--label', 'a\x1b[31m'],
    ],
)
def test_a_token_that_makes_no_sense_is_refused_on_one_line(ready, argv):
    status, output, said = ready('generate-token', *argv)
    assert (status, output, said.count('\n')) == (1, '', 1)
    engine.setup()
    assert access_tokens.page() == []


def test_without_a_secret_the_command_that_makes_it_is_named(run):
    run('db', 'upgrade')
    status, output, said = run('generate-token')
    assert (status, output) == (1, '')
    assert 'obmd-manage generate-jwt-secret' in said


def test_a_token_is_revoked_by_its_id(ready, issue):
    token, claims = issue()
    assert ready('token', 'revoke', claims['jti']) == (0, '', '')
    assert json.loads(ready('token', 'list', '-f', 'json')[1])[0]['State'] == 'revoked'
    engine.setup()
    with pytest.raises(bearer.errors.Unauthorized, match='revoked'):
        bearer.verify(token, bearer.load_key(secrets.jwt_secret_path()))


def test_a_token_that_was_never_issued_cannot_be_revoked(ready):
    status, output, said = ready('token', 'revoke', 'none\x1b[31m')
    assert (status, output, said.count('\n')) == (1, '', 1)
    assert '\x1b' not in said


def test_a_list_has_no_token_in_it(ready, issue):
    token, _ = issue('--label', 'alice')
    assert token.split('.')[2] not in ready('token', 'list', '-f', 'json')[1]


# -- the audit trail --------------------------------------------------------------------------


def entries(ready, *argv):
    status, output, said = ready('audit', 'list', '-f', 'json', *argv)
    assert status == 0, said
    return json.loads(output)


def write(action='command power-off', at=None, **fields):
    audit.write(audit.Entry(time.time() if at is None else at, action, **fields))


def test_tokens_are_audited_with_the_operator_who_made_them(ready, issue):
    token, claims = issue('--nodes', 'n1')
    ready('token', 'revoke', claims['jti'])
    revoked, issued = entries(ready)
    assert (issued['Action'], revoked['Action']) == ('token issue', 'token revoke')
    assert issued['Nodes'] == 'n1' and claims['jti'] in issued['Detail']
    assert f'uid {os.getuid()}' in issued['Claims']
    assert token.split('.')[2] not in json.dumps([revoked, issued])


def test_the_trail_is_found_by_node_subject_command_time_and_job(ready):
    write(nodes='n[1-10]', subject='jti-1', label='alice', job_uuid='job-1')
    write(nodes='n1', subject='admin', at=time.time() - 7200)
    write('command power-on', nodes='m1', subject='jti-2')
    assert len(entries(ready)) == 3
    assert [e['Nodes'] for e in entries(ready, '--node', 'n7')] == ['n[1-10]']
    assert [e['Nodes'] for e in entries(ready, '--subject', 'alice')] == ['n[1-10]']
    assert [e['Nodes'] for e in entries(ready, '--subject', 'jti-2')] == ['m1']
    assert [e['Nodes'] for e in entries(ready, '--command', 'power-on')] == ['m1']
    assert [e['Nodes'] for e in entries(ready, '--job', 'job-1')] == ['n[1-10]']
    assert len(entries(ready, '--since', '1h')) == 2
    assert [e['Nodes'] for e in entries(ready, '--until', '1h')] == ['n1']
    assert len(entries(ready, '--limit', '1')) == 1


def test_a_node_is_found_on_any_page_of_the_trail(ready):
    write(nodes='old', subject='admin', at=1.0)
    for number in range(450):
        write(nodes=f'n{number}', subject='admin')
    assert len(entries(ready, '--node', 'old')) == 1


@pytest.mark.parametrize('argv', [['--since', 'yesterday'], ['--limit', '0'], ['--limit', 'x']])
def test_a_wrong_filter_is_refused(ready, argv):
    assert ready('audit', 'list', *argv)[0] == 2


def test_a_trail_holds_no_escape_sequences(ready):
    write(subject='jti', claimed_user='\x1b[31mroot', detail='\x07')
    assert '\x1b' not in ready('audit', 'list', '-f', 'value')[1]


def test_old_entries_are_forgotten_and_that_is_an_entry(ready):
    write(subject='old', at=time.time() - 10 * 86400)
    write(subject='new')
    assert ready('audit', 'forget', '--before', '7d') == (0, '1 deleted\n', '')
    assert [entry['Action'] for entry in entries(ready)] == ['audit forget', 'command power-off']
    assert ready('audit', 'forget')[0] == 2
