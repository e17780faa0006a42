"""``obmd-manage``: what an operator does to the database and the keys.

It talks to the database and to files of this machine only, never to a BMC or a running service,
and is safe to use while they run.
"""

import argparse
import logging
import os
import sys

from cliff import app
from cliff import commandmanager
from oslo_config import cfg

from obmd.cmd.manage import actions
from obmd.cmd.manage import audits
from obmd.cmd.manage import base
from obmd.cmd.manage import conductors
from obmd.cmd.manage import consoles
from obmd.cmd.manage import database
from obmd.cmd.manage import drains
from obmd.cmd.manage import groups
from obmd.cmd.manage import import_nodes
from obmd.cmd.manage import import_obmd
from obmd.cmd.manage import keys
from obmd.cmd.manage import nodes
from obmd.cmd.manage import removal
from obmd.cmd.manage import tokens
from obmd.common import errors
from obmd.common import secrets
from obmd.conf import CONF
from obmd.db import engine
from obmd.version import VERSION

#: exit status of what Ctrl-C has ended, as of a shell
INTERRUPTED = 130

COMMANDS = {
    'db upgrade': database.DbUpgrade,
    'db version': database.DbVersion,
    'db check': database.DbCheck,
    'key new': keys.KeyNew,
    'key list': keys.KeyList,
    'rekey': keys.Rekey,
    'node retry': nodes.NodeRetry,
    'node list': nodes.NodeList,
    'node show': nodes.NodeShow,
    'node owner': nodes.NodeOwner,
    'conductor list': conductors.ConductorList,
    'conductor drain': drains.ConductorDrain,
    'conductor undrain': drains.ConductorUndrain,
    'conductor remove': removal.ConductorRemove,
    'console log': consoles.ConsoleLog,
    'action check': actions.ActionCheck,
    'token new': tokens.TokenNew,
    'token list': tokens.TokenList,
    'token revoke': tokens.TokenRevoke,
    'generate-token': tokens.GenerateToken,
    'generate-jwt-secret': tokens.GenerateJwtSecret,
    'audit list': audits.AuditList,
    'audit forget': audits.AuditForget,
    'import obmd': import_obmd.ImportObmd,
    'import-nodes': import_nodes.ImportNodes,
    'group set': groups.GroupSet,
    'group list': groups.GroupList,
    'group remove': groups.GroupRemove,
}


class _OneLine(logging.Formatter):
    def format(self, record):
        line = f'{base.NAME}: {base.printable(" ".join(record.getMessage().split()))}'
        if record.exc_info:
            line += '\n' + self.formatException(record.exc_info)
        return secrets.scrub(line)


class Manage(app.App):
    NAME = base.NAME
    LOG = logging.getLogger('obmd.cmd.manage')

    def __init__(self, stdout=None, stderr=None):
        manager = commandmanager.CommandManager()
        super().__init__(
            description='Set up and look after the database, the keys and the nodes of obmd.',
            version=VERSION,
            command_manager=manager,
            stdout=stdout,
            stderr=stderr,
            deferred_help=True,
        )
        for name, one in COMMANDS.items():
            manager.add_command(name, one)

    def build_option_parser(self, description, version, argparse_kwargs=None):
        """Options before or after the command; what cliff reads besides has its defaults."""
        parser = argparse.ArgumentParser(
            prog=base.NAME,
            description=description,
            add_help=False,
            allow_abbrev=False,
            epilog='"obmd-manage help COMMAND" tells more.',
        )
        parser.add_argument('--version', action='version', version=f'{base.NAME} {version}')
        parser.add_argument('-h', '--help', dest='deferred_help', action='store_true')
        parser.add_argument('--config-file', action='append', metavar='FILE', help=base.FILES_HELP)
        parser.add_argument(
            '-v',
            '--verbose',
            dest='verbose_level',
            action='count',
            default=0,
            help='Print what libraries log; twice: all of it.',
        )
        parser.add_argument('--debug', action='store_true', help='Print the traceback of an error.')
        return parser

    def configure_logging(self):
        """Errors on one line; warnings of libraries only with -v, debugging with -vv."""
        handler = logging.StreamHandler(self.stderr)
        handler.setFormatter(_OneLine())
        self.LOG.handlers = [handler]
        self.LOG.propagate = False
        self.LOG.setLevel(logging.ERROR)
        verbose = self.options.verbose_level
        if verbose:
            others = logging.StreamHandler(self.stderr)
            others.addFilter(secrets.Scrub())
            level = logging.DEBUG if verbose > 1 else logging.INFO
            logging.basicConfig(handlers=[others], level=level, force=True)
        else:
            # without a handler Python would print warnings, tracebacks included
            logging.basicConfig(handlers=[logging.NullHandler()], force=True)

    def initialize_app(self, argv):
        if not argv:
            # cliff would start a shell
            self.options.deferred_help = True
            return
        files = [f'--config-file={path}' for path in self.options.config_file or ()]
        try:
            CONF(files, project='obmd', prog=base.NAME)
        except cfg.Error as error:
            raise errors.Fatal(str(error)) from None
        if state := os.environ.get('OBMD_STATE_DIR'):
            CONF.set_override('state_path', state)

    def clean_up(self, cmd, result, err):
        engine.dispose()


def main(argv=None):
    """:param argv: list of str, without the program's name.  :returns: int, the exit status."""
    try:
        return Manage().run(sys.argv[1:] if argv is None else argv)
    except SystemExit as end:
        # argparse: 0 after help, 2 after a wrong option
        return end.code or 0
    except KeyboardInterrupt:
        return INTERRUPTED
