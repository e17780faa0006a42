"""One live node: its row, its driver, its queue of writes, its gate, its console."""

import contextlib
import dataclasses
import logging

from obmd.common import errors
from obmd.conductor import power
from obmd.conf import CONF
from obmd.db import nodes
from obmd.drivers import base

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Target:
    """A power state that the node shall have, and until when (wall clock) it is waited for."""

    state: str
    until: float
    call_id: str


class LiveNode:
    """A node that this conductor owns.

    :param row: ``obmd.db.nodes.Node`` as of the claim.
    :ivar token_id: str or None, the node's token when it was claimed.
    :param driver: an instance of the node's driver.
    :param make_console: called with this node, gives its :class:`obmd.conductor.console.Console`.
    :param incarnation: of this conductor's start; with ``epoch`` it guards every write to the row.
    """

    def __init__(self, row, driver, incarnation, epoch, make_console):
        self.name = row.name
        self.uuid = row.uuid
        self.epoch = epoch
        self.incarnation = incarnation
        self.driver = driver
        self.sol_holder = row.sol_holder
        self.token_id = row.token_id
        self._capabilities = base.capabilities(type(driver))
        self._refused = row.credentials_refused
        self._aborted = None
        self._target = None
        if row.target_power_state:
            self._target = Target(row.target_power_state, row.target_until, row.target_call_id)
        self._following = set()
        self._writes = power.Writes(CONF.conductor.max_writes, row.name)
        self.console = make_console(self)
        self._status = power.SharedRead(self._ask_power, CONF.conductor.max_waiting, row.name)

    def require(self, capability):
        """:raises Unsupported: the driver cannot do this; the BMC is not asked."""
        if capability not in self._capabilities:
            raise errors.Unsupported(
                f'the driver {type(self.driver).__name__} has no {capability}; it has: '
                f'{", ".join(self._capabilities)}',
                self.name,
            )

    # -- the gate: wrong credentials are not sent twice -------------------------------------

    def check_gate(self):
        """:raises CredentialsRefused: the BMC refused them and they have not changed since."""
        if self._refused is None:
            return
        row = nodes.get_by_uuid(self.uuid)
        self._refused = row.credentials_refused if row else self._refused
        if self._refused is not None:
            raise errors.CredentialsRefused(self._refused, self.name)
        self.driver.reopen()

    def abort(self, error):
        """End what waits for the BMC, now and from now on, with ``error``."""
        self._aborted = error
        self.driver.abort(error)

    @contextlib.contextmanager
    def bmc(self):
        """The driver, behind the gate."""
        if self._aborted is not None:
            raise errors.from_wire(self._aborted.to_wire())
        self.check_gate()
        try:
            yield self.driver
        except errors.CredentialsRefused as error:
            if self._refused is None:
                self._refused = error.reason
                LOG.warning('%s: %s; not tried again until they change', self.name, error.reason)
                nodes.refuse_credentials(self.uuid, error.reason)
            raise

    # -- reads and writes -------------------------------------------------------------------

    def read_power(self, deadline):
        """:returns: str, read from the BMC after this call came."""
        self.require('power')
        return self._status.get(deadline.within(self.driver.answer_within))

    def _ask_power(self, deadline):
        with self.bmc() as driver:
            return driver.power_status(deadline)

    @contextlib.contextmanager
    def write(self, purpose, deadline):
        """Hold the node for ``purpose``; gives the driver."""
        self.require('power')
        with self._writes.turn(purpose, deadline, self.driver.answer_within):
            with self.bmc() as driver:
                yield driver

    # -- deferred work is in the row ----------------------------------------------------------

    @property
    def target(self):
        """:class:`Target` or None."""
        return self._target

    def holds(self, target):
        return self._target == target

    def set_target(self, state, until, reason, call_id):
        if not nodes.set_target(
            self.uuid, self.incarnation, self.epoch, state, until, reason, call_id
        ):
            raise errors.NotOwner('the node has another owner now', self.name)
        self._target = Target(state, until, call_id)

    def clear_target(self, call_id, last_error=None):
        if self._target is not None and self._target.call_id == call_id:
            self._target = None
            nodes.clear_target(self.uuid, self.incarnation, self.epoch, last_error)
            if last_error:
                LOG.warning('%s: %s', self.name, last_error)

    def follow(self, call_id):
        """:returns: False when somebody carries this work on already."""
        if call_id in self._following:
            return False
        self._following.add(call_id)
        return True

    def unfollow(self, call_id):
        self._following.discard(call_id)

    def drop_target(self):
        """Stop carrying work on without touching the row: the next owner goes on with it."""
        self._target = None

    def set_sol_holder(self, holder):
        """Record who holds the BMC's SOL session; written on change only."""
        if holder != self.sol_holder:
            self.sol_holder = holder
            nodes.set_sol_holder(self.uuid, self.incarnation, self.epoch, holder)
