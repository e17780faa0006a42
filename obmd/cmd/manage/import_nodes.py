"""``obmd-manage import-nodes``: nodes out of a file, as OpenFlight Action had it."""

import sys

from obmd.api import registration
from obmd.cmd.manage import base
from obmd.common import errors
from obmd.common import names
from obmd.common import parameters
from obmd.common import ranges
from obmd.common import ranks
from obmd.common import secrets
from obmd.common import yaml_files
from obmd.db import descriptions
from obmd.db import nodes
from obmd.db import ranks as rank_rows
from obmd.drivers import registry

#: bytes of a file; nodes in it
LARGEST, MOST = 64 * 2**20, 100_000
_META = '__meta__'
CREATED, CHANGED, UNCHANGED, REFUSED = 'created', 'changed', 'unchanged', 'refused'
#: what becomes of an outcome in a dry run
_WOULD = {CREATED: 'would be created', CHANGED: 'would be changed'}
#: characters of names that a line of the summary may have
_SHOWN = 2000


class ImportNodes(base.Command):
    """Register the nodes of a YAML file, or change those that are known to what it says.

    The file is a map: NAME: {ranks: [metal, ...], PARAMETER: VALUE, ...}. Anchors work, and what
    is under __meta__ is dropped. Parameters that are credentials of a driver, such as
    ipmi_username and ipmi_password, are sealed and cannot be read again. A node that is known and
    not in the file stays as it is.

    Whether a password is another can be seen only where the conductors' private key is; elsewhere
    passwords are kept as they are unless --credentials is given.
    """

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('file', metavar='FILE', help='A nodes.yaml; - is standard input.')
        parser.add_argument(
            '--dry-run', action='store_true', help='Tell what would be done, and do nothing.'
        )
        parser.add_argument(
            '--group',
            metavar='GROUP',
            help='Conductor group of new nodes. Default: by the address of the BMC, as [api] says.',
        )
        parser.add_argument(
            '--credentials',
            action='store_true',
            help='Take the credentials of the file even where those that are there cannot be '
            'compared with them.',
        )
        return parser

    def take_action(self, parsed_args):
        told = read(parsed_args.file)
        registry.load()
        base.open_database()
        work = _Import(told, parsed_args)
        for name, fields in told.items():
            outcome, why = work.take(name, fields)
            if outcome != UNCHANGED:
                self.say(_line(name, outcome, why, parsed_args.dry_run))
        self._sum_up(work, told)
        if not parsed_args.dry_run:
            work.record()
        if work.names[REFUSED]:
            raise errors.Fatal(f'{len(work.names[REFUSED])} nodes were refused')

    def _sum_up(self, work, told):
        counts = ', '.join(f'{len(names)} {outcome}' for outcome, names in work.names.items())
        self.say(f'{counts}{" (dry run: nothing was done)" if work.dry_run else ""}')
        if work.uncompared:
            self.say(
                f'not compared: the credentials of {_folded(work.uncompared)}: the private key is '
                'not here; --credentials takes those of the file'
            )
        others = [node.name for node in base.every_node() if node.name not in told]
        if others:
            self.say(f'not in the file, and left alone: {_folded(others)}')


def _line(name, outcome, why, dry_run):
    told = _WOULD.get(outcome, outcome) if dry_run else outcome
    return f'{base.printable(name)}: {told}{f": {base.printable(why)}" if why else ""}'


def _folded(names):
    text = base.printable(ranges.fold(names))
    return text if len(text) <= _SHOWN else f'{text[:_SHOWN]}... ({len(names)} in all)'


