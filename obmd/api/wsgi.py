"""The API of a split installation, put together: ``build`` for ``obmd-api``, ``application`` for
another WSGI server (``gunicorn obmd.api.wsgi:application``).

Nothing is read or connected at import: a server that forks its workers later is served well.
"""

import logging
import threading

from oslo_config import cfg

from obmd.api import app
from obmd.api import bearer
from obmd.api import errors as api_errors
from obmd.api import operations
from obmd.common import errors
from obmd.common import exposition
from obmd.common import rpc
from obmd.common import secrets
from obmd.conductor import membership
from obmd.conductor import routing
from obmd.conductor import rpcapi
from obmd.conf import CONF
from obmd.conf import libraries
from obmd.db import conductors
from obmd.db import engine
from obmd.drivers import registry

LOG = logging.getLogger(__name__)


def build():
    """:returns: WSGI application.  :raises: as :func:`connect`."""
    return app.make_app(connect())


def connect():
    """Connect to database and bus as the options say; they have been read.

    :returns: :class:`obmd.api.operations.Services`.
    :raises Fatal: a key, token, driver, policy or option is missing or wrong; the database is
        not of this version.
    :raises Unavailable: the database does not answer.
    """
    admin_hash = _admin_hash()
    jwt_key = bearer.load_key(secrets.jwt_secret_path())
    public_key = secrets.PublicKey.load(secrets.key_paths()[1])
    registry.load()
    engine.setup()
    engine.check_schema()
    bus = rpc.Bus()
    options = CONF.conductor
    router = routing.Router(options.ring_partitions, options.heartbeat_ttl)
    observer = membership.Observer(options.heartbeat_interval, options.heartbeat_ttl, router.look)
    router.refresh = observer.look
    observer.look()

    def some_conductor():
        if not router.live:
            raise errors.Unavailable('no conductor is live', retry_after=options.heartbeat_ttl)

    services = operations.Services(
        conductor_api=rpcapi.ConductorAPI(bus, router),
        router=router,
        public_key=public_key,
        admin_hash=admin_hash,
        jwt_key=jwt_key,
        readiness=(conductors.all, some_conductor, bus.check),
    )
    # Nothing fails any more: what goes on for ever is begun once, however often a start is tried.
    exposition.begin('api')
    observer.start()
    return services


def _admin_hash():
    path = CONF.api.admin_token_file
    if not path:
        raise errors.Fatal(
            f'[api] admin_token_file is not set; "{secrets.TOKEN_COMMAND}" makes the file'
        )
    return secrets.token_hash(secrets.read_admin_token(path))


class _Lazy:
    """Builds the application with the first request, and again with a later one if that failed."""

    def __init__(self, builder):
        self._builder = builder
        self._lock = threading.Lock()
        self._app = None

    def __call__(self, environ, start_response):
        if self._app is None:
            try:
                with self._lock:
                    if self._app is None:
                        self._app = self._builder()
            except errors.ObmdError as error:
                LOG.error('the API cannot start: %s', error.reason)
                refusal = errors.Unavailable('the API is not ready; its log says why')
                return api_errors.response(refusal)(environ, start_response)
        return self._app(environ, start_response)


def _configure_and_build():
    """Options come from obmd.conf in oslo.config's places and ``OS_<GROUP>__<OPTION>``."""
    libraries.set_defaults()
    try:
        CONF([], project='obmd', prog='obmd-api')
    except cfg.Error as error:
        raise errors.Fatal(str(error)) from None
    return build()


application = _Lazy(_configure_and_build)
