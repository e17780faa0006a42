"""``obm audit ...``"""

import itertools

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
        parser.add_argument('--since', metavar='TIME', help='2026-11-20, 2026-11-20T10:00:00Z')
        parser.add_argument('--until', metavar='TIME')
        parser.add_argument('--node', metavar='NODE')
        parser.add_argument('--subject', metavar='WHO', help='admin, or a token by id or label.')
        parser.add_argument('--command', metavar='COMMAND', help='Jobs of this command.')
        parser.add_argument('--job', metavar='JOB')
        parser.add_argument(
            '--most', type=int, default=100, metavar='N', help='Entries. Default: 100.'
        )
        return parser

    def take_action(self, parsed_args):
        names = ('since', 'until', 'node', 'subject', 'command', 'job')
        found = self.client.audit.list(**{name: getattr(parsed_args, name) for name in names})
        return self.table(itertools.islice(found, parsed_args.most))
