"""Steps of a migration, which a second try skips when the first one was cut off behind them.

MySQL and MariaDB commit each change of a table by itself.  Elsewhere a revision is done whole or
not at all, and what is there already is somebody else's.
"""

import sqlalchemy as sa
from alembic import op


def _done(seen):
    """:param seen: callable of an inspector.  :returns: bool, whether to go on behind it."""
    connection = op.get_bind()
    return connection.dialect.name == 'mysql' and seen(sa.inspect(connection))


def create_table(name, *columns, **options):
    if not _done(lambda found: found.has_table(name)):
        op.create_table(name, *columns, **options)


def create_index(name, table, columns):
    if not _done(lambda found: name in [one['name'] for one in found.get_indexes(table)]):
        op.create_index(name, table, columns)


def add_column(table, column):
    if not _done(lambda found: column.name in [one['name'] for one in found.get_columns(table)]):
        op.add_column(table, column)
