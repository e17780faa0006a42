"""``obmd-manage token ...``"""

from obmd.cmd.manage import base
from obmd.common import secrets


class TokenNew(base.Command):
    """Make an admin token: print it, or with --write put it where obmd-api reads it.

    A running obmd-api goes on with the old one until it is restarted.
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
