"""``obm``: the command line of obmd, and its short forms ``power`` and ``estate``."""

import argparse
import functools
import logging
import os
import sys

from cliff import app
from cliff import commandmanager

from obmd.client import errors
from obmd.client import settings
from obmd.client import transport
from obmd.client.cli import base
from obmd.client.cli import table

#: exit statuses: of what Ctrl-C has ended, of what lost its reader, as of a shell
INTERRUPTED, NO_READER = 130, 141


class _Commands(commandmanager.CommandManager):
    """Names are typed whole: ``obm power o`` must never become one of two."""

    def find_command(self, argv):
        for length in range(len(argv), 0, -1):
            name = ' '.join(argv[:length])
            if name in self.commands:
                return self.commands[name].load(), name, argv[length:]
        raise ValueError(f'there is no command {" ".join(argv)!r}')


class _Parser(argparse.ArgumentParser):
    """Takes what stands before the command; all else is the command's."""

    def parse_known_args(self, args=None, namespace=None):
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f'unknown option {unknown[0]}')
        return found, found.command


class _OneLine(logging.Formatter):
    def __init__(self, name):
        super().__init__()
        self._name = name

    def format(self, record):
        line = f'{self._name}: {base.printable(" ".join(record.getMessage().split()))}'
        if record.exc_info:
            line += '\n' + self.formatException(record.exc_info)
        return line


class Obm(app.App):
    """:param name: str, the program.  :param commands: dict of name -> ``module:class``.

    :param adapter: of requests, in place of the network.
    """

    LOG = logging.getLogger('obmd.client')

    def __init__(self, name, description, commands, adapter=None, **streams):
        self.NAME = name
        self._adapter = adapter
        self._client = None
        manager = _Commands()
        super().__init__(
            description=description,
            version=transport.version(),
            command_manager=manager,
            **streams,
        )
        for command, factory in commands.items():
            manager.commands[command] = table.Entry(command, factory)
        manager.commands['complete'] = table.Entry('complete', 'completion:Complete')

    def build_option_parser(self, description, version, argparse_kwargs=None):
        parser = _Parser(
            prog=self.NAME,
            description=description,
            usage='%(prog)s [options] COMMAND ...',
            add_help=False,
            allow_abbrev=False,
            epilog=f'"{self.NAME} help COMMAND" tells more.',
        )
        parser.add_argument('--version', action='version', version=f'{self.NAME} {version}')
        parser.add_argument('-h', '--help', action='store_true', dest='deferred_help')
        parser.add_argument('--url', help='Where obmd is. Default: OBM_URL.')
        parser.add_argument(
            '--token-file',
            metavar='FILE',
            help='A token, or the admin token. Default: OBM_TOKEN_FILE, or OBM_TOKEN itself.',
        )
        parser.add_argument(
            '--ca-file',
            metavar='FILE',
            help='PEM certificates to check the server with. Default: OBM_CA_FILE, or the '
            "system's.",
        )
        parser.add_argument(
            '--insecure',
            action='store_true',
            default=None,
            help='Take any certificate, and send the token without TLS.',
        )
        parser.add_argument(
            '--config',
            metavar='FILE',
            help=f'Default: OBM_CONFIG, or ~/.config/obm/config.yaml and {settings.SITE_FILE}.',
        )
        parser.add_argument('--debug', action='store_true', help='Print the traceback of an error.')
        parser.add_argument('command', nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
        # cliff reads it
        parser.set_defaults(verbose_level=0)
        self.deferred_help = True
        return parser

    def configure_logging(self):
        handler = logging.StreamHandler(self.stderr)
        handler.setFormatter(_OneLine(self.NAME))
        self.LOG.handlers = [handler]
        self.LOG.propagate = False
        self.LOG.setLevel(logging.WARNING)
        # without a handler Python would print what libraries warn of
        logging.basicConfig(handlers=[logging.NullHandler()], force=True)

    def initialize_app(self, argv):
        if not argv:
            # cliff would start a shell
            self.options.deferred_help = True

    @property
    def client(self):
        if self._client is None:
            from obmd.client import Client

            given = {name: getattr(self.options, name, None) for name in settings.VARIABLES}
            found = settings.load(given, self.options.config)
            for warning in found.warnings:
                self.LOG.warning('%s', warning)
            self._client = Client(
                found.url,
                found.token,
                ca_file=found.ca_file,
                insecure=found.insecure,
                adapter=self._adapter,
            )
        return self._client

    def prepare_to_run_command(self, cmd):
        """Let a command that stumbles over an answer say so."""
        cmd.take_action = _judged(cmd.take_action)
        if hasattr(cmd, 'produce_output'):
            # a table is made of an answer row by row
            cmd.produce_output = _judged(cmd.produce_output)

    def clean_up(self, cmd, result, err):
        if self._client is not None:
            self._client.close()


def _judged(function):
    @functools.wraps(function)
    def judged(*args):
        try:
            return function(*args)
        except (KeyError, TypeError, AttributeError) as error:
            raise errors.BadAnswer(
                'the answer is not as it should be: is this obmd, and as new as obm?'
            ) from error

    return judged


def _run(one, argv):
    try:
        status = one.run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except SystemExit as end:
        # argparse: 0 after help, 2 after a wrong option
        return end.code or 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        status = NO_READER
    if status == NO_READER:
        # the interpreter would flush it once more, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def main(argv=None):
    """:param argv: list of str, without the program's name.  :returns: int, the exit status."""
    return _run(Obm('obm', 'Power, consoles and commands of a fleet.', table.OBM), argv)


def power(argv=None):
    """``power off node01``"""
    return _run(Obm('power', 'Power of nodes.', table.POWER), argv)


def estate(argv=None):
    """``estate change node01 general-small``"""
    return _run(Obm('estate', 'Machine types of nodes.', table.ESTATE), argv)
