"""A service of obmd on a host whose wall clock is wrong, and jumps.

    python tests/functional/shifted_clock.py FILE obmd-conductor ...

``time.time()`` is off by the seconds that FILE says; it is read again at SIGUSR1.
"""

import os
import runpy
import signal
import sys
import time


class Clock:
    """The clock of one process that a test starts.  :param folder: where FILE is kept."""

    def __init__(self, folder, name, seconds=0):
        self._path = os.path.join(folder, f'{name}.shift')
        self._write(seconds)

    def command(self, *command):
        """:returns: list of str, ``command`` with this clock."""
        program = os.path.join(os.path.dirname(sys.executable), command[0])
        return [sys.executable, os.path.abspath(__file__), self._path, program, *command[1:]]

    def jump(self, process, seconds):
        """:param seconds: how far off the clock is from now on."""
        self._write(seconds)
        process.send(signal.SIGUSR1)

    def _write(self, seconds):
        with open(self._path, 'w') as file:
            file.write(str(seconds))


def _main():
    path, *sys.argv[:] = sys.argv[1:]
    del sys.path[0]
    now, shift = time.time, [0.0]

    def read(*_signal):
        with open(path) as file:
            shift[0] = float(file.read())

    read()
    time.time = lambda: now() + shift[0]
    signal.signal(signal.SIGUSR1, read)
    runpy.run_path(sys.argv[0], run_name='__main__')


if __name__ == '__main__':
    _main()
