"""What this conductor runs for jobs, its own and others'.

The owner of a job (``obmd.conductor.jobs``) says which runs are due.  They wait here for
a place among those of their job and of ``[actions] max_jobs``, jobs taking turns; then
``queued -> running`` is committed under this conductor's incarnation, many in one transaction, and
only what was committed is started.  So a run that is asked for twice, here or elsewhere, is run
once.
"""

import collections
import functools
import logging
import threading
import time

from obmd.common import errors
from obmd.common import metrics
from obmd.common import threads
from obmd.conductor import lease as leases
from obmd.conductor import turns
from obmd.conductor import work
from obmd.conf import CONF
from obmd.db import runs

LOG = logging.getLogger(__name__)

#: runs of a job that are started beyond its width, at most or as many as that is; and seconds: as
#: many as have ended within them
AHEAD, RECENT = 40, 0.15
#: seconds until runs that could not be begun are tried again: no database, no fresh lease
PAUSE = 0.5
#: seconds between two looks for rows that a lost answer left with us
AUDIT = 30.0
STOPPED = 'the conductor was stopped while it ran'


class Work:
    """One run, here.

    :ivar spec: :class:`obmd.conductor.work.Spec`.
    :ivar asked_at: monotonic s.
    :ivar live: :class:`obmd.conductor.node.LiveNode`, or None: the command has no nodes.
    :ivar stopped: None, or the outcome that it was made to end with.
    """

    __slots__ = ('asked_at', 'live', 'node_uuid', 'position', 'reason', 'spec', 'stopped')

    def __init__(self, spec, position, live, asked_at):
        self.spec = spec
        self.asked_at = asked_at
        self.position = position
        self.live = live
        self.node_uuid = live.uuid if live is not None else None
        self.stopped = None
        self.reason = None

    @property
    def key(self):
        return self.spec.job, self.position


class _Share:
    """A job's part in this conductor.

    :ivar width: int, how many of its runs may run at once.
    :ivar begun: int, how many were started and have not ended; the executor keeps to ``width``.
    """

    def __init__(self, width):
        self.width = width
        self.begun = 0
        self._ends = collections.deque(maxlen=max(width, AHEAD))

    def ended(self, now):
        self.begun -= 1
        self._ends.append(now)

    def room(self, now):
        """:returns: int, how many more may be started: what is missing to the width, and as many
        again as have ended just now, so that short scripts need not wait for us.  What is
        started is lost with us, so for long ones it is no more than what runs.
        """
        ahead = sum(now - at < RECENT for at in self._ends)
        missing = self.width + ahead - self.begun
        return missing if missing > ahead // 2 else 0


