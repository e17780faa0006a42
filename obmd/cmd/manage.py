"""``obmd-manage``: what an operator does to the database and the keys.

It talks to the database and to files of this machine only, never to a BMC or a running service,
and is safe to use while they run.
"""

import argparse
import logging
import os
import sys
import time

from cliff import app
from cliff import command
from cliff import commandmanager
from cliff import lister
from cliff import show
from oslo_config import cfg

from obmd.common import errors
from obmd.common import secrets
from obmd.conf import CONF
from obmd.db import conductors
from obmd.db import engine
from obmd.db import nodes
from obmd.version import VERSION

NAME = 'obmd-manage'
#: rows that are read at once
PAGE = 200
_FILES = (
    'Configuration file, repeatable: the last one wins. Default: obmd.conf in ~/.obmd, ~, '
    '/etc/obmd and /etc. OS_<GROUP>__<OPTION> in the environment sets one option, e.g. '
    'OS_DATABASE__CONNECTION.'
)


def _printable(value):
    """A BMC's words and a node's name may hold escape sequences: not for a terminal."""
    text = '' if value is None else str(value)
    return ''.join(c if c.isprintable() else c.encode('unicode_escape').decode() for c in text)


def _when(seconds):
    """:returns: str, a wall time in UTC, or ''."""
    return time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(seconds)) if seconds else ''


def _every_node():
    """Yield :class:`obmd.db.nodes.Node`, page by page, by id."""
    last = 0
    while page := nodes.page(last, PAGE):
        yield from (node for _, node in page)
        last = page[-1][0]


def _open_database():
    engine.setup()
    engine.check_schema()


