"""How every service starts and ends: green threads, options, logs, signals, one-line refusals."""

import gc
import logging
import os
import signal
import sys
import threading
import warnings

from obmd.common import threads  # noqa: F401  takes the native calls before they are patched
from obmd.common import workers

LOG = logging.getLogger(__name__)

#: seconds beyond the time that stopping may take until a process that hangs is ended
LAST_RESORT = 1.2


def patch():
    """Make this process's blocking calls yield; call it before anything else is imported."""
    warnings.filterwarnings('ignore', category=DeprecationWarning)
    if workers.worker_number() is None:
        # What is counted in the files of somebody else's folder would never be looked at.
        os.environ.pop('PROMETHEUS_MULTIPROC_DIR', None)
        os.environ.pop('prometheus_multiproc_dir', None)
    import eventlet

    eventlet.monkey_patch()


def add_config_file(parser):
    """Let ``parser`` know the option that every service has."""
    parser.add_argument(
        '--config-file',
        metavar='FILE',
        action='append',
        default=[],
        help='file with options of obmd; may be given several times, the last one wins',
    )


def with_files(namespace, rest):
    """:returns: list of str, arguments for oslo.config."""
    return [*rest, *(part for file in namespace.config_file for part in ('--config-file', file))]


def configure(args, prog, config_files=None):
    """Read the options: files, then ``OS_<GROUP>__<OPTION>`` from the environment.

    :param args: list of str for oslo.config (``--config-file`` and the like).
    :param config_files: used instead of the default places when not None.
    :raises Fatal: a file or value that cannot be used.
    """
    from oslo_config import cfg
    from oslo_log import log

    from obmd import conf
    from obmd import version
    from obmd.common import errors
    from obmd.conf import CONF
    from obmd.conf import libraries

    log.register_options(CONF)
    libraries.set_defaults()
    try:
        CONF(
            args,
            project='obmd',
            prog=prog,
            version=version.VERSION,
            default_config_files=config_files,
        )
        # Each is read once: a value that cannot be is said now and not when it is first needed.
        for group, options in conf.list_opts():
            section = CONF if group == 'DEFAULT' else CONF[group]
            for option in options:
                section[option.dest]
    except cfg.Error as error:
        raise errors.Fatal(str(error).replace('\n', ' ')) from None


def set_up_logging(prog):
    """Log to standard output or where ``log_file`` says, scrubbed of secrets."""
    from oslo_log import log

    from obmd.common import secrets
    from obmd.conf import CONF

    log.setup(CONF, prog)
    # To find out the name of a green thread takes as long as all the rest of a line.
    shown = CONF.logging_context_format_string + CONF.logging_default_format_string
    logging.logThreads = '(thread' in shown or bool(CONF.log_config_append)
    scrub = secrets.Scrub()
    for handler in logging.getLogger().handlers:
        handler.addFilter(scrub)


class Stop:
    """Waits for SIGTERM or SIGINT.

    A signal's handler may run while the hub sleeps; the wake-up pipe is what a green thread can
    wait for.
    """

    def __init__(self):
        self._event = threading.Event()
        self._attention = threading.Event()
        self._pipe = os.pipe()
        os.set_blocking(self._pipe[0], False)
        os.set_blocking(self._pipe[1], False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        # Nothing is read anew; a closed terminal or an operator's habit must not end consoles.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        threads.spawn(self._listen)

    def _listen(self):
        import select

        while not self._event.is_set():
            select.select([self._pipe[0]], [], [])
            received = os.read(self._pipe[0], 64)
            if any(number in (signal.SIGTERM, signal.SIGINT) for number in received):
                self.now()

    @property
    def wanted(self):
        """Whether it is time to stop."""
        return self._event.is_set()

    def now(self):
        """Stop as if a signal had come."""
        self._event.set()
        self.wake()

    def wake(self):
        """Make ``pause`` return."""
        self._attention.set()

    def pause(self):
        """Block until it is time to stop or somebody wakes us."""
        self._attention.wait()
        self._attention.clear()

    def rest(self, seconds):
        """Block for ``seconds`` or until it is time to stop."""
        self._event.wait(seconds)

    def wait(self, limit):
        """Block until it is time to stop.  :param limit: as of :meth:`limit`."""
        self._event.wait()
        self.limit(limit)

    def limit(self, limit):
        """:param limit: seconds that stopping may take; what hangs is then ended by an alarm."""
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, limit + LAST_RESORT)


def run(prog, function, *args):
    """Call ``function(*args)``; a refusal is one line on standard error and exit status 1."""
    from obmd.common import errors

    try:
        return function(*args) or 0
    except (errors.Fatal, errors.Unavailable) as error:
        print(f'{prog}: {" ".join(error.reason.split())}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        # A bug: its traceback goes to the log, which may be a file; say so where one looks.
        LOG.exception('%s failed', prog)
        print(f'{prog}: internal error, see the log: {type(error).__name__}', file=sys.stderr)
        return 1
    finally:
        # At its end the interpreter looks through everything once more: seconds for thousands of
        # nodes on a busy machine, in which the alarm of Stop.limit would end it.
        gc.freeze()
