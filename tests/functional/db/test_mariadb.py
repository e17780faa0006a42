"""What only MariaDB does."""

import contextlib
import time

import eventlet
import pytest
import sqlalchemy as sa

from obmd.common import errors
from obmd.conf import CONF
from obmd.db import engine
from obmd.db import models
from obmd.db import nodes
from obmd.db import owners


@pytest.fixture(scope='module', params=['mariadb'])
def server(request):
    return request.getfixturevalue(request.param)


def asked(text):
    with engine.reader() as connection:
        return connection.execute(sa.text(text)).scalar()


def test_a_connection_has_obmds_limits_and_isolation(database):
    assert asked('SELECT @@tx_isolation') == 'READ-COMMITTED'
    assert asked('SELECT @@max_statement_time') == CONF.database.statement_timeout
    assert asked('SELECT @@innodb_lock_wait_timeout') == CONF.database.statement_timeout
    assert asked('SELECT @@idle_write_transaction_timeout') == CONF.database.statement_timeout / 2
    assert asked('SELECT @@character_set_connection') == 'utf8mb4'
    assert 'STRICT_ALL_TABLES' in asked('SELECT @@sql_mode')


def test_a_statement_may_take_longer_than_a_connection(database):
    CONF.set_override('connect_timeout', 1, 'database')
    engine.setup()
    try:
        assert asked('SELECT SLEEP(1.5)') == 0
    finally:
        CONF.clear_override('connect_timeout', 'database')
        engine.setup()


def test_a_name_is_found_by_the_index(database):
    nodes.create('n1', 'mock', '', 'sealed', 'key', '', 'uuid n1')
    with engine.reader() as connection:
        where = sa.text('EXPLAIN SELECT id FROM nodes WHERE name = :name')
        plan = connection.execute(where, {'name': b'n1'}).mappings().one()
    assert plan['key'] == 'uq_nodes_name'


def test_who_waits_for_a_row_that_is_locked_is_told_in_time(database):
    nodes.create('locked', 'mock', '', 'sealed', 'key', '', 'uuid locked')
    CONF.set_override('statement_timeout', 1.0, 'database')
    engine.setup()
    try:
        with engine.writer() as holder:
            holder.execute(sa.text('SET SESSION idle_write_transaction_timeout = 0'))
            holder.execute(sa.update(models.Node).values(last_error='x'))
            started = time.monotonic()
            with pytest.raises(errors.Unavailable):
                owners.claim('uuid locked', 'i' * 32, None, 0)
            assert time.monotonic() - started < 6
        assert owners.claim('uuid locked', 'i' * 32, None, 0) == 1
    finally:
        CONF.clear_override('statement_timeout', 'database')
        engine.setup()


def test_too_many_connections_are_unavailable_until_there_are_fewer(database, server):
    server.query('SET GLOBAL max_connections = 10')
    with contextlib.ExitStack() as held:
        held.callback(server.query, 'SET GLOBAL max_connections = 200')
        with pytest.raises(errors.Unavailable):
            for _ in range(15):
                held.enter_context(engine.reader())
    assert nodes.get('x') is None


def test_a_connection_that_was_killed_is_replaced(database, server):
    nodes.create('killed', 'mock', '', 'sealed', 'key', '', 'uuid killed')
    waiting = eventlet.spawn(lambda: pytest.raises(errors.Unavailable, asked, 'SELECT SLEEP(8)'))
    eventlet.sleep(0.3)
    found = "SELECT id FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP%'"
    server.query(f'KILL {server.query(found).strip()}')
    started = time.monotonic()
    waiting.wait()
    assert time.monotonic() - started < 4
    assert nodes.get('killed').name == 'killed'
