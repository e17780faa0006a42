"""``obmd-manage console ...``"""

import calendar
import os
import re
import time

from obmd.cmd.manage import base
from obmd.common import errors
from obmd.conf import CONF
from obmd.db import nodes
from obmd.streams import log_reader
from obmd.streams import segments

_AGO = re.compile(r'([0-9]{1,9})([smhd])')
_UNITS = {'s': 1, 'm': 60, 'h': 3600, 'd': 86400}
_FORMATS = (
    '%Y-%m-%dT%H:%M:%S',
    '%Y-%m-%dT%H:%M',
    '%Y-%m-%d %H:%M:%S',
    '%Y-%m-%d %H:%M',
    '%Y-%m-%d',
)
_UUID = re.compile('[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}')
#: what begins a line of obmd's own
SIGN = '=='
#: characters of a line that never ends, printed at once
LONGEST = 65536


class ConsoleLog(base.Command):
    """Print the console log of a node, as far as this host has it.

    Lines that begin with "==" are obmd's: who captured, since when, in which token's time, what is
    missing. Control characters are shown as escapes. Works while the conductor runs. Times are UTC.
    """

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'node', metavar='NODE', help='Name of the node, or its uuid if it was deleted.'
        )
        parser.add_argument(
            '--since',
            metavar='TIME',
            help='Leave out what came before: 90s, 10m, 2h or 3d ago, or a time in UTC, '
            '2026-11-20T13:00[:00]. Exact to 5 s.',
        )
        parser.add_argument(
            '--raw',
            action='store_true',
            help="Print the bytes as they came, and obmd's lines on standard error. Not for a "
            'terminal: what is in them may change it.',
        )
        return parser

    def take_action(self, parsed_args):
        since = float('-inf')
        if parsed_args.since is not None:
            since = parse_time(parsed_args.since, time.time())
        folder = self._folder(parsed_args.node)
        printer = (_Raw if parsed_args.raw else _Safe)(self.app.stdout, self.app.stderr)
        try:
            for part in log_reader.read(folder, since):
                if isinstance(part, log_reader.Event):
                    printer.tell(describe(part.entry))
                else:
                    printer.show(part.data)
            printer.finish()
        except FileNotFoundError:
            raise errors.NotFound(f'this host has no console log in {folder}') from None
        except BrokenPipeError:
            # who reads has seen enough; the interpreter must not try to flush once more
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.app.stdout.fileno())
        except OSError as error:
            raise errors.Fatal(f'{error.filename or folder}: {error.strerror}') from None

    def _folder(self, name):
        if not CONF.console.log_dir:
            raise errors.Fatal('there are no console logs: [console] log_dir is not set')
        if _UUID.fullmatch(name):
            return segments.folder_of(CONF.console.log_dir, name)
        base.open_database()
        node = nodes.get(name)
        if node is None:
            raise errors.NotFound(
                f'there is no node "{base.printable(name)}"; the log of a deleted one is found by '
                'its uuid',
                node=name,
            )
        return segments.folder_of(CONF.console.log_dir, node.uuid)


def parse_time(text, now):
    """:param now: seconds.  :returns: seconds.  :raises InvalidInput:"""
    if match := _AGO.fullmatch(text):
        return now - int(match[1]) * _UNITS[match[2]]
    for one in _FORMATS:
        try:
            return calendar.timegm(time.strptime(text.removesuffix('Z'), one))
        except ValueError:
            continue
    raise errors.InvalidInput(
        f'--since {base.printable(text)}: say 90s, 10m, 2h, 3d or 2026-11-20T13:00'
    )


def describe(entry):
    """:param entry: dict, an event of an index; not to be trusted.  :returns: str."""
    kind = entry['event']
    if kind in ('begin', 'continue'):
        told = f'{_verb(kind)} {entry.get("node")} on {entry.get("host")}'
        told += f' (owner {entry.get("owner")}), ring {entry.get("ring")} at {entry["offset"]}'
        told += f', token {entry.get("token") or "none"}'
        if kind == 'begin':
            told += '; what came before and is not above is unknown'
    elif kind == 'token':
        told = f'token {entry.get("token") or "none"} from here on'
    elif kind == 'up':
        told = 'console up'
    elif kind == 'down':
        told = f'console down: {entry.get("reason")}'
    elif kind == 'gap':
        told = f'{entry.get("lost")} bytes missing here; token {entry.get("token") or "none"}'
    elif kind == 'end':
        told = f'no more from this conductor: {entry.get("reason")}'
    else:
        told = str(kind)
    return base.printable(f'{base.when(entry["time"])} {told}')


def _verb(kind):
    return 'capture begins of' if kind == 'begin' else 'capture goes on of'


class _Raw:
    def __init__(self, stdout, stderr):
        self._bytes = stdout.buffer
        self._stderr = stderr

    def tell(self, text):
        self._bytes.flush()
        self._stderr.write(f'{SIGN} {text}\n')

    def show(self, data):
        self._bytes.write(data)

    def finish(self):
        self._bytes.flush()


class _Safe:
    """Text for a terminal; a console's line cannot look like one of obmd's."""

    def __init__(self, stdout, _stderr):
        self._stdout = stdout
        self._rest = b''

    def tell(self, text):
        self._end_line()
        self._stdout.write(f'{SIGN} {text}\n')

    def show(self, data):
        *lines, self._rest = (self._rest + data).split(b'\n')
        for line in lines:
            self._line(line)
        if len(self._rest) > LONGEST:
            self._end_line()

    def finish(self):
        self._end_line()
        self._stdout.flush()

    def _end_line(self):
        if self._rest:
            line, self._rest = self._rest, b''
            self._line(line)

    def _line(self, line):
        text = line.rstrip(b'\r').decode('utf-8', 'backslashreplace')
        text = '\t'.join(map(base.printable, text.split('\t')))
        if text.startswith((SIGN, '\\' + SIGN)):
            text = '\\' + text
        self._stdout.write(f'{text}\n')
