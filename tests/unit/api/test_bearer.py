"""Access tokens: which are taken, what they may, and what is refused in their name."""

import base64
import hashlib
import hmac
import json

import jwt
import pytest

from obmd.api import bearer
from obmd.common import callers
from obmd.common import errors
from obmd.common import secrets
from obmd.conf import CONF
from obmd.db import access_tokens
from obmd.db import node_groups

KEY = b'a secret of the site, as long as the longest hash that somebody may try to sign with'
NOW = 1_800_000_000


def clock():
    return NOW


def make(key=KEY, algorithm='HS256', headers=None, **claims):
    return jwt.encode({'admin': None, 'exp': NOW + 60, **claims}, key, algorithm, headers)


def part(value):
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b'=').decode()


def by_hand(header, claims, key=KEY):
    """A token signed with HS256, whatever its header says."""
    text = f'{part(header)}.{part(claims)}'
    return f'{text}.{part(hmac.digest(key, text.encode(), hashlib.sha256))}'


def issue(**kwargs):
    return bearer.issue(KEY, clock=clock, **kwargs)


def verify(token, now=NOW):
    return bearer.verify(token, KEY, lambda: now)


def test_a_token_of_ours_is_its_holder():
    token, row = issue(label='ops')
    identity = verify(token)
    assert (identity.subject, identity.label) == (row.jti, 'ops')
    assert identity.who == callers.BEARER
    assert not identity.is_admin


def test_a_token_is_good_for_30_days():
    token, _ = issue()
    verify(token, NOW + 30 * 86400 - 1)
    with pytest.raises(errors.Unauthorized, match='expired'):
        verify(token, NOW + 30 * 86400)


def test_a_token_of_openflight_action_is_taken():
    identity = verify(make())
    assert identity.commands is None and identity.nodes is None
    assert identity.may(bearer.JOBS)


def test_two_tokens_without_an_id_are_two_subjects():
    one, other = verify(make()), verify(make(exp=NOW + 61))
    assert one.subject != other.subject
    assert one.subject == verify(make()).subject


def test_the_subject_of_a_token_without_an_id_does_not_tell_the_token():
    token = make()
    assert verify(token).subject.removeprefix('jwt-') not in token


def test_tokens_without_an_id_can_be_switched_off(conf):
    conf('actions', allow_unscoped_tokens=False)
    token, _ = issue()
    verify(token)
    with pytest.raises(errors.Unauthorized):
        verify(make())


def test_the_holder_of_a_token_is_known_with_its_end():
    token, row = issue(days=2)
    assert verify(token).expires_at == row.expires_at
    assert verify(make(exp=NOW + 7)).expires_at == NOW + 7


def test_scopes_of_a_token_without_an_id_hold():
    identity = verify(make(commands=['x'], nodes='n1', operations=['status']))
    assert (identity.commands, identity.nodes) == ({'x'}, 'n1')
    assert not identity.may(bearer.JOBS)


GOOD = {'admin': None, 'exp': NOW + 60}
HS256 = {'alg': 'HS256', 'typ': 'JWT'}
ATTACKS = {
    'nothing': '',
    'a word': 'token',
    'dots': '..',
    'no signature': make().rpartition('.')[0] + '.',
    'a part is missing': make().rpartition('.')[0],
    'truncated': make()[:-1],
    'longer': make() + 'A',
    'a fourth part': make() + '.AAAA',
    'alg none': f'{part({"alg": "none"})}.{part(GOOD)}.',
    'alg None': f'{part({"alg": "None"})}.{part(GOOD)}.',
    'alg none, signed': by_hand({'alg': 'none'}, GOOD),
    'no alg': by_hand({'typ': 'JWT'}, GOOD),
    'alg in lower case': by_hand({'alg': 'hs256'}, GOOD),
    'alg is a list': by_hand({'alg': ['HS256']}, GOOD),
    'another alg': make(algorithm='HS512'),
    'key confusion': by_hand({'alg': 'RS256'}, GOOD),
    'key confusion, elliptic': by_hand({'alg': 'ES256'}, GOOD),
    'a key in the header': by_hand(
        {**HS256, 'jwk': {'kty': 'oct', 'k': part(b'x' * 32)}}, GOOD, b'x' * 32
    ),
    'a key id that is a path': by_hand({**HS256, 'kid': '/dev/null'}, GOOD, b''),
    'critical and not known': by_hand({**HS256, 'crit': ['x'], 'x': 1}, GOOD),
    'a detached payload': by_hand({**HS256, 'crit': ['b64'], 'b64': False}, GOOD),
    'another secret': make(key=b'another secret of 32 bytes or more'),
    'the secret and its newline': make(key=KEY + b'\n'),
    'no secret': by_hand(HS256, GOOD, b''),
    'expired': make(exp=NOW),
    'expired long ago': make(exp=0),
    'expires never': by_hand(HS256, {'admin': None}),
    'expires at null': by_hand(HS256, {'exp': None}),
    'expires at text': by_hand(HS256, {'exp': 'never'}),
    'expires at a list': by_hand(HS256, {'exp': [NOW + 60]}),
    'expires at NaN': by_hand(HS256, b'{"exp": NaN}'),
    'not yet': make(nbf=NOW + 1),
    'issued in the future': make(iat=NOW + 3600),
    'claims are a list': by_hand(HS256, [1]),
    'claims are text': by_hand(HS256, b'"x"'),
    'claims are nested': by_hand(HS256, b'[' * 3000 + b']' * 3000),
    'claims are not UTF-8': by_hand(HS256, b'{"exp": 1800000060, "x": "\xff"}'),
    'commands are text': make(commands='power-on'),
    'commands are numbers': make(commands=[1]),
    'commands are an object': make(commands={'power-on': True}),
    'nodes are a list': make(nodes=['n1']),
    'operations are text': make(operations='status'),
    'an id that was never issued': make(jti='11111111-1111-1111-1111-111111111111'),
    'an id that is no text': by_hand(HS256, {**GOOD, 'jti': 7}),
    'an id that is long': make(jti='x' * 5000),
    'an id with NUL': make(jti='a\0b'),
    'an empty id': make(jti=''),
    'not ASCII': make() + 'é',
    'huge': 'A' * 100000,
}


