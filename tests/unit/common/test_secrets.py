import base64
import dataclasses
import os
import pathlib
import stat

import hypothesis
import pytest
from hypothesis import strategies as st

from obmd.common import errors
from obmd.common import secrets
from obmd.conf import CONF


@dataclasses.dataclass(frozen=True)
class Row:
    uuid: str
    name: str
    driver: str
    address: str
    sealed_info: str
    key_id: str


@pytest.fixture
def paths(tmp_path):
    return str(tmp_path / 'state' / 'conductor.key'), str(tmp_path / 'state' / 'conductor.pub')


@pytest.fixture
def keyring(paths):
    secrets.create_keys(*paths)
    return secrets.Keyring.load(paths[0])


INFO = {'host': '10.0.0.1', 'user': 'admin', 'password': 'geheim'}


def row(public, uuid='u1', driver='ipmi', address='10.0.0.1', info=INFO):
    sealed, key_id = secrets.seal_info(public, uuid, driver, address, info)
    return Row(uuid, f'node {uuid}', driver, address, sealed, key_id)


# -- tokens -----------------------------------------------------------------------------------


def test_tokens_are_32_lower_hex_digits_and_differ():
    tokens = {secrets.new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(secrets.parse_token(token) == token for token in tokens)


def test_a_token_is_taken_in_either_case():
    token = '0123456789abcdefABCDEF0123456789'
    assert secrets.parse_token(token) == token.lower()


@pytest.mark.parametrize(
    'text',
    ['', '0' * 31, '0' * 33, '0' * 31 + 'g', '0' * 32 + '\n', ' ' + '0' * 32, '٠' * 32, None, 0],
)
def test_what_is_not_exactly_a_token_is_none(text):
    assert secrets.parse_token(text) is None


@hypothesis.given(st.text())
def test_any_text_is_a_token_or_none(text):
    parsed = secrets.parse_token(text)
    assert parsed is None or (len(parsed) == 32 and int(parsed, 16) >= 0)


def test_a_token_matches_its_own_hash_only():
    token = secrets.new_token()
    stored = secrets.token_hash(token)
    assert len(stored) == 64
    assert secrets.matches(token, stored)
    assert not secrets.matches(secrets.new_token(), stored)
    assert not secrets.matches(token, None)
    assert not secrets.matches(token, '')


def test_without_a_hash_the_comparison_is_made_all_the_same(monkeypatch):
    compared = []
    real = secrets.hmac.compare_digest
    monkeypatch.setattr(
        secrets.hmac, 'compare_digest', lambda a, b: compared.append((len(a), len(b))) or real(a, b)
    )
    secrets.matches('0' * 32, None)
    secrets.matches('0' * 32, secrets.token_hash('1' * 32))
    assert compared == [(64, 64), (64, 64)]


# -- keys -------------------------------------------------------------------------------------


def test_only_its_owner_reads_the_private_file(paths):
    secrets.create_keys(*paths)
    private, public = (stat.S_IMODE(os.stat(path).st_mode) for path in paths)
    assert (private, public) == (0o600, 0o644)
    assert stat.S_IMODE(os.stat(os.path.dirname(paths[0])).st_mode) == 0o700
    assert sorted(os.listdir(os.path.dirname(paths[0]))) == ['conductor.key', 'conductor.pub']


def test_a_first_key_does_not_overwrite_another(paths):
    secrets.create_keys(*paths)
    before = pathlib.Path(paths[0]).read_text()
    with pytest.raises(errors.Fatal, match='exists already'):
        secrets.create_keys(*paths)
    assert pathlib.Path(paths[0]).read_text() == before


@pytest.mark.parametrize('mode', [0o640, 0o604, 0o644, 0o660, 0o666])
def test_a_private_file_that_others_may_use_is_refused(paths, mode):
    secrets.create_keys(*paths)
    os.chmod(paths[0], mode)
    with pytest.raises(errors.Fatal, match='chmod 600'):
        secrets.Keyring.load(paths[0])


def test_a_private_file_of_another_user_is_refused(paths, monkeypatch):
    secrets.create_keys(*paths)
    monkeypatch.setattr(secrets.os, 'geteuid', lambda: os.getuid() + 1)
    with pytest.raises(errors.Fatal, match=f'belongs to uid {os.getuid()}'):
        secrets.Keyring.load(paths[0])


def test_missing_files_name_the_command_that_makes_them(paths):
    with pytest.raises(errors.Fatal, match='conductor.key is missing.*obmd-manage key new'):
        secrets.Keyring.load(paths[0])
    with pytest.raises(errors.Fatal, match='conductor.pub is missing.*obmd-manage key new'):
        secrets.PublicKey.load(paths[1])
    with pytest.raises(errors.Fatal, match='is missing.*obmd-manage token new'):
        secrets.read_admin_token(paths[0])


@pytest.mark.parametrize(
    'text', ['', '# none\n', 'x\n', 'id notbase64!\n', 'id AAAA\n', 'a b c\n', 'ä\n', '\0']
)
def test_a_damaged_file_is_one_clear_line_without_its_content(paths, text):
    for path, load in ((paths[0], secrets.Keyring.load), (paths[1], secrets.PublicKey.load)):
        secrets.write_secret(path, text)
        with pytest.raises(errors.Fatal) as caught:
            load(path)
        assert path in caught.value.reason
        assert '\n' not in caught.value.reason
        assert 'notbase64' not in caught.value.reason


def test_a_file_that_is_no_text_or_no_file_is_refused(paths, tmp_path):
    os.makedirs(os.path.dirname(paths[0]))
    with open(paths[0], 'wb') as file:
        file.write(b'\xff\xfe')
    os.chmod(paths[0], 0o600)
    with pytest.raises(errors.Fatal, match='not text'):
        secrets.Keyring.load(paths[0])
    with pytest.raises(errors.Fatal):
        secrets.Keyring.load(str(tmp_path))


def test_a_key_that_does_not_have_its_id_is_refused(paths):
    key_id = secrets.create_keys(*paths).key_id
    for path, load in ((paths[0], secrets.Keyring.load), (paths[1], secrets.PublicKey.load)):
        text = pathlib.Path(path).read_text().replace(key_id, '0' * 16)
        secrets.write_secret(path, text)
        with pytest.raises(errors.Fatal):
            load(path)


def test_the_newest_key_seals_and_the_older_ones_still_open(paths):
    first = secrets.create_keys(*paths)
    old = row(secrets.PublicKey.load(paths[1]))
    second = secrets.add_key(*paths)
    new = row(secrets.PublicKey.load(paths[1]))
    keyring = secrets.Keyring.load(paths[0])
    assert keyring.key_ids == (first.key_id, second.key_id)
    assert keyring.public.key_id == new.key_id == second.key_id != old.key_id
    assert secrets.open_info(keyring, old) == secrets.open_info(keyring, new) == INFO


def test_a_key_that_was_added_later_is_found_without_a_restart(paths, keyring):
    secrets.add_key(*paths)
    assert secrets.open_info(keyring, row(secrets.PublicKey.load(paths[1]))) == INFO


def test_a_missing_key_is_named_by_its_id(paths, keyring, tmp_path):
    other = secrets.create_keys(str(tmp_path / 'k'), str(tmp_path / 'p'))
    with pytest.raises(errors.KeyMissing) as caught:
        secrets.open_info(keyring, row(other))
    assert other.key_id in caught.value.reason
    assert caught.value.node == 'node u1'


def test_a_key_file_that_went_bad_leaves_the_keys_that_are_loaded(paths, keyring):
    sealed = row(keyring.public)
    secrets.write_secret(paths[0], 'x\n')
    with pytest.raises(errors.KeyMissing):
        secrets.open_info(keyring, dataclasses.replace(sealed, key_id='0' * 16))
    assert secrets.open_info(keyring, sealed) == INFO


def test_keys_do_not_show_themselves(paths, keyring):
    secret = pathlib.Path(paths[0]).read_text().split()[1]
    for shown in (repr(keyring), str(keyring), repr(keyring.public)):
        assert secret not in shown
        assert keyring.public.key_id in shown


def test_key_paths_come_from_the_options(tmp_path):
    CONF.set_override('state_path', str(tmp_path))
    try:
        assert secrets.key_paths() == (f'{tmp_path}/conductor.key', f'{tmp_path}/conductor.pub')
        assert secrets.admin_token_path() == f'{tmp_path}/admin-token'
        CONF.set_override('private_key_file', '/a', 'secrets')
        CONF.set_override('public_key_file', '/b', 'secrets')
        CONF.set_override('admin_token_file', '/c', 'api')
        assert secrets.key_paths() == ('/a', '/b')
        assert secrets.admin_token_path() == '/c'
    finally:
        CONF.clear_override('state_path')
        CONF.clear_override('private_key_file', 'secrets')
        CONF.clear_override('public_key_file', 'secrets')
        CONF.clear_override('admin_token_file', 'api')


# -- sealing ----------------------------------------------------------------------------------

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(st.dictionaries(st.text(), _json))
def test_what_is_sealed_is_what_is_opened(keyring, info):
    sealed = row(keyring.public, info=info)
    assert secrets.open_info(keyring, sealed) == info


def test_what_is_sealed_shows_neither_content_nor_length(keyring):
    short, long = (
        row(keyring.public, info={'password': password}).sealed_info for password in ('a', 'b' * 20)
    )
    assert len(short) == len(long)
    assert 'geheim' not in str(base64.b64decode(row(keyring.public).sealed_info))


def test_the_same_info_is_sealed_differently_each_time(keyring):
    assert row(keyring.public).sealed_info != row(keyring.public).sealed_info


@pytest.mark.parametrize(
    'change', [{'uuid': 'u2'}, {'driver': 'dummy'}, {'address': '10.6.6.6'}, {'address': ''}]
)
def test_a_row_that_says_something_else_than_what_is_sealed_is_refused(keyring, change):
    changed = dataclasses.replace(row(keyring.public), **change)
    with pytest.raises(errors.SealMismatch) as caught:
        secrets.open_info(keyring, changed)
    assert caught.value.node == changed.name


def test_credentials_swapped_between_two_rows_are_refused(keyring):
    one, two = row(keyring.public, 'u1'), row(keyring.public, 'u2', address='10.0.0.2')
    swapped = dataclasses.replace(one, sealed_info=two.sealed_info)
    with pytest.raises(errors.SealMismatch):
        secrets.open_info(keyring, swapped)


@pytest.mark.parametrize('plain', [[], {}, {'info': {}}, {'uuid': 'u1'}, 'text', None])
def test_what_is_sealed_in_another_shape_is_refused(keyring, plain):
    forged = dataclasses.replace(row(keyring.public), sealed_info=keyring.public.seal(plain))
    with pytest.raises(errors.SealMismatch):
        secrets.open_info(keyring, forged)


@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(st.data())
def test_no_changed_byte_goes_unnoticed(keyring, data):
    sealed = row(keyring.public)
    raw = bytearray(base64.b64decode(sealed.sealed_info))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    changed = dataclasses.replace(sealed, sealed_info=base64.b64encode(raw).decode())
    with pytest.raises(errors.SealMismatch):
        secrets.open_info(keyring, changed)


@pytest.mark.parametrize('sealed', ['', 'x', 'ä', 'AAAA', 'A' * 1000])
def test_what_was_never_sealed_is_refused_without_a_word_of_it(keyring, sealed):
    with pytest.raises(errors.SealMismatch) as caught:
        secrets.open_info(keyring, dataclasses.replace(row(keyring.public), sealed_info=sealed))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


# -- files ------------------------------------------------------------------------------------


def test_a_sealed_object_is_opened_for_its_own_node_only(keyring):
    value = {'configdrive': 'H4sI', 'nested': {'é': [1, None]}}
    sealed, key_id = secrets.seal_json(keyring.public, 'u1', value)
    assert 'H4sI' not in sealed
    assert secrets.open_json(keyring, 'u1', sealed, key_id) == value
    with pytest.raises(errors.SealMismatch):
        secrets.open_json(keyring, 'u2', sealed, key_id)


def test_credentials_and_an_object_are_not_taken_for_each_other(keyring):
    sealed, key_id = secrets.seal_info(keyring.public, 'u1', 'ipmi', '10.0.0.1', INFO)
    with pytest.raises(errors.SealMismatch):
        secrets.open_json(keyring, 'u1', sealed, key_id)
    sealed, key_id = secrets.seal_json(keyring.public, 'u1', INFO)
    node = dataclasses.replace(row(keyring.public), sealed_info=sealed, key_id=key_id)
    with pytest.raises(errors.SealMismatch):
        secrets.open_info(keyring, node)


def test_a_secret_replaces_the_file_as_a_whole(tmp_path):
    path = tmp_path / 'new' / 'secret'
    secrets.write_secret(str(path), 'one')
    os.chmod(path, 0o644)
    before = os.stat(path).st_ino
    secrets.write_secret(str(path), 'two')
    assert path.read_text() == 'two'
    assert os.stat(path).st_ino != before
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(path.parent).st_mode) == 0o700
    assert os.listdir(path.parent) == ['secret']


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / 'secret'
    secrets.write_secret(str(path), 'one')

    def full(descriptor):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(secrets.os, 'fsync', full)
    with pytest.raises(errors.Fatal, match='No space left'):
        secrets.write_secret(str(path), 'two')
    assert path.read_text() == 'one'
    assert os.listdir(tmp_path) == ['secret']


def test_the_admin_token_is_read_in_either_case(tmp_path):
    path = str(tmp_path / 'admin-token')
    secrets.write_secret(path, 'ABCDEF' + '0' * 26 + '\n')
    assert secrets.read_admin_token(path) == 'abcdef' + '0' * 26


@pytest.mark.parametrize('text', ['', '\n', '0' * 31, 'geheim', '0' * 32 + ' 0'])
def test_an_admin_token_that_is_none_is_refused(tmp_path, text):
    path = str(tmp_path / 'admin-token')
    secrets.write_secret(path, text)
    with pytest.raises(errors.Fatal) as caught:
        secrets.read_admin_token(path)
    assert 'geheim' not in caught.value.reason


def test_an_admin_token_that_others_may_read_is_refused(tmp_path):
    path = str(tmp_path / 'admin-token')
    secrets.write_secret(path, secrets.new_token())
    os.chmod(path, 0o644)
    with pytest.raises(errors.Fatal, match='chmod 600'):
        secrets.read_admin_token(path)
