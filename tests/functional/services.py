"""Private PostgreSQL, MariaDB and RabbitMQ servers for tests, on free loopback ports.

Each is a context manager with ``url``.  ``stop()``, ``kill()`` and ``start()`` end and restart it
on the same port with the same data, for tests of faults; leaving the context ends it and removes
what it wrote.  They run as the system user that their package made when the tests run as root
(PostgreSQL refuses root), else as whoever runs the tests.
"""

import contextlib
import ctypes
import glob
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

#: seconds in which a server must be up, on a machine that is busy with other tests
START_TIMEOUT = 60.0
_PR_SET_PDEATHSIG = 1
#: ports of servers; net.ipv4.ip_local_port_range begins at 32768
FIRST_PORT, LAST_PORT = 20000, 32000
#: which of the runs side by side this is, and how many there may be
LANE, LANES = int(os.environ.get('TEST_LANE', 0)), 32
_given = set()
#: examples of settings, which the databases run with
ETC = os.path.join(os.path.dirname(__file__), '..', '..', 'etc', 'obmd')


def free_port():
    """:returns: int, a TCP port that nobody listened on just now.

    Below those that the system gives to clients, which would take it before its server starts;
    tests that run side by side (``tools/functional.py``) have ports of their own.
    """
    while True:
        port = random.randrange(FIRST_PORT + LANE, LAST_PORT, LANES)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(('127.0.0.1', port))
            except OSError:
                continue
            if port not in _given:
                _given.add(port)
                return port


def _end_with_parent():
    """:returns: callable for ``preexec_fn``: the child is killed when the tests are."""
    prctl = ctypes.CDLL(None).prctl

    def before_exec():
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    return before_exec


class Service:
    """A server process, its folder and its port."""

    #: system user when the tests run as root
    user = None
    #: how it is told to end
    stop_signal = signal.SIGTERM

    def __init__(self):
        self.port = free_port()
        self.folder = tempfile.mkdtemp(prefix='obmd-test-')
        self._process = None
        if os.geteuid() == 0:
            account = pwd.getpwnam(self.user)
            os.chown(self.folder, account.pw_uid, account.pw_gid)

    @classmethod
    def missing(cls):
        """:returns: str, what must be installed, or None."""
        raise TypeError('ask a service')

    @property
    def url(self):
        raise TypeError('ask a service')

    @property
    def pid(self):
        return self._process.pid

    @property
    def running(self):
        return self._process is not None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *unused):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self):
        """Start and wait until it answers."""
        raise TypeError('ask a service')

    def stop(self):
        """Ask it to end and wait; harmless when it does not run."""
        if self._process is None:
            return
        self._process.send_signal(self.stop_signal)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self):
        """End it and its children at once, as a power cut would."""
        if self._process is None:
            return
        for pid in self._family(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(30)
        self._process = None

    def pause(self):
        """Stop it where it is (SIGSTOP): it accepts connections and answers nothing."""
        self._signal_all(signal.SIGSTOP)
        # the signal has been sent, not yet obeyed: a thread may answer one more quick question
        end = time.monotonic() + 10
        while not all(map(_is_stopped, self._family(self._process.pid))):
            assert time.monotonic() < end, 'it goes on'
            time.sleep(0.005)

    def resume(self):
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number):
        for pid in self._family(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def output(self):
        """:returns: str, what the server wrote, for a failed test's message."""
        with open(os.path.join(self.folder, 'output'), errors='replace') as file:
            return file.read()[-4000:]

    def _family(self, pid):
        """:returns: list of int, ``pid`` and its descendants, parents first."""
        found = [pid]
        with contextlib.suppress(OSError):
            with open(f'/proc/{pid}/task/{pid}/children') as file:
                for child in file.read().split():
                    found += self._family(int(child))
        return found

    def _as_user(self):
        if os.geteuid() != 0:
            return {}
        account = pwd.getpwnam(self.user)
        return {'user': account.pw_uid, 'group': account.pw_gid, 'extra_groups': []}

    def _run(self, *command):
        subprocess.run(
            command,
            check=True,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=START_TIMEOUT,
            **self._as_user(),
        )

    def _spawn(self, *command, **kwargs):
        with open(os.path.join(self.folder, 'output'), 'ab') as output:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent(),
                **kwargs,
                **self._as_user(),
            )

    def _write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, 'w') as file:
            file.write(text)
        os.chmod(path, 0o644)
        return path

    def _own(self, path):
        """Copy a file for the server's eyes only.  :returns: str, where it is."""
        made = shutil.copy(path, self.folder)
        os.chmod(made, 0o600)
        if os.geteuid() == 0:
            account = pwd.getpwnam(self.user)
            os.chown(made, account.pw_uid, account.pw_gid)
        return made

    def _wait_until(self, answers):
        until = time.monotonic() + START_TIMEOUT
        while not answers():
            if self._process.poll() is not None:
                raise RuntimeError(f'{type(self).__name__} ended:\n{self.output()}')
            if time.monotonic() > until:
                raise RuntimeError(f'{type(self).__name__} is not up:\n{self.output()}')
            time.sleep(0.05)


