"""How one run is carried out: the script that fits its node, else the built-in command."""

import logging
import threading
import time

from obmd.common import callers
from obmd.common import command_table
from obmd.common import errors
from obmd.common import threads
from obmd.common.deadline import Deadline
from obmd.conductor import builtin
from obmd.conductor import environment
from obmd.conductor import scripts
from obmd.conductor import spool
from obmd.conductor import work
from obmd.conductor.builtin import metadata
from obmd.conf import CONF
from obmd.db import conductors
from obmd.db import descriptions
from obmd.db import ranks
from obmd.db import runs

LOG = logging.getLogger(__name__)

#: seconds for which what was read of a node is good for scripts that start
FRESH = 30.0
#: seconds after its last run here at which a job's output is closed
IDLE = 15.0


class _Job:
    """A job of which runs are carried out here.

    :ivar facts: node uuid -> (monotonic s, list of ranks, dict of parameters).
    :ivar turns: Semaphore, of built-in commands that run at once.
    :ivar door: held while its output is opened or closed.
    """

    def __init__(self, width, now):
        self.turns = threading.Semaphore(width)
        self.facts = {}
        self.ahead = ()
        self.running = 0
        self.used_at = now
        self.door = threading.Lock()


class Cancellable(Deadline):
    """A deadline that can be brought forward to now."""

    __slots__ = ()

    def cancel(self):
        self._at = self._clock()


