import pytest

from obmd.common import errors
from obmd.conductor import environment


@pytest.fixture(autouse=True)
def _home(monkeypatch):
    monkeypatch.setattr(environment, 'home', lambda _user: '/home/of-scripts')


def build(parameters=None, **more):
    return environment.build('load', '/etc/obmd/commands', 'n1', parameters, **more)


def test_nothing_but_what_is_told_is_there(monkeypatch):
    monkeypatch.setenv('OS_DATABASE__CONNECTION', 'postgresql://secret')
    assert build({'ip': '10.0.0.1'}, username='root', uid=0) == {
        'PATH': environment.PATH,
        'LANG': environment.LANG,
        'HOME': '/home/of-scripts',
        'SCRIPT_ROOT': '/etc/obmd/commands',
        'command': 'load',
        'name': 'n1',
        'ip': '10.0.0.1',
        'request_username': 'root',
        'request_uid': '0',
    }


@pytest.mark.parametrize(
    ('value', 'text'),
    [
        ('x', 'x'),
        ('', ''),
        ('two\nlines "quoted" $(id)', 'two\nlines "quoted" $(id)'),
        (5, '5'),
        (1.5, '1.5'),
        (True, 'true'),
        (False, 'false'),
        ([1, 'ü'], '[1,"ü"]'),
        ({'a': [True]}, '{"a":[true]}'),
    ],
)
def test_values_are_texts(value, text):
    assert build({'key': value})['key'] == text


@pytest.mark.parametrize('name', ['SCRIPT_ROOT', 'command', 'name', 'request_uid'])
def test_no_parameter_replaces_what_is_told(name):
    assert build({name: 'evil'}, uid=7)[name] != 'evil'


@pytest.mark.parametrize('name', ['PATH', 'LD_PRELOAD', 'BASH_ENV', 'IFS', 'a b', '', 'x=y'])
def test_what_would_change_how_scripts_run_is_refused_and_named(name):
    with pytest.raises(errors.InvalidInput, match='parameters: '):
        build({name: 'evil'})


def test_names_keep_their_case():
    made = build({'Key': 'a', 'key': 'b'})
    assert (made['Key'], made['key']) == ('a', 'b')


def test_who_is_not_told_is_empty():
    made = build()
    assert (made['request_username'], made['request_uid']) == ('', '')


def test_a_command_that_runs_on_no_node_has_no_name():
    assert 'name' not in environment.build('load', '/c')


@pytest.mark.parametrize('value', ['a\0b', '\ud800'])
def test_what_no_program_can_be_given_is_refused_and_named(value):
    with pytest.raises(errors.InvalidInput, match='parameters.key'):
        build({'key': value})


@pytest.mark.parametrize('more', [{'username': 'a\0'}, {'username': '\udfff'}])
def test_a_name_that_no_program_can_be_given_is_refused(more):
    with pytest.raises(errors.InvalidInput, match='request_username'):
        build(**more)


def test_a_user_without_a_home_has_the_root(monkeypatch):
    monkeypatch.undo()
    environment.home.cache_clear()
    assert environment.home('no-such-user') == '/'
    assert environment.home('root') == '/root'