class PostgreSQL(Service):
    """PostgreSQL with an empty database ``obmd``.

    :param tls: (str, str), files with certificate and key, or None.
    """

    user = 'postgres'
    stop_signal = signal.SIGINT  # its "fast" shutdown

    def __init__(self, tls=None):
        super().__init__()
        self._options = []
        if tls:
            certificate, key = map(self._own, tls)
            self._options = ['ssl=on', f'ssl_cert_file={certificate}', f'ssl_key_file={key}']

    @classmethod
    def missing(cls):
        return None if cls._programs() else 'postgresql'

    @staticmethod
    def _programs():
        """:returns: str, the folder of the newest installed version, or None."""
        folders = [os.path.dirname(path) for path in glob.glob('/usr/lib/postgresql/*/bin/initdb')]
        found = shutil.which('initdb')
        if found:
            folders.append(os.path.dirname(found))
        return max(folders, default=None, key=lambda path: [len(path), path])

    @property
    def url(self):
        return self.database_url('obmd')

    def database_url(self, name):
        return f'postgresql://obmd:unused@127.0.0.1:{self.port}/{name}'

    def new_database(self, name):
        """Make another empty database.  :returns: str, its URL."""
        self._run(self._program('createdb'), *self._where(), name)
        return self.database_url(name)

    def query(self, text, database='obmd'):
        """:returns: str, what psql prints for ``text``."""
        command = [self._program('psql'), *self._where(), '-qAt', '-c', text, database]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def sleeping(self):
        """:returns: int, how many sleep on the server."""
        return int(
            self.query(
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' "
                "AND state = 'active'"
            )
        )

    def only_read(self, on):
        """As one that is no longer the primary."""
        self.query(f'ALTER SYSTEM SET default_transaction_read_only = {on}')
        self.query('SELECT pg_reload_conf()')
        time.sleep(0.2)

    def dump(self, database):
        """:returns: str, everything in it."""
        command = [self._program('pg_dump'), *self._where(), database]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def start(self):
        data = os.path.join(self.folder, 'data')
        if not os.path.exists(os.path.join(data, 'PG_VERSION')):
            self._run(
                *(self._program('initdb'), '-D', data, '-U', 'obmd', '-A', 'trust'),
                *('-E', 'UTF8', '--locale=C.UTF-8', '--no-sync'),
            )
            settings = self._own(os.path.join(ETC, 'postgresql.conf.example'))
            with open(os.path.join(data, 'postgresql.conf'), 'a') as file:
                file.write(f"include '{settings}'\n")
        self._process = self._spawn(
            *(self._program('postgres'), '-D', data, '-p', str(self.port)),
            *('-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories='),
            *('-c', 'fsync=off', '-c', 'shared_buffers=16MB', '-c', 'max_connections=200'),
            *(part for option in self._options for part in ('-c', option)),
        )
        self._wait_until(self._answers)
        if not self.query("SELECT 1 FROM pg_database WHERE datname = 'obmd'", 'postgres'):
            self.new_database('obmd')

    def _where(self):
        return '-h', '127.0.0.1', '-p', str(self.port), '-U', 'obmd'

    def _program(self, name):
        return os.path.join(self._programs(), name)

    def _answers(self):
        command = [self._program('pg_isready'), '-q', *self._where(), '-d', 'postgres']
        return subprocess.run(command).returncode == 0