@pytest.mark.parametrize('name', ATTACKS)
def test_what_is_no_good_token_is_refused(name):
    with pytest.raises(errors.Unauthorized) as caught:
        verify(ATTACKS[name])
    assert caught.value.reason.startswith(('the access token', 'an access token'))


def test_a_changed_claim_is_refused():
    header, _, signature = make().split('.')
    with pytest.raises(errors.Unauthorized):
        verify(f'{header}.{part({"exp": NOW + 10**6})}.{signature}')


def test_a_token_is_refused_as_soon_as_it_is_revoked():
    token, row = issue()
    verify(token)
    access_tokens.revoke(row.jti, NOW)
    with pytest.raises(errors.Unauthorized, match='revoked'):
        verify(token)


def test_an_api_without_a_key_takes_no_token():
    with pytest.raises(errors.Unauthorized):
        bearer.verify(make(), None, clock)


# -- what it may ------------------------------------------------------------------------------


def test_a_token_without_scopes_runs_every_command_on_every_node():
    identity = verify(issue()[0])
    identity.require_command('anything')
    identity.require_command('anything', contextless=True)
    identity.require_nodes(['n1', 'x'])


@pytest.mark.parametrize('operation', sorted(set(bearer.OPERATIONS) - {bearer.JOBS}))
def test_a_token_without_operations_is_for_running_commands_only(operation):
    with pytest.raises(errors.Forbidden, match=operation):
        verify(issue()[0]).require(operation)


def test_a_token_for_operations_does_just_these():
    identity = verify(issue(operations=['status', 'console'])[0])
    identity.require('status')
    identity.require('console')
    for other in ('power', bearer.JOBS):
        with pytest.raises(errors.Forbidden):
            identity.require(other)
    with pytest.raises(errors.Forbidden):
        identity.require_command('power-on')


def test_a_token_for_commands_runs_just_these():
    identity = verify(issue(commands=['power-status'])[0])
    identity.require_command('power-status')
    with pytest.raises(errors.Forbidden, match='power-off'):
        identity.require_command('power-off')


def test_a_token_for_nodes_runs_a_command_without_nodes_only_if_it_names_it():
    with pytest.raises(errors.Forbidden):
        verify(issue(nodes='n1')[0]).require_command('backup', contextless=True)
    named = verify(issue(nodes='n1', commands=['backup'])[0])
    named.require_command('backup', contextless=True)


def test_a_node_that_a_token_is_not_for_is_not_there():
    identity = verify(issue(nodes='n[1-3],!n2'.replace(',!', '!'))[0])
    identity.require_nodes(['n1', 'n3'])
    with pytest.raises(errors.NotFound, match='n2,N1'):
        identity.require_nodes(['n1', 'n2', 'N1'])


@pytest.mark.parametrize(
    'scope', ['n[1-3]!@gone', 'n[1-3]&@gone', 'n[1-3]^@gone', '@gone^n[1-3]', 'n1,@gone!@gone']
)
def test_a_token_is_not_for_more_nodes_when_a_group_is_gone(scope):
    identity = verify(make(nodes=scope))
    assert identity.outside(['n1', 'n3']) == ['n1', 'n3']


@pytest.mark.parametrize('scope', ['n1,@gone', '@gone,n1', '@gone,n[1-3]!n[2-3]'])
def test_a_token_is_for_the_other_nodes_when_a_group_is_gone(scope):
    assert verify(make(nodes=scope)).outside(['n1', 'n3']) == ['n3']


def test_who_is_in_a_group_is_not_told():
    identity = verify(issue(nodes='n1')[0])
    node_groups.put('secret', 'secret[1-2,5]')
    said = set()
    for text in ('@secret', '@secret&secret5', '@secret&secret4', '@secret!@secret', '@nobody'):
        with pytest.raises(errors.NotFound) as caught:
            identity.expand(text)
        said.add(caught.value.reason)
    node_groups.delete('secret')
    assert len(said) == 1 and 'secret' not in said.pop()


