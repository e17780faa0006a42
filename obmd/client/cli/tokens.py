"""``obm token ...``"""

from obmd.client.cli import base


class TokenIssue(base.Command):
    """Print a new token. It is shown this once; with --nodes and the like it may only that."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('--days', type=float, metavar='N', help='Default: 30.')
        parser.add_argument('--label', metavar='TEXT', help='Who it is for.')
        parser.add_argument('--commands', nargs='+', metavar='COMMAND')
        parser.add_argument('--nodes', metavar='NODES', help='rack1n[01-20],@group')
        parser.add_argument(
            '--operations',
            nargs='+',
            metavar='OPERATION',
            help='status, power, boot, console, nodes, jobs. Default: jobs.',
        )
        return parser

    def take_action(self, parsed_args):
        issued = self.client.tokens.issue(
            days=parsed_args.days,
            label=parsed_args.label,
            commands=parsed_args.commands,
            nodes=parsed_args.nodes,
            operations=parsed_args.operations,
        )
        self.say(issued['token'])


class TokenList(base.Lister):
    """List the tokens that were issued."""

    columns = {
        'Id': lambda token: token['jti'],
        'Label': lambda token: token.get('label') or '',
        'State': lambda token: token.get('state') or '',
        'Commands': lambda token: token.get('commands') or 'all',
        'Nodes': lambda token: token.get('nodes') or 'all',
        'Operations': lambda token: token['operations'],
        'Expires': lambda token: token.get('expires_at') or '',
    }

    def take_action(self, parsed_args):
        return self.table(self.client.tokens.list())


class TokenRevoke(base.Command):
    """End a token, now."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('id', metavar='ID', help='See: obm token list')
        return parser

    def take_action(self, parsed_args):
        self.client.tokens.revoke(parsed_args.id)
