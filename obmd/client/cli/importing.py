"""``obm node import``: the nodes.yaml of flight-action-api, through the API."""

import collections

from obmd.client import errors
from obmd.client.cli import base
from obmd.client.cli import each
from obmd.client.cli import files

#: of the file, no node
META = '__meta__'
_NO_NUMBERS = (float('inf'), float('-inf'))


class NodeImport(each.Each):
    """Make the nodes of a file known: NAME: {ranks: [metal], anything: ...}

    Ranks and parameters of nodes that are known already become those of the file. Nodes that are
    not in the file stay as they are. A driver's credentials (ipmi_username, ipmi_password, ...)
    are stored as such and cannot be read back: a node with them always counts as changed.
    """

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('file', metavar='FILE', help="YAML; '-' is standard input.")
        parser.add_argument('--dry-run', action='store_true', help='Change nothing, tell.')
        return parser

    def take_action(self, parsed_args):
        given = nodes_of(files.read(parsed_args.file, self.app.stdin))
        known = {node['name'] for node in self.client.nodes.list()}
        counts = collections.Counter()

        def put(name):
            done = self._put(name, given[name], name in known, parsed_args.dry_run)
            counts[done] += 1
            return done

        status = self.for_each(list(given), put, named=True)
        left = len(known - given.keys())
        told = [f'{count} {word}' for word, count in sorted(counts.items())]
        if failed := len(given) - sum(counts.values()):
            told.append(f'{failed} refused')
        if left:
            told.append(f'{left} that are not in the file left as they are')
        self.app.stderr.write(f'{self.app.NAME}: {", ".join(told) or "nothing to do"}\n')
        return status

    def _put(self, name, given, is_known, dry_run):
        """:returns: str, what became of it."""
        if not is_known:
            if not dry_run:
                self.client.nodes.create({'name': name, **given})
            return 'created'
        known = self.client.nodes.get(name)
        if all(known.get(key) == value for key, value in given.items()):
            return 'unchanged'
        if not dry_run:
            self.client.nodes.change(name, given)
        return 'changed'


def nodes_of(said):
    """:param said: dict, what the file says.

    :returns: dict of name -> ``{"ranks": list of str, "parameters": dict}``.
    :raises ClientError: naming the node.
    """
    found = {}
    for name, node in said.items():
        if name == META:
            continue
        label = base.printable(name)
        _check(label, {name: node})
        if not isinstance(node, dict | None):
            raise errors.ClientError(f'{label}: names and values are expected')
        parameters = dict(node or {})
        ranks = parameters.pop('ranks', None) or []
        # one rank may be written without brackets
        ranks = [ranks] if isinstance(ranks, str) else ranks
        if not (isinstance(ranks, list) and all(isinstance(rank, str) for rank in ranks)):
            raise errors.ClientError(f'{label}: ranks must be a list of names')
        found[name] = {'ranks': ranks, 'parameters': parameters}
    if not found:
        raise errors.ClientError('the file names no node')
    return found


def _check(label, value):
    """:raises ClientError: YAML made of a word what JSON does not have, or what was not meant."""
    if isinstance(value, dict):
        for name, inner in value.items():
            # 007 is 7 there, and on is true
            if not isinstance(name, str):
                raise errors.ClientError(f'{label}: the name {base.printable(name)} needs quotes')
            _check(label, inner)
    elif isinstance(value, list):
        for inner in value:
            _check(label, inner)
    elif not isinstance(value, str | bool | int | float | None) or value in _NO_NUMBERS:
        raise errors.ClientError(f'{label}: the value {base.printable(value)} needs quotes')
    elif value != value:
        raise errors.ClientError(f'{label}: the value nan needs quotes')
