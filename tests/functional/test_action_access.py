"""Access tokens from outside: issued, used at the Action door, revoked, audited."""

import json
import pathlib
import threading
import urllib.error
import urllib.request

import jwt
import pytest

from tests.functional import deployment
from tests.functional import flight

SCRIPTS = {'hello': 'echo hello', 'hang': 'echo begun; sleep 600'}


@pytest.fixture(scope='module')
def one(tmp_path_factory):
    folder = tmp_path_factory.mktemp('commands')
    for name, text in SCRIPTS.items():
        (folder / name).mkdir()
        (folder / name / 'metadata.yaml').write_text(f'help: {{summary: {name}}}\n')
        script = folder / name / 'default.sh'
        script.write_text(f'#!/bin/sh\n{text}\n')
        script.chmod(0o755)
    with deployment.AllInOne(config={'actions': {'command_dirs': str(folder)}}) as one:
        for number in range(1, 6):
            one.register(f'node0{number}', 'mock', {})
        yield one


def test_a_token_does_what_it_is_for_until_it_is_revoked(one):
    scopes = ['--nodes', 'node[01-02]', '--commands', 'hello,power-status', '--label', 'bob']
    bob = flight.Flight(f'{one.url}/action', flight.manage(one, 'generate-token', *scopes).strip())
    assert bob.ask('GET', '/nodes/node03')[0] == 404
    assert [n['id'] for n in bob.ask('GET', '/nodes')[1]['data']] == ['node01', 'node02']
    assert {c['id'] for c in bob.ask('GET', '/commands')[1]['data']} == {'hello', 'power-status'}
    bob.run_and_print('hello', 'node[01-02]', group=True)
    rows = json.loads(flight.manage(one, 'token', 'list', '-f', 'json'))
    (jti,) = [row['Id'] for row in rows if row['Label'] == 'bob']
    flight.manage(one, 'token', 'revoke', jti)
    status, document = bob.ask('GET', '/nodes')
    assert (status, document['errors'][0]['title']) == (403, 'Forbidden Error')
    trail = json.loads(flight.manage(one, 'audit', 'list', '--subject', 'bob', '-f', 'json'))
    (ran,) = [entry for entry in trail if entry['Action'] == 'command hello']
    assert 'root' in ran['Claims'] and '127.0.0.1' in ran['From']


def test_a_stream_ends_when_its_token_is_revoked(one):
    carol = flight.Flight(
        f'{one.url}/action',
        flight.manage(one, 'generate-token', '--label', 'carol').strip(),
        patience=40,
    )
    ticket = carol.run('hang', 'node05')
    shown = []
    read = threading.Thread(target=lambda: shown.append(carol.print(ticket)))
    read.start()
    rows = json.loads(flight.manage(one, 'token', 'list', '-f', 'json'))
    flight.manage(
        one, 'token', 'revoke', next(row['Id'] for row in rows if row['Label'] == 'carol')
    )
    read.join(40)
    assert shown == [b'begun\n']


def test_the_secret_of_openflight_action_makes_its_tokens_good(one):
    key = pathlib.Path(one.state, 'jwt.secret').read_text().removesuffix('\n')
    token = jwt.encode({'admin': None, 'exp': 4102444800}, key, 'HS256')
    client = flight.Flight(f'{one.url}/action', token)
    assert client.ask('GET', '/nodes')[0] == 200
    with pytest.raises(urllib.error.HTTPError) as refused:
        asked = urllib.request.Request(
            f'{one.url}/action/streaming/tickets/x', headers={'Authorization': 'Bearer x.y.z'}
        )
        urllib.request.urlopen(asked)
    assert refused.value.code == 403
