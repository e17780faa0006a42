"""An upgrade of the schema that is cut off anywhere, where each step is committed by itself."""

import contextlib

import pytest
import sqlalchemy as sa
from oslo_db import exception as db_exc

from obmd.common import errors
from obmd.db import engine
from tests.functional.db.test_schema_on_servers import assert_as_the_models_say
from tests.functional.db.test_schema_on_servers import new_database  # noqa: F401


class Cut(db_exc.DBError):
    pass


@contextlib.contextmanager
def cut_off_after(count):
    """End an upgrade before it would change something for the time after ``count``."""
    left = [count]

    def before(connection, cursor, statement, *unused):
        if statement.lstrip().startswith(('CREATE', 'ALTER', 'INSERT', 'UPDATE')):
            left[0] -= 1
            if left[0] < 0:
                raise Cut('cut')

    changed = engine.current()
    sa.event.listen(changed, 'before_cursor_execute', before)
    try:
        yield
    finally:
        sa.event.remove(changed, 'before_cursor_execute', before)


@pytest.mark.parametrize('new_database', ['postgresql', 'mariadb'], indirect=True)
def test_an_upgrade_that_was_cut_off_anywhere_goes_on(new_database):  # noqa: F811
    for count in range(80):
        try:
            with cut_off_after(count):
                engine.upgrade()
            break
        except errors.Fatal:
            engine.upgrade()
            engine.check_schema()
            assert_as_the_models_say()
        with engine.writer() as connection:
            for table in sa.inspect(connection).get_table_names():
                connection.execute(sa.text(f'DROP TABLE {table}'))
    assert count > 10
