"""The all-in-one, put together; imported once the process is patched."""

import os
import sys
import time

from obmd import version
from obmd.api import operations
from obmd.api import registration
from obmd.cmd import demo
from obmd.cmd import listeners
from obmd.cmd import obmd_settings
from obmd.cmd import serve as parts
from obmd.cmd import startup
from obmd.common import errors
from obmd.common import exposition
from obmd.common import listening
from obmd.common import rpc
from obmd.common import threads
from obmd.common.deadline import Deadline
from obmd.conductor import membership
from obmd.conductor import routing
from obmd.conductor import rpcapi
from obmd.conductor import service
from obmd.conf import CONF
from obmd.db import conductors
from obmd.db import engine
from obmd.db import nodes
from obmd.drivers import registry


def serve(namespace, rest):
    """Run until a signal.  :returns: int, exit status.  :raises Fatal: it cannot start."""
    settings = _settings(namespace)
    _configure(namespace, rest, settings)
    with_demo = namespace.demo and settings is None
    if with_demo and CONF.log_file is None:
        CONF.set_override('log_file', os.path.join(os.path.abspath(CONF.state_path), 'obmd.log'))
    if settings is not None:
        settings.apply()
    tls = parts.check(CONF.api)
    sock = parts.bind(CONF.api)
    agents = listeners.Agents()
    parts.make_state_folder()
    startup.set_up_logging('obmd')
    listening.raise_file_limit()
    exposition.begin('all-in-one')
    registry.load()
    if settings is not None:
        token_path, admin_hash = None, settings.admin_hash
    else:
        token_path, admin_hash = parts.own_admin_token()
    _open_database()
    one = _AllInOne(parts.url_of(CONF.api, sock.getsockname()), admin_hash, with_demo)
    return one.run(sock, tls, agents, token_path)


def _settings(namespace):
    if namespace.config:
        os.environ.pop('ADMIN_TOKEN', None)
        return obmd_settings.from_file(namespace.config)
    return obmd_settings.from_environment()


def _configure(namespace, rest, settings):
    startup.configure(rest, 'obmd', [] if settings and not namespace.config_file else None)
    if state := os.environ.get('OBMD_STATE_DIR'):
        CONF.set_override('state_path', state)


def _open_database():
    """An empty database is set up; any other must be of this version."""
    engine.setup()
    if engine.version() is None:
        engine.upgrade()
    engine.check_schema()


class _AllInOne:
    def __init__(self, url, admin_hash, with_demo):
        keyring, public_key = parts.own_keys()
        self._url = url
        self._public_key = public_key
        self._stop = startup.Stop()
        self._bus = rpc.LocalBus()
        self._exit = 0
        self._conductor = service.Conductor(
            self._bus, keyring, url, conductors.ALL_IN_ONE, self._lost, version.VERSION
        )
        options = CONF.conductor
        self._router = routing.Router(options.ring_partitions, options.heartbeat_ttl)
        self._observer = membership.Observer(
            options.heartbeat_interval, options.heartbeat_ttl, self._router.look
        )
        self._router.refresh = self._observer.look
        self._demo = demo.Demo(_demo_nodes(), CONF.state_path) if with_demo else None
        self._demo_error = 'the simulated BMCs are starting' if with_demo else None
        self._conductor_api = rpcapi.ConductorAPI(self._bus, self._router, self._conductor.tickets)
        self._services = operations.Services(
            conductor_api=self._conductor_api,
            router=self._router,
            public_key=public_key,
            admin_hash=admin_hash,
            jwt_key=parts.own_jwt_key(),
            local=True,
            readiness=(self._conductor.status.require_ready, self._demo_ready),
        )

    def run(self, sock, tls, agents, token_path):
        with parts.metrics_listener():
            return self._run(listeners.everybody(sock, self._services, tls), agents, token_path)

    def _run(self, listener, agents, token_path):
        self._conductor.start()
        self._observer.look()
        self._observer.start()
        listener.start()
        agents.start(self._services)
        try:
            if self._demo is not None:
                print(self._demo.banner(self._url, token_path), flush=True)
                threads.spawn(self._start_demo)
            elif token_path is not None:
                print(f'obmd serves {self._url}; the admin token is in {token_path}', flush=True)
            self._stop.wait(CONF.conductor.stop_timeout)
        finally:
            self._observer.stop()
            self._conductor.stop()
            agents.stop(0.0)
            listener.stop(grace=0.5)
            if self._demo is not None:
                self._demo.stop()
        return self._exit

    def _lost(self):
        print('obmd: another conductor has taken over this database', file=sys.stderr)
        self._exit = 1
        self._stop.now()

    # -- the demo -------------------------------------------------------------------------------

    def _start_demo(self):
        try:
            _unregister_surplus(self._demo.count)
            for described in self._demo.start():
                _register(described, self._public_key)
            self._await_demo()
        except Exception as error:
            self._demo_error = f'the simulated BMCs did not start: {error}'
            print(f'obmd: {self._demo_error}', file=sys.stderr, flush=True)

    def _await_demo(self):
        """Ready when each has answered once."""
        for number in range(1, self._demo.count + 1):
            node = nodes.get(f'{demo.PREFIX}{number}')
            self._demo_error = f'{node.name} has not answered yet'
            while not self._stop.wanted and not self._answers(node):
                time.sleep(0.2)
        self._demo_error = None

    def _answers(self, node):
        try:
            self._conductor_api.power_status(node, Deadline(CONF.ipmi.deadline))
        except errors.ObmdError:
            return False
        return True

    def _demo_ready(self):
        if self._demo_error is not None:
            raise errors.Unavailable(self._demo_error, retry_after=1)


def _demo_nodes():
    text = os.environ.get('OBMD_DEMO_NODES', str(demo.DEFAULT_COUNT))
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 10000):
        raise errors.Fatal('OBMD_DEMO_NODES must be a number from 1 to 10000')
    return int(text)


def _unregister_surplus(count):
    """Simulated BMCs of a start with more of them: nobody answers at their addresses now."""
    number = count + 1
    while (known := nodes.get(f'{demo.PREFIX}{number}')) is not None:
        if known.driver == 'ipmi' and known.address.startswith('127.0.0.1:'):
            nodes.delete(known.name)
        number += 1


def _register(described, public_key):
    """Register a simulated BMC; one that listens elsewhere than before is registered anew."""
    name, type_, info = described['name'], described['type'], described['info']
    known = nodes.get(name)
    if known is not None:
        _, _, address = registration.check(type_, info)
        if known.address == address and known.key_id == public_key.key_id:
            return
        nodes.delete(name)
    registration.register(public_key, name, type_, info, CONF.conductor.group)
