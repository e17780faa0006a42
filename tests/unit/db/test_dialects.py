import pytest
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects import postgresql

from obmd.common import errors
from obmd.db import dialects
from obmd.db import models


@pytest.mark.parametrize(
    ('given', 'driver'),
    [
        ('postgresql://u:p@h/d', 'postgresql+psycopg2'),
        ('postgres://u:p@h/d', 'postgresql+psycopg2'),
        ('postgresql+psycopg2://u:p@h/d', 'postgresql+psycopg2'),
        ('mysql://u:p@h/d', 'mysql+pymysql'),
        ('mariadb://u:p@h/d', 'mysql+pymysql'),
        ('mariadb+pymysql://u:p@h/d', 'mysql+pymysql'),
        ('mysql+pymysql://u:p@h/d', 'mysql+pymysql'),
        ('sqlite:////tmp/x', 'sqlite'),
    ],
)
def test_a_plain_url_gets_the_driver_that_obmd_ships(given, driver):
    assert dialects.url(given, '.').drivername == driver


def test_without_a_connection_it_is_a_file_in_the_state_folder(tmp_path):
    made = dialects.url(None, str(tmp_path))
    assert made.render_as_string() == f'sqlite:///{tmp_path}/obmd.sqlite'
    assert dialects.url('', str(tmp_path)) == made


def test_mysql_speaks_all_of_unicode():
    assert dialects.url('mysql://h/d', '.').query['charset'] == 'utf8mb4'
    with pytest.raises(errors.Fatal, match='charset'):
        dialects.url('mysql://h/d?charset=latin1', '.')


@pytest.mark.parametrize(
    'given',
    [
        'geheim',
        'oracle://u:geheim@h/d',
        'postgresql+asyncpg://u:geheim@h/d',
        'mysql+mysqldb://u:geheim@h/d',
        'mariadb+mariadbconnector://u:geheim@h/d',
        'mysql://u:geheim@h/d?sslmode=require',
        'mysql://u:geheim@h/d?connect_timeout=soon',
        'mysql://u:geheim@h/d?ssl_ca=/none',
        'mysql://u:geheim@h/d?compress=true',
    ],
)
def test_what_cannot_be_used_is_refused_without_the_password(given):
    with pytest.raises(errors.Fatal) as caught:
        dialects.url(given, '.')
    assert 'geheim' not in caught.value.reason
    assert '\n' not in caught.value.reason


def test_what_pymysql_does_not_know_is_named():
    with pytest.raises(errors.Fatal, match="unexpected keyword argument 'sslmode'"):
        dialects.url('mariadb://h/d?sslmode=require', '.')


def test_what_pymysql_says_is_one_line_with_its_number():
    said = OSError(1049, "Unknown database 'x'")
    assert dialects.one_line(said) == "Unknown database 'x' (1049)"


@pytest.mark.parametrize(
    ('given', 'said'),
    [
        ('postgresql://u:geheim@h:5/d', 'postgresql at h:5'),
        ('postgresql://u:geheim@/d?host=/run/pg', 'postgresql at /run/pg'),
        ('mysql://u:geheim@h/d', 'mysql at h'),
        ('sqlite:////tmp/x', 'sqlite /tmp/x'),
        ('sqlite://', 'sqlite :memory:'),
    ],
)
def test_where_a_database_is_can_be_said_without_credentials(given, said):
    assert dialects.where(dialects.url(given, '.')) == said


def test_names_are_bytes_in_each_databases_own_way():
    column = models.Node.__table__.c.name.type
    assert str(column.dialect_impl(postgresql.dialect()).compile(postgresql.dialect())) == (
        'VARCHAR(255) COLLATE "C"'
    )
    assert str(column.dialect_impl(mysql.dialect()).compile(mysql.dialect())) == 'VARBINARY(1020)'
    assert column.process_bind_param('nodé ', mysql.dialect()) == 'nodé '.encode()
    assert column.process_result_value('nodé '.encode(), mysql.dialect()) == 'nodé '


def test_a_named_host_is_looked_up_with_all_its_addresses(monkeypatch):
    found = [(0, 0, 0, '', ('::1', 0, 0, 0)), (0, 0, 0, '', ('127.0.0.1', 0))]
    monkeypatch.setattr(dialects.socket, 'getaddrinfo', lambda *unused: found)
    assert dialects._resolved('db', 5432) == {
        'host': 'db,db',
        'hostaddr': '::1,127.0.0.1',
        'port': '5432,5432',
    }


@pytest.mark.parametrize('host', [None, '', '/run/postgresql', '127.0.0.1', '::1', 'a,b'])
def test_what_is_no_single_name_is_left_to_libpq(host, monkeypatch):
    monkeypatch.setattr(dialects.socket, 'getaddrinfo', None)
    assert dialects._resolved(host, 5432) == {}
