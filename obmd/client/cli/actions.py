"""``obm action ...``"""

import argparse

from obmd.client import errors
from obmd.client.cli import base
from obmd.client.cli import running


class ActionList(base.Lister):
    """List the commands that may be run."""

    columns = {
        'Name': lambda command: command['name'],
        'Summary': lambda command: command['summary'],
        'Syntax': lambda command: command['syntax'],
        'Ranks': lambda command: command.get('ranks') or [],
    }

    def take_action(self, parsed_args):
        return self.table(self.client.commands.list())


class ActionShow(base.ShowOne):
    """Show a command: what it does, how it is run."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('command', metavar='COMMAND')
        return parser

    def take_action(self, parsed_args):
        return self.table(self.client.commands.get(parsed_args.command))


class _Interleaved(argparse.ArgumentParser):
    """Options may stand anywhere before ``--``; what follows that is the command's."""

    def parse_args(self, args=None, namespace=None):
        args = list(args)
        at = args.index('--') if '--' in args else len(args)
        found, unknown = self.parse_known_intermixed_args(args[:at], namespace)
        if unknown:
            self.error(
                f'unknown option {unknown[0]} (put -- before what is for the command itself)'
            )
        found.words += args[at + 1 :]
        return found


class ActionRun(running.Running):
    """Run a command on nodes: obm action run COMMAND [NODES] [-- ARGUMENT ...]

    NODES is left out if the command takes none. Arguments that do not start with "-" need no "--".
    """

    def get_parser(self, prog_name):
        made = super().get_parser(prog_name)
        parser = _Interleaved(
            prog=prog_name,
            description=made.description,
            formatter_class=made.formatter_class,
            parents=[made],
            add_help=False,
            allow_abbrev=False,
        )
        parser.add_argument('-g', '--group', action='store_true', help=argparse.SUPPRESS)
        parser.add_argument('command', metavar='COMMAND', help='See: obm action list')
        parser.add_argument('words', nargs='*', metavar='NODES ARGUMENT', help=running.NODES_HELP)
        return parser

    def take_action(self, parsed_args):
        command = self.client.commands.get(parsed_args.command)
        nodes, arguments = None, parsed_args.words
        if command['has_context']:
            if not arguments:
                raise errors.ClientError(f'{command["name"]} is run on nodes: say which')
            nodes, *arguments = arguments
        return self.run_job(
            parsed_args,
            command['name'],
            nodes,
            arguments,
            question=command.get('confirmation'),
            ask_from=1,
        )