class _Configured:
    """Mixed into each command: its help shows the options that all of them take."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--config-file',
            action='append',
            metavar='FILE',
            help=_FILES,
        )
        return parser


class Command(_Configured, command.Command):
    def say(self, text):
        self.app.stdout.write(f'{text}\n')

    def progress(self, text):
        self.app.stderr.write(f'{text}\n')


class Lister(_Configured, lister.Lister):
    pass


class ShowOne(_Configured, show.ShowOne):
    pass


# -- db ---------------------------------------------------------------------------------------


class DbUpgrade(Command):
    """Create or update the tables of the database.

    Run it once before the services first start, and after each update of obmd, before the
    updated services start. It does nothing when there is nothing to do; two at once wait for
    each other.
    """

    def take_action(self, parsed_args):
        engine.setup()
        before = engine.version()
        engine.upgrade()
        if before == engine.version():
            self.say(f'already at revision {before}')
        else:
            self.say(f'from revision {before or "nothing"} to {engine.version()}')


class DbVersion(Command):
    """Print the revision that the database has, and the one that this obmd needs."""

    def take_action(self, parsed_args):
        engine.setup()
        self.say(f'database: {engine.version() or "empty"}')
        self.say(f'obmd: {engine.head()}')


class DbCheck(Command):
    """Check that the services can use the database: reachable, and at the right revision.

    Says nothing and exits with 0 when they can; for scripts.
    """

    def take_action(self, parsed_args):
        _open_database()


# -- keys -------------------------------------------------------------------------------------


class KeyNew(Command):
    """Make a key pair to which BMC credentials are sealed; add one when there is one already.

    Writes [secrets] private_key_file (0600) and public_key_file. Give the private file to every
    conductor first and to nobody else, then the public file to every API host. The older keys
    stay in the private file, so that what is sealed to them can be opened; "obmd-manage rekey"
    seals it to the newest.
    """

    def take_action(self, parsed_args):
        private, public = secrets.key_paths()
        make = secrets.add_key if os.path.exists(private) else secrets.create_keys
        made = make(private, public)
        self.say(f'key {made.key_id}')
        self.say(f'private, for the conductors: {private}')
        self.say(f'public, for the API: {public}')


class KeyList(Lister):
    """List the keys of this machine by id: never the keys themselves."""

    def take_action(self, parsed_args):
        private, public = secrets.key_paths()
        rows = []
        if os.path.exists(private):
            keyring = secrets.Keyring.load(private)
            newest = keyring.public.key_id
            rows += [(one, 'private', private, one == newest) for one in keyring.key_ids]
        if os.path.exists(public) or not rows:
            rows.append((secrets.PublicKey.load(public).key_id, 'public', public, True))
        return ('Key id', 'Half', 'File', 'Newest'), rows


class Rekey(Command):
    """Seal every node's BMC credentials to the newest key.

    After "obmd-manage key new", once every conductor has the new private file. Needs that file,
    so run it where a conductor runs. Services may go on meanwhile; what is at the newest key
    already is left alone, so it can be run again.
    """

    def take_action(self, parsed_args):
        _open_database()
        keyring = secrets.Keyring.load(secrets.key_paths()[0])
        newest = keyring.public
        seen = done = failed = 0
        for node in _every_node():
            seen += 1
            if node.key_id != newest.key_id:
                try:
                    done += self._reseal(node, keyring)
                except (errors.SealMismatch, errors.KeyMissing) as error:
                    failed += 1
                    self.progress(f'{_printable(node.name)}: {error.reason}')
            if seen % PAGE == 0:
                self.progress(f'{seen} nodes seen, {done} sealed anew')
        self.progress(f'{seen} nodes seen, {done} sealed anew, {failed} failed')
        self.say(f'newest key: {newest.key_id}')
        return 1 if failed else 0

    @staticmethod
    def _reseal(node, keyring):
        info = secrets.open_info(keyring, node)
        sealed, key_id = secrets.seal_info(
            keyring.public, node.uuid, node.driver, node.address, info
        )
        return nodes.reseal(node.uuid, node.sealed_info, sealed, key_id)


# -- nodes ------------------------------------------------------------------------------------


class _OneNode(_Configured):
    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('node', metavar='NODE', help='Name of the node.')
        return parser


def _unknown(name):
    return errors.NotFound(f'there is no node "{_printable(name)}"', node=name)


class NodeRetry(_OneNode, Command):
    """Let obmd try a node's credentials again after its BMC has refused them.

    obmd stops at the first refusal, because a BMC may lock the account out. Use this when the
    password was changed at the BMC to what obmd has; otherwise register the node anew.
    """

    def take_action(self, parsed_args):
        _open_database()
        if not nodes.retry_credentials(parsed_args.node):
            raise _unknown(parsed_args.node)


class NodeList(Lister):
    """List the nodes: where their BMCs are, who owns them, what is wrong."""

    def take_action(self, parsed_args):
        _open_database()
        hosts = {one.incarnation: one.host for one in conductors.all()}
        columns = ('Name', 'Type', 'Address', 'Group', 'Owner', 'Token', 'Problem')
        return columns, (self._row(node, hosts) for node in _every_node())

    @staticmethod
    def _row(node, hosts):
        row = (
            node.name,
            node.driver,
            node.address,
            node.conductor_group,
            hosts.get(node.owner, node.owner),
            'yes' if node.token_id else 'no',
            node.credentials_refused or node.last_error,
        )
        return tuple(_printable(value) for value in row)


class NodeShow(_OneNode, ShowOne):
    """Show what the database has of a node, without its secrets."""

    def take_action(self, parsed_args):
        _open_database()
        node = nodes.get(parsed_args.node)
        if node is None:
            raise _unknown(parsed_args.node)
        shown = {
            'name': node.name,
            'uuid': node.uuid,
            'type': node.driver,
            'address': node.address,
            'group': node.conductor_group,
            'owner': node.owner,
            'owner_epoch': node.owner_epoch,
            'key_id': node.key_id,
            'token_issued_at': _when(node.token_issued_at),
            'credentials_refused': node.credentials_refused,
            'credentials_refused_at': _when(node.credentials_refused_at),
            'sol_holder': node.sol_holder,
            'target_power_state': node.target_power_state,
            'target_until': _when(node.target_until),
            'target_reason': node.target_reason,
            'last_error': node.last_error,
            'created_at': _when(node.created_at),
            'updated_at': _when(node.updated_at),
        }
        return tuple(shown), tuple(_printable(value) for value in shown.values())


class ConductorList(Lister):
    """List the conductors that the database knows, dead ones included.

    A row of a dead conductor stays until its nodes have new owners. The beat of a live one moves
    from one look to the next.
    """

    def take_action(self, parsed_args):
        _open_database()
        columns = ('Host', 'Group', 'Kind', 'State', 'Beat', 'Nodes', 'Types', 'Callback URL')
        columns += ('Key ids', 'Version', 'Started', 'Incarnation')
        return columns, [self._row(one) for one in conductors.all()]

    @staticmethod
    def _row(one):
        row = (
            one.host,
            one.conductor_group,
            one.kind,
            one.state,
            one.beat,
            len(nodes.owned_by(one.incarnation)),
            ' '.join(one.drivers),
            one.callback_url,
            ' '.join(one.key_ids),
            one.version,
            _when(one.started_at),
            one.incarnation,
        )
        return tuple(_printable(value) for value in row)


# -- tokens -----------------------------------------------------------------------------------


class TokenNew(Command):
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


COMMANDS = {
    'db upgrade': DbUpgrade,
    'db version': DbVersion,
    'db check': DbCheck,
    'key new': KeyNew,
    'key list': KeyList,
    'rekey': Rekey,
    'node retry': NodeRetry,
    'node list': NodeList,
    'node show': NodeShow,
    'conductor list': ConductorList,
    'token new': TokenNew,
}


class _OneLine(logging.Formatter):
    def format(self, record):
        line = f'{NAME}: {_printable(" ".join(record.getMessage().split()))}'
        if record.exc_info:
            line += '\n' + self.formatException(record.exc_info)
        return secrets.scrub(line)


class Manage(app.App):
    NAME = NAME
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
            prog=NAME,
            description=description,
            add_help=False,
            allow_abbrev=False,
            epilog='"obmd-manage help COMMAND" tells more.',
        )
        parser.add_argument('--version', action='version', version=f'{NAME} {version}')
        parser.add_argument('-h', '--help', dest='deferred_help', action='store_true')
        parser.add_argument('--config-file', action='append', metavar='FILE', help=_FILES)
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
            CONF(files, project='obmd', prog=NAME)
        except cfg.Error as error:
            raise errors.Fatal(str(error)) from None

    def clean_up(self, cmd, result, err):
        engine.dispose()


def main(argv=None):
    """:param argv: list of str, without the program's name.  :returns: int, the exit status."""
    try:
        return Manage().run(sys.argv[1:] if argv is None else argv)
    except SystemExit as end:
        # argparse: 0 after help, 2 after a wrong option
        return end.code or 0
