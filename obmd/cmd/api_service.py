"""``obmd-api``, put together; imported once the process is patched."""

import contextlib
import signal
import sys

from obmd.api import wsgi
from obmd.cmd import listeners
from obmd.cmd import serve as parts
from obmd.cmd import startup
from obmd.common import exposition
from obmd.common import listening
from obmd.common import workers
from obmd.conf import CONF

#: seconds that requests under way have to end when the process stops
GRACE = 2.0


def start(args, command_line):
    """Run until a signal: as one process, as one of several, or as the parent of those.

    :param args: list of str for oslo.config.
    :param command_line: list of str, what this process was started with; so are its workers.
    :returns: int, exit status.  :raises Fatal: it cannot start.
    """
    startup.configure(args, 'obmd-api')
    startup.set_up_logging('obmd-api')
    listening.raise_file_limit()
    tls = parts.check(CONF.api)
    if CONF.agent.listen:
        parts.check(CONF.agent)
    if workers.worker_number() is not None:
        return _serve(tls, reuse_port=True)
    if CONF.api.workers == 1:
        return _serve(tls, reuse_port=False)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    command = [sys.executable, sys.argv[0], *command_line]
    with contextlib.ExitStack() as stack:
        addresses = (CONF.api.listen, CONF.agent.listen, parts.metrics_address())
        for address in filter(None, addresses):
            reservation = listening.reserve(listening.parse_address(address))
            stack.callback(reservation.close)
        together = stack.enter_context(exposition.Together())
        return workers.Supervisor(
            command,
            CONF.api.workers,
            environment=together.environment,
            on_end=together.ended,
        ).run()


def _serve(tls, reuse_port):
    services = wsgi.connect()
    agents = listeners.Agents(reuse_port)
    stop = startup.Stop()
    listener = listeners.everybody(parts.bind(CONF.api, reuse_port), services, tls)
    with parts.metrics_listener(reuse_port):
        listener.start()
        agents.start(services)
        stop.wait(GRACE)
        agents.stop(0.0)
        listener.stop(grace=GRACE)
    return 0
