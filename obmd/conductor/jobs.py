"""The jobs that this conductor owns: claimed, given out run by run, ended.

A job is owned as a node is: a ring over all live conductors proposes, a compare-and-swap on its
row decides, and the job of a dead conductor is claimed by another.  Its owner alone says when a
run may start (the limit, the pause between starts, a cancel); the owner of the run's node runs it
(``obmd.conductor.runs``).
"""

import logging
import threading
import time

from obmd.common import errors
from obmd.common import threads
from obmd.conductor import giving
from obmd.conductor import job as one_job
from obmd.conductor import lease as leases
from obmd.conductor import ownership
from obmd.conductor import work
from obmd.db import jobs
from obmd.db import runs

LOG = logging.getLogger(__name__)

#: jobs claimed between two looks at the rest of the table
PAGE = 200
#: seconds between two comparisons of a job that goes on with its rows
COMPARE = 10.0
#: seconds until one whose runs were told to have ended is compared again, each time twice as long,
#: at most; and tries after which its rows are believed: they are late for a moment at each end
AGAIN, AGAIN_MAX, TRIES = 0.04, 1.0, 8
CANCELLED = 'the job was cancelled'


class Jobs:
    """:param me: ``obmd.db.conductors.Conductor``, this start.
    :param lease: :class:`obmd.conductor.lease.Lease`.
    :param router: :class:`obmd.conductor.routing.Router`, fed by this conductor's looks.
    :param local: :class:`obmd.conductor.runs.Runs` of this conductor.
    :param client: of ``obmd.common.rpc``, of the version that came with jobs.
    """

    def __init__(self, me, lease, router, local, client, clock=time.time):
        self._me = me
        self._lease = lease
        self._router = router
        self._clock = clock
        self._giving = giving.Giving(me, router, local, client)
        self._owned = {}
        self._lost = set()
        self._lock = threading.Lock()
        self._stopping = False

    def __len__(self):
        return len(self._owned)

    # -- claims -----------------------------------------------------------------------------------

    def look(self):
        """After each look at the conductors: who waits for one may go on."""
        for owned in list(self._owned.values()):
            owned.bell.set()

    def claim_due(self, dead):
        """What the dead ran is lost, what they owned is claimed if the ring gives it to us.

        What is ours in its row only goes on: the answer to a claim was lost, or a read after it.

        :param dead: set of str, incarnations.
        """
        for incarnation in dead - self._lost:
            lost = runs.lose(None, incarnation, self._clock())
            if lost:
                LOG.warning('%d runs of jobs are lost with conductor %s', len(lost), incarnation)
                self.look()
            self._lost.add(incarnation)
        self._lost &= dead
        for row in jobs.owned_by(self._me.incarnation):
            if row.uuid not in self._owned:
                self._own(row.uuid, row.owner_epoch)
        after = ''
        while not self._stopping:
            rows = jobs.claimable(dead, PAGE, after)
            for row in rows:
                if self.is_mine(row.uuid):
                    self._claim(row)
            if len(rows) < PAGE:
                return
            after = rows[-1].uuid

    def is_mine(self, uuid):
        """:returns: bool, whether the ring gives the job to this conductor."""
        return self._router.rings.propose_for(uuid, *ownership.EVERYBODY) == self._me.incarnation

    def changed(self, uuid):
        """News of a job: it is new, or was cancelled."""
        owned = self._owned.get(uuid)
        if owned is not None:
            owned.cancelled = True if self._was_cancelled(uuid) else owned.cancelled
            owned.bell.set()
            return
        if self._stopping:
            return
        row = jobs.get(uuid)
        if row is None or row.state != jobs.RUNNING:
            return
        if row.owner is None:
            self._claim(row)
        elif row.owner == self._me.incarnation:
            self._own(uuid, row.owner_epoch)

    @staticmethod
    def _was_cancelled(uuid):
        row = jobs.get(uuid)
        return row is None or row.cancelled_at is not None

    def _claim(self, row):
        self._lease.require()
        epoch = jobs.claim(row.uuid, self._me.incarnation, row.owner, row.owner_epoch)
        if epoch is not None:
            self._own(row.uuid, epoch)

    def _own(self, uuid, epoch):
        # Read after the claim: an earlier owner may have gone on until then.
        row, rows = jobs.get(uuid), runs.of_job(uuid)
        if row is None or row.state != jobs.RUNNING:
            return
        owned = one_job.OwnedJob(row, epoch, rows)
        with self._lock:
            if self._stopping or self._owned.setdefault(uuid, owned) is not owned:
                return
        LOG.info('job %s: %s, %d runs', uuid, row.command, row.total)
        threads.spawn(self._carry_on, owned)

    # -- one job, in a thread of its own ----------------------------------------------------------

    def _carry_on(self, owned):
        spec = self._spec(owned.row)
        compared = float('-inf')
        self._giving.adopt(spec, owned)
        cancel_told, tries = False, 0
        while not owned.over:
            owned.bell.clear()
            try:
                now = time.monotonic()
                due = now - compared > COMPARE
                # told again and again: who begins a run just then may have missed it
                if owned.cancelled and (due or owned.queued() or not cancel_told):
                    self._cancel(spec, owned)
                    cancel_told, due = True, True
                if due or self._giving.orphans(owned):
                    compared = now
                    if not self._compare(owned):
                        break
                if owned.all_ended:
                    if self._end(owned):
                        break
                    compared = float('-inf')
                    tries = self._wait_for_rows(owned, tries)
                    continue
                tries = 0
                if not owned.cancelled and self._lease.state == leases.FRESH:
                    self._giving.give(spec, owned, owned.due())
            except errors.ObmdError as error:
                LOG.warning('job %s: %s', owned.uuid, error.reason)
                time.sleep(AGAIN * 5)
                continue
            except Exception:
                LOG.exception('job %s', owned.uuid)
                time.sleep(AGAIN * 50)
                continue
            owned.bell.wait(owned.pause())
        with self._lock:
            self._owned.pop(owned.uuid, None)
        self._giving.forget(owned)
        owned.finish()

    def _spec(self, row):
        return work.Spec(
            job=row.uuid,
            command=row.command,
            arguments=tuple(row.arguments),
            owner=self._me.incarnation,
            host=self._me.host,
            timeout=row.timeout,
            output_limit=row.output_limit,
            width=row.run_limit,
            claimed_user=row.claimed_user,
            claimed_uid=row.claimed_uid,
        )

    def _cancel(self, spec, owned):
        runs.end_queued(
            owned.uuid, runs.CANCELLED, work.STATUS[runs.CANCELLED], CANCELLED, self._clock()
        )
        # as the rows are: one may have begun with a conductor whose answer is lost
        owned.read(runs.at(owned.uuid, [part.position for part in owned.queued()]))
        self._giving.cancel(spec, owned)

    def _compare(self, owned):
        """Take what the rows say of the runs that a conductor has.

        :returns: bool, whether the job is still ours.
        """
        for incarnation in self._giving.dead(owned):
            runs.lose(owned.uuid, incarnation, self._clock())
        row = jobs.get(owned.uuid)
        if row is None or (row.owner, row.owner_epoch) != (self._me.incarnation, owned.epoch):
            return False
        owned.cancelled = owned.cancelled or row.cancelled_at is not None
        active = [part.position for part in owned.active()]
        found = runs.at(owned.uuid, active)
        owned.read(found)
        waiting = [run.position for run in found if run.state == runs.QUEUED]
        self._giving.again(owned, waiting)
        return True

    def _end(self, owned):
        """:returns: bool, whether the job has ended in its row too."""
        ended = jobs.end(owned.uuid, self._me.incarnation, owned.epoch, self._clock())
        if ended is None:
            return not self._compare(owned)
        LOG.info('job %s has ended with status %d', owned.uuid, ended.status)
        owned.finish(ended)
        return True

    @staticmethod
    def _wait_for_rows(owned, tries):
        """:returns: int, how many tries there were with this one."""
        time.sleep(min(AGAIN * 2 ** min(tries, TRIES), AGAIN_MAX))
        if tries + 1 >= TRIES:
            owned.reset(runs.of_job(owned.uuid, (runs.QUEUED, runs.RUNNING)))
        return tries + 1

    # -- from outside -------------------------------------------------------------------------

    def took(self, uuid, incarnation, started, ended):
        """A conductor's report.

        :param started: list of int, positions.  :param ended: list of ``obmd.db.runs.End``.
        """
        owned = self._owned.get(uuid)
        if owned is None:
            return
        changes = [(p, runs.RUNNING, incarnation, None, None, None, 0) for p in started]
        changes += [
            (
                end.position,
                runs.ENDED,
                incarnation,
                end.outcome,
                end.status,
                end.reason,
                end.output_bytes,
            )
            for end in ended
        ]
        owned.advance(changes)

    def watch(self, uuid):
        """:returns: :class:`obmd.streams.viewer.LineStream`, see ``OwnedJob.watch``.

        :raises NotOwner: the job is not ours.
        """
        owned = self._owned.get(uuid)
        if owned is None:
            self.changed(uuid)
            owned = self._owned.get(uuid)
        if owned is None:
            raise errors.NotOwner('this conductor does not own the job')
        return owned.watch()

    def stop(self):
        """Give out nothing more; the jobs are others' once :meth:`leave` was called."""
        with self._lock:
            self._stopping = True
        for owned in list(self._owned.values()):
            owned.finish()

    def leave(self):
        """Let others claim what was ours.

        :raises Unavailable: the rows still name us.
        """
        jobs.release_all(self._me.incarnation)


def owns_any(incarnation):
    """:returns: bool, whether rows still name a conductor that is gone."""
    return bool(jobs.owned_by(incarnation) or runs.running_under(incarnation))


def incarnations():
    """:returns: set of str, all whom rows of jobs that go on name."""
    return jobs.owners() | runs.runners()
