import json

import pytest
import sqlalchemy

from obmd.cmd import obmd_settings
from obmd.cmd import serve
from obmd.common import errors
from obmd.common import secrets
from obmd.conf import CONF

TOKEN = '0123456789abcdef0123456789abcdef'


@pytest.fixture(autouse=True)
def _options():
    yield
    for name, group in (
        ('listen', 'api'),
        ('tls_cert', 'api'),
        ('tls_key', 'api'),
        ('insecure', 'api'),
        ('connection', 'database'),
    ):
        CONF.clear_override(name, group)


def from_environment(**variables):
    return obmd_settings.from_environment(variables)


def applied(**variables):
    settings = from_environment(**{'ADMIN_TOKEN': TOKEN, **variables})
    settings.apply()
    return settings


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / 'obmd.json'
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    return write


def refused(function, *args, **kwargs):
    with pytest.raises(errors.Fatal) as fatal:
        function(*args, **kwargs)
    assert '\n' not in fatal.value.reason
    return fatal.value.reason


# -- the environment ------------------------------------------------------------------------------


def test_without_any_variable_there_are_no_settings():
    assert from_environment(HOME='/', PATH='/bin') is None


@pytest.mark.parametrize('name', obmd_settings.VARIABLES)
def test_any_one_variable_means_obmds_rules(name):
    settings = from_environment(**{name: 'true' if name == 'INSECURE' else ''})
    assert settings is not None


def test_each_variable_sets_its_option():
    applied(
        DB_TYPE='sqlite3',
        DB_PATH='/var/lib/obmd.db',
        LISTEN_ADDR=':8080',
        TLS_CERT='/c.pem',
        TLS_KEY='/k.pem',
    )
    assert CONF.database.connection == 'sqlite:////var/lib/obmd.db'
    assert CONF.api.listen == ':8080'
    assert (CONF.api.tls_cert, CONF.api.tls_key) == ('/c.pem', '/k.pem')
    assert CONF.api.insecure is False


def test_what_is_not_given_keeps_its_default():
    listen = CONF.api.listen
    applied()
    assert CONF.api.listen == listen
    assert CONF.api.tls_cert is None


def test_an_empty_variable_is_as_none():
    listen = CONF.api.listen
    applied(DB_TYPE='', DB_PATH='', LISTEN_ADDR='', TLS_CERT='', TLS_KEY='')
    assert CONF.api.listen == listen
    assert CONF.api.tls_cert is None


@pytest.mark.parametrize('text', ['1', 't', 'T', 'TRUE', 'true', 'True'])
def test_what_go_takes_for_true(text):
    applied(INSECURE=text)
    assert CONF.api.insecure is True


@pytest.mark.parametrize('text', ['0', 'f', 'F', 'FALSE', 'false', 'False'])
def test_what_go_takes_for_false(text):
    applied(INSECURE=text)
    assert CONF.api.insecure is False


@pytest.mark.parametrize('text', ['', 'yes', 'no', 'on', 'tRUE', ' true', '2', 'nil'])
def test_what_go_takes_for_neither(text):
    assert 'INSECURE' in refused(from_environment, INSECURE=text)


def test_the_admin_token_is_not_left_for_child_processes():
    environment = {'ADMIN_TOKEN': TOKEN, 'LISTEN_ADDR': ':1'}
    settings = obmd_settings.from_environment(environment)
    assert environment == {'LISTEN_ADDR': ':1'}
    assert settings.admin_hash == secrets.token_hash(TOKEN)


@pytest.mark.parametrize(
    'token', [None, '', '0' * 31, '0' * 33, 'g' * 32, TOKEN + '\n', ' ' + TOKEN, '０' * 32]
)
def test_an_admin_token_that_is_none_is_refused_and_not_repeated(token):
    variables = {'LISTEN_ADDR': ':1'} if token is None else {'ADMIN_TOKEN': token}
    reason = refused(from_environment(**variables).apply)
    assert 'ADMIN_TOKEN' in reason
    assert not token or token not in reason


def test_an_admin_token_may_be_in_either_case():
    assert applied(ADMIN_TOKEN=TOKEN.upper()).admin_hash == applied().admin_hash


# -- plain or not ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'more', [{'TLS_CERT': '/c'}, {'TLS_KEY': '/k'}, {'TLS_CERT': '/c', 'TLS_KEY': '/k'}]
)
def test_insecure_together_with_tls_is_refused(more):
    assert 'INSECURE' in refused(applied, INSECURE='true', **more)


@pytest.mark.parametrize('more', [{'TLS_CERT': '/c'}, {'TLS_KEY': '/k'}])
def test_half_a_pair_is_refused(more):
    applied(LISTEN_ADDR='127.0.0.1:0', **more)
    refused(serve.check, CONF.api)


@pytest.mark.parametrize('insecure', [{}, {'INSECURE': 'false'}])
@pytest.mark.parametrize('listen', [':8080', '0.0.0.0:8080', '[::]:8080', '192.0.2.1:80'])
def test_plain_http_off_loopback_needs_insecure(listen, insecure):
    applied(LISTEN_ADDR=listen, **insecure)
    refused(serve.check, CONF.api)
    applied(LISTEN_ADDR=listen, INSECURE='true')
    assert serve.check(CONF.api) is None


@pytest.mark.parametrize('listen', ['127.0.0.1:8080', '[::1]:80', 'localhost:1'])
def test_plain_http_on_loopback_needs_nothing(listen):
    applied(LISTEN_ADDR=listen)
    assert serve.check(CONF.api) is None


