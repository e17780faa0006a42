"""What this conductor runs for jobs, its own and others'.

The owner of a job (``obmd.conductor.jobs``) says which runs are due.  They wait here for one of
the places of ``[actions] max_jobs``, jobs taking turns; then ``queued -> running`` is committed
under this conductor's incarnation, many in one transaction, and only what was committed is
started.  So a run that is asked for twice, here or elsewhere, is run once.
"""

import logging
import threading
import time

from obmd.common import errors
from obmd.common import threads
from obmd.conductor import lease as leases
from obmd.conductor import turns
from obmd.conductor import work
from obmd.conf import CONF
from obmd.db import runs

LOG = logging.getLogger(__name__)

#: seconds until runs that could not be begun are tried again: no database, no fresh lease
PAUSE = 0.5
#: seconds between two looks for rows that a lost answer left with us
AUDIT = 30.0
STOPPED = 'the conductor was stopped while it ran'


class Work:
    """One run, here.

    :ivar spec: :class:`obmd.conductor.work.Spec`.
    :ivar live: :class:`obmd.conductor.node.LiveNode`, or None: the command has no nodes.
    :ivar stopped: None, or the outcome that it was made to end with.
    """

    __slots__ = ('live', 'node_uuid', 'position', 'reason', 'spec', 'stopped')

    def __init__(self, spec, position, live):
        self.spec = spec
        self.position = position
        self.live = live
        self.node_uuid = live.uuid if live is not None else None
        self.stopped = None
        self.reason = None

    @property
    def key(self):
        return self.spec.job, self.position