def test_a_refusal_folds_what_it_names_and_is_short():
    identity = verify(issue(nodes='n1')[0])
    with pytest.raises(errors.NotFound) as caught:
        identity.require_nodes([f'x{number}' for number in range(1000)])
    assert caught.value.reason.endswith('no such node: x[0-999]')
    with pytest.raises(errors.NotFound, match='1000 in all') as caught:
        identity.require_nodes([f'x{number}y' * 2 for number in range(1000)])
    assert len(caught.value.reason) < 1100


def test_a_refusal_repeats_no_long_names_whole():
    identity = verify(issue(nodes='n1')[0])
    with pytest.raises(errors.NotFound) as caught:
        identity.require_nodes(['x' * 1000 for _ in range(20)])
    assert len(caught.value.reason) < 1200


def test_a_scope_that_cannot_be_read_covers_nothing():
    identity = verify(make(nodes='n[1-'))
    with pytest.raises(errors.ObmdError):
        identity.require_nodes(['n1'])


def test_the_admin_may_everything():
    for operation in bearer.OPERATIONS:
        bearer.ADMIN.require(operation)
    bearer.ADMIN.require_command('x', contextless=True)
    bearer.ADMIN.require_nodes(['n1'])
    assert bearer.ADMIN.who == callers.ADMIN


# -- issuing ----------------------------------------------------------------------------------


def test_what_is_issued_has_the_claims_of_openflight_action():
    token, row = issue(commands=['a'], nodes='n[1-2]', operations=['jobs'])
    assert jwt.decode(token, KEY, ['HS256'], options={'verify_exp': False}) == {
        'admin': None,
        'exp': NOW + 30 * 86400,
        'jti': row.jti,
        'commands': ['a'],
        'nodes': 'n[1-2]',
        'operations': ['jobs'],
    }
    assert access_tokens.get(row.jti) == row


@pytest.mark.parametrize(
    ('wrong', 'said'),
    [
        ({'days': 0}, 'days'),
        ({'days': -1}, 'days'),
        ({'days': 1e9}, 'days'),
        ({'days': float('nan')}, 'days'),
        ({'label': ''}, 'label'),
        ({'label': 'a\nb'}, 'label'),
        ({'label': 'x' * 256}, 'label'),
        ({'commands': []}, 'commands'),
        ({'commands': ['']}, 'commands'),
        ({'commands': ['x' * 20] * 101}, 'commands'),
        ({'nodes': 'n['}, 'nodes'),
        ({'nodes': ''}, 'nodes'),
        ({'nodes': 'n[1-999999999]'}, 'nodes'),
        ({'operations': []}, 'operations'),
        ({'operations': ['root']}, 'operations'),
        ({'nodes': ','.join(f'name-of-a-node-{number}' for number in range(500))}, 'too long'),
    ],
)
def test_a_token_that_makes_no_sense_is_not_made(wrong, said):
    before = len(access_tokens.page())
    with pytest.raises(errors.InvalidInput, match=said):
        issue(**wrong)
    assert len(access_tokens.page()) == before


# -- the key ----------------------------------------------------------------------------------


@pytest.fixture
def secret_file(tmp_path):
    def write(text):
        path = str(tmp_path / 'secret')
        secrets.write_secret(path, text)
        return path

    return write


@pytest.mark.parametrize('end', ['', '\n'])
def test_the_key_is_the_file_without_its_final_newline(secret_file, end):
    assert bearer.load_key(secret_file(f'{KEY.decode()}{end}')) == KEY


def test_only_one_newline_is_not_of_the_key(secret_file):
    assert bearer.load_key(secret_file(f' {KEY.decode()} \n\n')) == b' ' + KEY + b' \n'


@pytest.mark.parametrize(
    'text',
    ['', '\n', 'short\n', '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n']
    + ['{"kty": "oct", "k": "AAAAAAAAAAAAAAAAAAAAAAAAAA"}'],
)
def test_what_is_no_secret_is_refused(secret_file, text):
    with pytest.raises(errors.Fatal, match='secret'):
        bearer.load_key(secret_file(text))


def test_a_secret_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / 'secret'
    path.write_bytes(KEY)
    path.chmod(0o644)
    with pytest.raises(errors.Fatal, match='0644'):
        bearer.load_key(str(path))


def test_a_missing_secret_names_the_command(tmp_path):
    with pytest.raises(errors.Fatal, match='obmd-manage generate-jwt-secret'):
        bearer.load_key(str(tmp_path / 'none'))


def test_a_weak_secret_is_warned_of(secret_file, caplog):
    bearer.load_key(secret_file('x' * 31))
    assert 'guessed' in caplog.text and 'x' * 31 not in caplog.text


def test_the_place_of_the_secret_is_an_option(conf, tmp_path):
    CONF.set_override('state_path', str(tmp_path))
    try:
        assert secrets.jwt_secret_path() == f'{tmp_path}/jwt.secret'
        conf('actions', jwt_secret_file='/c')
        assert secrets.jwt_secret_path() == '/c'
    finally:
        CONF.clear_override('state_path')
