"""The schema's version: what an upgrade refuses."""

import pytest
import sqlalchemy as sa

from obmd.common import errors
from obmd.conf import CONF
from obmd.db import engine


@pytest.fixture
def file_database(tmp_path):
    CONF.set_override('connection', f'sqlite:///{tmp_path}/old.db', 'database')
    engine.setup()
    yield
    engine.dispose()
    CONF.clear_override('connection', 'database')


def test_the_database_of_obmd_itself_is_refused_and_the_import_named(file_database):
    table = 'CREATE TABLE nodes (label VARCHAR(80) PRIMARY KEY, obm_info TEXT NOT NULL)'
    with engine.writer() as session:
        session.execute(sa.text(table))
    with pytest.raises(errors.Fatal, match='empty one.*obmd-manage import obmd'):
        engine.upgrade()
    assert sa.inspect(engine.current()).get_table_names() == ['nodes']
