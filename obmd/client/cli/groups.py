"""``obm group ...``"""

from obmd.client.cli import base


class _OneGroup:
    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('name', metavar='NAME', help='Without the "@".')
        return parser


class GroupList(base.Lister):
    """List the names for node ranges."""

    columns = {'Name': lambda group: group['name'], 'Nodes': lambda group: group['nodes']}

    def take_action(self, parsed_args):
        return self.table(self.client.groups.list())


class GroupShow(_OneGroup, base.ShowOne):
    """Show a group."""

    def take_action(self, parsed_args):
        return self.table(self.client.groups.get(parsed_args.name))


class GroupSet(_OneGroup, base.Command):
    """Make a group, or give it other nodes."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('nodes', metavar='NODES', help='rack1n[01-20],n7')
        return parser

    def take_action(self, parsed_args):
        self.client.groups.put(parsed_args.name, parsed_args.nodes)


class GroupDelete(_OneGroup, base.Command):
    """Delete a group, not its nodes."""

    def take_action(self, parsed_args):
        self.client.groups.delete(parsed_args.name)