class Runs:
    """:param incarnation: str, of this conductor's start.
    :param holdings: :class:`obmd.conductor.holdings.Holdings`.
    :param lease: :class:`obmd.conductor.lease.Lease`.
    :param executor: :class:`obmd.conductor.execution.Executor`.
    :param reports: :class:`obmd.conductor.reports.Reports`.
    """

    def __init__(self, incarnation, holdings, lease, executor, reports, clock=time.time):
        self._incarnation = incarnation
        self._holdings = holdings
        self._lease = lease
        self._executor = executor
        self._reports = reports
        self._clock = clock
        self._turns = turns.Turns()
        #: (job, position) -> Work: what waits here or runs
        self._known = {}
        self._running = {}
        self._doubtful = set()
        self._lock = threading.Lock()
        self._bell = threading.Event()
        self._stopping = False
        self._pumping = False

    def __len__(self):
        return len(self._running)

    # -- what the owner of a job asks ---------------------------------------------------------

    def take(self, spec, asked, ahead=()):
        """Run these once there is a place for each.

        :param asked: list of (position, node uuid or None).
        :param ahead: uuids of nodes that will come soon: what their scripts need is read with the
            first of them.
        :returns: dict of position -> ObmdError, those that are not ours to run.
        :raises Unavailable: this conductor is stopping.
        """
        if self._stopping:
            raise errors.NotOwner('this conductor is stopping')
        fresh, refused = [], {}
        for position, uuid in asked:
            if (spec.job, position) in self._known:
                continue
            try:
                live = None if uuid is None else self._holdings.find(uuid)
            except errors.ObmdError as error:
                refused[position] = error
                continue
            fresh.append(Work(spec, position, live))
        self._executor.expect(spec.job, ahead)
        with self._lock:
            fresh = [one for one in fresh if self._known.setdefault(one.key, one) is one]
        self._turns.add(spec.job, fresh)
        self._ring()
        return refused

    def adopt(self, spec):
        """The job has another owner: it is told from now on, and says anew what is due."""
        self._forget(self._turns.drop(spec.job))
        for one in list(self._known.values()):
            if one.spec.job == spec.job:
                one.spec = spec

    def cancel(self, job):
        """End what runs of the job, forget what waits."""
        self._forget(self._turns.drop(job))
        for one in list(self._running.values()):
            if one.spec.job == job:
                self._end(one, runs.CANCELLED)

    def running(self, job):
        """:returns: list of int, positions of the runs of a job that run here."""
        return [one.position for one in list(self._running.values()) if one.spec.job == job]

    def stop(self, deadline):
        """Begin nothing more; what runs has half of the time until the deadline to end by itself,
        and what does not end when it is killed then has ended as lost."""
        self._stopping = True
        self._forget(self._turns.drop_all())
        self._await(deadline.within(deadline.remaining / 2))
        for one in list(self._running.values()):
            self._end(one, runs.LOST, STOPPED)
        self._await(deadline.within(deadline.remaining / 2))
        for one in list(self._running.values()):
            self._ended(one, runs.LOST, work.STATUS[runs.LOST], STOPPED, 0)

    def _await(self, deadline):
        while self._running and not deadline.expired:
            time.sleep(min(0.05, deadline.remaining))

    def _end(self, one, outcome, reason=None):
        if one.stopped is None:
            one.stopped, one.reason = outcome, reason
            self._executor.kill(one)

    # -- starting -----------------------------------------------------------------------------

    def _ring(self):
        with self._lock:
            begin, self._pumping = not self._pumping, True
        if begin:
            threads.spawn(self._pump)
            threads.spawn(self._audit)
        self._bell.set()

    def _pump(self):
        while True:
            self._bell.wait()
            self._bell.clear()
            try:
                while self._start_some():
                    pass
            except Exception:
                LOG.exception('runs of jobs are not started')
                self._later()

    def _later(self):
        time.sleep(PAUSE)
        self._bell.set()

    def _start_some(self):
        """:returns: bool, whether something was started: there may be more."""
        free = CONF.actions.max_jobs - len(self._running)
        if free <= 0 or not len(self._turns):
            return False
        if self._lease.state != leases.FRESH:
            threads.spawn(self._later)
            return False
        by_job = {}
        for job, one in self._turns.take(free):
            by_job.setdefault(job, []).append(one)
            self._running[one.key] = one
        begun = [self._begin(job, these) for job, these in by_job.items()]
        return all(begun)

    def _begin(self, job, these):
        """:returns: bool, whether the database has answered."""
        by_position = {one.position: one for one in these}
        try:
            # what was doubtful may be ours since a try whose answer was lost
            unclear = [position for position in by_position if (job, position) in self._doubtful]
            if unclear:
                runs.put_back(job, unclear, self._incarnation)
            won = runs.start(job, list(by_position), self._incarnation, self._clock())
        except errors.Unavailable:
            self._put_back(job, these)
            return False
        if self._lease.state != leases.FRESH:
            # Others may have declared us dead before the commit: what is not started yet must not.
            self._put_back(job, these)
            return False
        self._doubtful.difference_update(one.key for one in these)
        mine = [by_position.pop(position) for position in won]
        self._drop(by_position.values())  # cancelled meanwhile, or another conductor's
        if mine:
            self._executor.start(mine, lambda: self._begun(mine), self._ended)
        return True

    def _begun(self, those):
        self._reports.started(those[0].spec, [one.position for one in those])

    def _put_back(self, job, these):
        """They may be ours in their rows, and are not started."""
        self._doubtful.update(one.key for one in these)
        for one in these:
            self._running.pop(one.key, None)
        self._turns.put_back(job, these)
        threads.spawn(self._later)

    def _ended(self, one, outcome, status, reason, output_bytes):
        """The executor's word on the end of ``one``; the first one counts."""
        if self._running.pop(one.key, None) is not one:
            return
        if one.stopped is not None and outcome in (runs.SIGNALLED, runs.CANCELLED, runs.LOST):
            outcome, status = one.stopped, work.STATUS[one.stopped]
        end = runs.End(
            one.spec.job, one.position, outcome, status, one.reason or reason, output_bytes
        )
        self._reports.ended(one.spec, end)
        self._drop([one])
        self._bell.set()

    def _drop(self, those):
        for one in those:
            self._running.pop(one.key, None)
        self._forget(those)

    def _forget(self, those):
        for one in those:
            self._known.pop(one.key, None)

    # -- rows that a lost answer left with us --------------------------------------------------

    def _audit(self):
        suspects = set()
        while not self._stopping:
            time.sleep(AUDIT)
            try:
                suspects = self._look_for_strays(suspects)
            except errors.Unavailable:
                suspects = set()

    def _look_for_strays(self, suspects):
        """:param suspects: keys that were strays at the last look: what is one twice is queued
            again, for nobody has started it.

        :returns: set of the strays as of now.
        """
        rows = {(run.job_uuid, run.position) for run in runs.running_under(self._incarnation)}
        strays = {key for key in rows if key not in self._running and not self._reports.has(key)}
        by_job = {}
        for job, position in strays & suspects:
            by_job.setdefault(job, []).append(position)
        for job, positions in by_job.items():
            runs.put_back(job, positions, self._incarnation)
        return strays
