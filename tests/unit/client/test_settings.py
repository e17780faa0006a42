import os

import pytest

from obmd.client import SettingsError
from obmd.client import settings


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / 'config' / 'obm'
    folder.mkdir(parents=True)
    return folder


def write(path, text):
    path.write_text(text)
    path.chmod(0o600)
    return path


def load(options=None, config=None, **environ):
    return settings.load(options, config, {**os.environ, **environ})


def test_with_nothing_said_it_is_the_obmd_of_this_machine():
    found = load()
    assert (found.url, found.token, found.ca_file) == ('http://127.0.0.1:8380', None, None)
    assert found.insecure is False


def test_the_user_s_file_is_read(home):
    write(home / 'config.yaml', 'url: https://obmd.example.com\ntoken: abc\ninsecure: true\n')
    found = load()
    assert (found.url, found.token) == ('https://obmd.example.com', 'abc')
    assert found.insecure is True


def test_each_name_comes_from_the_first_that_says_it(home, tmp_path):
    write(tmp_path / 'site.yaml', 'url: https://site\ntoken: of-the-site\nca_file: /site.pem\n')
    write(home / 'config.yaml', 'url: https://user\ntoken: of-the-user\n')
    found = load({'url': 'https://option'}, OBM_TOKEN='of-the-environment')
    assert (found.url, found.token) == ('https://option', 'of-the-environment')
    assert found.ca_file == '/site.pem'


@pytest.mark.parametrize('how', ['option', 'environment'])
def test_a_file_that_is_named_is_the_only_one(home, tmp_path, how):
    write(home / 'config.yaml', 'token: of-the-user\n')
    path = str(write(tmp_path / 'own.yaml', 'url: https://own\n'))
    found = load(config=path) if how == 'option' else load(OBM_CONFIG=path)
    assert (found.url, found.token) == ('https://own', None)


def test_a_token_file_beside_the_file_is_found(home):
    write(home / 'config.yaml', 'token_file: token\n')
    write(home / 'token', 'abc\n')
    assert load().token == 'abc'


def test_a_token_file_of_an_option_comes_before_a_token_of_the_environment(tmp_path):
    path = str(write(tmp_path / 'token', 'of-the-option\n'))
    found = load({'token_file': path}, OBM_TOKEN='of-the-environment')
    assert found.token == 'of-the-option'


def test_the_words_of_flight_action_are_understood(home):
    text = 'base_url: https://gateway1/action\njwt_token: abc\nverify_ssl: false\n'
    write(home / 'config.yaml', text)
    found = load()
    assert (found.url, found.token, found.insecure) == ('https://gateway1', 'abc', True)


@pytest.mark.parametrize(
    ('text', 'word'),
    [
        ('tokn: x', "'tokn' is unknown"),
        ('token: 5', 'token must be text'),
        ('insecure: perhaps', 'insecure must be true or false'),
        ('- x', 'no list of names'),
        ('a: [', 'line 2: this is not YAML'),
        ('a: !!python/object/apply:os.system [id]', 'this is not YAML'),
    ],
)
def test_what_is_wrong_with_a_file_is_named(home, text, word):
    path = write(home / 'config.yaml', text + '\n')
    with pytest.raises(SettingsError) as caught:
        load()
    assert str(path) in str(caught.value)
    assert word in str(caught.value)


def test_a_file_that_is_no_yaml_is_not_repeated(home):
    write(home / 'config.yaml', 'token: "hunter2\n')
    with pytest.raises(SettingsError) as caught:
        load()
    assert 'hunter2' not in str(caught.value)


@pytest.mark.parametrize('name', ['config', 'token_file'])
def test_a_file_that_is_named_must_be_there(name):
    with pytest.raises(SettingsError, match='/nowhere: No such file'):
        load({'token_file': '/nowhere'}) if name == 'token_file' else load(config='/nowhere')


def test_an_empty_token_file_is_refused(tmp_path):
    path = write(tmp_path / 'token', '\n')
    with pytest.raises(SettingsError, match='is empty'):
        load({'token_file': str(path)})


def test_a_token_that_others_may_read_is_warned_of(tmp_path):
    path = write(tmp_path / 'token', 'abc\n')
    path.chmod(0o644)
    found = load({'token_file': str(path)})
    assert found.token == 'abc'
    assert found.warnings == [f'others may read the token in {path}: chmod 600 {path}']


@pytest.mark.parametrize(('text', 'value'), [('1', True), ('no', False), ('True', True)])
def test_insecure_may_be_said_in_the_environment(text, value):
    assert load(OBM_INSECURE=text).insecure is value


def test_the_token_is_not_in_the_repr():
    assert 'hunter2' not in repr(load(OBM_TOKEN='hunter2'))
