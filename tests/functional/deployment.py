"""obmd as an operator runs it: real processes, started, watched and ended by a test.

:class:`AllInOne` is ``obmd``; :class:`Split` is ``obmd-conductor`` and ``obmd-api`` on RabbitMQ
and PostgreSQL or MariaDB.  Whatever ends the tests, nothing of it stays behind.
"""

import base64
import collections
import contextlib
import copy
import ctypes
import http.client
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import requests

from tests.functional.services import free_port

BIN = os.path.dirname(os.path.abspath(sys.executable))

#: seconds in which a service must answer, on a machine that is busy with other tests
START_TIMEOUT = 90.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)

#: what makes a fault visible in a second instead of ten
SHORT = {
    'conductor': {'heartbeat_interval': 0.5, 'heartbeat_ttl': 2},
    'console': {
        'revocation_check_interval': 1,
        'revocation_grace': 3,
        'linger': 0.5,
        'retry_min': 0.2,
        'retry_max': 1,
    },
    'ipmi': {'deadline': 2.5, 'sol_probe_interval': 0.5, 'probe_timeout': 1},
}


def wait_until(check, timeout=30.0, what='it', pause=0.05):
    """Call ``check`` until it gives something.  :returns: that."""
    until = time.monotonic() + timeout
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > until:
            raise AssertionError(f'{what} did not happen within {timeout:g} s')
        time.sleep(pause)


def environment(**extra):
    """:returns: dict, this environment without anything that obmd would read, and ``extra``."""
    from obmd.cmd import obmd_settings

    own = ('OBMD_', 'OS_', *obmd_settings.VARIABLES)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(own)}
    return kept | {'PATH': f'{BIN}{os.pathsep}{os.environ["PATH"]}'} | extra


def write_config(path, *layers):
    """Write an oslo.config file.  :param layers: dicts section -> option -> value, last wins."""
    merged = {}
    for layer in layers:
        for section, options in (layer or {}).items():
            merged.setdefault(section, {}).update(options)
    lines = []
    for section, options in merged.items():
        lines += [f'[{section}]', *(f'{name} = {value}' for name, value in options.items())]
    with open(path, 'w') as file:
        file.write('\n'.join(lines) + '\n')
    return path


