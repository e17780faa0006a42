"""One live node: its row, its driver, its queue of writes, its gate, its console."""

import contextlib
import dataclasses
import logging
import threading
import time

from obmd.common import callers
from obmd.common import errors
from obmd.common import metrics
from obmd.conductor import shadow
from obmd.conductor import shared_read
from obmd.conductor import writes
from obmd.conf import CONF
from obmd.db import agents
from obmd.db import nodes
from obmd.drivers import base

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Target:
    """A power state that the node shall have, and until when (wall clock) it is waited for.

    :ivar reason: str, what it is for and how far that has come.
    """

    state: str
    until: float
    call_id: str
    reason: str = dataclasses.field(default='', compare=False)


class LiveNode:
    """A node that this conductor owns.

    :param row: ``obmd.db.nodes.Node`` as of the claim.
    :ivar token_id: str or None, the node's token when it was claimed.
    :param driver: an instance of the node's driver.
    :param make_console: called with this node, gives its :class:`obmd.conductor.console.Console`.
    :ivar agent: :class:`obmd.conductor.agents.Seen` or None, the ramdisk agent as last heard.
    :ivar agents_forgotten: int, how often that was forgotten.
    :ivar going: ObmdError or None, why nothing is asked of the BMC any more.
    :param incarnation: of this conductor's start; with ``epoch`` it guards every write to the row.
    :param timers: :class:`obmd.common.timers.Timers`.
    """

    def __init__(self, row, driver, incarnation, epoch, make_console, timers, clock=time.monotonic):
        self.name = row.name
        self.uuid = row.uuid
        self.conductor_group = row.conductor_group
        self.driver_name = row.driver
        self.epoch = epoch
        self.incarnation = incarnation
        self.driver = driver
        driver.authorise = self.confirm
        self.sol_holder = row.sol_holder
        self.token_id = row.token_id
        self._capabilities = base.capabilities(type(driver))
        self._refused = row.credentials_refused
        self._refusal_recorded = True
        self._heard = base.UNKNOWN
        self.agent = None
        self.agents_forgotten = 0
        self.going = None
        self._waiting = 0
        self._waiting_since = None
        self._clock = clock
        self._lock = threading.Lock()
        self._target = None
        self._target_lock = threading.Lock()
        if row.target_power_state:
            self._target = Target(
                row.target_power_state, row.target_until, row.target_call_id, row.target_reason
            )
        self._following = {}
        # what an earlier hold of ours at this epoch has left there
        left = row.lock_purpose is not None and row.owner_epoch == epoch
        self._shadow = shadow.Shadow(self._record_lock, timers, row.name, left)
        self._writes = writes.Writes(CONF.conductor.max_writes, row.name, self._shadow.show)
        self.console = make_console(self)
        self._status = shared_read.SharedRead(self._ask_power, CONF.conductor.max_waiting, row.name)

    def require(self, capability):
        """:raises Unsupported: the driver cannot do this; the BMC is not asked."""
        if capability not in self._capabilities:
            raise errors.Unsupported(
                f'the driver {type(self.driver).__name__} has no {capability}; it has: '
                f'{", ".join(self._capabilities)}',
                self.name,
            )

    def confirm(self):
        """The node is ours in this moment, the database says; or it was deleted, and nobody's.

        :raises NotOwner: it is another's.  :raises Unavailable: the database does not answer.
        """
        row = nodes.get_by_uuid(self.uuid)
        if row is not None and (row.owner, row.owner_epoch) != (self.incarnation, self.epoch):
            raise errors.NotOwner('the node has another owner now', self.name)

    @property
    def gate_closed(self):
        """Whether the BMC refused the credentials and is not asked again."""
        return self._refused is not None

    @property
    def reachability(self):
        """One of ``base.REACHABILITY``, from what was heard last; nobody is asked for it."""
        if self.gate_closed:
            return base.REFUSED
        return self.driver.reachability or self._heard

    # -- the gate: wrong credentials are not sent twice -------------------------------------

    def check_gate(self):
        """:raises CredentialsRefused: the BMC refused them and they have not changed since."""
        if self._refused is None:
            return
        if not self._refusal_recorded:
            self._record_refusal()
        else:
            row = nodes.get_by_uuid(self.uuid)
            if row is not None and row.credentials_refused is None:
                self.driver.reopen()
                self._refused = None
                return
        raise errors.CredentialsRefused(self._refused, self.name)

    def _refuse(self, reason):
        if self._refused is None:
            self._refusal_recorded = False
            self._refused = reason
            LOG.warning('%s: %s; not tried again until they change', self.name, reason)
            self._record_refusal()

    def _record_refusal(self):
        try:
            nodes.refuse_credentials(self.uuid, self._refused)
            self._refusal_recorded = True
        except errors.ObmdError as error:
            LOG.warning('%s: its refusal is not in the row yet: %s', self.name, error.reason)

    @property
    def busy(self):
        """Whether a write holds the node."""
        return self._writes.busy

    def settle(self, deadline):
        """Let in no write any more and wait until the one that runs has ended.

        :returns: bool, whether it has, within ``deadline``.
        """
        return self._writes.finish(deadline)

    def resume(self):
        """Let writes in again after a :meth:`settle` that was for nothing."""
        self._writes.resume()

    def abort(self, error):
        """End what waits for the BMC, now and from now on, with ``error``."""
        self.going = error
        self._shadow.close()
        self.driver.abort(error)

    @contextlib.contextmanager
    def bmc(self):
        """The driver, behind the gate."""
        if self.going is not None:
            raise errors.from_wire(self.going.to_wire())
        self.check_gate()
        try:
            with metrics.Timer(metrics.BMC_OPERATIONS, self.driver_name):
                yield self.driver
            self._heard = base.REACHABLE
        except errors.CredentialsRefused as error:
            self._refuse(error.reason)
            raise
        except errors.ObmdError as error:
            self._heard = base.heard(error) or self._heard
            raise

    @contextlib.contextmanager
    def place(self):
        """One of the places for calls that wait for this node's BMC.

        :raises Unavailable: all are taken, and not just now; a silent BMC must not take every
            thread there is, and one that answers may have any number of callers.
        """
        with self._lock:
            full = self._waiting >= CONF.conductor.max_waiting
            if full and self._clock() - self._waiting_since > shared_read.SLOW:
                raise errors.Unavailable(
                    f'{self._waiting} calls wait for this node already', self.name, 1
                )
            if not self._waiting:
                self._waiting_since = self._clock()
            self._waiting += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1

    # -- reads and writes -------------------------------------------------------------------

    def read_power(self, deadline):
        """:returns: str, read from the BMC after this call came."""
        self.require('power')
        return self._status.get(deadline.within(self.driver.answer_within))

    def _ask_power(self, deadline):
        with self.bmc() as driver:
            return driver.power_status(deadline)

    @contextlib.contextmanager
    def write(self, purpose, deadline, caller=callers.UNKNOWN):
        """Hold the node for ``purpose``; gives the driver.

        :param caller: :class:`obmd.common.callers.Caller`.
        :raises: as :meth:`obmd.conductor.writes.Writes.turn`.
        """
        try:
            with self._writes.turn(purpose, deadline, caller):
                LOG.info('%s: %s for %s', self.name, purpose, caller.full)
                with self.bmc() as driver:
                    yield driver
        except errors.NodeBusy as error:
            LOG.info('%s: %s for %s: %s', self.name, purpose, caller.full, error.reason)
            raise

    def _record_lock(self, work):
        """:param work: :class:`obmd.conductor.shadow.Work` or None.  :returns: bool, ours."""
        told = (work.purpose, work.caller.full, work.since) if work is not None else ()
        return nodes.set_lock(self.uuid, self.incarnation, self.epoch, *told)

    # -- deferred work is in the row ----------------------------------------------------------

    @property
    def target(self):
        """:class:`Target` or None."""
        return self._target

    def holds(self, target):
        return self._target == target

    def set_target(self, state, until, reason, call_id):
        """:raises NotOwner: the row is another's; nothing may be sent to the BMC."""
        target = Target(state, until, call_id, reason)
        with self._target_lock:
            self._write_target(target)
            self._target = target

    def advance(self, target, reason):
        """Record how far the work for ``target`` has come.

        :returns: bool, whether it is still held.
        :raises NotOwner: the row is another's; nothing may be sent to the BMC.
        """
        with self._target_lock:
            if self.holds(target):
                self._write_target(dataclasses.replace(target, reason=reason))
            if self.holds(target):  # it may have been dropped meanwhile
                self._target = dataclasses.replace(target, reason=reason)
            return self.holds(target)

    def _write_target(self, target):
        if not nodes.set_target(
            self.uuid,
            self.incarnation,
            self.epoch,
            target.state,
            target.until,
            target.reason,
            target.call_id,
        ):
            raise errors.NotOwner('the node has another owner now', self.name)

    def clear_target(self, call_id, last_error=None):
        """The row first: a target that only this process has forgotten would come back."""
        with self._target_lock:
            if self._target is None or self._target.call_id != call_id:
                return
            nodes.clear_target(self.uuid, self.incarnation, self.epoch, last_error)
            self._target = None
        if last_error:
            LOG.warning('%s: %s', self.name, last_error)

    def follow(self, call_id):
        """:returns: False when somebody carries this work on already."""
        mine = object()
        return self._following.setdefault(call_id, mine) is mine

    def unfollow(self, call_id):
        self._following.pop(call_id, None)

    def drop_target(self):
        """Stop carrying work on without touching the row: the next owner goes on with it."""
        self._target = None

    def set_sol_holder(self, holder):
        """Record who holds the BMC's SOL session; written on change only.

        :returns: bool, whether the row is still ours.
        :raises Unavailable: it is not recorded.
        """
        mine = True
        if holder != self.sol_holder:
            mine = nodes.set_sol_holder(self.uuid, self.incarnation, self.epoch, holder)
            if mine:
                self.sol_holder = holder
        return mine

    # -- the ramdisk agent ------------------------------------------------------------------------

    def forget_agent(self):
        """The machine is off or starts anew: its agent is gone, and its token worth nothing.

        :raises Unavailable: it is not forgotten.
        """
        self._change_agent(agents.forget, 'its agent is not forgotten')

    def part_with_agent(self, driver, deadline):
        """Before the machine is turned on: one that is off, or was told to shut down, has no agent
        any more, however that came about.  The BMC is asked only if there may be one.

        :raises Unavailable: its agent is not forgotten.
        """
        if self._may_have_agent():
            ends = self.target is not None
            within = deadline.within(driver.answer_within)
            if ends or driver.power_status(within) == base.Power.OFF:
                self.forget_agent()

    def _may_have_agent(self):
        if self.agent is not None:
            return True
        try:
            return agents.get(self.uuid).token_hash is not None
        except errors.Unavailable as error:
            LOG.warning('%s: whether it has an agent is not known: %s', self.name, error.reason)
            return False

    def expect_agent(self, until):
        """The next start brings an agent.

        :param until: wall time, s.
        :raises Unavailable: none is expected.
        """
        self._change_agent(agents.expect, 'no agent is expected', until)

    def _change_agent(self, change, otherwise, *args):
        try:
            change(self.uuid, *args)
        except errors.Unavailable as error:
            raise errors.Unavailable(
                f'{otherwise}: {error.reason}', self.name, error.retry_after
            ) from error
        self.agents_forgotten += 1
        self.agent = None
