"""How a process is known as a script's, whatever it does.

A process that leaves its group and session, and whose parents are gone, has nothing left of the
run that started it but its resource limits.  One of them means nothing to ordinary processes:
RLIMIT_RTTIME, microseconds of CPU for real-time work, unlimited unless set (getrlimit(2)).  Each
run gets its own huge number there, so its processes are found wherever they are, also those that
a runner left behind that was killed.

A process can change that limit too.  It is still inherited by the runner when its parent ends, so
what the runner has for a child, and is of no live run by session or label, is a stray as well.
"""

import os
import resource
import signal

#: no process runs that many microseconds
_MARK = 1 << 61
_SERIALS = 31


class Labels:
    """:param base: int, whose scripts; the same at each start of one conductor."""

    def __init__(self, base):
        self._base = _MARK | (base & 0x3FFFFFFF) << _SERIALS
        self._last = 0
        _, self._most = resource.getrlimit(resource.RLIMIT_RTTIME)
        self._live = set()

    @property
    def usable(self):
        """Whether processes can be told apart; not if the system limits that already."""
        return self._most == resource.RLIM_INFINITY

    def new(self):
        """:returns: int, the label of a run."""
        self._last += 1
        label = self._base | self._last
        self._live.add(label)
        return label

    def forget(self, label):
        """That run has ended: what carries its label is a stray."""
        self._live.discard(label)

    def wear(self, label):
        """Processes started from here on carry ``label``, or none if it is None."""
        if self.usable:
            soft = resource.RLIM_INFINITY if label is None else label
            resource.setrlimit(resource.RLIMIT_RTTIME, (soft, self._most))

    def strays(self):
        """:returns: list of (pid, label), processes of runs that have ended."""
        return [found for found in self._all() if self._is_dead(found[1])]

    def left(self, leaders):
        """:param leaders: pids of the first processes of live runs.
        :returns: list of (pid, label), strays and what this process has inherited otherwise.
        """
        me = os.getpid()
        return [
            (pid, label)
            for pid, label in self._all()
            if self._is_dead(label)
            or (label not in self._live and _session(pid) not in leaders and _parent(pid) == me)
        ]

    def of(self, label):
        """:returns: list of pid."""
        return [pid for pid, worn in self._all() if worn == label]

    def _is_dead(self, label):
        return label >> _SERIALS == self._base >> _SERIALS and label not in self._live

    def signal(self, pid, label, number):
        """Send a signal, unless the pid is another's by now."""
        try:
            process = os.pidfd_open(pid)
        except OSError:
            return
        try:
            if _label(pid) == label:
                signal.pidfd_send_signal(process, number)
        except OSError:
            pass
        finally:
            os.close(process)

    def _all(self):
        if not self.usable:
            return
        for name in os.listdir('/proc'):
            if name.isdigit():
                label = _label(int(name))
                if label is not None:
                    yield int(name), label


def _label(pid):
    """:returns: int, or None where it cannot be read: another user's, or gone."""
    try:
        return resource.prlimit(pid, resource.RLIMIT_RTTIME)[0]
    except (OSError, ValueError):
        return None


def _session(pid):
    """:returns: int, 0 if it has gone."""
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def _parent(pid):
    """:returns: int, 0 if it has gone."""
    try:
        with open(f'/proc/{pid}/stat', 'rb') as file:
            # the name before may have anything in it
            return int(file.read().rpartition(b') ')[2].split()[1])
    except OSError:
        return 0
