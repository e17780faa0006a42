"""Jobs that ended ``[actions] keep`` seconds ago go, rows and output."""

import logging
import threading
import time

from obmd.common import errors
from obmd.common import threads
from obmd.conf import CONF
from obmd.db import jobs

LOG = logging.getLogger(__name__)

#: seconds between two looks
INTERVAL = 60.0
#: jobs deleted between two breaths
BATCH = 100


class Keeping:
    """:param is_mine: ``is_mine(uuid)``, whether the ring gives a job to this conductor: that one
        deletes its rows.
    :param spools: :class:`obmd.conductor.spool.Spools`, the files here.
    """

    def __init__(self, is_mine, spools, clock=time.time):
        self._is_mine = is_mine
        self._spools = spools
        self._clock = clock
        self._stopped = threading.Event()

    def start(self):
        threads.spawn(self._run)

    def stop(self):
        self._stopped.set()

    def _run(self):
        while not self._stopped.wait(min(INTERVAL, CONF.actions.keep)):
            try:
                self.look()
            except (errors.ObmdError, OSError) as error:
                LOG.warning('old jobs are not deleted: %s', error)
            except Exception:
                LOG.exception('old jobs are not deleted')

    def look(self):
        """Once: rows of old jobs, then files of jobs that are not there any more."""
        before = self._clock() - CONF.actions.keep
        while True:
            old = jobs.old(before, BATCH)
            mine = [uuid for uuid in old if self._is_mine(uuid)]
            jobs.delete(mine)
            if len(old) < BATCH or not mine:
                break
        # The files were listed first: a job that is made meanwhile is none of them.
        there = set(self._spools.jobs())
        for uuid in there.difference(jobs.known(there)):
            self._spools.remove(uuid)
