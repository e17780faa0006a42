import logging
import os
import sqlite3
import stat
import threading

import pytest
import sqlalchemy as sa
from alembic import autogenerate
from alembic import migration
from oslo_db import exception as db_exc
from sqlalchemy import exc as sa_exc

from obmd.common import errors
from obmd.conf import CONF
from obmd.db import conductors
from obmd.db import engine
from obmd.db import models
from obmd.db import nodes


@pytest.fixture
def file_database(tmp_path):
    path = tmp_path / 'state' / 'obmd.sqlite'
    CONF.set_override('connection', f'sqlite:///{path}', 'database')
    engine.setup()
    yield path
    engine.dispose()
    CONF.clear_override('connection', 'database')


@pytest.fixture
def memory_database():
    CONF.set_override('connection', 'sqlite://', 'database')
    engine.setup()
    engine.upgrade()
    yield
    engine.dispose()
    CONF.clear_override('connection', 'database')


def make(name='n1'):
    return nodes.create(name, 'mock', '', 'sealed', 'key', '', f'uuid {name}')


def test_an_empty_database_is_refused_and_the_command_named(file_database):
    with pytest.raises(errors.Fatal, match='empty.*obmd-manage db upgrade'):
        engine.check_schema()


def test_an_upgraded_database_is_accepted_and_a_second_upgrade_harmless(file_database):
    engine.upgrade()
    node = make()
    engine.upgrade()
    engine.check_schema()
    assert engine.version() == engine.head()
    assert nodes.get('n1') == node


def test_a_newer_database_is_refused_and_left_alone(file_database):
    engine.upgrade()
    with engine.writer() as session:
        session.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    for refused in (engine.check_schema, engine.upgrade):
        with pytest.raises(errors.Fatal, match='9999.*update obmd'):
            refused()


def test_an_older_database_is_refused_and_the_command_named(file_database, monkeypatch):
    engine.upgrade()
    monkeypatch.setattr('obmd.db.schema.head', lambda: '9999')
    with pytest.raises(errors.Fatal, match='older.*obmd-manage db upgrade'):
        engine.check_schema()


def test_an_upgrade_that_fails_leaves_nothing_behind(file_database):
    with engine.writer() as session:
        session.execute(sa.text('CREATE TABLE conductors (x INTEGER)'))
    with pytest.raises(errors.Fatal, match='conductors already exists'):
        engine.upgrade()
    assert sa.inspect(engine.current()).get_table_names() == ['conductors']
    assert engine.version() is None


def test_the_migrations_make_what_the_models_say(file_database):
    engine.upgrade()
    with engine.current().connect() as connection:
        context = migration.MigrationContext.configure(connection)
        assert autogenerate.compare_metadata(context, models.Base.metadata) == []


def test_an_upgrade_leaves_logging_and_the_terminal_alone(file_database, capfd):
    before = [(name, logging.getLogger(name).handlers[:]) for name in ('', 'alembic')]
    engine.upgrade()
    assert before == [(name, logging.getLogger(name).handlers[:]) for name in ('', 'alembic')]
    assert capfd.readouterr() == ('', '')


def test_only_its_user_can_read_the_file(file_database):
    engine.upgrade()
    make()
    files = list(file_database.parent.iterdir())
    assert len(files) == 3  # with its write-ahead log
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(file_database.parent.stat().st_mode) == 0o700


def test_a_file_that_others_could_read_is_closed_to_them(file_database):
    engine.dispose()
    os.chmod(file_database, 0o644)
    engine.setup()
    assert stat.S_IMODE(file_database.stat().st_mode) == 0o600


def test_a_file_is_written_through_a_log_with_foreign_keys_on(file_database):
    with engine.reader() as session:
        assert session.execute(sa.text('PRAGMA journal_mode')).scalar() == 'wal'
        assert session.execute(sa.text('PRAGMA foreign_keys')).scalar() == 1
        assert session.execute(sa.text('PRAGMA busy_timeout')).scalar() == 5000


def test_a_reader_sees_what_other_processes_wrote_since_the_last_one(file_database):
    engine.upgrade()
    make()
    assert nodes.get('n1').name == 'n1'
    with sqlite3.connect(file_database) as other:
        other.execute("UPDATE nodes SET name = 'n2'")
    other.close()
    assert nodes.get('n1') is None
    assert nodes.get('n2').name == 'n2'


def test_a_reader_that_fails_leaves_nothing_behind(file_database):
    engine.upgrade()
    for _ in range(3):
        with pytest.raises(errors.Unavailable), engine.reader() as connection:
            connection.execute(sa.text('SELECT nonsense FROM nodes'))
    assert make().name == 'n1'
    assert nodes.get('n1').name == 'n1'