# -- the database ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('path', 'database'),
    [
        ('/var/lib/obmd.db', '/var/lib/obmd.db'),
        ('obmd.db', 'obmd.db'),
        (':memory:', ':memory:'),
        ('file:obmd.db?cache=shared', 'obmd.db'),
        ('/with space/é %41 #.db', '/with space/é %41 #.db'),
    ],
)
def test_a_sqlite_file_is_found_where_it_was(path, database):
    applied(DB_TYPE='sqlite3', DB_PATH=path)
    url = sqlalchemy.make_url(CONF.database.connection)
    assert url.get_backend_name() == 'sqlite'
    assert url.database == database


@pytest.mark.parametrize(
    ('dsn', 'wanted'),
    [
        ('host=db dbname=obmd', ('db', None, None, 'obmd')),
        ("host=db user=me password='p w@/:%' dbname=obmd", ('db', 'me', 'p w@/:%', 'obmd')),
        ('host=/run/postgresql dbname=obmd', ('/run/postgresql', None, None, 'obmd')),
        ('postgres://me:p%40w@db:5433/obmd?sslmode=require', ('db', 'me', 'p@w', 'obmd')),
        ('', (None, None, None, None)),
    ],
)
def test_a_libpq_string_becomes_a_url(dsn, wanted):
    applied(DB_TYPE='postgres', DB_PATH=dsn)
    url = sqlalchemy.make_url(CONF.database.connection)
    assert url.get_backend_name() == 'postgresql'
    host = url.host or url.query.get('host')
    assert (host, url.username, url.password, url.database) == wanted
    if 'sslmode' in dsn:
        assert url.query['sslmode'] == 'require'
        assert url.query['port'] == '5433'


@pytest.mark.parametrize(
    'variables',
    [
        {'DB_TYPE': 'mysql', 'DB_PATH': 'user:hunter2@/obmd'},
        {'DB_TYPE': 'SQLITE3', 'DB_PATH': 'x'},
        {'DB_TYPE': 'password=hunter2'},
        {'DB_PATH': 'host=db password=hunter2'},
        {'DB_TYPE': 'sqlite3'},
        {'DB_TYPE': 'sqlite3', 'DB_PATH': 'file:'},
        {'DB_TYPE': 'postgres', 'DB_PATH': 'host=db password=hunter2 nonsense'},
        {'DB_TYPE': 'postgres', 'DB_PATH': 'host=db password=hunter2 no_such_key=1'},
        {'DB_TYPE': 'postgres', 'DB_PATH': "password='hunter2"},
    ],
)
def test_a_database_that_cannot_be_is_refused_without_its_password(variables):
    reason = refused(applied, **variables)
    assert 'DB_' in reason
    assert 'hunter2' not in reason


def test_no_secret_is_in_what_settings_print():
    settings = applied(DB_TYPE='postgres', DB_PATH='host=db password=hunter2')
    assert 'hunter2' not in repr(settings)
    assert TOKEN not in repr(settings)


# -- the file -------------------------------------------------------------------------------------


def test_a_file_of_version_01_is_taken_and_serves_plain_http_everywhere(file):
    settings = obmd_settings.from_file(
        file(
            {
                'DBType': 'sqlite3',
                'DBPath': './obmd.db',
                'ListenAddr': ':8800',
                'AdminToken': TOKEN,
            }
        )
    )
    settings.apply()
    assert CONF.api.listen == ':8800'
    assert serve.check(CONF.api) is None
    assert settings.admin_hash == secrets.token_hash(TOKEN)


def test_a_file_that_says_insecure_false_means_it(file):
    obmd_settings.from_file(
        file({'ListenAddr': ':8800', 'AdminToken': TOKEN, 'Insecure': False})
    ).apply()
    refused(serve.check, CONF.api)


def test_a_file_with_insecure_and_tls_is_refused(file):
    content = {'AdminToken': TOKEN, 'Insecure': True, 'TLSCert': '/c', 'TLSKey': '/k'}
    refused(obmd_settings.from_file(file(content)).apply)


def test_a_file_of_version_01_with_tls_uses_it(file):
    content = {'AdminToken': TOKEN, 'TLSCert': '/c', 'TLSKey': '/k'}
    obmd_settings.from_file(file(content)).apply()
    assert CONF.api.insecure is False
    assert CONF.api.tls_cert == '/c'


def test_null_and_unknown_keys_are_ignored_as_go_does(file):
    content = {'AdminToken': TOKEN, 'TLSCert': None, 'Insecure': None, 'ShellProgram': 'x'}
    settings = obmd_settings.from_file(file(content))
    settings.apply()
    assert settings.plaintext_allowed


@pytest.mark.parametrize(
    'content',
    [
        '',
        'not json',
        '[]',
        '"text"',
        'null',
        '{"AdminToken": ',
        '[' * 100000,
        {'AdminToken': 5},
        {'ListenAddr': ['x']},
        {'Insecure': 'true'},
        {'Insecure': 1},
    ],
)
def test_a_file_that_cannot_be_is_refused_in_one_line(file, content):
    refused(obmd_settings.from_file, file(content))


def test_a_wrong_value_is_named_by_its_key(file):
    assert 'DBPath' in refused(obmd_settings.from_file, file({'DBPath': 5}))


def test_a_file_that_is_not_utf8_is_refused(tmp_path):
    path = tmp_path / 'obmd.json'
    path.write_bytes(b'{"AdminToken": "\xff"}')
    refused(obmd_settings.from_file, str(path))


def test_a_file_that_is_not_there_is_named(tmp_path):
    assert 'missing.json' in refused(obmd_settings.from_file, str(tmp_path / 'missing.json'))
    refused(obmd_settings.from_file, str(tmp_path))


def test_a_file_without_a_token_is_refused(file):
    refused(obmd_settings.from_file(file({'DBType': 'sqlite3', 'DBPath': 'x'})).apply)
