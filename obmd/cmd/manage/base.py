"""What every command of ``obmd-manage`` shares."""

import os
import pwd
import time

from cliff import command
from cliff import lister
from cliff import show

from obmd.common import names
from obmd.db import audit as audits
from obmd.db import engine
from obmd.db import nodes

NAME = 'obmd-manage'
#: rows that are read at once
PAGE = 200
FILES_HELP = (
    'Configuration file, repeatable: the last one wins. Default: obmd.conf in ~/.obmd, ~, '
    '/etc/obmd and /etc. OS_<GROUP>__<OPTION> in the environment sets one option, e.g. '
    'OS_DATABASE__CONNECTION.'
)


def printable(value):
    """A BMC's words and a node's name may hold escape sequences: not for a terminal."""
    return names.shown('' if value is None else str(value))


def when(seconds):
    """:returns: str, a wall time in UTC, or ''."""
    return time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(seconds)) if seconds else ''


def every_node():
    """Yield :class:`obmd.db.nodes.Node`, page by page, by id."""
    last = 0
    while page := nodes.page(last, PAGE):
        yield from (node for _, node in page)
        last = page[-1][0]


def open_database():
    engine.setup()
    engine.check_schema()


def audit(action, nodes=None, detail=None):
    """Put into the audit trail what an operator has done here.

    :param action: str, such as ``token revoke``.  :param nodes: str, a folded range, or None.
    """
    uid = os.getuid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = None
    entry = audits.Entry(
        time.time(),
        action,
        'admin',
        claimed_user=user,
        claimed_uid=uid,
        door='manage',
        nodes=nodes,
        outcome='ok',
        detail=detail,
    )
    audits.write(entry)


class Configured:
    """Mixed into each command: its help shows the options that all of them take."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--config-file',
            action='append',
            metavar='FILE',
            help=FILES_HELP,
        )
        return parser


class Command(Configured, command.Command):
    def say(self, text):
        self.app.stdout.write(f'{text}\n')

    def progress(self, text):
        self.app.stderr.write(f'{text}\n')


class Lister(Configured, lister.Lister):
    pass


class ShowOne(Configured, show.ShowOne):
    pass
