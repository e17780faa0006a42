"""A database that stops, dies, hangs or never was there."""

import socket
import time

import eventlet
import pytest
import sqlalchemy as sa

from obmd.common import errors
from obmd.conf import CONF
from obmd.db import engine
from obmd.db import models
from obmd.db import nodes
from obmd.db import owners
from obmd.db import schema

#: each server's function that takes its time
SLEEP = {'postgresql': 'pg_sleep', 'mysql': 'sleep'}


def make(name):
    return nodes.create(name, 'mock', '', 'sealed', 'key', '', f'uuid {name}')


def sleep_in_the_database(seconds):
    with engine.reader() as session:
        session.execute(sa.select(getattr(sa.func, SLEEP[session.dialect.name])(seconds)))


def session_id():
    asked = {'postgresql': 'SELECT pg_backend_pid()', 'mysql': 'SELECT connection_id()'}
    with engine.reader() as session:
        return session.execute(sa.text(asked[session.dialect.name])).scalar()


def gather(functions):
    """Run each in a green thread.  :returns: list of results, an error being one."""

    def guarded(function):
        try:
            return function()
        except Exception as error:
            return error

    threads = [eventlet.spawn(guarded, function) for function in functions]
    return [thread.wait() for thread in threads]


def test_a_statement_that_takes_too_long_is_ended_by_the_server(own_server):
    CONF.set_override('statement_timeout', 0.5, 'database')
    engine.setup()
    started = time.monotonic()
    with pytest.raises(errors.Unavailable) as caught:
        sleep_in_the_database(30)
    assert time.monotonic() - started < 2
    assert caught.value.retry_after > 0
    assert own_server.sleeping() == 0
    assert nodes.get('x') is None


def test_a_transaction_left_open_frees_its_rows_by_itself(own_server):
    made = make('held')
    CONF.set_override('statement_timeout', 2.0, 'database')
    engine.setup()
    with pytest.raises(errors.Unavailable):
        with engine.writer() as silent:
            silent.execute(sa.update(models.Node).values(last_error='x'))
            # waits for the row for at most 2 s
            assert owners.claim(made.uuid, 'i' * 32, None, 0) == 1
    assert nodes.get('held').last_error is None
    assert nodes.get('held').owner == 'i' * 32


def test_a_stopped_server_is_unavailable_at_once_and_back_without_a_restart(own_server):
    node = make('n1')
    own_server.stop()
    started = time.monotonic()
    for _ in range(3):
        with pytest.raises(errors.Unavailable) as caught:
            nodes.get('n1')
        assert caught.value.retry_after > 0
    assert time.monotonic() - started < 2
    own_server.start()
    assert nodes.get('n1') == node
    assert nodes.set_token('n1', 'h', 'i').token_id == 'i'


def test_a_restart_between_two_calls_is_not_noticed(own_server):
    node = make('n1')
    gather([lambda: nodes.get('n1')] * 8)
    own_server.stop()
    own_server.start()
    assert gather([lambda: nodes.get('n1')] * 8) == [node] * 8


def test_nothing_committed_is_lost_when_the_server_is_killed(own_server):
    make('n1')
    waiting = eventlet.spawn(gather, [lambda: sleep_in_the_database(30)])
    eventlet.sleep(0.2)
    own_server.kill()
    (error,) = waiting.wait()
    assert isinstance(error, errors.Unavailable)
    own_server.start()
    assert nodes.get('n1').name == 'n1'


def test_a_server_that_hangs_is_unavailable_within_the_limits(own_server):
    make('n1')
    CONF.set_override('statement_timeout', 0.5, 'database')
    CONF.set_override('connect_timeout', 1, 'database')
    engine.setup()
    nodes.get('n1')
    own_server.pause()
    try:
        started = time.monotonic()
        results = gather([lambda: nodes.get('n1'), lambda: owners.claim('u', 'i', None, 0)])
        took = time.monotonic() - started
    finally:
        own_server.resume()
    assert [type(result) for result in results] == [errors.Unavailable] * 2
    assert took < 5
    assert nodes.get('n1').name == 'n1'


def test_an_outage_does_not_stop_other_green_threads(own_server):
    gaps = []

    def tick():
        while True:
            before = time.monotonic()
            eventlet.sleep(0.01)
            gaps.append(time.monotonic() - before)

    CONF.set_override('statement_timeout', 0.5, 'database')
    CONF.set_override('connect_timeout', 1, 'database')
    engine.setup()
    nodes.get('x')
    ticking = eventlet.spawn(tick)
    own_server.pause()
    gather([lambda: nodes.get('x')] * 10)
    own_server.resume()
    ticking.kill()
    assert max(gaps) < 0.3


def test_a_server_that_only_reads_is_left_for_the_new_primary(own_server):
    node = make('n1')
    own_server.only_read(True)
    try:
        before = session_id()
        with pytest.raises(errors.Unavailable):
            nodes.set_token('n1', 'h', 'i')
        with pytest.raises(errors.Unavailable):
            owners.claim(node.uuid, 'i' * 32, None, 0)
        assert session_id() != before
        assert nodes.get('n1') == node
    finally:
        own_server.only_read(False)
    assert nodes.set_token('n1', 'h', 'i').token_id == 'i'


@pytest.mark.parametrize('kind', ['postgresql', 'mariadb'])
def test_an_unreachable_database_refuses_the_start_in_time(kind, monkeypatch):
    assert schema.PATIENCE < 10
    with socket.socket() as silent:
        # accepts by its backlog and never says a word
        silent.bind(('127.0.0.1', 0))
        silent.listen(8)
        port = silent.getsockname()[1]
        monkeypatch.setattr(schema, 'PATIENCE', 3.0)
        for connect_timeout in (1, 60):
            CONF.set_override('connect_timeout', connect_timeout, 'database')
            CONF.set_override('connection', f'{kind}://u:geheim@127.0.0.1:{port}/d', 'database')
            try:
                engine.setup()
                started = time.monotonic()
                with pytest.raises(errors.Fatal) as caught:
                    engine.check_schema()
                assert time.monotonic() - started < 4
                assert '\n' not in caught.value.reason
                assert f'127.0.0.1:{port}' in caught.value.reason
                assert 'geheim' not in caught.value.reason
            finally:
                engine.dispose()
                CONF.clear_override('connection', 'database')
                CONF.clear_override('connect_timeout', 'database')


def test_a_missing_database_is_one_clear_line(server):
    CONF.set_override('connection', server.database_url('missing'), 'database')
    try:
        engine.setup()
        with pytest.raises(
            errors.Fatal, match='"missing" does not exist|Unknown database .missing.'
        ):
            engine.check_schema()
        with pytest.raises(errors.Unavailable):
            nodes.get('x')
    finally:
        engine.dispose()
        CONF.clear_override('connection', 'database')
