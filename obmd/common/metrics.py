"""Every metric that obmd has: its name, its labels, what it tells.

*Events* and *durations* are counted where they happen.  A *state* is not kept up to date: who has
it tells it just before it is read (``obmd.common.exposition``).

Labels have few values, all of them known to the code or to the configuration: never the name or
address of a node, never anything of a token, never text that a caller sent.  Whatever else
happens, a metric has at most :data:`MOST` combinations of them; what comes then is ``other``.

Nothing here may be called from a native thread (``obmd.common.threads``): there are locks inside.
"""

import functools
import os
import time

import prometheus_client
from prometheus_client import values

from obmd.common import errors
from obmd.common import workers

#: where the worker processes of one service count together (prometheus_client's own variable)
FOLDER = 'PROMETHEUS_MULTIPROC_DIR'
#: combinations of labels that a metric has at most
MOST = 1000
OTHER = 'other'

#: who has a metric
API, CONDUCTOR, BOTH = 'api', 'conductor', 'both'

#: seconds: the upper bounds of histograms, from an answer out of memory to a slow power change
BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

registry = prometheus_client.CollectorRegistry()

#: all there are, in the order of the documentation
ALL = []

prometheus_client.disable_created_metrics()
if FOLDER in os.environ and workers.worker_number() is not None:
    # By number and not by process id: the next process of that number counts on.
    _number = workers.worker_number()
    values.ValueClass = values.MultiProcessValue(lambda: _number)


class _Metric:
    """:param name: str, with ``obmd_`` and unit.  :param labels: tuple of str.
    :param on: who has it.
    """

    kind = None

    def __init__(self, name, help, labels=(), on=CONDUCTOR):
        self.name = name
        self.help = help
        self.labels = labels
        self.on = on
        self._family = None
        self._children = {}
        ALL.append(self)

    def begin(self):
        """Show it from now on, at 0, if it has no labels; else with its first event."""
        if not self.labels:
            self._child(())

    def _child(self, values):
        if self._family is None:
            self._family = self._make()
        if not self.labels:
            child = self._family
        else:
            if len(self._children) >= MOST:
                values = (OTHER,) * len(values)
            child = self._family.labels(*values)
        self._children[values] = child
        return child

    def _make(self):
        return self.kind(self.name, self.help, self.labels, registry=registry)


class Events(_Metric):
    """A counter."""

    kind = prometheus_client.Counter

    def count(self, *values, by=1):
        """:param values: of the labels, in their order."""
        (self._children.get(values) or self._child(values)).inc(by)


class Durations(_Metric):
    """A histogram of seconds."""

    kind = prometheus_client.Histogram

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        #: how many are under way, of those that a :class:`Timer` observes
        self.running = 0

    def _make(self):
        return self.kind(self.name, self.help, self.labels, registry=registry, buckets=BUCKETS)

    def observe(self, seconds, *values):
        (self._children.get(values) or self._child(values)).observe(seconds)


class State(_Metric):
    """A gauge.

    :param over_workers: how the values of several processes are one: ``livesum``, ``livemin``
        or ``livemax``.
    """

    kind = prometheus_client.Gauge

    def __init__(self, name, help, labels=(), on=CONDUCTOR, over_workers='livesum'):
        super().__init__(name, help, labels, on)
        self._over_workers = over_workers

    def _make(self):
        return self.kind(
            self.name,
            self.help,
            self.labels,
            registry=registry,
            multiprocess_mode=self._over_workers,
        )

    def set(self, value, *values):
        (self._children.get(values) or self._child(values)).set(value)

    def show(self, found):
        """:param found: dict of tuple of label values to number: all there are; others are 0."""
        for gone in self._children.keys() - found.keys():
            self._children[gone].set(0)
        for labels, value in found.items():
            self.set(value, *labels)


def outcome(error):
    """:param error: Exception or None.  :returns: str: ``ok``, a kind of error, ``timeout`` (a
    conductor did not answer), or ``internal``."""
    if error is None:
        return 'ok'
    if getattr(error, 'timed_out', False):
        return 'timeout'
    if not isinstance(error, errors.ObmdError):
        return 'internal'
    return error.kind if errors.is_known(error.kind) else OTHER


class Timer:
    """Context manager: observes how long its body took, with labels and the outcome after them."""

    __slots__ = ('_durations', '_values', '_began')

    def __init__(self, durations, *values):
        self._durations = durations
        self._values = values

    def __enter__(self):
        self._durations.running += 1
        self._began = time.perf_counter()
        return self

    def __exit__(self, _kind, error, _traceback):
        self._durations.running -= 1
        self._durations.observe(time.perf_counter() - self._began, *self._values, outcome(error))


def timed_call(method):
    """Decorate ``call(self, server, method, ...)`` of a bus's client."""

    @functools.wraps(method)
    def call(self, server, name, *args, **kwargs):
        with Timer(RPC_CALLS, name):
            return method(self, server, name, *args, **kwargs)

    return call


# -- every service ----------------------------------------------------------------------------