def test_a_folder_that_cannot_be_made_is_one_clear_line():
    CONF.set_override('connection', 'sqlite:////proc/none/obmd.sqlite', 'database')
    try:
        with pytest.raises(errors.Fatal, match='/proc/none/obmd.sqlite'):
            engine.setup()
    finally:
        CONF.clear_override('connection', 'database')


def test_a_database_without_tables_is_unavailable_and_not_a_crash(file_database):
    with pytest.raises(errors.Unavailable) as caught:
        nodes.get('n1')
    assert caught.value.retry_after > 0


def test_without_setup_the_database_is_unavailable():
    engine.dispose()
    with pytest.raises(errors.Unavailable):
        nodes.get('n1')


def test_what_fails_inside_is_rolled_back(memory_database):
    with pytest.raises(ZeroDivisionError):
        with engine.writer() as session:
            session.execute(sa.delete(models.Node))
            session.execute(sa.text('CREATE TABLE t (x INTEGER)'))
            raise ZeroDivisionError
    with engine.reader() as connection:
        assert 't' not in sa.inspect(connection).get_table_names()


def test_the_parameters_of_a_failed_statement_are_not_shown(memory_database):
    with pytest.raises(sa_exc.SQLAlchemyError) as caught:
        with engine.current().connect() as connection:
            connection.execute(sa.text('SELECT :x FROM nodes WHERE'), {'x': 'geheim'})
    assert 'geheim' not in str(caught.value)
    assert 'hidden' in str(caught.value)


@pytest.mark.parametrize('kind', ['memory', 'file'])
def test_threads_do_not_see_each_others_transactions(request, kind):
    request.getfixturevalue(f'{kind}_database')
    engine.upgrade()
    counted = make(f'counted {kind}')
    failed = []

    def count():
        try:
            for _ in range(20):
                with engine.writer() as session:
                    where = models.Node.id == counted.id
                    seen = session.execute(sa.select(models.Node.owner_epoch).where(where))
                    value = seen.scalar() + 1
                    session.execute(sa.update(models.Node).where(where).values(owner_epoch=value))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert nodes.get_by_uuid(counted.uuid).owner_epoch == 160


def test_a_lost_connection_is_tried_again_for_what_may_be_done_twice(memory_database, monkeypatch):
    calls = []

    @engine.retried
    def lost_once():
        calls.append(1)
        with engine.reader():
            if len(calls) == 1:
                raise db_exc.DBConnectionError('gone')
            return 'done'

    monkeypatch.setattr('oslo_db.api.time.sleep', lambda seconds: None)
    assert lost_once() == 'done'
    assert len(calls) == 2


@pytest.mark.parametrize('decorator', [engine.retried, engine.retried_if_undone])
def test_a_broken_deadlock_is_tried_again_and_then_unavailable(
    memory_database, monkeypatch, decorator
):
    calls = []

    @decorator
    def deadlocked(times):
        calls.append(1)
        with engine.writer():
            if len(calls) <= times:
                raise db_exc.DBDeadlock()
            return 'done'

    monkeypatch.setattr('oslo_db.api.time.sleep', lambda seconds: None)
    assert deadlocked(2) == 'done'
    calls.clear()
    with pytest.raises(errors.Unavailable):
        deadlocked(9)


def test_what_may_not_be_done_twice_is_not_when_the_connection_was_lost(memory_database):
    calls = []

    @engine.retried_if_undone
    def lost():
        calls.append(1)
        with engine.writer():
            raise db_exc.DBConnectionError('gone')

    with pytest.raises(errors.Unavailable):
        lost()
    assert len(calls) == 1


def test_a_connection_that_cannot_be_made_is_not_tried_again(memory_database, monkeypatch):
    calls = []

    def unreachable():
        calls.append(1)
        raise db_exc.DBConnectionError(OSError('refused'))

    monkeypatch.setattr(engine._database.engine, 'connect', unreachable)
    with pytest.raises(errors.Unavailable):
        nodes.get('n1')
    assert len(calls) == 1


@pytest.mark.parametrize('url', ['postgresql://u:p@127.0.0.1:1/d', 'mariadb://u:p@127.0.0.1:1/d'])
def test_a_heartbeat_has_a_connection_that_others_cannot_take(url, monkeypatch):
    def exhausted():
        raise sa_exc.TimeoutError('QueuePool limit reached')

    def own():
        raise LookupError('its own')

    CONF.set_override('connection', url, 'database')
    engine.setup()
    try:
        assert engine._database.apart.pool.size() == 1
        monkeypatch.setattr(engine._database.engine, 'connect', exhausted)
        monkeypatch.setattr(engine._database.apart, 'connect', own)
        with pytest.raises(LookupError, match='its own'):
            conductors.beat('i' * 32, 1)
    finally:
        engine.dispose()
        CONF.clear_override('connection', 'database')


def test_setting_up_again_replaces_the_engine(file_database):
    engine.upgrade()
    before = engine.current()
    engine.setup()
    assert engine.current() is not before
    engine.check_schema()
