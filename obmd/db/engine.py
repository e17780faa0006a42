"""Connecting: one engine a process, short transactions, and errors in obmd's words.

A process calls :func:`setup` once, after it has forked.  Then :func:`reader` and
:func:`writer` give a connection for one short transaction; no other work is done inside, so that no
connection is held across anything slow.  How each database is made to yield to other green
threads, and to give up, is in ``dialects``.
"""

import contextlib
import functools
import logging
import sqlite3
import threading

from oslo_db import api as db_api
from oslo_db import exception as db_exc
from oslo_db import options as db_options
from oslo_db.sqlalchemy import enginefacade
from sqlalchemy import exc as sa_exc

from obmd.common import errors
from obmd.common import exposition
from obmd.conf import CONF
from obmd.conf import libraries
from obmd.db import dialects
from obmd.db import schema

LOG = logging.getLogger(__name__)

#: seconds after which a caller may find the database back
RETRY_AFTER = 2.0

DatabaseSilent = schema.DatabaseSilent


def register_options(conf=CONF):
    """Register oslo.db's options with the defaults that fit obmd; harmless when done before."""
    conf.register_opts(db_options.database_opts, 'database')
    for name, value in libraries.DATABASE.items():
        conf.set_default(name, value, 'database')


register_options()


class _Database:
    """The engine of this process, and a small one apart (see :func:`writer`)."""

    def __init__(self, url):
        self.url = url
        self.lock = contextlib.nullcontext()
        self._anchor = None
        self._idle = []
        self._in_file = url.get_backend_name() == 'sqlite' and not dialects.in_memory(url)
        if dialects.in_memory(url):
            # one connection for all: a transaction must not begin inside another thread's
            self.lock = threading.Lock()
        if self._in_file:
            dialects.prepare_file(url)
        self.engine = self.apart = self._make_engine()
        if url.get_backend_name() != 'sqlite':
            self.apart = self._make_engine(max_pool_size=1, max_overflow=0)

    def _make_engine(self, **options):
        manager = enginefacade.transaction_context()
        manager.configure(
            connection=self.url.render_as_string(hide_password=False),
            # oslo.db would try for 100 seconds; who starts decides that (check_schema)
            max_retries=0,
            sqlite_fk=True,
            # SQLite lets no other green thread run; the others do while they wait
            thread_checkin=self.url.get_backend_name() == 'sqlite',
            **options,
        )
        if self._in_file:
            # oslo.db hands it to a pool that has none
            manager.configure(pool_timeout=None)
        manager.append_on_engine_create(dialects.prepare)
        return manager.writer.get_engine()

    @contextlib.contextmanager
    def transaction(self, write, apart=False):
        """A connection in a transaction, without a session: its bookkeeping costs more than most
        statements do.

        Connections to a SQLite file are kept: oslo.db gives them no pool, and to open one costs
        more than a statement too.
        """
        connection = self._idle.pop() if self._idle else self._connect(apart)
        try:
            with connection.execution_options(obmd_write=write).begin():
                yield connection
        except BaseException:
            connection.close()
            raise
        if self._in_file:
            self._idle.append(connection)
        else:
            connection.close()

    def _connect(self, apart):
        try:
            return (self.apart if apart else self.engine).connect()
        except db_exc.DBConnectionError as error:
            # not one that was lost: the next try would wait as long
            raise _unavailable(error) from error.inner_exception

    def hold(self):
        """Keep one SQLite connection open: when the last one closes, the log is written back
        and deleted, which would happen after each transaction."""
        if self._in_file and self._anchor is None:
            self._anchor = sqlite3.connect(self.url.database, check_same_thread=False)
            self._anchor.execute('SELECT count(*) FROM sqlite_master').fetchone()

    def dispose(self):
        while self._idle:
            self._idle.pop().close()
        if self._anchor is not None:
            self._anchor.close()
        self.engine.dispose()
        self.apart.dispose()


_database = None