class MariaDB(Service):
    """MariaDB with an empty database ``obmd``, whose user has the rights that obmd needs.

    :param tls: (str, str), files with certificate and key: then nothing is done without.
    """

    user = 'mysql'
    _SERVER = '/usr/sbin/mariadbd'
    _FIRST = """\
FLUSH PRIVILEGES;
CREATE USER obmd@'127.0.0.1' IDENTIFIED BY 'unused';
GRANT ALL ON `%`.* TO obmd@'127.0.0.1';
CREATE DATABASE obmd;
"""

    def __init__(self, tls=None):
        super().__init__()
        self._options = []
        if tls:
            certificate, key = map(self._own, tls)
            self._options = [f'--ssl-cert={certificate}', f'--ssl-key={key}']
            self._options.append('--require-secure-transport=ON')

    @classmethod
    def missing(cls):
        found = os.path.exists(cls._SERVER) and shutil.which('mariadb-install-db')
        return None if found else 'mariadb-server'

    @property
    def url(self):
        return self.database_url('obmd')

    def database_url(self, name):
        return f'mariadb://obmd:unused@127.0.0.1:{self.port}/{name}'

    def sleeping(self):
        """:returns: int, how many sleep on the server."""
        text = "SELECT count(*) FROM information_schema.processlist WHERE info LIKE 'SELECT sleep%'"
        return int(self.query(text))

    def only_read(self, on):
        """As one that is no longer the primary."""
        self.query(f'SET GLOBAL read_only = {int(on)}')

    def new_database(self, name):
        """Make another empty database.  :returns: str, its URL."""
        self.query(f'CREATE DATABASE `{name}`')
        return self.database_url(name)

    def query(self, text, database='obmd'):
        """:returns: str, what the command line client prints for ``text``."""
        command = ['mariadb', *self._where(), '--default-character-set=utf8mb4']
        command += ['-BNe', text, database]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def dump(self, database):
        """:returns: str, everything in it."""
        command = ['mariadb-dump', *self._where(), database]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def start(self):
        data = os.path.join(self.folder, 'data')
        if not os.path.exists(data):
            self._write('first.sql', self._FIRST)
            self._run(
                *('mariadb-install-db', '--no-defaults', f'--datadir={data}', '--skip-test-db'),
                *('--auth-root-authentication-method=normal', '--skip-name-resolve'),
                *('--extra-file=first.sql', '--innodb-log-file-size=8M'),
                f'--tmpdir={self.folder}',  # a server that starts removes others' files there
            )
        settings = self._own(os.path.join(ETC, 'mariadb.cnf.example'))
        self._process = self._spawn(
            *(self._SERVER, f'--defaults-file={settings}', f'--datadir={data}'),
            f'--port={self.port}',
            *('--bind-address=127.0.0.1', f'--socket={self._socket}', '--skip-name-resolve'),
            # a commit survives a kill of the server, though not of the machine
            *('--innodb-flush-log-at-trx-commit=2', '--innodb-log-file-size=8M'),
            *('--innodb-buffer-pool-size=16M', '--max-connections=200'),
            f'--tmpdir={self.folder}',
            *self._options,
        )
        self._wait_until(self._answers)

    @property
    def _socket(self):
        return os.path.join(self.folder, 'socket')

    def _where(self):
        return '--no-defaults', f'--socket={self._socket}', '-uroot'

    def _answers(self):
        command = ['mariadb-admin', *self._where(), 'ping']
        return subprocess.run(command, capture_output=True).returncode == 0


