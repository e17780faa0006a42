"""Scripts and the output of jobs on this conductor: the runner's client.

The runner is a process of its own (:mod:`obmd.runner`), started here and started anew when it
dies; its runs are then lost.  Everything that a job prints, also what builtin commands say, is
written by it.  Methods may wait for the runner, in the caller's thread only.
"""

import dataclasses
import logging
import os
import threading
import time

from obmd.common import errors
from obmd.common import threads
from obmd.conductor import spool
from obmd.conductor.runner_process import RunnerProcess
from obmd.conf import CONF
from obmd.runner import messages
from obmd.runner import privileges

LOG = logging.getLogger(__name__)

#: how a run ended, and the exit status of those that did not exit by themselves
EXITED, SIGNALLED, NOT_STARTED = 'exited', 'signalled', 'not_started'
CANCELLED, TIMED_OUT, OUTPUT_LIMIT, LOST = 'cancelled', 'timed_out', 'output_limit', 'lost'
STATUS = {NOT_STARTED: 126, CANCELLED: 130, TIMED_OUT: 124, OUTPUT_LIMIT: 125, LOST: 1}

#: seconds between two confirmations of the lease
CONFIRM = 1.0
#: seconds that a caller waits for a runner that is being started anew
PATIENCE = 10.0
#: seconds from SIGTERM to SIGKILL
GRACE = 5.0
#: bytes that stay free on the disk of ``state_path`` whatever jobs print: the database is there
RESERVE = 64 * 1024 * 1024
#: seconds before the runner is started anew; doubles while it dies young
PAUSE_MIN, PAUSE_MAX = 0.2, 30.0
SETTLED = 60.0


@dataclasses.dataclass(frozen=True)
class Script:
    """What is to be run.

    :ivar job: uuid.  :ivar position: int, of the run in its job.
    :ivar path: str, absolute.  :ivar arguments: list of str, without the program's own name.
    :ivar environment: dict of str; all that the script gets.
    :ivar timeout: seconds.
    :ivar width: int, how many of its job may run at once; it begins when there are fewer.
    """

    job: str
    position: int
    path: str
    arguments: tuple
    environment: dict
    timeout: float
    width: int = 65536


@dataclasses.dataclass(frozen=True)
class End:
    """How a run ended.

    :ivar outcome: one of the module's.  :ivar status: int.
    :ivar reason: str or None.  :ivar output_bytes: int.
    """

    job: str
    position: int
    outcome: str
    status: int
    reason: str | None
    output_bytes: int


