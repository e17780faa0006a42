"""Killing what scripts leave behind.

While a run's group or pipes are not free after its first process has ended, its group and every
process with its label get SIGTERM at once and SIGKILL a second later.  Processes that left the
group and closed the pipes hold nobody up: they are swept when their run has ended.  Whose parent
is swept is the runner's child at the next sweep.
"""

import signal
import time

#: seconds from SIGTERM to SIGKILL for what a script has left behind
GRACE = 1.0
#: seconds from that SIGKILL until what holds the pipes still is left to hold them
GIVE_UP = 2.0
#: seconds between two looks
LOOK = 0.05
#: what forks while it is killed is met again, and what was another stray's child; a second's
LAST_SWEEPS = 20


def terminate(run):
    """Ask its group to end; what is stopped must wake to do so."""
    run.signal(signal.SIGTERM)
    run.signal(signal.SIGCONT)


def kill(run):
    """End its group."""
    if not run.ended:
        run.signal(signal.SIGKILL)


class Clearing:
    """:param finish: callable (run, over) -> bool, whether the run has ended now."""

    def __init__(self, labels, finish):
        self._labels = labels
        self._finish = finish
        self._since = {}
        self._swept_at = float('-inf')
        self._sweeps = 1
        self._told = set()

    def begin(self, run, now):
        self._since[run] = now
        terminate(run)
        for pid in self._labels.of(run.label):
            self._labels.signal(pid, run.label, signal.SIGTERM)

    def press(self, now):
        """:returns: bool, whether to look again after :data:`LOOK`.  One look serves all runs."""
        for run, since in list(self._since.items()):
            late = now - since > GRACE
            if late:
                run.signal(signal.SIGKILL)
                for pid in self._labels.of(run.label):
                    self._labels.signal(pid, run.label, signal.SIGKILL)
            if self._finish(run, now - since > GRACE + GIVE_UP):
                del self._since[run]
        return bool(self._since)

    def later(self):
        """A run has ended: the next sweeps look for what got away from it."""
        self._sweeps = max(self._sweeps, 2)

    def sweep(self, now, leaders):
        """SIGTERM for strays, SIGKILL for those that have had it a while ago.

        :param leaders: pids of the first processes of live runs.
        """
        if not self._sweeps or now - self._swept_at < GRACE:
            return
        self._swept_at = now
        found = self._labels.left(leaders)
        for pid, label in found:
            number = signal.SIGKILL if (pid, label) in self._told else signal.SIGTERM
            self._labels.signal(pid, label, number)
        self._told = set(found)
        self._sweeps = max(self._sweeps - 1, 1 if found else 0)

    def end(self, reap):
        """Nothing is to be left: SIGKILL for all strays.

        :param reap: callable () -> bool, whether there are children yet.
        """
        for _ in range(LAST_SWEEPS):
            found = self._labels.left(())
            for pid, label in found:
                self._labels.signal(pid, label, signal.SIGKILL)
            if not reap() and not found:
                return
            time.sleep(LOOK)
