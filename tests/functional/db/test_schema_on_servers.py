"""Every way to the newest schema, on each database."""

import eventlet
import pytest
import sqlalchemy as sa
from alembic import autogenerate
from alembic import migration

from obmd.common import errors
from obmd.conf import CONF
from obmd.db import conductors
from obmd.db import engine
from obmd.db import models
from obmd.db import nodes

REVISIONS = ['0001', '0002', '0003', '0004', '0005']


@pytest.fixture(params=['sqlite', 'postgresql', 'mariadb'])
def new_database(request, tmp_path):
    """Nothing in it, the engine set up."""
    if request.param == 'sqlite':
        url = f'sqlite:///{tmp_path}/obmd.sqlite'
    else:
        server = request.getfixturevalue(request.param)
        url = server.new_database(f'schema{tmp_path.name}'.lower())
    CONF.set_override('connection', url, 'database')
    engine.setup()
    yield engine
    engine.dispose()
    CONF.clear_override('connection', 'database')


def row_of(table, **values):
    """Something in every column that wants it."""
    fill = {'INTEGER': 0, 'BIGINT': 7, 'DOUBLE': 1.5, 'DOUBLE_PRECISION': 1.5, 'JSON': '[]'}
    made = {}
    for column in table.columns:
        if not column.nullable and not column.primary_key and column.server_default is None:
            made[column.name] = fill.get(type(column.type).__name__, '[]')
    return made | values


def assert_as_the_models_say():
    with engine.current().connect() as connection:
        context = migration.MigrationContext.configure(connection, opts={'compare_type': True})
        assert autogenerate.compare_metadata(context, models.Base.metadata) == []


@pytest.mark.parametrize('revision', REVISIONS)
def test_an_older_schema_is_refused_and_goes_up_with_its_rows(new_database, revision):
    engine.upgrade(revision)
    with engine.writer() as connection:
        found = sa.MetaData()
        found.reflect(connection)
        name = found.tables['nodes'].c.name.type
        label = b'n1' if isinstance(name, sa.VARBINARY) else 'n1'
        group = label[:0]
        connection.execute(
            sa.insert(found.tables['nodes']).values(
                row_of(found.tables['nodes'], name=label, conductor_group=group)
            )
        )
        connection.execute(
            sa.insert(found.tables['conductors']).values(
                row_of(
                    found.tables['conductors'],
                    incarnation='1' * 32,
                    host=label,
                    conductor_group=group,
                    drivers=sa.literal_column("'[]'"),
                    key_ids=sa.literal_column("'[]'"),
                )
            )
        )
    if revision != REVISIONS[-1]:
        with pytest.raises(errors.Fatal, match=f'{revision}, older.*obmd-manage db upgrade'):
            engine.check_schema()
    engine.upgrade()
    engine.check_schema()
    assert nodes.get('n1').name == 'n1'
    (conductor,) = conductors.all()
    assert (conductor.drained, conductor.home, conductor.drivers) == (False, '', ())
    assert_as_the_models_say()


def test_what_cannot_be_used_is_refused_and_left_alone(new_database):
    with pytest.raises(errors.Fatal, match='empty.*obmd-manage db upgrade'):
        engine.check_schema()
    engine.upgrade()
    with engine.writer() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    for refused in (engine.check_schema, engine.upgrade):
        with pytest.raises(errors.Fatal, match='9999.*update obmd'):
            refused()


def test_another_programs_database_is_refused(new_database):
    with engine.writer() as connection:
        connection.execute(sa.text('CREATE TABLE nodes (label VARCHAR(80) PRIMARY KEY)'))
    with pytest.raises(errors.Fatal, match='obmd-manage import obmd'):
        engine.upgrade()
    assert sa.inspect(engine.current()).get_table_names() == ['nodes']


def test_an_upgrade_keeps_neither_its_lock_nor_its_patience(new_database):
    engine.upgrade()
    limits = {'postgresql': 'SHOW statement_timeout', 'mysql': 'SELECT @@max_statement_time'}
    asked = limits.get(engine.current().dialect.name)
    if asked:
        with engine.reader() as connection:
            assert str(connection.execute(sa.text(asked)).scalar()) in ('10s', '10.0')
    with eventlet.Timeout(10):
        engine.upgrade()