class Scripts:
    """:param spools: :class:`obmd.conductor.spool.Spools` in ``state_path``.
    :param on_ends: callable (list of :class:`End`); called in the thread that reads the runner's
        words, which it may hold up only shortly.
    :param lease: :class:`obmd.conductor.lease.Lease`.
    :param identity: str of hex digits, the same at each start of this conductor.
    :param all_in_one: bool.

    :ivar problem: str, why no script can run here, or None.
    """

    def __init__(self, spools, on_ends, lease, identity, all_in_one=False):
        self.problem = _same_user_problem(all_in_one)
        self._spools = spools
        self._on_ends = on_ends
        self._lease = lease
        self._settings = {
            'do': 'settings',
            'user': CONF.actions.user or None,
            'label': int(identity[:8], 16),
            'grace': GRACE,
            'reserve': RESERVE,
        }
        self._ready = threading.Condition()
        self._sending = threading.Lock()
        self._runner = None
        self._jobs = {}
        self._running = {}
        self._stopping = False
        self._pause = PAUSE_MIN

    # -- start and end --------------------------------------------------------------------------

    def start(self):
        """Start the runner in the background; who needs it waits for it."""
        if self.problem is not None:
            LOG.warning('scripts are not run here: %s', self.problem)
        elif not CONF.actions.user:
            LOG.warning(
                'scripts of commands run as the user of this service and can read its keys; '
                '[actions] user can name another'
            )
            privileges.hide()
        threads.spawn(self._keep)
        threads.spawn(self._confirm)

    def stop(self, deadline):
        """Kill what runs, then end the runner.

        Runs that have not ended within ``deadline`` end as lost; the runner kills them.
        """
        self._stopping = True
        for job, position in list(self._running):
            self.kill(job, position, LOST, 'the conductor was stopped')
        while self._running and not deadline.expired:
            time.sleep(0.02)
        connection = self._runner
        if connection is not None:
            connection.close()
        with self._ready:
            self._ready.notify_all()

    # -- jobs -----------------------------------------------------------------------------------

    def open(self, job, limit):
        """Before the first run of a job here; harmless when done before, not while it is closed.

        :param limit: bytes that the runs of the job may write here, with what they have written.
        :raises OSError, Unavailable: its output has no place.
        """
        if job not in self._jobs:
            # before it is sent: the next runner is told if this one dies of it; and before its
            # readers are let in, who go on if it was closed just now
            self._jobs[job] = limit
            try:
                descriptor = self._spools.create(job)
                try:
                    self._send({'do': 'job', 'job': job, 'limit': limit}, descriptor)
                finally:
                    os.close(descriptor)
            except (OSError, errors.ObmdError):
                self._jobs.pop(job, None)
                raise

    def close(self, job):
        """After the last run of a job here has ended."""
        if self._jobs.pop(job, None) is not None:
            try:
                self._send({'do': 'close', 'job': job})
            except errors.Unavailable:
                self._spools.settle(job)

    def run(self, script):
        """Start a script whose job is open, unless it runs.

        How it ended is told in any case, perhaps before this returns.
        """
        if self.problem is not None:
            self._refuse(script, self.problem)
            return
        key = script.job, script.position
        if key in self._running:
            return
        try:
            order = {'do': 'start', **vars(script), 'lease': self._lease_left()}
            self._send(order, running=key)
        except (errors.Unavailable, messages.Broken) as error:
            # what was perhaps sent is lost with its runner, and told then
            if key not in self._running:
                self._refuse(script, str(error))

    def kill(self, job, position, outcome=CANCELLED, reason=None):
        """SIGTERM for a run, SIGKILL :data:`GRACE` later; it ends with ``outcome`` unless it has
        ended by itself.  Harmless when it does not run."""
        if (job, position) in self._running:
            order = {'do': 'kill', 'job': job, 'position': position}
            try:
                self._send({**order, 'outcome': outcome, 'reason': reason})
            except errors.Unavailable:
                pass  # a runner that has died has taken it along

    # -- what is not a script -------------------------------------------------------------------

    def say(self, job, position, text, kind=spool.STDOUT):
        """Output of a builtin command.

        :param text: str, with its newlines.  :raises Unavailable:
        """
        self._send({'do': 'say', 'job': job, 'position': position, 'kind': kind, 'text': text})

    def end(self, job, position, outcome, status):
        """A run that was no script has ended: its output is complete.  :raises Unavailable:"""
        order = {'do': 'end', 'job': job, 'position': position}
        self._send({**order, 'outcome': outcome, 'status': status})

    def _refuse(self, script, reason):
        status = STATUS[NOT_STARTED]
        try:
            self.end(script.job, script.position, NOT_STARTED, status)
        except errors.Unavailable:
            pass
        self._tell([End(script.job, script.position, NOT_STARTED, status, reason, 0)])

    # -- the runner -----------------------------------------------------------------------------

    def _send(self, message, descriptor=None, running=None):
        """To the runner, or to the next one if it has died; what may have started goes to one.

        :param running: (job, position) of a run that is the runner's from here on.
        :raises Unavailable: there is no runner and will not be soon.
        """
        data = messages.encode(message)
        until = time.monotonic() + PATIENCE
        while True:
            connection = self._connected(until)
            with self._sending:
                if connection is not self._runner:
                    continue
                if running is not None:
                    self._running[running] = True
                try:
                    return connection.send(data, descriptor)
                except OSError:
                    self._runner = None
            if running is not None:
                raise errors.Unavailable('the process that runs scripts has died', None, 2)

    def _connected(self, until):
        with self._ready:
            while self._runner is None:
                left = until - time.monotonic()
                if left <= 0 or self._stopping:
                    raise errors.Unavailable('the process that runs scripts is not there', None, 5)
                self._ready.wait(left)
            return self._runner

    def _keep(self):
        while not self._stopping:
            started = time.monotonic()
            try:
                self._live_one()
            except (OSError, errors.ObmdError) as error:
                LOG.error('the process that runs scripts cannot be started: %s', error)
            except Exception:
                LOG.exception('the process that runs scripts is left')
            if self._stopping:
                return
            if time.monotonic() - started > SETTLED:
                self._pause = PAUSE_MIN
            time.sleep(self._pause)
            self._pause = min(self._pause * 2, PAUSE_MAX)

    def _live_one(self):
        """One runner from its start to its end."""
        connection = RunnerProcess(self._spools, self._settings)
        try:
            refusal = connection.first_word()
            if refusal is not None and self.problem is None:
                self.problem = refusal
                LOG.error('scripts are not run here: %s', refusal)
            self._take_up(connection)
            for news in connection.news():
                self._note(news)
        finally:
            connection.close()
            if not self._stopping:
                LOG.error('the process that runs scripts has ended; it is started anew')
            with self._sending:
                self._runner = None
                lost, self._running = list(self._running), {}
            connection.forget()
            self._lose(lost)

    def _take_up(self, connection):
        """Make a new runner know what the last one knew."""
        self._confirm_to(connection)
        for job, limit in list(self._jobs.items()):
            descriptor = self._spools.create(job)
            try:
                order = {'do': 'job', 'job': job, 'limit': limit}
                connection.send(messages.encode(order), descriptor)
            finally:
                os.close(descriptor)
        with self._ready:
            self._runner = connection
            self._ready.notify_all()
        if self._stopping:
            connection.close()

    def _note(self, news):
        for job, size in news['wrote'].items():
            self._spools.wrote(job, size)
        for job in news['closed']:
            if job not in self._jobs:  # else it was opened again
                self._spools.settle(job)
        ends = [End(*end) for end in news['ended']]
        for end in ends:
            self._running.pop((end.job, end.position), None)
        if ends:
            self._tell(ends)

    def _tell(self, ends):
        try:
            self._on_ends(ends)
        except Exception:
            LOG.exception('the ends of %d runs are not noted', len(ends))

    def _lose(self, lost):
        if not lost:
            return
        reason = 'the conductor was stopped'
        if not self._stopping:
            reason = 'the process that runs scripts has died: may or may not have run to its end'
        self._tell([End(job, at, LOST, STATUS[LOST], reason, 0) for job, at in lost])
        threads.spawn(self._end_lost, lost)

    def _end_lost(self, lost):
        for job, position in lost:
            if job in self._jobs:
                try:
                    self.end(job, position, LOST, STATUS[LOST])
                except errors.Unavailable:
                    return

    def _confirm(self):
        while not self._stopping:
            connection = self._runner
            if connection is not None:
                try:
                    with self._sending:
                        self._confirm_to(connection)
                except OSError:
                    pass  # who reads from it notices
            time.sleep(CONFIRM)

    def _confirm_to(self, connection):
        try:
            order = {'do': 'lease', 'seconds': self._lease_left()}
        except errors.Unavailable:
            return
        connection.send(messages.encode(order))

    def _lease_left(self):
        """:returns: seconds.  :raises Unavailable: this conductor may not act now."""
        self._lease.require()
        return CONF.conductor.heartbeat_ttl - self._lease.age


def _same_user_problem(all_in_one):
    actions = CONF.actions
    if actions.user or actions.allow_same_user or all_in_one:
        return None
    return (
        'a conductor runs scripts as a user of their own only: set [actions] user, or '
        '[actions] allow_same_user if scripts may read its private key'
    )
