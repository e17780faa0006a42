"""``obmd-manage token ...``, ``generate-token``, ``generate-jwt-secret``: who may."""

import argparse
import os
import time

from obmd.api import bearer
from obmd.cmd.manage import base
from obmd.common import errors
from obmd.common import secrets
from obmd.db import access_tokens


class TokenNew(base.Command):
    """Make an admin token: print it, or with --write put it where obmd-api reads it.

    A running obmd-api goes on with the old one until it is restarted. Tokens for users are made by
    "generate-token".
    """

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--write',
            action='store_true',
            help='Write it to [api] admin_token_file (0600; default <state_path>/admin-token), '
            'replacing the one there, and print only the name of the file.',
        )
        return parser

    def take_action(self, parsed_args):
        token = secrets.new_token()
        if not parsed_args.write:
            self.say(token)
            return
        path = secrets.admin_token_path()
        secrets.write_secret(path, f'{token}\n')
        self.say(path)


class GenerateJwtSecret(base.Command):
    """Make the secret that access tokens are signed with, and print the name of its file.

    It goes to [actions] jwt_secret_file (0600; default <state_path>/jwt.secret), the same on every
    API host. To take over the tokens of OpenFlight Action, put its secret there instead.
    """

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--force',
            action='store_true',
            help='Replace the one there: every access token ends when obmd-api is restarted.',
        )
        return parser

    def take_action(self, parsed_args):
        path = secrets.jwt_secret_path()
        if os.path.lexists(path) and not parsed_args.force:
            raise errors.InvalidInput(
                f'{path} is there; --force replaces it, and every access token ends'
            )
        secrets.write_secret(path, f'{secrets.new_jwt_secret()}\n')
        self.say(path)


class GenerateToken(base.Command):
    """Make an access token (a JWT) for a user, and print it: for "obm" and flight-action clients.

    Without options it runs every command on every node, for 30 days. "token revoke" ends it before.
    """

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--days',
            type=_number,
            default=bearer.DAYS,
            metavar='N',
            help=f'How long it is good for; default {bearer.DAYS}.',
        )
        parser.add_argument('--label', metavar='TEXT', help='Whose it is, for lists and the audit.')
        parser.add_argument(
            '--commands',
            nargs='+',
            metavar='COMMAND',
            help='The commands that it may run; also separated by commas.',
        )
        parser.add_argument(
            '--nodes',
            metavar='RANGE',
            help='The nodes that it is for, e.g. "rack1n[01-40]" or "@gpu". Commands without nodes '
            'are then refused unless --commands names them.',
        )
        parser.add_argument(
            '--operations',
            nargs='+',
            metavar='OPERATION',
            help='What of /api/v1 it is for: '
            f'{", ".join(bearer.OPERATIONS)}. Default: jobs, which is running commands.',
        )
        return parser

    def take_action(self, parsed_args):
        key = bearer.load_key(secrets.jwt_secret_path())
        base.open_database()
        token, row = bearer.issue(
            key,
            days=parsed_args.days,
            label=parsed_args.label,
            commands=_several(parsed_args.commands),
            nodes=parsed_args.nodes,
            operations=_several(parsed_args.operations),
        )
        _audit('token issue', row)
        self.progress(f'access token {row.jti}, good until {base.when(row.expires_at)}')
        self.say(token)


def _number(text):
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'"{text}" is not a number') from None


def _several(given):
    """``a b`` and ``a,b`` are the same.  :returns: list of str, or None."""
    return None if given is None else [one for text in given for one in text.split(',') if one]


class TokenList(base.Lister):
    """List the access tokens that were issued, the tokens themselves excepted."""

    def take_action(self, parsed_args):
        base.open_database()
        columns = ('Id', 'Label', 'State', 'Expires', 'Commands', 'Nodes', 'Operations', 'Issued')
        return columns, (self._row(token, time.time()) for token in every_token())

    @staticmethod
    def _row(token, now):
        row = (
            token.jti,
            token.label,
            state(token, now),
            base.when(token.expires_at),
            'all' if token.commands is None else ' '.join(token.commands),
            'all' if token.nodes is None else token.nodes,
            bearer.JOBS if token.operations is None else ' '.join(token.operations),
            base.when(token.issued_at),
        )
        return tuple(base.printable(value) for value in row)


def every_token():
    """Yield :class:`obmd.db.access_tokens.AccessToken`, page by page."""
    last = ''
    while page := access_tokens.page(last, base.PAGE):
        yield from page
        last = page[-1].jti


def state(token, now):
    """:returns: str."""
    if token.revoked_at is not None:
        return 'revoked'
    return 'good' if now < token.expires_at else 'expired'


class TokenRevoke(base.Command):
    """End an access token at once, wherever it is used."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('id', metavar='ID', help='Its id, as "token list" has it.')
        return parser

    def take_action(self, parsed_args):
        base.open_database()
        row = access_tokens.revoke(parsed_args.id, time.time())
        if row is None:
            raise errors.NotFound(f'there is no access token "{base.printable(parsed_args.id)}"')
        _audit('token revoke', row)


def _audit(action, row):
    about = f'{row.jti} {row.label}' if row.label else row.jti
    base.audit(action, nodes=row.nodes, detail=about)
