"""One script: how it is started, and what is known of it until it has ended."""

import errno
import os
import resource
import signal

from obmd.runner import frames
from obmd.runner import privileges

EXITED, SIGNALLED, NOT_STARTED = 'exited', 'signalled', 'not_started'
#: shells' exit statuses for what is there and cannot be run, and for what is not there
CANNOT_RUN, NOT_FOUND = 126, 127
#: signals whose action a script gets as a shell would give it: all, whoever started the service and
#: whatever he ignored
_DEFAULTS = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}


class NotStarted(Exception):
    """:ivar status: int, what a shell would have answered.  :ivar reason: str."""

    def __init__(self, status, reason):
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Run:
    """A script that was started.

    :ivar pid: of its first process, which leads a session and group of its own.
    :ivar process: pidfd of it, or None once it has ended; then :attr:`leader_gone`.
    :ivar pipes: dict of descriptor to the kind of frame that comes from it.
    :ivar due: when it has had its time, on the supervisor's clock.
    :ivar outcome, status, reason: as it ended, or why it is being killed; None until then.
    """

    def __init__(self, job, position, label, pid, process, pipes):
        self.job = job
        self.position = position
        self.label = label
        self.pid = pid
        self.process = process
        self.pipes = pipes
        self.outcome = self.status = self.reason = None
        self.output_bytes = 0
        self.due = float('inf')
        self.leader_gone = False
        self.ended = False
        self._group_gone = False

    def exited(self, result):
        """:param result: of waitid(2)."""
        self.leader_gone = True
        os.close(self.process)
        self.process = None
        if self.outcome is not None:
            return
        if result.si_code == os.CLD_EXITED:
            self.outcome, self.status = EXITED, result.si_status
        else:
            self.outcome, self.status = SIGNALLED, 128 + result.si_status
            self.reason = f'ended by {_signal_name(result.si_status)}'

    def signal(self, number):
        """Send a signal to its process group, if that is its still."""
        # A child of ours that was not waited for, its leader or an orphan, keeps the number.
        if not self.leader_gone or self.group_left():
            try:
                os.killpg(self.pid, number)
            except OSError:
                pass

    def group_left(self):
        """:returns: bool, whether orphans of its group are left; reaps those that have ended."""
        # asked once more, the number might be another run's by then
        while not self._group_gone:
            try:
                if os.waitid(os.P_PGID, self.pid, os.WEXITED | os.WNOHANG) is None:
                    return True
            except ChildProcessError:
                self._group_gone = True
        return False


def start(order, label, labels, null):
    """Start a script.

    :param order: dict, a message ``start``.
    :param null: descriptor of /dev/null.
    :returns: :class:`Run`.  :raises NotStarted:
    """
    path, argv, environment = _strings(order)
    opened = []
    try:
        out, out_end = _pipe(opened)
        err, err_end = _pipe(opened)
        pid = _spawn(path, argv, environment, (null, out_end, err_end), label, labels)
        process = _watch(pid)
    except OSError as error:
        for descriptor in opened:
            os.close(descriptor)
        raise _why_not(path, error) from None
    os.close(out_end)
    os.close(err_end)
    pipes = {out: frames.STDOUT, err: frames.STDERR}
    return Run(order['job'], order['position'], label, pid, process, pipes)


def _strings(order):
    """:returns: (path, list, dict), all bytes."""
    if not os.path.isabs(order['path']):
        raise NotStarted(NOT_FOUND, 'the path of the script is not absolute')
    try:
        path = order['path'].encode()
        argv = [path, *(argument.encode() for argument in order['arguments'])]
        environment = {k.encode(): v.encode() for k, v in order['environment'].items()}
    except UnicodeEncodeError:
        raise NotStarted(CANNOT_RUN, 'an argument or parameter is not valid Unicode') from None
    except AttributeError:
        raise NotStarted(CANNOT_RUN, 'an argument or parameter is not text') from None
    if any(b'\0' in text for text in (*argv, *environment, *environment.values())):
        raise NotStarted(CANNOT_RUN, 'an argument or parameter contains a NUL character')
    if any(not name or b'=' in name for name in environment):
        raise NotStarted(CANNOT_RUN, 'a parameter has a name that no variable can have')
    return path, argv, environment


def _pipe(opened):
    ends = os.pipe()
    opened += ends
    os.set_blocking(ends[0], False)
    return ends


def _watch(pid):
    """:returns: pidfd."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def _spawn(path, argv, environment, standard, label, labels):
    """:param standard: the descriptors that become 0, 1 and 2.  :returns: pid."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Inherited: what walks over all descriptors that it might have must not take for ever.
    few = min(privileges.SCRIPT_FILES, limits[0])
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, limits[1]))
    labels.wear(label)
    try:
        return os.posix_spawn(
            path,
            argv,
            environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, fd, to) for to, fd in enumerate(standard)],
            setsid=True,
            setsigmask=[],
            setsigdef=_DEFAULTS,
        )
    finally:
        labels.wear(None)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def _why_not(path, error):
    """:returns: NotStarted."""
    if error.errno == errno.ENOENT:
        if os.path.exists(path):
            return NotStarted(CANNOT_RUN, 'its interpreter is not there (its first line, #!)')
        return NotStarted(NOT_FOUND, 'the script is not there any more')
    if error.errno in (errno.EACCES, errno.EPERM):
        return NotStarted(CANNOT_RUN, 'the user that scripts run as may not execute it')
    if error.errno == errno.ENOEXEC:
        return NotStarted(CANNOT_RUN, 'it is no program, and its first line names none (#!)')
    if error.errno == errno.E2BIG:
        return NotStarted(CANNOT_RUN, 'its arguments and parameters are too large together')
    return NotStarted(CANNOT_RUN, f'it cannot be started: {error.strerror}')


def _signal_name(number):
    try:
        return signal.Signals(number).name
    except ValueError:
        return f'signal {number}'
