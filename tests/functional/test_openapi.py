"""The OpenAPI document against a real service: schemathesis sends what it allows and what not.

Streams that may go on for ever are not asked for here; ``test_native.py`` reads them.
"""

import json
import re
import subprocess
import sys

import pytest

from tests.functional.deployment import AllInOne
from tests.functional.deployment import environment

STREAMS = '/(console|events|output)$'
#: what a schema cannot say: that a text is a range, a MAC address, the cursor of another answer
TOO_STRICT = 'positive_data_acceptance'
#: of the run that schemathesis draws; another one finds other things
SEED = 20261120


@pytest.fixture(scope='module')
def obmd():
    with AllInOne() as deployment:
        for name in ('node1', 'node2'):
            deployment.register(name, 'mock', {})
        yield deployment


def run(obmd, tmp_path, examples, *arguments):
    """:returns: (exit status, what it printed)."""
    config = tmp_path / 'schemathesis.toml'
    config.write_text(
        '[[operations]]\ninclude-path-regex = "/nodes/"\nparameters = {id = "node1"}\n'
    )
    done = subprocess.run(
        [
            *(sys.executable, '-m', 'schemathesis.cli', '--config-file', str(config), 'run'),
            f'{obmd.url}/api/v1/openapi.json',
            *('--max-examples', str(examples), '--seed', str(SEED)),
            *('--exclude-path-regex', STREAMS, '--exclude-checks', TOO_STRICT),
            *('--request-timeout', '30', '--suppress-health-check', 'all', '--no-color'),
            *arguments,
        ],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout + done.stderr


def tried(printed):
    """:returns: (operations, requests) that schemathesis has tried."""
    counts = re.search(r'Tested: (\d+)', printed), re.search(r'(\d+) generated', printed)
    return tuple(int(found[1]) for found in counts)


def test_the_service_keeps_to_its_document(obmd, tmp_path):
    status, printed = run(obmd, tmp_path, 3, '--auth', f'admin:{obmd.admin_token}')
    assert status == 0, printed
    operations = obmd.call('GET', '/api/v1/openapi.json').text.count('"operationId"')
    assert tried(printed)[0] == operations - 4  # the streams, and the document
    assert tried(printed)[1] > 300
    assert 'Traceback' not in obmd.log()


def test_a_caller_without_rights_is_answered_as_the_document_says(obmd, tmp_path):
    made = obmd.as_admin('POST', '/api/v1/tokens', json={'nodes': 'nobody'}).json()
    header = f'Authorization: Bearer {made["token"]}'
    status, printed = run(obmd, tmp_path, 1, '--header', header, '--phases', 'fuzzing')
    assert status == 0, printed
    audit = obmd.as_admin('GET', '/api/v1/audit', params={'subject': made['jti']}).json()
    assert all(entry['outcome'] != 'ok' for entry in audit['audit']), json.dumps(audit)
