"""``obm node ...``"""

from obmd.client import errors
from obmd.client.cli import asking
from obmd.client.cli import base
from obmd.client.cli import each
from obmd.client.cli import files
from obmd.client.cli import running

DELETE = 'Delete %{nodes}, confirm to proceed [y/n]?'


class NodeList(base.Lister):
    """List nodes."""

    columns = {
        'Name': lambda node: node['name'],
        'Driver': lambda node: node.get('driver') or '',
        'Ranks': lambda node: node.get('ranks') or [],
        'Group': lambda node: node.get('conductor_group') or '',
        'Conductor': lambda node: node.get('conductor') or '',
        'Problem': lambda node: node.get('last_error') or '',
    }

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('nodes', nargs='?', metavar='NODES', help=running.NODES_HELP)
        parser.add_argument('--driver', metavar='NAME')
        parser.add_argument('--rank', metavar='RANK')
        parser.add_argument('--group', metavar='NAME', help='Of conductors.')
        parser.add_argument('--conductor', metavar='HOST')
        return parser

    def take_action(self, parsed_args):
        return self.table(
            self.client.nodes.list(
                nodes=parsed_args.nodes,
                driver=parsed_args.driver,
                rank=parsed_args.rank,
                conductor_group=parsed_args.group,
                conductor=parsed_args.conductor,
            )
        )


class _OneNode:
    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('node', metavar='NODE', help='Name or uuid.')
        return parser


class NodeShow(_OneNode, base.ShowOne):
    """Show a node; its credentials are never shown."""

    def take_action(self, parsed_args):
        return self.table(self.client.nodes.get(parsed_args.node))


class NodeEvents(_OneNode, base.Lister):
    """List the newest records of a BMC's event log."""

    columns = {
        'Id': lambda event: event['id'],
        'Time': lambda event: event['time'] or '',
        'Sensor': lambda event: event['sensor'],
        'Event': lambda event: event['event'],
    }

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('--limit', type=int, metavar='N')
        return parser

    def take_action(self, parsed_args):
        return self.table(self.client.nodes.event_log(parsed_args.node, parsed_args.limit))


def _add_description(parser):
    parser.add_argument(
        '--driver', metavar='NAME', help='How it is managed: ipmi, ... See: obm driver list'
    )
    parser.add_argument(
        '--obm',
        metavar='FILE',
        help="What the driver needs to know: YAML or JSON; '-' is standard input. A file, because "
        'a password on a command line can be read by everybody on this machine.',
    )
    parser.add_argument('--rank', action='append', metavar='RANK', help='In order; repeatable.')
    parser.add_argument(
        '--parameter',
        action='append',
        default=[],
        type=_pair,
        metavar='NAME=VALUE',
        help='Given to scripts as a variable; repeatable.',
    )


class NodeCreate(base.ShowOne):
    """Make a node known."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('name', metavar='NAME')
        _add_description(parser)
        parser.add_argument('--group', metavar='NAME', help='Of conductors.')
        return parser

    def take_action(self, parsed_args):
        node = {'name': parsed_args.name, **_description(self.app, parsed_args)}
        if parsed_args.group is not None:
            node['conductor_group'] = parsed_args.group
        return self.table(self.client.nodes.create(node))


class NodeSet(each.Each):
    """Change nodes: ranks, parameters, how they are managed."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('nodes', metavar='NODES', help=running.NODES_HELP)
        _add_description(parser)
        parser.add_argument(
            '--unset-parameter', action='append', default=[], metavar='NAME', help='Repeatable.'
        )
        return parser

    def take_action(self, parsed_args):
        changes = _description(self.app, parsed_args)
        parameters = changes.pop('parameters', {})
        if not (changes or parameters or parsed_args.unset_parameter):
            raise errors.ClientError('nothing is to be changed: see --help')
        gone = parsed_args.unset_parameter

        def change(node):
            mine = dict(changes)
            if parameters or gone:
                # a value that is given replaces all of it
                now = self.client.nodes.get(node).get('parameters') or {}
                mine['parameters'] = {k: v for k, v in (now | parameters).items() if k not in gone}
            self.client.nodes.change(node, mine)
            return 'OK'

        return self.for_each(self.names(parsed_args.nodes), change)


class NodeDelete(each.Each):
    """Delete nodes; asks first when there are several."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('nodes', metavar='NODES', help=running.NODES_HELP)
        parser.add_argument('-y', '--yes', action='store_true', help='Do not ask.')
        return parser

    def take_action(self, parsed_args):
        nodes = self.names(parsed_args.nodes)
        if len(nodes) > 1 and not parsed_args.yes:
            asking.confirm(self.app, asking.about(DELETE, nodes, parsed_args.nodes))
        return self.for_each(nodes, self._delete)

    def _delete(self, node):
        self.client.nodes.delete(node)
        return 'OK'


def _pair(text):
    name, equals, value = text.partition('=')
    if not (name and equals):
        raise ValueError
    return name, value


_pair.__name__ = 'NAME=VALUE'


def _description(app, options):
    """:returns: dict, what the options say of a node."""
    said = {}
    if options.driver is not None:
        info = {} if options.obm is None else files.read(options.obm, app.stdin)
        said['obm'] = {'type': options.driver, 'info': info}
    elif options.obm is not None:
        raise errors.ClientError('--obm needs --driver')
    if options.rank is not None:
        said['ranks'] = options.rank
    if options.parameter:
        said['parameters'] = dict(options.parameter)
    return said
