"""``obmd-manage group ...``: names for ranges of nodes."""

from obmd.api import node_groups
from obmd.cmd.manage import base
from obmd.db import node_groups as rows


class GroupSet(base.Command):
    """Name the nodes of a range, or replace those of a group.

    The name then stands for them in every range: @NAME. They are the nodes that the range names
    now; all of them must exist. A group goes before a rank of the same name.
    """

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('name', metavar='NAME', help='Letters, digits, "_", "." and "-".')
        parser.add_argument('range', metavar='RANGE', help='Such as rack1n[01-40],@gpu.')
        return parser

    def take_action(self, parsed_args):
        base.open_database()
        group, _ = node_groups.keep(parsed_args.name, parsed_args.range)
        base.audit(f'group set {group.name}', group.nodes)
        self.say(f'{group.name}: {base.printable(group.nodes)}')


class GroupList(base.Lister):
    """List the groups and their nodes."""

    def take_action(self, parsed_args):
        base.open_database()
        return ('Name', 'Nodes', 'Changed'), _every_group()


class GroupRemove(base.Command):
    """Forget a group; its nodes stay."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('name', metavar='NAME')
        return parser

    def take_action(self, parsed_args):
        base.open_database()
        node_groups.remove(parsed_args.name)
        base.audit(f'group remove {parsed_args.name}')


def _every_group():
    last = ''
    while page := rows.page(last, base.PAGE):
        yield from (
            (one.name, base.printable(one.nodes), base.when(one.updated_at)) for one in page
        )
        last = page[-1].name