def setup():
    """Read ``[database]`` and make the engine; does not connect.  Replaces an earlier one.

    :raises Fatal: the connection is not one that obmd can use.
    """
    global _database
    dispose()
    _database = _Database(dialects.url(CONF.database.connection, CONF.state_path))
    exposition.watch_pool('database', _places)


def dispose():
    """Close every connection of this process."""
    global _database
    if _database is not None:
        _database.dispose()
        _database = None


def current():
    """:returns: the engine of SQLAlchemy that is in use, for migrations and tests."""
    return _database.engine


def check_schema():
    """:raises Fatal: the schema is not this obmd's; the reason names the command that helps.
    :raises DatabaseSilent: the database does not answer within 10 s.
    """
    schema.check(_database.engine)


def upgrade(revision='head'):
    """Bring the schema to ``revision``.  :raises Fatal: see :func:`check_schema`."""
    schema.upgrade(_database.engine, revision)


def version():
    """:returns: str or None, the schema that the database has.  :raises Fatal: no answer."""
    return schema.version(_database.engine)


def head():
    """:returns: str, the schema that this obmd needs."""
    return schema.head()


def pool_status():
    """:returns: dict of int: ``limit``, ``size``, ``in_use``, ``overflow``; empty for SQLite."""
    pool = _database.engine.pool
    if not hasattr(pool, 'checkedout'):
        return {}
    return {
        'limit': pool.size() + CONF.database.max_overflow,
        'size': pool.size(),
        'in_use': pool.checkedout(),
        'overflow': max(0, pool.overflow()),
    }


def _places():
    status = pool_status() if _database is not None else {}
    return (status['in_use'], status['limit']) if status else None


@contextlib.contextmanager
def reader():
    """A connection to read with.  :raises Unavailable: the database is not there."""
    with _translated(), _database.lock, _database.transaction(write=False) as connection:
        yield connection


@contextlib.contextmanager
def writer(apart=False):
    """A connection to write with, committed at the end.

    :param apart: bool, on the one connection that a server has for this, which is not of the pool:
        for what may not wait until others are done.
    :raises Unavailable: the database is not there; when that happens at the end, whether the
        commit was done is not known.
    """
    with _translated(), _database.lock, _database.transaction(True, apart) as connection:
        yield connection


@contextlib.contextmanager
def _translated():
    if _database is None:
        raise errors.Unavailable('the database is not set up', retry_after=RETRY_AFTER)
    try:
        _database.hold()
        yield
    except (db_exc.DBNonExistentTable, db_exc.DBNonExistentDatabase) as error:
        LOG.error('database: %s', dialects.one_line(error))
        raise errors.Unavailable('the database is not set up', retry_after=RETRY_AFTER) from error
    except (
        db_exc.DBConnectionError,
        db_exc.DBDeadlock,
        sa_exc.OperationalError,
        sa_exc.InterfaceError,
        sa_exc.TimeoutError,
        sqlite3.OperationalError,
    ) as error:
        raise _unavailable(error) from error


def _unavailable(error):
    LOG.warning('database: %s', dialects.one_line(error))
    return errors.Unavailable('the database does not answer', retry_after=RETRY_AFTER)


def _rolled_back(error):
    """Whether the database itself broke a deadlock: nothing of the transaction was done."""
    return isinstance(error, errors.Unavailable) and isinstance(error.__cause__, db_exc.DBDeadlock)


def _lost(error):
    return _rolled_back(error) or (
        isinstance(error, errors.Unavailable)
        and isinstance(error.__cause__, db_exc.DBConnectionError)
    )


def _again_if(checker):
    return db_api.wrap_db_retry(
        retry_interval=0.1,
        max_retries=2,
        jitter=True,
        exception_checker=checker,
    )


def retried(function):
    """Decorator: try again at once when the connection was lost or a deadlock was broken.

    Only for a function that does the same when done twice.
    """
    return functools.wraps(function)(_again_if(_lost)(function))


def retried_if_undone(function):
    """Decorator: try again when a deadlock was broken.

    For a function that must not be done twice: what a server rolled back was not done.  A cluster
    (Galera) says so also of a commit that came second.
    """
    return functools.wraps(function)(_again_if(_rolled_back)(function))