class Runs:
    """:param incarnation: str, of this conductor's start.
    :param holdings: :class:`obmd.conductor.holdings.Holdings`.
    :param lease: :class:`obmd.conductor.lease.Lease`.
    :param executor: :class:`obmd.conductor.execution.Executor`.
    :param reports: :class:`obmd.conductor.reports.Reports`.
    """

    def __init__(
        self,
        incarnation,
        holdings,
        lease,
        executor,
        reports,
        clock=time.time,
        monotonic=time.monotonic,
    ):
        self._incarnation = incarnation
        self._holdings = holdings
        self._lease = lease
        self._executor = executor
        self._reports = reports
        self._clock = clock
        self._monotonic = monotonic
        self._turns = turns.Turns()
        #: (job, position) -> Work: all of them, and those that have begun
        self._known = {}
        self._running = {}
        self._shares = {}
        self._doubtful = set()
        #: keys of rows that are being queued again: not taken meanwhile
        self._settling = set()
        #: jobs of which nothing goes on, for as long as something of them is known
        self._cancelled = set()
        self._lock = threading.Lock()
        self._bell = threading.Event()
        self._stopping = False
        self._pumping = False

    @property
    def running(self):
        """int, runs that have begun and not ended."""
        return len(self._running)

    def tell(self):
        """Set the states for ``/metrics``."""
        metrics.RUNS.set(len(self._running), 'running')
        metrics.RUNS.set(len(self._turns), 'waiting')

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
            fresh.append(Work(spec, position, live, self._monotonic()))
        self._executor.expect(spec, ahead)
        with self._lock:
            fresh = [one for one in fresh if one.key not in self._settling]
            fresh = [one for one in fresh if self._known.setdefault(one.key, one) is one]
            if fresh:
                self._shares.setdefault(spec.job, _Share(spec.width))
        if fresh:
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
        """End what runs of the job, forget what waits, and end what begins in this moment."""
        self._cancelled.add(job)
        self._forget(self._turns.drop(job))
        # Those that were begun last first: what waits for others must not begin when they end.
        for one in reversed(list(self._running.values())):
            if one.spec.job == job:
                self._end(one, runs.CANCELLED)

    def stop(self, deadline):
        """Begin nothing more; what runs has half of the time until the deadline to end by itself,
        and what does not end when it is killed then has ended as lost."""
        self._stopping = True
        self._forget(self._turns.drop_all())
        self._await(deadline.within(deadline.remaining / 2))
        for one in reversed(list(self._running.values())):
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
                while self.start_due():
                    pass
            except Exception:
                LOG.exception('runs of jobs are not started')
                self._later()

    def _later(self):
        time.sleep(PAUSE)
        self._bell.set()

    def start_due(self):
        """Take and begin what may begin now.

        :returns: bool, whether something has changed: there may be more to do.
        """
        if self._stopping:
            return False
        if self._lease.state != leases.FRESH:
            if len(self._turns):
                threads.spawn(self._later)
            return False
        free = CONF.actions.max_jobs - len(self._running)
        by_job = {}
        for job, one in self._turns.take(free, self._room):
            by_job.setdefault(job, []).append(one)
        begun = [self._begin(job, these) for job, these in by_job.items()]
        return any(begun)

    def _room(self, job):
        # many jobs share the places: none takes them to be ready for what comes
        share = self._shares.get(job)
        if share is None:
            return 0
        if len(self._running) > CONF.actions.max_jobs // 2:
            return share.width - share.begun
        return share.room(self._monotonic())

    def _begin(self, job, these):
        """Commit that runs of a job are ours, and start those that are.

        :returns: bool, whether the database has answered.
        """
        by_position = {one.position: one for one in these}
        try:
            # what was doubtful may be ours since a try whose answer was lost
            unclear = [position for position in by_position if (job, position) in self._doubtful]
            if unclear:
                runs.put_back(job, unclear, self._incarnation)
            here = [one.position for one in these if self._still_here(one)]
            won = runs.start(job, here, self._incarnation, self._clock())
        except errors.Unavailable:
            won = None
        except Exception:
            LOG.exception('runs of job %s are not started', job)
            won = None
        # Others may have declared us dead before the commit: what has not begun then must not.
        if won is None or self._lease.state != leases.FRESH:
            self._doubtful.update(one.key for one in these)
            self._turns.put_back(job, these)
            threads.spawn(self._later)
            return False
        self._doubtful.difference_update(one.key for one in these)
        mine = [by_position.pop(position) for position in won]
        # cancelled meanwhile, or another conductor's: its owner gives it again if it waits
        self._forget(by_position.values())
        if mine:
            self._shares[job].begun += len(mine)
            now = self._monotonic()
            for one in mine:
                metrics.RUN_WAITS.observe(now - one.asked_at)
            self._running.update((one.key, one) for one in mine)
            if job in self._cancelled:  # while the commit was on its way
                for one in mine:
                    self._end(one, runs.CANCELLED)
            self._executor.start(mine, functools.partial(self._have_begun, mine), self._ended)
        return True

    def _still_here(self, one):
        """:returns: bool, whether its node is ours still, now that there is a place."""
        if one.live is None:
            return True
        try:
            one.live = self._holdings.find(one.node_uuid)
        except errors.ObmdError as error:
            LOG.info('job %s: run %d does not begin here: %s', *one.key, error.reason)
            return False
        return True

    def _have_begun(self, those):
        self._reports.started(those[0].spec, [one.position for one in those])

    def _ended(self, one, outcome, status, reason, output_bytes):
        """The executor's word on the end of ``one``; the first one counts."""
        if self._running.pop(one.key, None) is not one:
            return
        self._shares[one.spec.job].ended(self._monotonic())
        if one.stopped is not None and outcome in (runs.SIGNALLED, runs.CANCELLED, runs.LOST):
            outcome, status = one.stopped, work.STATUS[one.stopped]
        end = runs.End(
            one.spec.job, one.position, outcome, status, one.reason or reason, output_bytes
        )
        metrics.RUNS_ENDED.count(outcome)
        self._reports.ended(one.spec, end)
        self._forget([one])
        self._bell.set()

    def _forget(self, those):
        for one in those:
            self._known.pop(one.key, None)

    def _forget_shares(self):
        with self._lock:
            jobs = {job for job, _position in self._known}
            for gone in self._shares.keys() - jobs:
                del self._shares[gone]
            self._cancelled &= jobs

    # -- rows that a lost answer left with us --------------------------------------------------

    def _audit(self):
        suspects = set()
        while not self._stopping:
            time.sleep(AUDIT)
            self._forget_shares()
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
        with self._lock:
            strays = {key for key in rows if key not in self._known and not self._reports.has(key)}
            self._settling = strays & suspects
        try:
            by_job = {}
            for job, position in self._settling:
                by_job.setdefault(job, []).append(position)
            for job, positions in by_job.items():
                runs.put_back(job, positions, self._incarnation)
            self._doubtful -= self._settling
        finally:
            self._settling = set()
        return strays
