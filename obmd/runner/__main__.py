"""``python -I -S .../obmd/runner/__main__.py SOCKET LOCK``: started by a conductor.

Both are descriptors: of the socket to it, and of a file whose lock says that this runner lives.
See :mod:`obmd.conductor.scripts`.
"""

import os
import pathlib
import select
import socket
import sys

# -I and -S leave only the standard library; this package is found by its place.
sys.path.append(str(pathlib.Path(__file__).resolve().parents[2]))

from obmd.runner import privileges  # noqa: E402
from obmd.runner.channel import Channel  # noqa: E402
from obmd.runner.channel import Gone  # noqa: E402
from obmd.runner.labels import Labels  # noqa: E402
from obmd.runner.output import Files  # noqa: E402
from obmd.runner.supervisor import Supervisor  # noqa: E402
from obmd.runner.supervisor import boot_time  # noqa: E402

#: seconds for which the end waits for the disk
LAST_WRITES = 5.0


def main(arguments):
    """:returns: int, exit status."""
    for inherited in arguments:
        os.set_inheritable(int(inherited), False)
    conductor = Channel(socket.socket(fileno=int(arguments[0])))
    privileges.settle()
    try:
        settings = _settings(conductor)
        refusal = _become(settings['user'])
        labels = Labels(settings['label'])
        if refusal is None and not labels.usable:
            refusal = 'RLIMIT_RTTIME is limited: processes of scripts could not be told apart'
        wake = os.eventfd(0, os.EFD_CLOEXEC)
        files = Files(lambda: os.eventfd_write(wake, 1), settings['reserve'])
        conductor.send({'do': 'ready', 'refusal': refusal})
    except (Gone, KeyError):
        return 1
    supervisor = Supervisor(conductor, files, labels, wake, settings['grace'], refusal, boot_time)
    supervisor.serve()
    files.finish(LAST_WRITES)
    return 0


def _settings(conductor):
    while True:
        select.select([conductor], [], [])
        for message in conductor.receive():
            return message


def _become(user):
    """:returns: str, why scripts cannot run, or None."""
    if user is None:
        return None
    try:
        privileges.become(user)
    except privileges.Refused as error:
        return str(error)
    return None


if __name__ == '__main__':
    status = main(sys.argv[1:])
    sys.stderr.flush()
    # the writer may be stuck in a disk
    os._exit(status)
