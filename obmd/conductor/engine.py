"""The jobs of a conductor, put together: what it owns, what it runs, its output."""

import logging

from obmd.common import errors
from obmd.common import exposition
from obmd.common import metrics
from obmd.conductor import execution
from obmd.conductor import job_keeping
from obmd.conductor import job_manager
from obmd.conductor import jobs
from obmd.conductor import reports
from obmd.conductor import routing
from obmd.conductor import rpcapi
from obmd.conductor import runs
from obmd.conf import CONF

LOG = logging.getLogger(__name__)

#: part of the time to stop that runs have to end
RUNS = 0.6


class Engine:
    """:param me: ``obmd.db.conductors.Conductor``, this start.
    :param bus: ``obmd.common.rpc`` Bus or LocalBus.
    :param holdings, lease: the conductor's.
    :param desk: :class:`obmd.conductor.reception.Reception`.
    """

    def __init__(self, me, bus, holdings, lease, desk):
        options = CONF.conductor
        self._me = me
        self._client = bus.client(rpcapi.TOPIC, rpcapi.JOBS)
        self._router = routing.Router(options.ring_partitions, options.heartbeat_ttl)
        self._reports = reports.Reports(me.incarnation, self._tell)
        self._executor = execution.Executor(me.kind, lease)
        self._runs = runs.Runs(me.incarnation, holdings, lease, self._executor, self._reports)
        self._jobs = jobs.Jobs(me, lease, self._router, self._runs, self._client)
        self._keeping = job_keeping.Keeping(self._jobs.is_mine, self._executor.spools)
        self.endpoint = job_manager.JobManager(self._jobs, self._runs, self._executor.spools, desk)

    def start(self, home):
        """Before calls are answered.

        :param home: str of hex digits, the same at each start of this conductor.
        """
        self._executor.begin(home or self._me.incarnation)
        exposition.watch('jobs', self.tell)
        exposition.watch_pool('runs', lambda: (self._runs.running, CONF.actions.max_jobs))
        self._keeping.start()

    def tell(self):
        """Set the states for ``/metrics``."""
        metrics.JOBS_OWNED.set(len(self._jobs))
        self._runs.tell()

    def look(self, live, rows):
        """After each look at the conductors.

        :param live, rows: lists of ``obmd.db.conductors.Conductor``.
        """
        self._router.look(live, rows)
        self._jobs.look()

    def claim_due(self, dead):
        """Take what the dead have left; a job that cannot be taken keeps no node from being.

        :param dead: set of str, incarnations.
        """
        try:
            self._jobs.claim_due(dead)
        except errors.ObmdError as error:
            LOG.warning('jobs are not claimed: %s', error.reason)

    @staticmethod
    def owns_any(incarnation):
        """:returns: bool, whether a row of a job still names a conductor that is gone."""
        return jobs.owns_any(incarnation)

    def _tell(self, spec, started, ended):
        if spec.owner == self._me.incarnation:
            self._jobs.took(spec.job, self._me.incarnation, started, ended)
            return
        self._client.send(
            spec.host,
            'runs_changed',
            job=spec.job,
            incarnation=self._me.incarnation,
            started=started,
            ended=[list(end[1:]) for end in ended],
        )

    def incarnations(self):
        """:returns: set of str, whose names are in rows of jobs that have not ended."""
        return jobs.incarnations()

    def stop_giving(self):
        """Give out nothing more, and let others claim the jobs; what runs here goes on."""
        self._keeping.stop()
        self._jobs.stop()
        try:
            self._jobs.leave()
        except errors.ObmdError as error:
            LOG.warning('jobs are not given back: %s', error.reason)

    def stop(self, deadline):
        """End what runs here, as lost unless it ends by itself.

        :param deadline: :class:`obmd.common.deadline.Deadline`.
        """
        self._runs.stop(deadline.within(deadline.remaining * RUNS))
        self._executor.stop()
        if not self._reports.flush(deadline.within(deadline.remaining / 2)):
            LOG.warning('ends of runs are not written')

    def abandon(self):
        """Others have declared this start dead: kill what runs and touch no row."""
        self._keeping.stop()
        self._jobs.stop()
        self._executor.stop()
