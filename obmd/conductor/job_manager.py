"""What a conductor answers on the bus about jobs: as their owner, and as who runs them.

Each method first makes sure that the call is meant for this start of this conductor.
"""

import oslo_messaging

from obmd.common import rpc
from obmd.conductor import reception
from obmd.conductor import spool_stream
from obmd.conductor import work
from obmd.db import runs


class JobManager:
    """:param owned: :class:`obmd.conductor.jobs.Jobs`.
    :param local: :class:`obmd.conductor.runs.Runs`.
    :param spools: :class:`obmd.conductor.spool.Spools`.
    :param desk: :class:`obmd.conductor.reception.Reception`.
    """

    target = oslo_messaging.Target(version='1.2')

    def __init__(self, owned, local, spools, desk):
        self._owned = owned
        self._local = local
        self._spools = spools
        self._reception = desk

    # -- as the owner of a job --------------------------------------------------------------------

    @rpc.answers
    def job_changed(self, _context, job):
        self._owned.changed(job)

    @rpc.answers
    def runs_changed(self, _context, job, incarnation, started, ended):
        self._owned.took(job, incarnation, started, [runs.End(job, *end) for end in ended])

    @rpc.answers
    def open_job_events(self, _context, incarnation, job):
        self._reception.require_self(incarnation)
        stream, headers = self._owned.watch(job), reception.headers('application/x-ndjson')
        return self._reception.ticket(lambda: (stream, headers), stream.close, headers)

    # -- as who runs it ---------------------------------------------------------------------------

    @rpc.answers
    def run_job(self, _context, incarnation, spec, asked, ahead):
        self._reception.require_self(incarnation)
        asked = [tuple(one) for one in asked]
        refused = self._local.take(work.Spec.from_wire(spec), asked, ahead)
        return {'refused': [[position, error.to_wire()] for position, error in refused.items()]}

    @rpc.answers
    def adopt_job(self, _context, incarnation, spec):
        self._reception.require_self(incarnation)
        self._local.adopt(work.Spec.from_wire(spec))

    @rpc.answers
    def cancel_runs(self, _context, incarnation, job):
        self._reception.require_self(incarnation)
        self._local.cancel(job)

    @rpc.answers
    def open_job_output(self, _context, incarnation, job, cursor):
        self._reception.require_self(incarnation)
        stream = spool_stream.open_spool(self._spools, job, cursor)
        headers = reception.headers('application/octet-stream')
        return self._reception.ticket(lambda: (stream, headers), stream.close, headers)
