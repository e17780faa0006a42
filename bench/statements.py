"""What the database has to do, counted: two whole conductors on one SQLite table, in memory.

The loops of both stand still; each beat, look and check is asked for by hand, and what it sends to
the database is counted.
"""

import collections
import contextlib
import os
import tempfile
import time
import uuid
from unittest import mock

import sqlalchemy as sa

from obmd.common import rpc
from obmd.common import secrets
from obmd.conductor import service
from obmd.conf import CONF
from obmd.db import conductors
from obmd.db import engine
from obmd.db import nodes
from obmd.drivers import base
from obmd.drivers import gate
from obmd.drivers import registry

#: nodes of the run
NODES = 40
#: seconds that a move may take
PATIENCE = 30.0
#: seconds between two beats, looks or checks: none comes by itself
NEVER = 3600.0
_WRITES = ('INSERT', 'UPDATE', 'DELETE')


class _Machine(base.Driver, base.Console):
    """A BMC that has a console and nothing else."""

    schema = {'type': 'object'}

    def open_console(self, sink, deadline, takeover=False):
        sink.opening()
        return _Handle()

    def abort(self, error):
        pass

    def close(self, deadline):
        pass


class _Handle(base.ConsoleHandle):
    peer = '192.0.2.1:623'

    def close(self, deadline, deactivate=True):
        pass


def count(captured=True):
    """:param captured: whether every node's console is captured.
    :returns: dict of what -> dict: ``writes``, rows that were written, and ``reads``, statements
        that wrote none.  Of a claim and a hand-over: for each node, both conductors together;
        reads vary, conductors look again until a node has arrived.
    """
    with _table(captured) as folder, contextlib.closing(_Statements()) as counted:
        keyring = _keys(folder)
        for number in range(NODES):
            made = str(uuid.uuid4())
            sealed, key_id = secrets.seal_info(keyring.public, made, 'machine', '', {})
            nodes.create(f'n{number}', 'machine', '', sealed, key_id, '', made)
        bus = rpc.LocalBus()
        one, two = (_conductor(folder, name, bus, keyring) for name in ('one', 'two'))
        try:
            return _play(one, two, counted, captured)
        finally:
            gate.close_by(None)
            for conductor in (two, one):
                conductor.abandon()


def _play(one, two, counted, captured):
    def settled():
        """Every node is somebody's and its console is up, and that is all."""
        lives = [*one._holdings, *two._holdings]
        up = not captured or all(live.console.up for live in lives)
        return up and len({live.uuid for live in lives}) == NODES and counted.quiet(0.3)

    told = {}
    counted.take()
    one.start()
    _wait(settled)
    told['claim'] = counted.take(NODES, 'nodes')
    for what, act in (
        ('heartbeat', one._heartbeat.renew),
        ('look', one._observer.look),
        ('token check', one._revocation.check),
    ):
        act()
        told[what] = counted.take()
    two.start()
    _wait(lambda: counted.quiet(0.3))
    counted.take()
    one._observer.look()
    _wait(lambda: len(two._holdings) > 0 and settled())
    told['hand-over'] = counted.take(len(two._holdings), 'nodes')
    return told


class _Statements:
    """Counts what is sent to the engine in use."""

    def __init__(self):
        self._counts = collections.Counter()
        self._last = time.monotonic()
        self._engine = engine.current()
        sa.event.listen(self._engine, 'after_cursor_execute', self._sent)

    def close(self):
        sa.event.remove(self._engine, 'after_cursor_execute', self._sent)

    def quiet(self, seconds):
        """Whether nothing was written for so long."""
        return time.monotonic() - self._last > seconds

    def take(self, divisor=1, table=''):
        """What was sent since the last time, for each of ``divisor``.

        :param table: only statements that name it.
        """
        counts, self._counts = self._counts, collections.Counter()
        told = {'writes': 0, 'reads': 0}
        for (kind, text), number in counts.items():
            if table in text:
                told[kind] += number
        return {kind: round(number / divisor, 1) for kind, number in told.items()}

    def _sent(self, _connection, cursor, statement, _parameters, _context, _many):
        verb = statement.split(None, 1)[0].upper()
        if verb in _WRITES and cursor.rowcount:
            self._last = time.monotonic()
            self._counts['writes', statement] += cursor.rowcount
        elif verb in (*_WRITES, 'SELECT'):
            self._counts['reads', statement] += 1


@contextlib.contextmanager
def _table(captured):
    """An empty database of this run's own, and options under which nothing comes by itself."""
    options = {
        'database': {'connection': 'sqlite://'},
        'conductor': {'heartbeat_interval': NEVER, 'heartbeat_ttl': 4 * NEVER, 'group': ''},
        'console': {
            'capture': 'always' if captured else 'on_demand',
            'revocation_check_interval': NEVER,
            'log_dir': '',
        },
    }
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        for group, values in options.items():
            for name, value in values.items():
                CONF.set_override(name, value, group)
                stack.callback(CONF.clear_override, name, group)
        stack.enter_context(mock.patch.object(registry, '_enabled', {'machine': _Machine}))
        stack.enter_context(mock.patch.object(engine, '_database', None))
        engine.setup()
        stack.callback(engine.dispose)
        engine.upgrade()
        yield folder


def _keys(folder):
    secrets.create_keys(os.path.join(folder, 'key'), os.path.join(folder, 'pub'))
    return secrets.Keyring.load(os.path.join(folder, 'key'))


def _conductor(folder, name, bus, keyring):
    for option, value in (('state_path', os.path.join(folder, name)), ('host', name)):
        CONF.set_override(option, value)
    try:
        return service.Conductor(
            bus, keyring, 'http://127.0.0.1:1', conductors.CONDUCTOR, lambda: None
        )
    finally:
        CONF.clear_override('state_path')
        CONF.clear_override('host')


def _wait(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError('the conductors did not come to rest')
        time.sleep(0.02)
