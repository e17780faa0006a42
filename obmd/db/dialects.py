"""What each database needs: which driver, how it yields, when it gives up, who may read it.

A blocking C call stops every green thread of a process.  PyMySQL is Python and yields when the
process is patched; psycopg2 is told to wait with Python's ``select``; SQLite's calls block, but
are short.
"""

import ipaddress
import math
import os
import select
import socket
import stat
import time

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc

from obmd.common import errors
from obmd.conf import CONF

#: driver for each name of a database that a URL may begin with; oslo.db knows the errors of
#: MariaDB only under the name of MySQL, and SQLAlchemy finds out which of the two it is
_DRIVERS = {
    'postgres': 'postgresql+psycopg2',
    'postgresql': 'postgresql+psycopg2',
    'mysql': 'mysql+pymysql',
    'mariadb': 'mysql+pymysql',
    'mariadb+pymysql': 'mysql+pymysql',
    'sqlite': 'sqlite',
}
#: seconds a writer waits for SQLite's lock
_SQLITE_BUSY = 5.0
#: seconds on top of the server's own limits before a silent connection is given up
_MARGIN = 2.0
#: seconds after which a connection may have been lost without a word
_RESTED = 0.25
#: part of the statement's limit after which the server ends a transaction whose client says
#: nothing: its rows are free again while others still wait for them
_IDLE = 0.5
#: SQLSTATE read_only_sql_transaction (PostgreSQL manual, appendix A)
_POSTGRESQL_READ_ONLY = '25006'
#: ER_OPTION_PREVENTS_STATEMENT, ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION, ER_READ_ONLY_MODE
#: (MariaDB manual, error codes)
_MYSQL_READ_ONLY = {1290, 1792, 1836}
#: psycopg2.extensions.STATUS_SETUP: still connecting
_STATUS_SETUP = 0


def url(text, state_path):
    """Make sense of ``[database] connection``.

    :param text: str or None; None is a SQLite file under ``state_path``.
    :returns: :class:`sqlalchemy.URL` with a driver that obmd ships.
    :raises Fatal: it is no URL, or of a database that obmd does not know.
    """
    if not text:
        path = os.path.join(os.path.abspath(state_path), 'obmd.sqlite')
        return sa.URL.create('sqlite', database=path)
    try:
        made = sa.make_url(text)
    except sa_exc.ArgumentError:
        raise errors.Fatal('[database] connection is not a database URL') from None
    made = made.set(drivername=_DRIVERS.get(made.drivername, made.drivername))
    if made.drivername not in _DRIVERS.values():
        known = ', '.join(sorted(name for name in _DRIVERS if '+' not in name))
        raise errors.Fatal(f'[database] connection: "{made.drivername}" is not one of {known}')
    return _mysql_url(made) if made.get_backend_name() == 'mysql' else made


def in_memory(url):
    """Whether it is SQLite without a file."""
    return url.get_backend_name() == 'sqlite' and url.database in (None, '', ':memory:')


def where(url):
    """:returns: str, which database it is, for a message: no user, no password."""
    if url.get_backend_name() == 'sqlite':
        return f'sqlite {url.database or ":memory:"}'
    host = url.host or url.query.get('host') or 'the local host'
    port = f':{url.port}' if url.port else ''
    return f'{url.get_backend_name()} at {host}{port}'


def one_line(error):
    """:returns: str, what a database driver said, without SQL and parameters, on one line."""
    cause = getattr(error, 'orig', None) or getattr(error, 'inner_exception', None)
    if cause is not None and cause is not error:
        return one_line(cause)
    said = getattr(error, 'args', ())
    if len(said) == 2 and isinstance(said[0], int):
        # PyMySQL's number and text
        error = f'{said[1]} ({said[0]})'
    return ' '.join(str(error).split()) or type(error).__name__


def prepare(engine):
    """Hook of oslo.db's engine facade: called with each new engine, before it connects."""
    # a failed statement's parameters (hashes, sealed credentials) stay out of logs
    engine.hide_parameters = True
    name = engine.dialect.name
    if name == 'sqlite':
        sa.event.listen(engine, 'connect', _sqlite_connected)
        sa.event.listen(engine, 'begin', _sqlite_begin)
    elif name == 'postgresql':
        _make_psycopg2_yield()
        sa.event.listen(engine, 'do_connect', _postgresql_connect)
        sa.event.listen(engine, 'begin', _postgresql_begin)
    else:
        sa.event.listen(engine, 'do_connect', _mysql_connect)
        sa.event.listen(engine, 'connect', _mysql_connected)
    engine.dialect.is_disconnect = _or_only_reads(engine.dialect.is_disconnect)
    if name != 'sqlite':
        _ping_what_has_rested(engine)


