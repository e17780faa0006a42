"""``obm driver ...``"""

from obmd.client.cli import base


class DriverList(base.Lister):
    """List the kinds of BMCs that nodes may have."""

    columns = {
        'Name': lambda driver: driver['name'],
        'Capabilities': lambda driver: driver['capabilities'],
    }

    def take_action(self, parsed_args):
        return self.table(self.client.drivers.list())


class DriverShow(base.ShowOne):
    """Show a driver, and what it needs to know of a node."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('name', metavar='NAME')
        return parser

    def take_action(self, parsed_args):
        return self.table(self.client.drivers.get(parsed_args.name))
