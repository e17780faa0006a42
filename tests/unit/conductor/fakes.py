"""What the conductor's parts stand on, played: rows, a BMC, clocks, timers."""

import types

from obmd.common import errors
from obmd.db import agents
from obmd.drivers import base

DOWN = errors.Unavailable('the database does not answer', retry_after=2)
SILENT = errors.BmcSilent('the BMC did not answer', 'n1')


def row(**values):
    """A node's row; only what a live node reads of it."""
    return types.SimpleNamespace(
        **{
            'id': 1,
            'name': 'n1',
            'uuid': 'uuid-1',
            'driver': 'fake',
            'conductor_group': '',
            'owner': 'me',
            'owner_epoch': 3,
            'token_id': 't1',
            'sol_holder': None,
            'credentials_refused': None,
            'lock_purpose': None,
            'lock_caller': None,
            'lock_since': None,
            'target_power_state': None,
            'target_until': None,
            'target_call_id': None,
            'target_reason': None,
            **values,
        }
    )


class Rows:
    """Plays ``obmd.db.nodes`` with one row; ``down`` makes it fail, ``owner`` may change."""

    def __init__(self, **values):
        self.row = row(**values)
        self.down = False
        self.read_only = False
        self.writes = []
        self.last_error = None

    def _write(self, *what):
        if self.down or self.read_only:
            raise DOWN
        self.writes.append(what)

    def _held(self, uuid, incarnation, epoch):
        found = self.row
        return found is not None and (found.uuid, found.owner, found.owner_epoch) == (
            uuid,
            incarnation,
            epoch,
        )

    def get_by_uuid(self, uuid):
        if self.down:
            raise DOWN
        return self.row if self.row is not None and self.row.uuid == uuid else None

    def refuse_credentials(self, uuid, reason):
        self._write('refused', reason)
        self.row.credentials_refused = reason
        return True

    def set_target(self, uuid, incarnation, epoch, state, until, reason, call_id):
        self._write('target', state, call_id)
        if not self._held(uuid, incarnation, epoch):
            return False
        self.row.target_power_state, self.row.target_until = state, until
        self.row.target_call_id, self.row.target_reason = call_id, reason
        return True

    def clear_target(self, uuid, incarnation, epoch, last_error=None):
        self._write('cleared', last_error)
        if not self._held(uuid, incarnation, epoch):
            return False
        self.row.target_power_state = self.row.target_until = self.row.target_call_id = None
        self.row.target_reason = None
        self.last_error = last_error
        return True

    def set_lock(self, uuid, incarnation, epoch, purpose=None, caller=None, since=None):
        self._write('lock', purpose, caller, since)
        if not self._held(uuid, incarnation, epoch):
            return False
        self.row.lock_purpose, self.row.lock_caller, self.row.lock_since = purpose, caller, since
        return True

    def set_sol_holder(self, uuid, incarnation, epoch, holder):
        self._write('sol', holder)
        if not self._held(uuid, incarnation, epoch):
            return False
        self.row.sol_holder = holder
        return True


class AgentRows:
    """Plays ``obmd.db.agents`` for a live node: ``changes`` is what was asked of it."""

    def __init__(self):
        self.down = False
        self.token_hash = None
        self.changes = []

    def get(self, uuid):
        if self.down:
            raise DOWN
        return agents.Agent(token_hash=self.token_hash)

    def forget(self, uuid):
        self._change('forget', uuid)

    def expect(self, uuid, until):
        self._change('expect', uuid, until)

    def _change(self, *what):
        if self.down:
            raise DOWN
        self.changes.append(what)


class Driver(base.Driver, base.Power, base.BootDevice, base.Console, base.EventLog):
    """A BMC that does what it is told.

    ``calls`` is what reached it; ``errors`` maps a call to what it raises, once each.
    """

    boot_devices = ('pxe', 'disk')

    def __init__(self, node=None, info=None):
        super().__init__(node or base.NodeRef('n1', 'uuid-1'), info or {})
        self.power = 'on'
        self.calls = []
        self.errors = {}
        self.hooks = {}
        self.reopened = 0
        self.aborted = None
        self.sinks = []
        self.handles = []

    def _do(self, *call):
        self.calls.append(call)
        hook = self.hooks.get(call) or self.hooks.get(call[0])
        if hook is not None:
            hook()
        queued = self.errors.get(call) or self.errors.get(call[0])
        if queued:
            raise queued.pop(0) if isinstance(queued, list) else queued

    def power_status(self, deadline):
        self._do('status')
        return self.power

    def set_power(self, action, deadline):
        self._do('power', action)
        if action in ('on', 'off'):
            self.power = action

    def set_boot_device(self, device, deadline):
        self._do('boot', device)

    def event_log(self, deadline, limit):
        self._do('events', limit)
        return []

    def open_console(self, sink, deadline, takeover=False):
        if login := self.errors.get('login'):
            raise login
        sink.opening()
        self._do('console', takeover)
        self.sinks.append(sink)
        handle = Handle(f'10.0.0.1:{len(self.handles)}')
        self.handles.append(handle)
        return handle

    def reopen(self):
        self.reopened += 1

    def abort(self, error):
        self.aborted = error

    def close(self, deadline):
        self._do('close')


class Handle(base.ConsoleHandle):
    def __init__(self, peer):
        self.peer = peer
        self.closed = []
        self.on_close = lambda: None

    def close(self, deadline, deactivate=True):
        self.closed.append(deactivate)
        self.on_close()


class Lease:
    """A lease in the state that a test gives it; remembers what renewed it."""

    def __init__(self, state='fresh', clock=None):
        self.state = state
        self.renewals = []
        self._clock = clock or (lambda: 0.0)

    def now(self):
        return self._clock()

    def renewed(self, sent):
        self.renewals.append(sent)

    def revoke(self):
        self.state = 'suspended'

    def require(self):
        if self.state != 'fresh':
            raise errors.Unavailable(f'the conductor is {self.state}', retry_after=2)


class Clock:
    def __init__(self, now=1000.0):
        self.now = now

    def __call__(self):
        return self.now


class Timer:
    def __init__(self, seconds, function):
        self.seconds = seconds
        self.function = function
        self.cancelled = False

    def cancel(self):
        self.cancelled = True


class Timers:
    """Timers that go off when the test says so."""

    def __init__(self):
        self.all = []

    def after(self, seconds, function):
        timer = Timer(seconds, function)
        self.all.append(timer)
        return timer

    @property
    def pending(self):
        return [timer for timer in self.all if not timer.cancelled]

    def fire(self):
        """Let the only timer that is pending go off."""
        (timer,) = self.pending
        self.all.remove(timer)
        timer.function()
        return timer
