"""haproxy as ``etc/obmd/haproxy.cfg`` sets it up, on a port and with servers of a test."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from tests.functional.deployment import Process
from tests.functional.deployment import wait_until
from tests.functional.farm import ROOT
from tests.functional.services import free_port

EXAMPLE = pathlib.Path(ROOT, 'etc/obmd/haproxy.cfg')


def config(tls, port, servers):
    """:param tls: (certificate, key, authority), files; servers have the same certificate.

    :param port: int, to listen on.
    :param servers: dict of name in the example -> port of 127.0.0.1.
    :returns: str, the example with the files, ports and names of a test.
    """
    text = EXAMPLE.read_text()
    # the limit of descriptors of a test is not that of a service
    text = text.replace('maxconn 20000', 'maxconn 200')
    text = text.replace('bind :443', f'bind 127.0.0.1:{port}')
    text = text.replace('/etc/haproxy/obmd.example.org.pem', f'{tls[0]}.both')
    text = text.replace('/etc/obmd/ca.crt', tls[2])
    text = re.sub(r'verifyhost \S+', 'verifyhost localhost', text)
    for name, server in servers.items():
        text = re.sub(rf'\b{name}\.example\.org:\d+', f'127.0.0.1:{server}', text)
    return text


class Haproxy:
    """A context manager.

    :param tls: as of :func:`config`.  :param port: int or None.
    """

    def __init__(self, tls, port=None):
        self._folder = tempfile.mkdtemp(prefix='obmd-test-')
        self._tls = tls
        self.port = port or free_port()
        self._process = None

    def start(self, servers):
        with open(f'{self._tls[0]}.both', 'w') as both:
            both.write(''.join(pathlib.Path(path).read_text() for path in self._tls[:2]))
        path = os.path.join(self._folder, 'haproxy.cfg')
        with open(path, 'w') as file:
            file.write(config(self._tls, self.port, servers))
        command = shutil.which('haproxy', path='/usr/sbin:/usr/local/sbin:' + os.environ['PATH'])
        subprocess.run([command, '-c', '-f', path], check=True, capture_output=True)
        self._process = Process([command, '-db', '-f', path], self._folder, 'haproxy')
        self._process.start()
        wait_until(lambda: f'127.0.0.1:{self.port}' in self._listening(), 20, 'haproxy')
        return self

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self._process is not None:
            self._process.end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def log(self):
        """:returns: str, a line a request."""
        return self._process.log()

    def _listening(self):
        if self._process.returncode is not None:
            raise AssertionError(f'haproxy ended:\n{self.log()}')
        with open('/proc/net/tcp') as file:
            ports = re.findall(r'0100007F:([0-9A-F]{4}) 00000000:0000 0A', file.read())
        return [f'127.0.0.1:{int(port, 16)}' for port in ports]
