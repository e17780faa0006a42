"""``obm audit ...``"""

from obmd.client.cli import base


class AuditList(base.Lister):
    """List who did what on which nodes, from where, with which result."""

    columns = {
        'At': lambda entry: entry['at'],
        'Subject': lambda entry: entry.get('label') or entry['subject'],
        'User': lambda entry: entry.get('claimed_user') or '',
        'Source': lambda entry: entry.get('source') or '',
        'Action': lambda entry: entry['action'],
        'Nodes': lambda entry: entry.get('nodes') or '',
        'Outcome': lambda entry: entry.get('outcome') or '',
    }

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('--since', metavar='TIME', help='2026-11-20T10:00:00+00:00')
        parser.add_argument('--node', metavar='NODE')
        parser.add_argument('--subject', metavar='ID')
        return parser

    def take_action(self, parsed_args):
        return self.table(
            self.client.audit.list(
                since=parsed_args.since, node=parsed_args.node, subject=parsed_args.subject
            )
        )