def _ping_what_has_rested(engine):
    """To ask whether a connection is still good costs as much as a statement: one that was in use
    just now is not asked."""
    ask = engine.dialect.do_ping

    def ping(connection):
        return time.monotonic() - connection.used_at < _RESTED or ask(connection)

    def used(connection, _record):
        if connection is not None:  # it was not lost
            connection.used_at = time.monotonic()

    engine.dialect.do_ping = ping
    sa.event.listen(engine, 'checkin', used)


def be_patient(connection):
    """Lift every limit on a connection that the caller will not give back to the pool."""
    driver = connection.connection.dbapi_connection
    if connection.dialect.name == 'postgresql':
        driver.patience = 24 * 3600
        connection.execute(sa.text('SET SESSION statement_timeout = 0'))
        connection.execute(sa.text('SET SESSION idle_in_transaction_session_timeout = 0'))
    elif connection.dialect.name == 'mysql':
        driver._read_timeout = None
        connection.execute(sa.text(_mysql_limits(driver, 0, 3600, 0)))


def _or_only_reads(is_disconnect):
    """A server that only reads is a former primary: its connections are as good as lost, the next
    ones may lead to the new primary."""

    def check(error, connection, cursor):
        number = error.args[0] if error.args else None
        only_reads = (
            getattr(error, 'pgcode', None) == _POSTGRESQL_READ_ONLY or number in _MYSQL_READ_ONLY
        )
        return only_reads or is_disconnect(error, connection, cursor)

    return check


# -- SQLite -----------------------------------------------------------------------------------


def prepare_file(url):
    """Make the folder (0700) and the file (0600); its log files take the mode from it.

    :raises Fatal: it cannot be made.
    """
    path = url.database
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
                os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise errors.Fatal(f'database file {path}: {error.strerror}') from None


def _sqlite_connected(connection, record):
    connection.execute(f'PRAGMA busy_timeout = {int(_SQLITE_BUSY * 1000)}')
    connection.execute('PRAGMA journal_mode = WAL')


def _sqlite_begin(connection):
    """A transaction that writes (option ``obmd_write``) has the lock from its begin on.

    One that first reads and then writes would fail without waiting when another process has
    written in between.
    """
    if connection.get_execution_options().get('obmd_write'):
        # oslo.db's listener comes first and has begun one that holds no lock yet
        driver = connection.connection.dbapi_connection
        driver.execute('ROLLBACK')
        driver.execute('BEGIN IMMEDIATE')


# -- PostgreSQL -------------------------------------------------------------------------------


def _make_psycopg2_yield():
    from psycopg2 import extensions

    extensions.set_wait_callback(_wait)


def _wait(connection):
    """Wait until psycopg2 has its answer, in Python: green threads run meanwhile.

    libpq's own ``connect_timeout`` does not count in this mode; the limits are kept here.
    """
    connecting = connection.status == _STATUS_SETUP
    try:
        _wait_until_answered(connection, connecting)
    except BaseException:
        if connecting:
            # at once, not when the garbage collector finds it: the server waits for the other
            # end. (A connection that is up is closed by psycopg2, which holds its lock now.)
            connection.close()
        raise


def _wait_until_answered(connection, connecting):
    import psycopg2
    from psycopg2 import extensions

    patience = getattr(connection, 'patience', None)
    if patience is None:
        patience = CONF.database.statement_timeout + _MARGIN
    if connecting:
        patience = CONF.database.connect_timeout
    until = time.monotonic() + patience
    while True:
        state = connection.poll()
        if state == extensions.POLL_OK:
            return
        if state not in (extensions.POLL_READ, extensions.POLL_WRITE):
            raise psycopg2.OperationalError(f'unexpected state {state} of the connection')
        left = until - time.monotonic()
        if left <= 0 or not _ready(connection.fileno(), state == extensions.POLL_READ, left):
            raise psycopg2.OperationalError(f'no answer within {patience:.1f} s')


def _ready(descriptor, reading, seconds):
    """Wait for one descriptor.  :returns: bool, False when ``seconds`` have passed."""
    if hasattr(select, 'poll'):
        poll = select.poll()
        poll.register(descriptor, select.POLLIN if reading else select.POLLOUT)
        return bool(poll.poll(seconds * 1000))
    # a patched process: eventlet takes poll() away, and its select() knows no upper bound
    reads, writes = ([descriptor], []) if reading else ([], [descriptor])
    return any(select.select(reads, writes, [], seconds))


def _connection_class():
    from psycopg2 import extensions

    class Connection(extensions.connection):
        #: seconds to wait for an answer; None: as configured
        patience = None

    return Connection


