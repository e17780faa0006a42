"""``obm estate ...``"""

from obmd.client.cli import running

CHANGE = (
    'Change machine type for %{nodes}. If powered on it will be rebooted. Confirm to proceed [y/n]?'
)


class EstateShow(running.Running):
    """Print the machine types of nodes."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        running.add_nodes(parser)
        return parser

    def take_action(self, parsed_args):
        return self.run_job(parsed_args, 'estate-show', parsed_args.nodes)


class EstateChange(running.Running):
    """Change the machine type of nodes; asks first, for those that are on are rebooted."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        running.add_nodes(parser)
        parser.add_argument('type', metavar='TYPE', help='general-small, compute-large, ...')
        return parser

    def take_action(self, parsed_args):
        return self.run_job(
            parsed_args,
            'estate-change',
            parsed_args.nodes,
            [parsed_args.type],
            question=CHANGE,
            ask_from=1,
        )
