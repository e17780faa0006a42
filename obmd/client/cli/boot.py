"""``obm boot ...``"""

from obmd.client.cli import each
from obmd.client.cli import running


class BootShow(each.Each):
    """Print what nodes boot from next."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        running.add_nodes(parser)
        return parser

    def take_action(self, parsed_args):
        return self.for_each(self.names(parsed_args.nodes), self._show)

    def _show(self, node):
        return self.client.nodes.boot_device(node)['device']


class BootSet(each.Each):
    """Set what nodes boot from next."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        running.add_nodes(parser)
        parser.add_argument('device', metavar='DEVICE', help='disk, pxe, bios, ...')
        return parser

    def take_action(self, parsed_args):
        nodes = self.names(parsed_args.nodes)
        return self.for_each(nodes, lambda node: self._set(node, parsed_args.device))

    def _set(self, node, device):
        return self.client.nodes.set_boot_device(node, device)['device']
