"""The file of policies: what it may say, and that a slip in it ends the start."""

import types

import pytest

from obmd.api import policy
from obmd.common import errors
from obmd.common import secrets
from tests.unit.api.conftest import ADMIN_TOKEN
from tests.unit.api.conftest import basic

HASH = secrets.token_hash(ADMIN_TOKEN)


def asks(headers=None):
    environ = {}
    if headers:
        environ['HTTP_AUTHORIZATION'] = headers['Authorization']
    return types.SimpleNamespace(environ=environ, method='GET')


@pytest.fixture
def rules(tmp_path):
    def load(text):
        path = tmp_path / 'policy.yaml'
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return policy.Policy(str(path))

    return load


def may(rules, headers=None, rule=policy.LOOKUP):
    try:
        rules.require(rule, asks(headers), HASH, {})
    except errors.Unauthorized:
        return 401
    except errors.Forbidden:
        return 403
    return True


def test_without_a_file_everybody_may():
    for rule in policy.RULES:
        assert may(policy.Policy(''), rule=rule) is True


@pytest.mark.parametrize('text', ['', '{}', '# a comment', f'{policy.LOOKUP}: ""'])
def test_a_file_that_says_nothing_of_it_lets_everybody(rules, text):
    assert may(rules(text)) is True


@pytest.mark.parametrize(
    ('text', 'anybody', 'admin'),
    [
        ('role:admin', 401, True),
        ('@', True, True),
        ('!', 401, 403),
        ('rule:trusted', 401, True),
        ('role:other', 401, 403),
        ('role:admin and role:other', 401, 403),
        ('role:admin or role:other', 401, True),
        ('not role:admin', True, 403),
        ('user_id:admin', 401, True),
    ],
)
def test_a_rule_is_as_oslo_policy_reads_it(rules, text, anybody, admin):
    loaded = rules(f'"trusted": "role:admin"\n"{policy.LOOKUP}": "{text}"')
    assert may(loaded) == anybody
    assert may(loaded, basic()) == admin
    assert may(loaded, basic(password='f' * 32)) == anybody
    assert may(loaded, rule=policy.HEARTBEAT) is True


@pytest.mark.parametrize(
    'text',
    [
        'baremetal:driver:ipa_lookup: [',
        'a: b: c',
        '- a\n- b',
        'text',
        '5: x',
        b'\xff\xfe',
        'baremetal:driver:ipa_lookupp: role:admin',
        'baremetal:node:get: role:admin',
        'baremetal:driver:ipa_lookup: nonsense',
        'baremetal:driver:ipa_lookup: role:admin or nonsense',
        'baremetal:driver:ipa_lookup: "role:admin or ("',
        'baremetal:driver:ipa_lookup: "rule:nowhere"',
        '"a": "rule:b"\n"b": "rule:a"',
        'baremetal:driver:ipa_lookup: 5',
    ],
)
def test_a_file_that_is_not_understood_ends_the_start(rules, text):
    with pytest.raises(errors.Fatal, match=r'policy\.yaml'):
        rules(text)


@pytest.mark.parametrize('path', ['/nonexistent/policy.yaml', '/'])
def test_a_file_that_cannot_be_read_ends_the_start(path):
    with pytest.raises(errors.Fatal, match='policy'):
        policy.Policy(path)
