"""The state folder that a conductor lives in: its lock, and how it knows its own former rows.

Who holds the lock of a folder is its only conductor, so whatever row an earlier start of the same
folder, machine and host name has left is a dead one's.
"""

import contextlib
import fcntl
import hashlib
import json
import os

from obmd.common import errors
from obmd.common import secrets

#: file in state_path that a running conductor holds locked
LOCK_FILE = 'conductor.lock'
#: what tells machines apart whose folders and host names are the same; a container may have none
MACHINE_ID = '/etc/machine-id'


class Home:
    """:param path: str, ``state_path``.
    :param host: str, the name under which the conductor is called.
    """

    def __init__(self, path, host):
        self._path = os.path.join(path, LOCK_FILE)
        self._host = host
        self._file = None

    def take(self):
        """Lock it.

        :returns: str, 32 hex digits, the same at each start with this folder, machine and name.
        :raises Fatal: another conductor has it; it cannot be used.
        """
        try:
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise errors.Fatal(
                f'state_path cannot be used: {self._path}: {error.strerror}'
            ) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._taken() from None
        return self._identity()

    def leave(self):
        """Unlock it; harmless when it is not ours."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _taken(self):
        said = self._read()
        self.leave()
        who = f' ({said["host"]}, process {said["pid"]})' if 'host' in said else ''
        return errors.Fatal(f'another conductor{who} is running with {self._path} locked')

    def _identity(self):
        # Random, because folder and machine id are one and the same in many containers.
        drawn = self._read().get('id') or secrets.new_id()
        said = json.dumps({'id': drawn, 'host': self._host, 'pid': os.getpid()})
        os.truncate(self._file, 0)
        os.pwrite(self._file, said.encode(), 0)
        parts = (drawn, _machine_id(), os.path.realpath(self._path), self._host)
        return hashlib.sha256('\0'.join(parts).encode()).hexdigest()[:32]

    def _read(self):
        """:returns: dict, what a start wrote; empty if it is damaged or new."""
        with contextlib.suppress(OSError, ValueError):
            said = json.loads(os.pread(self._file, 4096, 0))
            if isinstance(said, dict) and all(isinstance(said.get(k), str) for k in ('id', 'host')):
                return said
        return {}


def _machine_id():
    with contextlib.suppress(OSError):
        with open(MACHINE_ID) as file:
            return file.read().strip()
    return ''
