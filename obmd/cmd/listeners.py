"""The listeners of the API: everybody's, and the agents' where there is one."""

from obmd.api import app
from obmd.api.ramdisk import envelope
from obmd.cmd import serve
from obmd.common import serving
from obmd.conf import CONF


def everybody(sock, services, tls):
    """The listener of everybody.  :param tls: of :func:`obmd.cmd.serve.check`."""
    return serving.Listener(
        sock,
        app.make_app(services),
        'API',
        tls,
        CONF.api.max_connections,
        envelope.refusal_by_path,
    )


class Agents:
    """The one of ``[agent] listen``, for the provisioning network; none where that is empty.

    :raises Fatal: what :func:`obmd.cmd.serve.check` refuses, a port in use.
    """

    def __init__(self, reuse_port=False):
        self._sock = self._listener = None
        if CONF.agent.listen:
            self._tls = serve.check(CONF.agent)
            self._sock = serve.bind(CONF.agent, reuse_port)

    def start(self, services):
        if self._sock is not None:
            self._listener = serving.Listener(
                self._sock,
                app.make_ramdisk_app(services),
                'agents',
                self._tls,
                CONF.api.max_connections,
                envelope.refusal,
            )
            self._listener.start()

    def stop(self, grace):
        if self._listener is not None:
            self._listener.stop(grace)
