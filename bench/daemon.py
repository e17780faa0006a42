"""An ``obmd`` all in one of the benchmark's own, as a user starts it."""

import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.parse

from bench import clients

#: seconds in which it must answer, on whatever machine
START = 60.0
_TICKS = os.sysconf('SC_CLK_TCK')
#: what it is given of our environment; the rest could be options of obmd
_ENVIRONMENT = ('PATH', 'HOME', 'LANG', 'TMPDIR')


def program():
    """:returns: str, the ``obmd`` beside this Python."""
    path = os.path.join(os.path.dirname(sys.executable), 'obmd')
    if not os.path.exists(path):
        raise SystemExit(f'{path} is not there: run "make venv" or "pip install -e ."')
    return path


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def cpu_of(pid):
    """:returns: float, seconds of CPU that a process has used."""
    with open(f'/proc/{pid}/stat') as file:
        fields = file.read().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


class Obmd:
    """Runs for as long as the ``with`` lasts; :meth:`restart` keeps its state.

    :param options: dict ``group.name`` -> value, beside the address and the state's place.
    :ivar address: (host, port).  :ivar pid: int.
    :ivar started_in: seconds from exec to the first HTTP answer, of the last start.
    """

    def __init__(self, options=None):
        self.folder = tempfile.mkdtemp(prefix='obmd-bench-')
        self.address = ('127.0.0.1', free_port())
        self.options = dict(options or {})
        self.started_in = None
        self.started_at = None
        self._process = None
        self._token = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self):
        return self._process.pid

    @property
    def log_path(self):
        return os.path.join(self.folder, 'log')

    def start(self):
        path = os.path.join(self.folder, 'obmd.conf')
        with open(path, 'w') as file:
            file.write(self._configuration())
        with open(self.log_path, 'ab') as log:
            self.started_at = time.monotonic()
            self._process = subprocess.Popen(
                [program(), '--config-file', path],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={
                    k: v for k, v in os.environ.items() if k in ('PATH', 'HOME', 'LANG', 'TMPDIR')
                },
                cwd=self.folder,
            )
        self._wait()
        self.started_in = time.monotonic() - self.started_at

    def stop(self):
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def restart(self, **options):
        """:param options: with two underscores: ``console__capture='always'``."""
        self.stop()
        self.options.update((k.replace('__', '.'), v) for k, v in options.items())
        self.start()

    def _configuration(self):
        groups = {
            'DEFAULT': {'state_path': os.path.join(self.folder, 'state')},
            'api': {'listen': f'{self.address[0]}:{self.address[1]}'},
        }
        for name, value in self.options.items():
            group, _, option = name.rpartition('.')
            groups.setdefault(group or 'DEFAULT', {})[option] = value
        lines = []
        for group, values in groups.items():
            lines += [f'[{group}]', *(f'{k} = {v}' for k, v in values.items()), '']
        return '\n'.join(lines)

    def _wait(self):
        ask = clients.request('GET', '/healthz')
        while True:
            if self._process.poll() is not None:
                raise RuntimeError(f'obmd did not start:\n{self.log()}')
            try:
                clients.exchange(self.address, ask)
                return
            except OSError:
                if time.monotonic() - self.started_at > START:
                    raise RuntimeError(f'obmd does not answer:\n{self.log()}') from None
                time.sleep(0.005)

    def log(self):
        """:returns: str, the end of its log."""
        with open(self.log_path, errors='replace') as file:
            return file.read()[-3000:]

    # -- requests ---------------------------------------------------------------------------------

    @property
    def admin_token(self):
        if self._token is None:
            with open(os.path.join(self.folder, 'state', 'admin-token')) as file:
                self._token = file.read().strip()
        return self._token

    def admin(self, method, path, body=None):
        """:returns: bytes, a request with the admin's credentials."""
        return clients.request(method, path, self.admin_token, body)

    def ask(self, method, path, body=None):
        """As the admin.  :returns: :class:`bench.clients.Answer`, 200."""
        return clients.exchange(self.address, self.admin(method, path, body))

    def register(self, nodes):
        """:param nodes: dict name -> (type, info)."""
        connection = clients.Connection(self.address)
        with contextlib.closing(connection):
            for name, (type_, info) in nodes.items():
                body = {'type': type_, 'info': info}
                answer = connection.ask(self.admin('PUT', f'/node/{name}', body))
                if answer.status != 200:
                    raise clients.BadAnswer(answer)

    def token(self, name):
        """Issue a token.  :returns: str."""
        return json.loads(self.ask('POST', f'/node/{name}/token').body)['token']

    def operation(self, method, name, operation, token):
        """:returns: bytes, a request of the token's holder."""
        return clients.request(method, f'/node/{name}/{operation}?token={token}')

    def sweep(self, nodes, deadline):
        """:param nodes: str, a range.

        :returns: (list of (seconds since asked, line as dict), seconds of the whole).
        """
        nodes = urllib.parse.quote(nodes)
        data = self.admin('GET', f'/api/v1/power?nodes={nodes}&deadline={deadline}')
        started = time.monotonic()
        connection = clients.Connection(self.address)
        with contextlib.closing(connection):
            lines, last = clients.lines_of(connection.follow(data))
        return [(at - started, line) for at, line in lines], last - started

    # -- what it costs and holds ------------------------------------------------------------------

    def cpu(self):
        """:returns: float, seconds of CPU that it has used."""
        return cpu_of(self.pid)

    def memory(self):
        """:returns: int, resident bytes."""
        with open(f'/proc/{self.pid}/status') as file:
            for line in file:
                if line.startswith('VmRSS:'):
                    return int(line.split()[1]) * 1024
        raise RuntimeError('obmd is gone')

    def count(self, where):
        """:param where: str, SQL.  :returns: int, nodes in its database of which it is true."""
        path = os.path.join(self.folder, 'state', 'obmd.sqlite')
        with contextlib.closing(sqlite3.connect(f'file:{path}?mode=ro', uri=True)) as database:
            statement = f'SELECT count(*) FROM nodes WHERE {where}'  # noqa: S608
            return database.execute(statement).fetchone()[0]

    def wait_for(self, where, count, seconds):
        """Until ``count`` nodes are as ``where`` says.

        :returns: seconds since the last start.  :raises RuntimeError: not in ``seconds``.
        """
        end = time.monotonic() + seconds
        while (found := self.count(where)) < count:
            if time.monotonic() > end:
                raise RuntimeError(f'{found} of {count} nodes: {where}\n{self.log()}')
            time.sleep(0.05)
        return time.monotonic() - self.started_at
