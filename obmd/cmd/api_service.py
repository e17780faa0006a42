"""One process of ``obmd-api``, put together; imported once the process is patched."""

from obmd.api import wsgi
from obmd.cmd import serve as parts
from obmd.cmd import startup
from obmd.common import listening
from obmd.conf import CONF


def serve(args, reuse_port):
    """Run until a signal.  :param reuse_port: bool, other workers share the port.

    :returns: int, exit status.  :raises Fatal: it cannot start.
    """
    startup.configure(args, 'obmd-api')
    startup.set_up_logging('obmd-api')
    listening.raise_file_limit()
    tls = parts.check(CONF.api)
    application = wsgi.build()
    sock = parts.bind(CONF.api, reuse_port)
    stop = startup.Stop()
    listener = parts.serving.Listener(sock, application, 'API', tls, CONF.api.max_connections)
    listener.start()
    stop.wait()
    listener.stop(grace=2.0)
    return 0