def die_with_the_tests():
    """For ``preexec_fn``: the child is killed when the tests end, however they do."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def family(pid):
    """:returns: list of int, ``pid`` and its descendants, parents first."""
    found = [pid]
    with contextlib.suppress(OSError):
        with open(f'/proc/{pid}/task/{pid}/children') as file:
            for child in file.read().split():
                found += family(int(child))
    return found


class Process:
    """One command of obmd.

    :param command: list of str; the first is looked for beside this Python.
    :param folder: where it runs and where its output goes.
    :param name: str, names the file of its output.
    """

    def __init__(self, command, folder, name, env=None):
        self._command = [os.path.join(BIN, command[0]), *command[1:]]
        self._folder = folder
        self.path = os.path.join(folder, f'{name}.log')
        self._env = env or environment()
        self._process = None

    def on_clock(self, clock):
        """Let it start with a wall clock of its own.

        :param clock: :class:`~tests.functional.shifted_clock.Clock`.
        """
        self._command = clock.command(*self._command)
        return clock

    @property
    def pid(self):
        return self._process.pid

    @property
    def returncode(self):
        """int, or None while it runs."""
        return self._process.poll()

    def start(self):
        with open(self.path, 'ab') as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_the_tests,
            )
        return self

    def send(self, number):
        self._process.send_signal(number)

    def wait(self, timeout=15.0):
        """:returns: int, its exit status."""
        return self._process.wait(timeout)

    def stop(self, number=signal.SIGTERM, timeout=15.0):
        """:returns: int, its exit status."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        return self._process.wait(timeout)

    def kill(self):
        """As a crash: SIGKILL, to this process only."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(15)

    def pause(self):
        self._signal_family(signal.SIGSTOP)

    def resume(self):
        self._signal_family(signal.SIGCONT)

    def _signal_family(self, number):
        for pid in family(self.pid):
            with contextlib.suppress(ProcessLookupError):  # a script that has ended meanwhile
                os.kill(pid, number)

    def end(self):
        """End it whatever state it is in; never raises for its sake."""
        if self._process is None or self._process.poll() is not None:
            return
        with contextlib.suppress(OSError):
            self.resume()
        try:
            self.stop(timeout=8)
        except subprocess.TimeoutExpired:
            self.kill()

    def log(self):
        """:returns: str, all it has written."""
        with open(self.path, errors='replace') as file:
            return file.read()


#: status (int), headers (http.client.HTTPMessage), body (bytes)
Answer = collections.namedtuple('Answer', 'status headers body')


class Deployment:
    """What a caller of obmd sees: a URL, an admin token, nodes and their tokens."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix='obmd-test-')
        self.url = None
        self.admin_token = None
        self.verify = True

    @property
    def admin(self):
        """Credentials, as ``auth`` of requests."""
        return 'admin', self.admin_token

    def call(self, method, path, timeout=60, **options):
        """:returns: requests.Response; redirects of POST and PUT are not followed blindly."""
        return requests.request(
            method, self.url + path, timeout=timeout, verify=self.verify, **options
        )

    def exact(self, method, path, body=None, admin=True, headers=None):
        """Send the path as it stands, and no header that was not asked for.

        :returns: :class:`Answer`.
        """
        connection = http.client.HTTPConnection(self.url.partition('//')[2], timeout=30)
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_accept_encoding=True)
            if admin:
                pair = base64.b64encode(f'admin:{self.admin_token}'.encode()).decode()
                connection.putheader('Authorization', f'Basic {pair}')
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader('Content-Length', str(len(body)))
            try:
                connection.endheaders(body)
            except OSError:
                pass  # it answers before it has read all of the body
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())

    def as_admin(self, method, path, **options):
        return self.call(method, path, auth=self.admin, **options)

    def register(self, name, type_, info, **extra):
        answer = self.as_admin('PUT', f'/node/{name}', json={'type': type_, 'info': info, **extra})
        assert answer.status_code == 200, answer.text
        return name

    def register_bmc(self, bmc, name=None):
        """Register a BMC of a :class:`~tests.functional.farm.Farm`.  :returns: its name."""
        info = {
            'addr': bmc['address'],
            'port': bmc['port'],
            'user': bmc['user'],
            'pass': bmc['password'],
        }
        return self.register(name or bmc['name'], 'ipmi', info)

    def unregister(self, name):
        assert self.as_admin('DELETE', f'/node/{name}').status_code == 200

    def token(self, node):
        answer = self.as_admin('POST', f'/node/{node}/token')
        assert answer.status_code == 200, answer.text
        return answer.json()['token']

    def node(self, node, token=None):
        """:returns: :class:`Node`, as its holder uses it."""
        return Node(self, node, token or self.token(node))

    def sweep(self, nodes, **parameters):
        """:returns: list of (seconds since the request, dict)."""
        started = time.monotonic()
        answer = self.as_admin(
            'GET', '/api/v1/power', params={'nodes': nodes, **parameters}, stream=True
        )
        assert answer.status_code == 200, answer.text
        return [(time.monotonic() - started, json.loads(line)) for line in answer.iter_lines(1)]

    def _clean(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class Node:
    """A node in the hands of who has its token."""

    def __init__(self, deployment, name, token):
        self.deployment = deployment
        self.name = name
        self.token = token

    def call(self, method, operation, params=None, **options):
        parameters = {'token': self.token, **(params or {})}
        path = f'/node/{self.name}/{operation}'
        return self.deployment.call(method, path, params=parameters, **options)

    def power(self):
        """:returns: str, ``on`` or ``off``."""
        answer = self.call('GET', 'power_status')
        assert answer.status_code == 200, answer.text
        return answer.json()['power_status']

    def post(self, operation, **options):
        return self.call('POST', operation, **options)

    def console(self, **parameters):
        """:returns: :class:`~tests.functional.viewer.Viewer`, its headers are there."""
        from tests.functional.viewer import Viewer

        return Viewer(self.call('GET', 'console', parameters, stream=True))


class AllInOne(Deployment):
    """``obmd`` with a state folder and a port of its own.

    :param env: dict, more of the environment; with ``LISTEN_ADDR`` that address is waited for.
    :param args: arguments.
    :param config: dict section -> option -> value, above :data:`SHORT`.
    :param wait: path that must answer 200 before it counts as started.
    """

    def __init__(self, env=None, args=(), config=None, wait='/healthz', url=None, verify=True):
        super().__init__()
        self._given = dict(env or {})
        self._args = list(args)
        self._wait = wait
        self.verify = verify
        self.port = free_port()
        self.state = os.path.join(self.folder, 'state')
        self.url = url or f'http://127.0.0.1:{self.port}'
        listen = {'api': {'listen': f'127.0.0.1:{self.port}'}}
        self.config = write_config(os.path.join(self.folder, 'obmd.conf'), SHORT, listen, config)
        command = ['obmd', '--config-file', self.config, *self._args]
        env = environment(OBMD_STATE_DIR=self.state, **self._given)
        self.process = Process(command, self.folder, 'obmd', env)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *unused):
        self.process.end()
        self._clean()

    def start(self):
        """Start, or start again; returns when it answers."""
        self.process.start()
        wait_until(self._answers, START_TIMEOUT, 'the start of obmd')
        self.admin_token = self._given.get('ADMIN_TOKEN') or self.admin_token
        token_file = os.path.join(self.state, 'admin-token')
        if os.path.exists(token_file):
            with open(token_file) as file:
                self.admin_token = file.read().strip()
        return self

    def _answers(self):
        if self.process.returncode is not None:
            raise AssertionError(f'obmd ended:\n{self.log()[-2000:]}')
        with contextlib.suppress(requests.ConnectionError):
            return self.call('GET', self._wait).status_code == 200

    @property
    def pid(self):
        return self.process.pid

    def stop(self, number=signal.SIGTERM, timeout=15.0):
        """:returns: int, exit status."""
        return self.process.stop(number, timeout)

    def kill(self):
        self.process.kill()

    def log(self):
        return self.process.log()


