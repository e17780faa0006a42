"""The schema's version: what an upgrade refuses."""

import pytest
import sqlalchemy as sa

from obmd.common import errors
from obmd.conf import CONF
from obmd.db import engine
from obmd.db import schema


@pytest.fixture
def file_database(tmp_path):
    CONF.set_override('connection', f'sqlite:///{tmp_path}/old.db', 'database')
    engine.setup()
    yield
    engine.dispose()
    CONF.clear_override('connection', 'database')


def test_a_database_that_says_no_is_told_from_one_of_another_schema(file_database, monkeypatch):
    def fail(_engine):
        raise sa.exc.OperationalError('SELECT', {}, Exception('server closed the connection'))

    with pytest.raises(errors.Fatal) as empty:
        engine.check_schema()
    monkeypatch.setattr(schema, '_version', fail)
    with pytest.raises(engine.DatabaseSilent, match='server closed the connection'):
        engine.check_schema()
    assert not isinstance(empty.value, engine.DatabaseSilent)


def test_the_database_of_obmd_itself_is_refused_and_the_import_named(file_database):
    table = 'CREATE TABLE nodes (label VARCHAR(80) PRIMARY KEY, obm_info TEXT NOT NULL)'
    with engine.writer() as session:
        session.execute(sa.text(table))
    with pytest.raises(errors.Fatal, match='empty one.*obmd-manage import obmd'):
        engine.upgrade()
    assert sa.inspect(engine.current()).get_table_names() == ['nodes']