class _Import:
    """:ivar names: dict outcome -> list of the nodes' names.
    :ivar uncompared: list of str, nodes whose credentials nobody here can read.
    """

    def __init__(self, told, parsed_args):
        private, public = secrets.key_paths()
        self._public_key = secrets.PublicKey.load(public)
        self._keyring = _keyring(private)
        self._group = parsed_args.group
        self._credentials = parsed_args.credentials
        self.dry_run = parsed_args.dry_run
        self.names = {outcome: [] for outcome in (CREATED, CHANGED, UNCHANGED, REFUSED)}
        self.uncompared = []
        found = nodes.by_names([name for name in told if isinstance(name, str)])
        self._known = {node.name: node for node in found}
        self._ranks = rank_rows.among(node.uuid for node in found)
        self._parameters = descriptions.parameters(node.uuid for node in found)

    def take(self, name, fields):
        """:returns: (outcome, str: what changed or why not)."""
        try:
            outcome, why = self._take(name, fields)
        except (errors.Unavailable, errors.Fatal):
            raise
        except errors.ObmdError as error:
            outcome, why = REFUSED, error.reason
        self.names[outcome].append(name if isinstance(name, str) else str(name))
        return outcome, why

    def _take(self, name, fields):
        body = _body(name, fields)
        node = self._known.get(name)
        known = registration.NONE if node is None else node.driver
        found, left = registration.account(name, body['parameters'], known)
        parameters.check(left)
        if node is None:
            return self._create(name, body | {'parameters': left}, found)
        return self._change(node, body['ranks'], left, found)

    def _create(self, name, body, found):
        names.check(name)
        type_, info = found or (registration.NONE, {})
        registration.check(type_, info)
        if self._group is not None:
            body['conductor_group'] = self._group
        if not self.dry_run:
            registration.create(
                self._public_key, {'name': name, 'obm': {'type': type_, 'info': info}, **body}
            )
        return CREATED, '' if found else 'no credentials, so nothing but scripts'

    def _change(self, node, words, left, found):
        body = {}
        if words != self._ranks.get(node.uuid, []):
            body['ranks'] = words
        if left != self._parameters.get(node.uuid, {}):
            body['parameters'] = left
        if found is not None and self._is_new_account(node, *found):
            body['obm'] = {'type': found[0], 'info': found[1]}
        if not body:
            return UNCHANGED, ''
        if not self.dry_run:
            registration.change(self._public_key, node, body)
        return CHANGED, ', '.join('credentials' if one == 'obm' else one for one in body)

    def _is_new_account(self, node, type_, info):
        same = registration.compare(self._keyring, node, type_, info)
        if same is None and not self._credentials:
            self.uncompared.append(node.name)
            return False
        return not same

    def record(self):
        """One entry of the audit trail for each outcome."""
        for outcome in (CREATED, CHANGED):
            if self.names[outcome]:
                base.audit(f'node import: {outcome}', ranges.fold(self.names[outcome]))


def _keyring(path):
    """:returns: :class:`obmd.common.secrets.Keyring`, or None: not on this machine, or not ours."""
    try:
        return secrets.Keyring.load(path)
    except errors.Fatal:
        return None


def _body(name, fields):
    """:returns: dict with ``ranks`` (list) and ``parameters`` (dict).  :raises InvalidInput:"""
    if not isinstance(name, str):
        raise errors.InvalidInput('a name must be text: put it in quotes')
    if fields is None:
        fields = {}
    if not isinstance(fields, dict):
        raise errors.InvalidInput('must be a map of ranks and parameters')
    left = {key: value for key, value in fields.items() if key != 'ranks'}
    return {'ranks': ranks.check(fields.get('ranks') or []), 'parameters': left}


# -- the file ---------------------------------------------------------------------------------


def read(path):
    """:param path: str; ``-`` is standard input.

    :returns: dict of name -> fields, without ``__meta__``; neither is judged yet.
    :raises Fatal: it cannot be read as such a file; the reason has the line.
    """
    text = _text(path)
    shown = 'standard input' if path == '-' else path
    try:
        told = yaml_files.load(text, names_once=True)
    except yaml_files.Invalid as error:
        where = f', line {error.line}' if error.line else ': this is no YAML that can be read'
        raise errors.Fatal(f'{shown}{where}: {error}') from None
    if told is None:
        told = {}
    if not isinstance(told, dict):
        raise errors.Fatal(f'{shown}: it is no map of nodes')
    told.pop(_META, None)
    if len(told) > MOST:
        raise errors.Fatal(f'{shown}: it has more than {MOST} nodes')
    return told


def _text(path):
    """:returns: bytes.  :raises Fatal:"""
    try:
        if path == '-':
            text = sys.stdin.buffer.read(LARGEST + 1)
        else:
            with open(path, 'rb') as file:
                text = file.read(LARGEST + 1)
    except OSError as error:
        raise errors.Fatal(f'{path}: {error.strerror}') from None
    if len(text) > LARGEST:
        raise errors.Fatal(f'{path}: it is longer than {LARGEST} bytes')
    return text
