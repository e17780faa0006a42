"""What the runs of a job write becomes lines: named ones on a stream, or files, one a node."""

import os
import urllib.parse

from obmd.client import errors
from obmd.client.cli import base

#: bytes of a line without end that are kept; then it is written in parts
LONGEST = 1024 * 1024
#: characters of a node's name in the name of its file
LONGEST_NAME = 200


class Stream:
    """To a screen.

    :param screen: :class:`obmd.client.cli.screen.Plain`.
    :param named: bool, each line starts with ``node: `` as pdsh's do; else bytes go as they come.
    """

    def __init__(self, screen, named):
        self._screen = screen
        self._named = named
        self._rest = {}

    def feed(self, position, node, stream, data):
        """:param stream: ``stdout`` or ``stderr``.  :param data: bytes, cut anywhere."""
        if not self._named or node is None:
            self._screen.write(stream, data)
            return
        *lines, rest = (self._rest.pop((position, stream), b'') + data).split(b'\n')
        if len(rest) > LONGEST:
            lines, rest = [*lines, rest], b''
        if rest:
            self._rest[position, stream] = rest
        self._write(node, stream, lines)

    def end(self, position, node):
        """The run writes no more: a line without its end gets one."""
        for stream in ('stdout', 'stderr'):
            rest = self._rest.pop((position, stream), None)
            if rest is not None:
                self._write(node, stream, [rest])

    def _write(self, node, stream, lines):
        if lines:
            start = f'{base.printable(node)}: '.encode()
            self._screen.write(stream, b''.join(start + line + b'\n' for line in lines))


class Folder:
    """To ``NODE.out`` and ``NODE.err`` in a folder; what was there is replaced.

    :param path: str, made if it is not there.
    :param other: str, stands for the node where there is none.
    :raises ClientError: it cannot be made.
    """

    def __init__(self, path, other):
        self._path = path
        self._other = other
        self._begun = set()
        try:
            os.makedirs(path, exist_ok=True)
        except OSError as error:
            raise errors.ClientError(f'{path}: {error.strerror}') from None

    def feed(self, position, node, stream, data):
        """:raises ClientError: a file cannot be written."""
        path = self._file(position, node, stream)
        # thousands may run at once: none stays open
        mode = 'ab' if path in self._begun else 'wb'
        try:
            with open(path, mode) as file:
                file.write(data)
        except OSError as error:
            raise errors.ClientError(f'{path}: {error.strerror}') from None
        self._begun.add(path)

    def end(self, position, node):
        # a node that wrote nothing has a file that says so
        self.feed(position, node, 'stdout', b'')
        path = self._file(position, node, 'stderr')
        if path not in self._begun and os.path.lexists(path):
            os.unlink(path)

    def _file(self, position, node, stream):
        name = file_name(self._other if node is None else node, position)
        return os.path.join(self._path, name + {'stdout': '.out', 'stderr': '.err'}[stream])


def file_name(node, position):
    """:returns: str, a name that stays in its folder, whatever the node is called."""
    name = urllib.parse.quote(node, safe="!#$&'()*+,:;=@[] ")
    if name.startswith('.'):
        name = '%2E' + name[1:]
    if len(name) > LONGEST_NAME:
        name = f'{name[:LONGEST_NAME]}~{position}'
    return name