def _postgresql_connect(dialect, record, args, params):
    """Add what the URL does not say; what it says wins."""
    params.setdefault('connection_factory', _connection_class())
    statement = int(CONF.database.statement_timeout * 1000)
    said = params.get('options')
    params['options'] = (
        f'-c statement_timeout={statement}'
        f' -c idle_in_transaction_session_timeout={int(statement * _IDLE)}'
    ) + (f' {said}' if said else '')
    params.setdefault('application_name', 'obmd')
    params.setdefault('tcp_user_timeout', statement)
    params.setdefault('keepalives_idle', 10)
    params.setdefault('keepalives_interval', 3)
    params.setdefault('keepalives_count', 3)
    if 'hostaddr' not in params:
        params.update(_resolved(params.get('host'), params.get('port')))


def _postgresql_begin(connection):
    """What only reads (option ``obmd_write`` is False) goes without BEGIN and COMMIT: each of its
    statements sees what is committed by then, within a transaction or not, and each of those two
    costs as much as a read.
    """
    only_reads = connection.get_execution_options().get('obmd_write') is False
    connection.connection.dbapi_connection.autocommit = only_reads


def _resolved(host, port):
    """Look the host up here: libpq's own lookup blocks the process.

    :returns: dict of libpq parameters, one entry for each address; empty: nothing to look up.
    """
    if not host or ',' in host or host.startswith(('/', '@')) or _is_address(host):
        return {}
    try:
        found = socket.getaddrinfo(host, None, 0, socket.SOCK_STREAM)
    except OSError:
        # libpq says it in its own words
        return {}
    addresses = list(dict.fromkeys(entry[4][0] for entry in found))
    result = {'host': ','.join([host] * len(addresses)), 'hostaddr': ','.join(addresses)}
    if port:
        result['port'] = ','.join([str(port)] * len(addresses))
    return result


def _is_address(host):
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


# -- MySQL and MariaDB ------------------------------------------------------------------------


def _mysql_url(made):
    """:raises Fatal: PyMySQL would not take it."""
    if made.query.get('charset', 'utf8mb4') != 'utf8mb4':
        raise errors.Fatal('[database] connection: charset can only be utf8mb4')
    made = made.update_query_dict({'charset': 'utf8mb4'})
    kind = made.get_dialect()
    driver = kind.import_dbapi()
    try:
        arguments = kind(dbapi=driver).create_connect_args(made.set(password=None))[1]
        driver.connect(defer_connect=True, **arguments)
    except (TypeError, ValueError, LookupError, OSError, NotImplementedError) as error:
        raise errors.Fatal(f'[database] connection: {one_line(error)}') from None
    return made


def _mysql_connect(dialect, record, args, params):
    """Add what the URL does not say; what it says wins."""
    patience = CONF.database.statement_timeout + _MARGIN
    params.setdefault('connect_timeout', CONF.database.connect_timeout)
    params.setdefault('write_timeout', patience)
    params.setdefault('program_name', 'obmd')
    # PyMySQL knows text as Latin-1 only
    params['password'] = (params.get('password') or '').encode()
    if not any(name.startswith('ssl') for name in params):
        # PyMySQL would read every authority of the system, 20 ms for each connection, to check none
        params['ssl_disabled'] = True
    # PyMySQL's connect_timeout ends with the handshake of TCP, and a server that hangs accepts
    record.info['patience'] = params.get('read_timeout', patience)
    params['read_timeout'] = params['connect_timeout']


def _mysql_connected(connection, record):
    timeout = CONF.database.statement_timeout
    with connection.cursor() as cursor:
        # as PostgreSQL's default: who has waited for a row sees what it is now
        cursor.execute('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED')
        cursor.execute(_mysql_limits(connection, timeout, _whole(timeout), _whole(timeout * _IDLE)))
    connection._read_timeout = record.info['patience']


def _whole(seconds):
    """None is less than 1: 0 is for ever."""
    return max(1, math.ceil(seconds))


def _mysql_limits(connection, statement, lock, idle):
    """
    :param statement: seconds (float) that one may take, 0: any.
    :param lock: seconds (int) to wait for one.
    :param idle: seconds (int) that a transaction which wrote may wait for its client, 0: any.
    :returns: str, SQL.
    """
    if 'MariaDB' in connection.get_server_info():
        limit = f'max_statement_time = {statement:.3f}, idle_write_transaction_timeout = {idle}'
    else:
        # MySQL ends only what reads; what writes is given up by the read timeout
        limit = f'max_execution_time = {int(statement * 1000)}'
    return f'SET SESSION {limit}, innodb_lock_wait_timeout = {lock}'