BUILD = State(
    'obmd_build_info',
    'Always 1; which version runs as which service.',
    ('version', 'service'),
    BOTH,
    'livemax',
)
STARTED = State(
    'obmd_start_time_seconds',
    'When the service was started, in seconds since 1970; of several workers the oldest.',
    on=BOTH,
    over_workers='livemin',
)
PROCESSES = State(
    'obmd_processes', 'Processes that serve: 1, or the workers of obmd-api that are up.', on=BOTH
)
STARTS = Events(
    'obmd_process_starts_total',
    'Processes started since the service was: 1, or its workers and one for each that died.',
    on=BOTH,
)
REQUESTS = Durations(
    'obmd_http_request_duration_seconds',
    'HTTP requests until their answer is there; of a stream, until its headers are.',
    ('method', 'route', 'code'),
    BOTH,
)
POOL_USED = State(
    'obmd_pool_used',
    'Places that are taken of something that there is a limit to.',
    ('pool',),
    BOTH,
)
POOL_LIMIT = State('obmd_pool_limit', 'Places that there are at most.', ('pool',), BOTH)
LIVE_CONDUCTORS = State(
    'obmd_conductors_live',
    'Conductors that are seen to live, and so are on the rings unless they leave or are drained.',
    ('group',),
    BOTH,
    'livemin',
)
LOOK_AGE = State(
    'obmd_conductors_look_age_seconds',
    'Seconds since the conductors were last read from the database; of several workers the most.',
    on=BOTH,
    over_workers='livemax',
)
SCRAPE_FAULTS = Events(
    'obmd_metrics_faults_total',
    'Times that something could not tell its state for this page; the log says why.',
    on=BOTH,
)

# -- the API's side ---------------------------------------------------------------------------

RPC_CALLS = Durations(
    'obmd_rpc_call_duration_seconds',
    'Calls to conductors as the API sees them, the bus included.',
    ('method', 'outcome'),
    API,
)
RPC_NEWS_LOST = Events(
    'obmd_rpc_news_lost_total',
    'News for a conductor (a token was revoked) that could not be sent; it finds out by itself.',
    on=API,
)

# -- a conductor's side -------------------------------------------------------------------------

CALLS = Durations(
    'obmd_conductor_call_duration_seconds',
    'Calls that this conductor answered.',
    ('method', 'outcome'),
)
BMC_OPERATIONS = Durations(
    'obmd_bmc_operation_duration_seconds',
    'What was asked of BMCs, waiting for a session included.',
    ('driver', 'outcome'),
)
NODES = State(
    'obmd_nodes',
    'Nodes that this conductor owns, by what was last heard of their BMC; none is asked for it.',
    ('driver', 'state'),
)
GATES = State(
    'obmd_credential_gates_closed',
    'Nodes whose BMC refused the credentials; it is not asked again until they change.',
    ('driver',),
)
SESSIONS = State('obmd_ipmi_sessions', 'IPMI sessions that are open.')
LOGINS = State('obmd_ipmi_logins', 'IPMI logins under way.')
LOGINS_WAITING = State(
    'obmd_ipmi_logins_waiting', 'IPMI logins that wait for their turn; [ipmi] max_logins.'
)
CONSOLES_WANTED = State('obmd_consoles_wanted', 'Consoles that shall be open.')
CONSOLES_UP = State('obmd_consoles_up', 'Consoles that are open.')
CONSOLES_DOWN = State('obmd_consoles_down', 'Consoles that shall be open and are not.')
CONSOLE_FAILURES = Events(
    'obmd_console_failures_total',
    'Times that a console was lost or could not be opened.',
    ('kind',),
)
CONSOLE_BYTES = Events('obmd_console_bytes_total', 'Bytes that came from consoles.')
VIEWERS = State('obmd_viewers', 'Streams of consoles that are open.')
VIEWER_BYTES_LOST = Events(
    'obmd_viewer_bytes_lost_total', 'Bytes that viewers lost because they were too slow.'
)
LOG_BYTES = Events(
    'obmd_console_log_bytes_total',
    'Bytes of consoles for the disk: written, or lost because it was too slow or full.',
    ('outcome',),
)
LOG_QUEUED = State('obmd_console_log_queued_bytes', 'Bytes of consoles that wait for the disk.')
LEASE = State('obmd_lease', '1 for the state that the lease of the conductor is in.', ('state',))
LEASE_AGE = State(
    'obmd_lease_age_seconds', 'Seconds since the heartbeat was sent that succeeded last.'
)
HEARTBEAT_FAILURES = Events(
    'obmd_heartbeat_failures_total', 'Heartbeats that the database did not take.'
)
OWNED = State('obmd_nodes_owned', 'Nodes that this conductor owns.')
CLAIMS = Events(
    'obmd_claims_total', 'Nodes that this conductor tried to make its own.', ('outcome',)
)
HANDOVERS = Durations(
    'obmd_handover_duration_seconds',
    'Hand-overs of nodes to other conductors, until the row is free.',
    ('outcome',),
)
LOCK_WAITS = Durations(
    'obmd_node_lock_wait_seconds',
    'Waits of writes (power, boot device) for their node.',
    ('outcome',),
)
AGENTS_ALIVE = State(
    'obmd_agents_alive', 'Ramdisk agents that reported in within [agent] heartbeat_timeout.'
)
AGENT_HEARTBEATS = Events(
    'obmd_agent_heartbeats_total', 'Heartbeats of ramdisk agents that came here.', ('outcome',)
)
AGENT_WINDOWS_MISSED = Events(
    'obmd_agent_windows_missed_total',
    'Times that an agent which was alive did not report in for [agent] heartbeat_timeout.',
)
JOBS_OWNED = State('obmd_jobs_owned', 'Jobs that this conductor owns and that have not ended.')
RUNS = State('obmd_runs', 'Runs of jobs at this conductor.', ('state',))
RUNS_ENDED = Events('obmd_runs_ended_total', 'Runs of jobs that ended here.', ('outcome',))
RUN_WAITS = Durations(
    'obmd_run_wait_seconds', 'Waits of runs for a place at this conductor, [actions] max_jobs.'
)
STREAMS_CUT = Events(
    'obmd_streams_cut_total', 'Streams ended because their right ended.', ('reason',)
)
REVOCATION_AGE = State(
    'obmd_revocation_check_age_seconds',
    'Seconds since the tokens of all streams were last compared with the database.',
)
