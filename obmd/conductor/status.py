"""What a conductor tells of itself: whether it is ready, and its states for ``/metrics``.

Nobody is asked for it: no BMC, and the database only for its schema, now and then.
"""

import collections
import threading
import time

from obmd.common import errors
from obmd.common import exposition
from obmd.common import metrics
from obmd.conductor import lease as leases
from obmd.conf import CONF
from obmd.db import engine
from obmd.drivers import base

#: nodes that are looked at in one go
SLICE = 100
#: seconds until the schema is looked at again: when it was right, when it was not
SCHEMA_LOOK, SCHEMA_AGAIN = 30.0, 2.0

#: what :meth:`Status.reasons` gives of a conductor that is not there yet
NOT_YET = {'starting': 'the conductor is starting'}


class Status:
    """:param holdings, lease, revocation, log: the conductor's; ``log`` may be None.

    :ivar stopping: the conductor hands its nodes over or gives them back.
    """

    def __init__(self, holdings, lease, revocation, log, clock=time.monotonic):
        self._holdings = holdings
        self._lease = lease
        self._revocation = revocation
        self._log = log
        self._clock = clock
        self._begun = False
        self._schema_fault = {}
        self._schema_seen_at = clock()
        self._looking = threading.Lock()
        self._logged = (0, 0)
        self.stopping = False

    def begin(self):
        """The conductor is registered and answers calls."""
        self._begun = True
        exposition.watch('conductor', self.tell)
        exposition.watch_pool('viewers', lambda: (len(self._revocation), CONF.console.max_viewers))
        exposition.watch_pool('calls', lambda: (metrics.CALLS.running, CONF.conductor.rpc_pool))

    # -- readiness --------------------------------------------------------------------------------

    def reasons(self):
        """:returns: dict of str (one word) to str (a sentence): why it is not ready."""
        if self.stopping:
            return {'stopping': 'the conductor is stopping'}
        if not self._begun:
            return NOT_YET
        state = self._lease.state
        if state != leases.FRESH:
            return {state: f'the conductor is {state}: {self._lease.why}'}
        return self._look_at_schema()

    def require_ready(self):
        """:raises Unavailable: naming the reasons for which it is not ready."""
        reasons = self.reasons()
        if reasons:
            raise errors.Unavailable('; '.join(reasons.values()))

    def _look_at_schema(self):
        # It was right at the start; an upgrade of the database goes on under a conductor that runs.
        pause = SCHEMA_AGAIN if self._schema_fault else SCHEMA_LOOK
        if self._clock() - self._schema_seen_at > pause and self._looking.acquire(blocking=False):
            # who asks while somebody looks is told what was seen last: a look may take long
            try:
                self._schema_fault = _schema_fault()
            finally:
                self._schema_seen_at = self._clock()
                self._looking.release()
        return self._schema_fault

    # -- states -----------------------------------------------------------------------------------

    def tell(self):
        """Set the states for ``/metrics``."""
        self._tell_nodes()
        metrics.VIEWERS.set(len(self._revocation))
        metrics.REVOCATION_AGE.set(self._revocation.age)
        state = self._lease.state
        for name in (leases.FRESH, leases.FENCED, leases.SUSPENDED):
            metrics.LEASE.set(int(name == state), name)
        metrics.LEASE_AGE.set(self._lease.age or 0)
        if self._log is not None:
            self._tell_log()

    def _tell_nodes(self):
        heard, gates = collections.Counter(), collections.Counter()
        owned = wanted = up = down = alive = 0
        for live in self._holdings:
            if owned % SLICE == SLICE - 1:
                time.sleep(0)
            owned += 1
            heard[live.driver_name, live.reachability] += 1
            gates[(live.driver_name,)] += live.gate_closed
            alive += live.agent is not None
            console = live.console
            wanted += console.wanted
            up += console.up
            down += console.wanted and not console.up
        for driver, _ in list(heard):
            for state in base.REACHABILITY:
                heard[driver, state] += 0
        metrics.OWNED.set(owned)
        metrics.NODES.show(heard)
        metrics.GATES.show(gates)
        metrics.AGENTS_ALIVE.set(alive)
        metrics.CONSOLES_WANTED.set(wanted)
        metrics.CONSOLES_UP.set(up)
        metrics.CONSOLES_DOWN.set(down)

    def _tell_log(self):
        # counted by a native thread, which may not touch a metric
        written, lost = self._log.bytes_written, self._log.bytes_lost
        metrics.LOG_BYTES.count('written', by=written - self._logged[0])
        metrics.LOG_BYTES.count('lost', by=lost - self._logged[1])
        self._logged = written, lost
        metrics.LOG_QUEUED.set(self._log.bytes_queued)


def _schema_fault():
    try:
        engine.check_schema()
    except engine.DatabaseSilent as error:
        return {'database': error.reason}
    except errors.Fatal as error:
        return {'schema': error.reason}
    return {}