class RabbitMQ(Service):
    """RabbitMQ with its user guest, and an epmd of its own.

    :param config: str, more lines of rabbitmq.conf; in it ``PORT`` and ``FOLDER`` are this
        server's.
    :param tls: (certificate, key, authority), files that become ``rabbit.crt``, ``rabbit.key`` and
        ``ca.crt`` in the folder; ``config`` must then open a TLS listener on the port.
    :param definitions: str, ``obmd-definitions.json`` in the folder.
    :param account: ``USER:PASSWORD`` and virtual host of ``url``.
    """

    user = 'rabbitmq'
    _SERVER = '/usr/lib/rabbitmq/bin/rabbitmq-server'
    _CONTROL = '/usr/lib/rabbitmq/bin/rabbitmqctl'

    def __init__(self, config='', tls=None, definitions=None, account=('guest:guest', '')):
        super().__init__()
        self._epmd = None
        self._epmd_port = free_port()
        self._dist_port = free_port()
        self._tls = tls
        self._account = account
        if tls is not None:
            self.replace_certificate(tls)
        if definitions is not None:
            self._write('obmd-definitions.json', definitions)
        config = config.replace('PORT', str(self.port)).replace('FOLDER', self.folder)
        self._write('rabbitmq.conf', f'disk_free_limit.absolute = 50MB\n{config}\n')
        self._write('enabled_plugins', '[].\n')

    @classmethod
    def missing(cls):
        return None if os.path.exists(cls._SERVER) and shutil.which('epmd') else 'rabbitmq-server'

    @property
    def url(self):
        account, vhost = self._account
        return f'rabbit://{account}@127.0.0.1:{self.port}/{vhost}'

    @property
    def options(self):
        """:returns: dict section -> option -> value, what clients need besides ``url``."""
        if self._tls is None:
            return {}
        return {'oslo_messaging_rabbit': {'ssl': True, 'ssl_ca_file': self._tls[2]}}

    def replace_certificate(self, tls):
        """For the next start.  :param tls: as of the constructor."""
        for name, source in zip(('rabbit.crt', 'rabbit.key', 'ca.crt'), tls, strict=True):
            with open(source) as file:
                self._write(name, file.read())

    def control(self, *arguments):
        """:returns: str, what ``rabbitmqctl`` prints."""
        return subprocess.run(
            [self._CONTROL, '--quiet', '-n', self._environment()['RABBITMQ_NODENAME'], *arguments],
            check=True,
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT,
            **self._as_user(),
        ).stdout

    def start(self):
        if self._epmd is None:
            self._epmd = self._spawn(
                *('epmd', '-address', '127.0.0.1', '-port', str(self._epmd_port))
            )
        self._process = self._spawn(self._SERVER, env=self._environment())
        self._wait_until(self._answers)

    def stop(self):
        super().stop()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
            self._epmd = None

    def _environment(self):
        listener = {
            'RABBITMQ_NODE_IP_ADDRESS': '127.0.0.1',
            'RABBITMQ_NODE_PORT': str(self.port),
        }
        return {
            **({} if self._tls else listener),
            'PATH': os.environ['PATH'],
            'LANG': 'C.UTF-8',
            'HOME': self.folder,
            'RABBITMQ_CONF_ENV_FILE': '/dev/null',
            'RABBITMQ_CONFIG_FILE': os.path.join(self.folder, 'rabbitmq.conf'),
            'RABBITMQ_ENABLED_PLUGINS_FILE': os.path.join(self.folder, 'enabled_plugins'),
            'RABBITMQ_MNESIA_BASE': os.path.join(self.folder, 'mnesia'),
            'RABBITMQ_LOG_BASE': os.path.join(self.folder, 'log'),
            'RABBITMQ_NODENAME': f'obmd{self.port}@localhost',
            'RABBITMQ_DIST_PORT': str(self._dist_port),
            'ERL_EPMD_ADDRESS': '127.0.0.1',
            'ERL_EPMD_PORT': str(self._epmd_port),
            # without a shell between us and the server
            'RUNNING_UNDER_SYSTEMD': '1',
            # one scheduler that does not spin: the tests' machine is small
            'RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS': '+S 1:1 +sbwt none',
        }

    def _answers(self):
        """Whether the listener is open and speaks AMQP 0-9-1, with TLS: whether it is open."""
        try:
            with socket.create_connection(('127.0.0.1', self.port), 1) as probe:
                if self._tls:
                    return True
                probe.settimeout(5)
                probe.sendall(b'AMQP\x00\x00\x09\x01')
                return bool(probe.recv(8))
        except OSError:
            return False


def _is_stopped(pid):
    """:returns: bool, whether every thread of a process stands still, or it has gone."""
    for path in glob.glob(f'/proc/{pid}/task/*/stat'):
        with contextlib.suppress(OSError), open(path) as file:
            if file.read().rpartition(')')[2].split()[0] not in 'TtZX':
                return False
    return True
