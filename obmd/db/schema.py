"""The schema's version: what the database has, what this obmd needs, and the way there.

Comes in only through ``engine``, which passes the engine in use.
"""

import contextlib
import io
import os
import queue
import threading

import sqlalchemy as sa
from alembic import command
from alembic import config
from alembic import migration
from alembic import script
from oslo_db import exception as db_exc
from sqlalchemy import exc as sa_exc

from obmd.common import errors
from obmd.db import dialects

#: what to type, named by each refusal
COMMAND = 'obmd-manage db upgrade'
#: seconds in which a start must have heard from the database
PATIENCE = 9.0
#: the advisory lock that keeps two upgrades apart: "obmd" in ASCII
_LOCK = 0x6F626D64
#: seconds that an upgrade waits for another one where the server wants a number
_LOCK_WAIT = 3600


class DatabaseSilent(errors.Fatal):
    """It did not answer, or said no: nothing is known of its schema."""


def _alembic():
    # an own output: alembic prints to the terminal otherwise
    made = config.Config(stdout=io.StringIO())
    made.set_main_option('script_location', os.path.join(os.path.dirname(__file__), 'migrations'))
    return made


def head():
    """:returns: str, the newest revision that this obmd knows."""
    return script.ScriptDirectory.from_config(_alembic()).get_current_head()


def _known():
    scripts = script.ScriptDirectory.from_config(_alembic())
    return [one.revision for one in scripts.walk_revisions()]


def version(engine):
    """:returns: str, the database's revision, or None: never upgraded.

    :raises DatabaseSilent: the database does not answer in time, or says no.
    """
    return _in_time(engine, lambda: _version(engine))


def _version(engine):
    with engine.connect() as connection:
        return _version_seen(connection)


def _version_seen(connection):
    return migration.MigrationContext.configure(connection).get_current_revision()


def check(engine):
    """:raises Fatal: the database cannot be used as it is; the reason says what to type.
    :raises DatabaseSilent: it does not answer.
    """
    has, needs = version(engine), head()
    if has == needs:
        return
    if has is None:
        raise errors.Fatal(f'the database is empty: run "{COMMAND}"')
    known = [
        one.revision for one in script.ScriptDirectory.from_config(_alembic()).walk_revisions()
    ]
    if has in known:
        raise errors.Fatal(
            f'the database is at revision {has}, older than {needs}: run "{COMMAND}"'
        )
    raise errors.Fatal(
        f'the database is at revision {has}, which this version of obmd does not know '
        f'(it knows up to {needs}): update obmd; "{COMMAND}" cannot go back'
    )


def upgrade(engine, revision='head'):
    """Bring the database to ``revision``; a second upgrade at the same time waits.

    :raises Fatal: the database does not answer, or is newer than this obmd.
    """
    has = version(engine)
    if has is not None and has not in _known():
        check(engine)
    made = _alembic()
    with _said(engine), engine.connect() as connection:
        if engine.dialect.name == 'sqlite':
            connection = connection.execution_options(obmd_write=True)
        else:
            # closed at the end, with its lock and without its limits
            connection.detach()
        with connection.begin():
            dialects.be_patient(connection)
            _wait_for_others(connection)
            _refuse_others(connection)
            made.attributes['connection'] = connection
            command.upgrade(made, revision)


def _refuse_others(connection):
    """A database with a table of ours that no upgrade has begun: OBMd's own, most likely.

    :raises Fatal: nothing of it is touched.
    """
    found = sa.inspect(connection)
    if found.has_table('nodes') and not found.has_table('alembic_version'):
        raise errors.Fatal(
            f"database {dialects.where(connection.engine.url)}: it is another program's, maybe "
            'OBMd\'s: give obmd an empty one, then "obmd-manage import obmd" takes the nodes over'
        )


def _wait_for_others(connection):
    """One upgrade at a time; SQLite's transaction is lock enough."""
    if connection.dialect.name == 'postgresql':
        connection.execute(sa.text(f'SELECT pg_advisory_xact_lock({_LOCK})'))
    elif connection.dialect.name == 'mysql':
        # named in the whole server
        lock = sa.text(f"SELECT GET_LOCK(CONCAT('obmd ', MD5(DATABASE())), {_LOCK_WAIT})")
        if connection.execute(lock).scalar() != 1:
            where = dialects.where(connection.engine.url)
            raise errors.Fatal(f'database {where}: another upgrade has not ended in an hour')


def _in_time(engine, function):
    """Call in a thread of its own, so that nothing (a dead DNS server, a disk) holds a start up."""
    result = queue.SimpleQueue()

    def call():
        try:
            with _said(engine):
                result.put((function(), None))
        except BaseException as error:
            result.put((None, error))

    threading.Thread(target=call, daemon=True).start()
    try:
        value, error = result.get(timeout=PATIENCE)
    except queue.Empty:
        raise DatabaseSilent(
            f'database {dialects.where(engine.url)}: no answer within {PATIENCE:.0f} s'
        ) from None
    if error is not None:
        raise error
    return value


@contextlib.contextmanager
def _said(engine):
    """What the database says, as one line."""
    try:
        yield
    except (sa_exc.SQLAlchemyError, db_exc.DBError) as error:
        raise DatabaseSilent(
            f'database {dialects.where(engine.url)}: {dialects.one_line(error)}'
        ) from error