class Executor:
    """:param kind: of the conductor, as in its row.
    :param lease: :class:`obmd.conductor.lease.Lease`.
    :ivar spools: :class:`obmd.conductor.spool.Spools`.
    """

    def __init__(self, kind, lease, clock=time.monotonic):
        self.spools = spool.Spools(CONF.state_path)
        self._all_in_one = kind == conductors.ALL_IN_ONE
        self._lease = lease
        self._clock = clock
        self._table = command_table.Table(metadata.METADATA)
        self._scripts = None
        self._lock = threading.Lock()
        self._jobs = {}
        #: (job, position) -> (Work, done) of scripts; Cancellable of builtins
        self._works = {}
        self._deadlines = {}
        self._stopped = threading.Event()

    def begin(self, identity):
        """:param identity: str of hex digits, the same at each start of this conductor."""
        self._scripts = scripts.Scripts(
            self.spools, self._scripts_ended, self._lease, identity, self._all_in_one
        )
        self._scripts.start()
        threads.spawn(self._tidy)

    def stop(self):
        """Kill what still runs."""
        self._stopped.set()
        if self._scripts is not None:
            self._scripts.stop(Deadline(0))

    def expect(self, spec, ahead):
        """:param ahead: uuids of nodes of which runs of the job will come."""
        if ahead:
            with self._lock:
                self._job(spec).ahead = tuple(ahead)

    def _job(self, spec):
        """The caller holds the lock."""
        return self._jobs.setdefault(spec.job, _Job(spec.width, self._clock()))

    # -- starting ---------------------------------------------------------------------------------

    def start(self, works, begun, done):
        """Carry out ``works``, all of one job, and return at once.  No more of a job than its
        ``width`` run at once, whatever is started.

        :param works: list of :class:`obmd.conductor.runs.Work`.
        :param begun: ``begun()``, called once before the first ``done``: there is a place for the
            output now, or never.
        :param done: ``done(work, outcome, status, reason, output_bytes)``, called once for each.
        """
        with self._lock:
            job = self._job(works[0].spec)
            job.running += len(works)
        threads.spawn(self._start, job, works, begun, self._counted(job, done))

    def _counted(self, job, done):
        def ended(one, *how):
            with self._lock:
                job.running -= 1
                job.used_at = self._clock()
            done(one, *how)

        return ended

    def _start(self, job, works, begun, done):
        left, spec = list(works), works[0].spec
        try:
            try:
                with job.door:
                    self._scripts.open(spec.job, spec.output_limit)
            finally:
                begun()
            command = self._table.get(spec.command)
            facts = self._facts(job, works) if command.scripts else {}
            while left:
                self._start_one(job, left[0], command, facts, done)
                left.pop(0)
        except errors.ObmdError as error:
            self._fail(left, error.reason, done)
        except OSError as error:
            self._fail(left, f'its output cannot be stored: {error.strerror}', done)
        except Exception:
            LOG.exception('runs of job %s', spec.job)
            self._fail(left, 'internal error of the conductor', done)

    def _fail(self, those, reason, done):
        for one in those:
            status = work.STATUS[runs.NOT_STARTED]
            self._say_end(one, runs.NOT_STARTED, status)
            done(one, runs.NOT_STARTED, status, reason, 0)

    def _start_one(self, job, one, command, facts, done):
        if one.stopped is not None:
            self._end_stopped(one, done)
            return
        ranked, parameters = facts.get(one.node_uuid, ((), {}))
        choice = command.choose(ranked)
        if choice.path is None:
            threads.spawn(self._run_in_turn, job, one, command, done)
            return
        spec = one.spec
        try:
            made = environment.build(
                spec.command,
                command.root,
                one.live.name if one.live is not None else None,
                parameters,
                spec.claimed_user,
                spec.claimed_uid,
            )
        except errors.ObmdError as error:
            self._fail([one], error.reason, done)
            return
        script = scripts.Script(
            spec.job, one.position, choice.path, spec.arguments, made, spec.timeout, spec.width
        )
        self._works[one.key] = one, done
        self._scripts.run(script)
        if one.stopped is not None:  # since it was asked above
            self.kill(one)

    def _facts(self, job, works):
        """:returns: dict of node uuid -> (list of ranks, dict of parameters)."""
        now = self._clock()
        wanted = [one.node_uuid for one in works if one.node_uuid is not None]
        missing = [uuid for uuid in wanted if not self._is_fresh(job, uuid, now)]
        if missing:
            ahead, job.ahead = job.ahead, ()
            missing += ahead
            ranked, said = ranks.among(missing), descriptions.parameters(missing)
            for uuid in missing:
                job.facts[uuid] = now, ranked.get(uuid, ()), said.get(uuid, {})
        return {uuid: job.facts[uuid][1:] for uuid in wanted}

    @staticmethod
    def _is_fresh(job, uuid, now):
        return uuid in job.facts and now - job.facts[uuid][0] < FRESH

    # -- built-in commands ------------------------------------------------------------------------

    def _run_in_turn(self, job, one, command, done):
        with job.turns:
            if one.stopped is not None:
                self._end_stopped(one, done)
            else:
                self._run_builtin(one, command, done)

    def _end_stopped(self, one, done):
        status = work.STATUS[one.stopped]
        self._say_end(one, one.stopped, status)
        done(one, one.stopped, status, one.reason, 0)

    def _run_builtin(self, one, command, done):
        output = _Said(self._scripts, one)
        deadline = Cancellable(one.spec.timeout)
        self._deadlines[one.key] = deadline
        try:
            if one.stopped is not None:
                deadline.cancel()
            name, arguments = one.spec.command, list(one.spec.arguments)
            if command.builtin:
                status = builtin.run(name, one.live, arguments, deadline, output.say, _caller(one))
            else:
                status = builtin.unsupported(name, one.live.name, output.say)
        except Exception:
            LOG.exception('%s of job %s', one.spec.command, one.spec.job)
            status = builtin.FAILED
        finally:
            del self._deadlines[one.key]
        outcome = runs.EXITED
        if status and one.stopped is not None:
            outcome, status = one.stopped, work.STATUS[one.stopped]
        elif status and deadline.expired:
            outcome, status = runs.TIMED_OUT, work.STATUS[runs.TIMED_OUT]
        self._say_end(one, outcome, status)
        done(one, outcome, status, None, output.bytes)

    def _say_end(self, one, outcome, status):
        """A reader who does not see it waits a little, and is told by the row."""
        try:
            self._scripts.end(one.spec.job, one.position, outcome, status)
        except errors.Unavailable as error:
            LOG.warning('job %s: the end of its output: %s', one.spec.job, error.reason)

    # -- ends -----------------------------------------------------------------------------------

    def kill(self, one):
        """End a run with the outcome ``one.stopped``."""
        job, position = one.key
        deadline = self._deadlines.get(one.key)
        if deadline is not None:
            deadline.cancel()
        if one.key in self._works:
            self._scripts.kill(job, position, one.stopped, one.reason)

    def _scripts_ended(self, ends):
        for end in ends:
            one, done = self._works.pop((end.job, end.position), (None, None))
            if one is not None:
                done(one, end.outcome, end.status, end.reason, end.output_bytes)

    def _tidy(self):
        while not self._stopped.wait(IDLE):
            self._close_idle()

    def _close_idle(self):
        for uuid, job in list(self._jobs.items()):
            # runs that come meanwhile wait, and open it again
            with job.door:
                if self._is_idle(job):
                    self._scripts.close(uuid)
            with self._lock:
                if self._is_idle(job):
                    del self._jobs[uuid]

    def _is_idle(self, job):
        return not job.running and self._clock() - job.used_at > IDLE


class _Said:
    """What a built-in command says in one run.

    :ivar bytes: int, of it, stored or not.
    """

    def __init__(self, to, one):
        self._to = to
        self._one = one
        self.bytes = 0

    def say(self, text, error=False):
        line = f'{text}\n'
        self.bytes += len(line.encode('utf-8', 'replace'))
        job, position = self._one.key
        kind = spool.STDERR if error else spool.STDOUT
        try:
            self._to.say(job, position, line, kind)
        except errors.Unavailable as reason:
            LOG.warning('job %s: its output is lost: %s', job, reason.reason)


def _caller(one):
    return callers.make(callers.BEARER, None, None) if one.spec.claimed_user else callers.UNKNOWN
