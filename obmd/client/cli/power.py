"""``obm power ...``"""

from obmd.client.cli import asking
from obmd.client.cli import each
from obmd.client.cli import running

OFF = 'Power off %{nodes}, confirm to proceed [y/n]?'
CYCLE = 'Power cycle %{nodes}, confirm to proceed [y/n]?'
SOFT = 'Shut down %{nodes}, confirm to proceed [y/n]?'


class _Power(running.Running):
    command = question = None

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        running.add_nodes(parser)
        return parser

    def take_action(self, parsed_args):
        return self.run_job(parsed_args, self.command, parsed_args.nodes, question=self.question)


class PowerOn(_Power):
    """Power nodes on."""

    command = 'power-on'


class PowerOff(_Power):
    """Power nodes off, at once; asks first when there are several."""

    command = 'power-off'
    question = OFF


class PowerCycle(_Power):
    """Power nodes off and on again; asks first when there are several."""

    command = 'power-cycle'
    question = CYCLE


class PowerStatus(_Power):
    """Print whether nodes are on. Exit status: 0 on, 123 off or stopping, 124 sleeping."""

    command = 'power-status'


class PowerSoft(each.Each):
    """Ask the operating systems of nodes to shut down; asks first when there are several."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        running.add_nodes(parser)
        parser.add_argument('-y', '--yes', '--confirm', action='store_true', help='Do not ask.')
        return parser

    def take_action(self, parsed_args):
        nodes = self.names(parsed_args.nodes)
        if len(nodes) > 1 and not parsed_args.yes:
            asking.confirm(self.app, asking.about(SOFT, nodes, parsed_args.nodes))
        return self.for_each(nodes, self._soft)

    def _soft(self, node):
        self.client.nodes.set_power(node, 'soft_off')
        return 'OK'
