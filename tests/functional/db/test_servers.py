"""What only a real server shows: racing and waiting."""

import subprocess
import sys
import threading
import time
import uuid

import eventlet
import pytest
import sqlalchemy as sa
from alembic import autogenerate
from alembic import migration
from eventlet.green import threading as green_threading
from oslo_db import exception as db_exc

from obmd.common import errors
from obmd.conf import CONF
from obmd.db import conductors
from obmd.db import engine
from obmd.db import models
from obmd.db import nodes
from obmd.db import owners

#: each server's function that takes its time
SLEEP = {'postgresql': 'pg_sleep', 'mysql': 'sleep'}


def make(name=None):
    made = str(uuid.uuid4())
    return nodes.create(name or made, 'mock', '', 'sealed', 'key', '', made)


def sleep_in_the_database(seconds):
    with engine.reader() as session:
        session.execute(sa.select(getattr(sa.func, SLEEP[session.dialect.name])(seconds)))


def gather(functions):
    """Run each in a green thread.  :returns: list of results, an error being one."""

    def guarded(function):
        try:
            return function()
        except Exception as error:
            return error

    threads = [eventlet.spawn(guarded, function) for function in functions]
    return [thread.wait() for thread in threads]


def test_the_migrations_make_what_the_models_say(database):
    with engine.current().connect() as connection:
        context = migration.MigrationContext.configure(connection, opts={'compare_type': True})
        assert autogenerate.compare_metadata(context, models.Base.metadata) == []


def test_who_only_reads_opens_no_transaction_on_postgresql(database):
    make()
    with engine.reader() as session:
        if session.dialect.name == 'postgresql':
            session.execute(sa.select(models.Node.uuid)).all()
            driver = session.connection.dbapi_connection
            assert driver.info.transaction_status == 0  # PQTRANS_IDLE
    with engine.writer() as session:
        if session.dialect.name == 'postgresql':
            session.execute(sa.select(models.Node.uuid)).all()
            assert session.connection.dbapi_connection.info.transaction_status == 2  # INTRANS


def test_what_is_written_after_a_read_is_undone_as_a_whole(database):
    node = make()
    nodes.get(node.name)
    with pytest.raises(ZeroDivisionError), engine.writer() as session:
        session.execute(sa.delete(models.Node).where(models.Node.uuid == node.uuid))
        raise ZeroDivisionError
    assert nodes.get(node.name) == node


def test_of_many_claims_at_once_one_wins(database):
    node = make()
    claims = [lambda i=i: owners.claim(node.uuid, f'{i:032x}', None, 0) for i in range(20)]
    results = gather(claims)
    assert sorted(results, key=str) == [1] + [None] * 19
    assert nodes.get_by_uuid(node.uuid).owner == f'{results.index(1):032x}'


def test_of_many_registrations_of_one_name_at_once_one_wins(database):
    results = gather([lambda: make('contested')] * 10)
    assert sum(isinstance(result, nodes.Node) for result in results) == 1
    assert sum(isinstance(result, errors.NodeExists) for result in results) == 9


def test_a_beat_and_a_verdict_at_once_do_not_both_win(database):
    for number in range(20):
        incarnation = f'{number:032x}'
        conductors.register(conductors.Conductor(incarnation, 'h', '', (), ''))
        beaten, dead = gather(
            [
                lambda i=incarnation: conductors.beat(i, 1),
                lambda i=incarnation: conductors.mark_dead(i, beat=0),
            ]
        )
        assert (beaten, dead) in [(True, False), (False, True)]


def test_more_callers_than_connections_wait_their_turn(database):
    node = make()
    results = gather([lambda: nodes.get(node.name)] * 200)
    assert results == [node] * 200
    status = engine.pool_status()
    assert status['in_use'] == 0
    assert status['size'] <= CONF.database.max_pool_size


def test_a_heartbeat_waits_for_none_of_the_callers_that_fill_the_pool(database):
    inc = uuid.uuid4().hex
    conductors.register(conductors.Conductor(inc, inc, '', ('mock',), 'http://x'))
    CONF.set_override('max_pool_size', 2, 'database')
    CONF.set_override('max_overflow', 0, 'database')
    engine.setup()
    try:
        slow = [eventlet.spawn(sleep_in_the_database, 1.5) for _ in range(4)]
        eventlet.sleep(0.2)
        assert engine.pool_status()['in_use'] == 2
        assert conductors.beat(inc, 1)
        assert conductors.beat(inc, 2)
        assert not any(thread.dead for thread in slow)
        for thread in slow:
            thread.wait()
    finally:
        CONF.clear_override('max_pool_size', 'database')
        CONF.clear_override('max_overflow', 'database')
        engine.setup()
    assert conductors.remove(inc)