class Split(Deployment):
    """API and conductors, on a database of its own.

    The API's host has the public key only; the private one is in a folder of the conductors.

    :param rabbitmq, server: of :mod:`tests.functional.services`, running; a broker, a database.
    :param conductors: int.  :param workers: processes of the API.
    :param proxy: bool, whether there is a second API that passes consoles on itself.
    :param config: dict section -> option -> value, for all services, above :data:`SHORT`.
    :param links: dict of conductor's name -> (port of the broker, port of the database) that it
        uses instead of theirs.
    :param tls: (certificate, key, authority), files, of all listeners.
    :param own: dict of conductor's name -> dict section -> option -> value.
    """

    def __init__(
        self,
        rabbitmq,
        server,
        conductors=2,
        workers=2,
        proxy=False,
        config=None,
        links=None,
        tls=None,
        own=None,
    ):
        super().__init__()
        self._links = links or {}
        self._own = own or {}
        self._tls = {'tls_cert': tls[0], 'tls_key': tls[1]} if tls else {}
        self.verify = tls[2] if tls else True
        self._ports = rabbitmq.port, server.port
        self.database = f'split_{secrets.token_hex(4)}'
        self.server = server
        self.port = free_port()
        self.url = f'http{"s" if tls else ""}://127.0.0.1:{self.port}'
        self.secret = self._folder('conductors', 'secret')
        self._common = {
            'DEFAULT': {
                'transport_url': rabbitmq.url,
                # several splits share a broker
                'control_exchange': self.database,
            },
            'database': {'connection': server.new_database(self.database)},
            **rabbitmq.options,
        }
        self._config = config
        self._listens = []
        self.conductors = [self._conductor(f'c{n + 1}') for n in range(conductors)]
        self.api_config = self._api_config('api', workers, self.port)
        self.api = Process(['obmd-api', '--config-file', self.api_config], self.folder, 'api')
        self.proxies = []
        self._proxy_port = None
        if proxy:
            self._proxy_port = free_port()
            path = self._api_config('proxy', 1, self._proxy_port, console_delivery='proxy')
            self.proxies.append(Process(['obmd-api', '--config-file', path], self.folder, 'proxy'))

    def __enter__(self):
        try:
            return self._start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *unused):
        for process in self.processes:
            process.end()
        self._clean()

    @property
    def processes(self):
        return [self.api, *self.proxies, *self.conductors]

    def add_api(self):
        """Start another API, with one worker.  :returns: (:class:`Process`, its port)."""
        port = free_port()
        path = self._api_config(f'api{port}', 1, port)
        process = Process(['obmd-api', '--config-file', path], self.folder, f'api{port}')
        self.proxies.append(process)
        process.start()
        return process, port

    def another_conductor(self, name):
        """Start one more; whoever asks ends it.  :returns: :class:`Process`."""
        process = self._conductor(name)
        process.start()
        return process

    def through_proxy(self):
        """:returns: this deployment as the callers of its second API see it."""
        other = copy.copy(self)
        other.url = f'http://127.0.0.1:{self._proxy_port}'
        return other

    def manage(self, *arguments, config=None, status=0):
        """Run ``obmd-manage`` on a conductor's host.

        :returns: str, what it printed; with another exit status, what it said on standard error.
        """
        done = subprocess.run(
            [os.path.join(BIN, 'obmd-manage'), '--config-file', config or self.config_of('c1')]
            + list(arguments),
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == status, done.stderr
        return done.stderr if status else done.stdout

    def wait_for(self, conductors=None, timeout=30):
        """Wait until so many conductors are live and every node has an owner among them."""
        wanted = len(self.conductors) if conductors is None else conductors

        def settled():
            live = "SELECT incarnation FROM conductors WHERE state = 'live'"
            count = self.query(f'SELECT count(*) FROM ({live}) AS l')
            orphans = self.query(
                f'SELECT count(*) FROM nodes WHERE owner IS NULL OR owner NOT IN ({live})'
            )
            return int(count) == wanted and int(orphans) == 0

        wait_until(settled, timeout, f'{wanted} live conductors owning every node', 0.2)

    def query(self, text):
        """:returns: str, what the database answers."""
        return self.server.query(text, self.database).strip()

    def wait_until_settled(self):
        """Wait until no node has moved for a second: a conductor that came back gets its share."""

        def owners():
            return self.query('SELECT name, owner FROM nodes ORDER BY name')

        def settled():
            before = owners()
            time.sleep(1)
            return owners() == before

        self.wait_for()
        wait_until(settled, 30, 'the end of hand-overs', 0)

    def owner(self, node):
        """:returns: :class:`Process` of the conductor that owns ``node``."""
        host = self.query(
            'SELECT c.host FROM nodes n JOIN conductors c ON c.incarnation = n.owner '
            f"WHERE n.name = '{node}'"
        )
        return self.conductors[int(host.removeprefix('c')) - 1]

    def listens(self, conductor):
        """:returns: int, the port of a conductor's streams."""
        return self._listens[self.conductors.index(conductor)]

    def logs(self):
        """:returns: str, what all services wrote."""
        return '\n'.join(process.log() for process in self.processes)

    def _start(self):
        self.manage('db', 'upgrade')
        self.manage('key', 'new')
        self.manage('token', 'new', '--write', config=self.api_config)
        self.manage('generate-jwt-secret', config=self.api_config)
        with open(os.path.join(self.folder, 'api', 'admin-token')) as file:
            self.admin_token = file.read().strip()
        for process in self.processes:
            process.start()
        self.wait_until_ready()
        self.wait_for()
        return self

    def wait_until_ready(self):
        """Wait until each API says that requests can be served."""
        for door in [self, *([self.through_proxy()] if self._proxy_port else [])]:
            wait_until(door._answers, START_TIMEOUT, 'the start of obmd-api')

    def _answers(self):
        if any(process.returncode is not None for process in self.processes):
            raise AssertionError(f'a service ended:\n{self.logs()[-3000:]}')
        with contextlib.suppress(requests.ConnectionError):
            return self.call('GET', '/readyz').status_code == 200

    def _folder(self, *parts):
        path = os.path.join(self.folder, *parts)
        os.makedirs(path, mode=0o700, exist_ok=True)
        return path

    def config_of(self, name):
        return os.path.join(self.folder, name, 'obmd.conf')

    def _conductor(self, name):
        self._listens.append(free_port())
        own = {
            'DEFAULT': {'host': name, 'state_path': self._folder(name)},
            'conductor': {'listen': f'127.0.0.1:{self._listens[-1]}', **self._tls},
            'secrets': {
                'private_key_file': os.path.join(self.secret, 'conductor.key'),
                'public_key_file': os.path.join(self._folder('api'), 'conductor.pub'),
            },
        }
        link = self._link(name)
        more = self._own.get(name)
        path = write_config(
            self.config_of(name), SHORT, self._common, link, own, self._config, more
        )
        return Process(['obmd-conductor', '--config-file', path], self.folder, name)

    def _link(self, name):
        if name not in self._links:
            return {}
        (broker, database), common = self._links[name], self._common
        url = common['DEFAULT']['transport_url'].replace(f':{self._ports[0]}/', f':{broker}/')
        connection = common['database']['connection']
        connection = connection.replace(f':{self._ports[1]}/', f':{database}/')
        return {'DEFAULT': {'transport_url': url}, 'database': {'connection': connection}}

    def _api_config(self, name, workers, port, **options):
        folder = self._folder('api')
        self._folder(name)
        own = {
            'DEFAULT': {'state_path': folder},
            'api': {
                'listen': f'127.0.0.1:{port}',
                'admin_token_file': os.path.join(folder, 'admin-token'),
                'workers': workers,
                **self._tls,
                **({'conductor_cafile': self.verify} if self._tls else {}),
                **options,
            },
            'secrets': {'public_key_file': os.path.join(folder, 'conductor.pub')},
            'actions': {'jwt_secret_file': os.path.join(folder, 'jwt.secret')},
        }
        return write_config(self.config_of(name), SHORT, self._common, own, self._config)
