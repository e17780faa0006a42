import contextlib
import sqlite3
import types

import pytest
import sqlalchemy as sa
from sqlalchemy import pool
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects import postgresql

from obmd.common import errors
from obmd.conf import CONF
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


def test_postgresql_ends_a_transaction_whose_client_is_silent_but_for_what_the_url_says():
    params = {'host': '127.0.0.1', 'options': '-c statement_timeout=1'}
    dialects._postgresql_connect(None, None, [], params)
    assert params['options'].split('-c ')[1:] == [
        'statement_timeout=10000 ',
        'idle_in_transaction_session_timeout=5000 ',
        'statement_timeout=1',
    ]


class MariaDB:
    """A connection that keeps what it was told."""

    def __init__(self):
        self.said = []

    def get_server_info(self):
        return '10.11.6-MariaDB'

    def cursor(self):
        return contextlib.nullcontext(types.SimpleNamespace(execute=self.said.append))


@pytest.mark.parametrize(('timeout', 'idle'), [(10.0, 5), (0.1, 1), (3.0, 2)])
def test_mariadb_ends_a_transaction_whose_client_is_silent(timeout, idle):
    connection = MariaDB()
    CONF.set_override('statement_timeout', timeout, 'database')
    try:
        dialects._mysql_connected(connection, types.SimpleNamespace(info={'patience': 12}))
    finally:
        CONF.clear_override('statement_timeout', 'database')
    assert f'idle_write_transaction_timeout = {idle}' in connection.said[-1].split(', ')


@pytest.mark.parametrize('host', [None, '', '/run/postgresql', '127.0.0.1', '::1', 'a,b'])
def test_what_is_no_single_name_is_left_to_libpq(host, monkeypatch):
    monkeypatch.setattr(dialects.socket, 'getaddrinfo', None)
    assert dialects._resolved(host, 5432) == {}


class _Attributed(sqlite3.Connection):
    """One that can be told something, as those of servers."""


@pytest.mark.parametrize(('seconds', 'asked'), [(0.0, 0), (0.2, 0), (0.3, 1), (60.0, 1)])
def test_a_connection_that_was_in_use_just_now_is_not_asked_whether_it_is_good(
    monkeypatch, seconds, asked
):
    engine = sa.create_engine(
        'sqlite://',
        poolclass=pool.QueuePool,
        pool_pre_ping=True,
        connect_args={'factory': _Attributed},
    )
    pings, now = [], [100.0]
    engine.dialect.do_ping = lambda connection: pings.append(connection) or True
    monkeypatch.setattr(dialects.time, 'monotonic', lambda: now[0])
    dialects._ping_what_has_rested(engine)
    engine.connect().close()
    now[0] += seconds
    engine.connect().close()
    assert len(pings) == asked