def test_upgrades_at_once_all_succeed(server):
    url = server.new_database('upgraded_twice')
    command = 'import sys; from obmd.cmd.manage.app import main; sys.exit(main(["db", "upgrade"]))'
    running = [
        subprocess.Popen(
            [sys.executable, '-c', command],
            env={'OS_DATABASE__CONNECTION': url, 'PATH': '/usr/bin:/bin'},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    said = [one.communicate(timeout=60) for one in running]
    assert [one.returncode for one in running] == [0, 0, 0], said
    assert server.query('SELECT version_num FROM alembic_version', 'upgraded_twice') == (
        f'{engine.head()}\n'
    )


# -- green threads ----------------------------------------------------------------------------


def test_a_slow_query_does_not_delay_other_green_threads(database):
    gaps = []

    def tick():
        last = time.monotonic()
        while True:
            eventlet.sleep(0.01)
            now = time.monotonic()
            gaps.append(now - last)
            last = now

    node = make()
    ticking = eventlet.spawn(tick)
    slow = [eventlet.spawn(sleep_in_the_database, 1.0) for _ in range(5)]
    eventlet.sleep(0.2)
    started = time.monotonic()
    assert nodes.get(node.name) == node
    took = time.monotonic() - started
    for one in slow:
        one.wait()
    ticking.kill()
    assert took < 0.5
    assert len(gaps) > 50
    assert max(gaps) < 0.3


@pytest.mark.parametrize('server', ['postgresql'], indirect=True)
def test_a_slow_lookup_of_the_host_does_not_delay_other_green_threads(database, monkeypatch):
    asked = []

    def slow_lookup(*arguments):
        asked.append(arguments)
        eventlet.sleep(0.5)
        return [(0, 0, 0, '', ('127.0.0.1', 0))]

    monkeypatch.setattr('obmd.db.dialects.socket.getaddrinfo', slow_lookup)
    url = CONF.database.connection.replace('127.0.0.1', 'localhost')
    before = CONF.database.connection
    CONF.set_override('connection', url, 'database')
    engine.setup()
    try:
        waiting = eventlet.spawn(engine.check_schema)
        started = time.monotonic()
        eventlet.sleep(0.1)
        assert time.monotonic() - started < 0.4
        waiting.wait()
    finally:
        CONF.set_override('connection', before, 'database')
        engine.setup()
    assert asked[0][0] == 'localhost'


def test_a_killed_green_thread_gives_its_connection_back(database):
    for _ in range(5):
        killed = eventlet.spawn(sleep_in_the_database, 30)
        eventlet.sleep(0.1)
        killed.kill()
    eventlet.sleep(0.1)
    assert engine.pool_status()['in_use'] == 0
    assert nodes.get('none') is None


UNPATCHED = """
import socket, sys, threading, time
from obmd.conf import CONF
from obmd.db import engine, nodes
sockets = [socket.socket() for _ in range(1100)]
CONF.set_override('connection', sys.argv[1], 'database')
engine.setup()
engine.check_schema()
results = []
threads = [threading.Thread(target=lambda: results.append(nodes.get('x'))) for _ in range(20)]
[one.start() for one in threads]
[one.join() for one in threads]
assert results == [None] * 20, results
assert 'eventlet' not in sys.modules
print('ok')
"""


def test_it_works_without_green_threads_and_with_many_open_files(database):
    done = subprocess.run(
        ['sh', '-c', 'ulimit -n 4096; exec "$@"', 'sh', sys.executable, '-c', UNPATCHED]
        + [CONF.database.connection],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == 'ok\n', done.stderr


def test_a_deadlock_is_broken_and_what_may_be_repeated_is(database):
    one, two = make(), make()
    both = green_threading.Barrier(2) if hasattr(green_threading, 'Barrier') else None
    both = both or threading.Barrier(2)
    attempts = []

    @engine.retried
    def update(first, second):
        attempts.append(1)
        with engine.writer() as session:
            for number, uuid_ in enumerate((first, second)):
                where = models.Node.uuid == uuid_
                session.execute(sa.update(models.Node).where(where).values(last_error='x'))
                if number == 0 and len(attempts) <= 2:
                    both.wait(10)

    results = gather([lambda: update(one.uuid, two.uuid), lambda: update(two.uuid, one.uuid)])
    assert results == [None, None]
    assert len(attempts) > 2
    assert not isinstance(results[0], db_exc.DBDeadlock)
