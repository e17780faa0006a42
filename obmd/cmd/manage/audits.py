"""``obmd-manage audit ...``: who did what."""

import argparse
import datetime
import re
import time

from obmd.cmd.manage import base
from obmd.common import ranges
from obmd.db import audit

#: entries that are printed unless ``--limit`` says otherwise
LIMIT = 100
_AGO = re.compile('([0-9]{1,9})([smhd])')
_SECONDS = {'s': 1, 'm': 60, 'h': 3600, 'd': 86400}


class AuditList(base.Lister):
    """List who did what on which nodes, from where, with which result; the newest first."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--since',
            type=_moment,
            metavar='TIME',
            help='From then on: 2026-11-20, 2026-11-20T12:00 (UTC), or 30m, 12h, 7d ago.',
        )
        parser.add_argument('--until', type=_moment, metavar='TIME', help='Before then.')
        parser.add_argument(
            '--subject', metavar='WHO', help='"admin", or the id or label of an access token.'
        )
        parser.add_argument('--command', metavar='NAME', help='Only jobs of this command.')
        parser.add_argument('--action', metavar='ACTION', help='Only this, e.g. "token revoke".')
        parser.add_argument('--job', metavar='ID', help='Only what belongs to this job.')
        parser.add_argument('--node', metavar='NAME', help='Only what this node was part of.')
        parser.add_argument(
            '--limit',
            type=_count,
            default=LIMIT,
            metavar='N',
            help=f'Entries at most; default {LIMIT}.',
        )
        return parser

    def take_action(self, parsed_args):
        base.open_database()
        columns = ('At', 'Who', 'Claims', 'From', 'Action', 'Nodes', 'Outcome', 'Job', 'Detail')
        return columns, map(_row, _entries(parsed_args))


class AuditForget(base.Command):
    """Delete the entries of before a time, for good; this is an entry itself."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--before',
            type=_moment,
            required=True,
            metavar='TIME',
            help='As for "audit list", e.g. 365d.',
        )
        return parser

    def take_action(self, parsed_args):
        base.open_database()
        total = 0
        while count := audit.forget(parsed_args.before, base.PAGE):
            total += count
        base.audit('audit forget', detail=f'before {base.when(parsed_args.before)}')
        self.say(f'{total} deleted')


def _entries(asked):
    """Yield :class:`obmd.db.audit.Entry`, the newest first."""
    action = f'command {asked.command}' if asked.command else asked.action
    given, last = 0, None
    while given < asked.limit:
        page = audit.page(
            asked.since, asked.until, asked.subject, action, asked.job, last, base.PAGE
        )
        for entry in page:
            if given < asked.limit and _is_about(entry, asked.node):
                given += 1
                yield entry
        if len(page) < base.PAGE:
            return
        last = page[-1].id


def _is_about(entry, node):
    return node is None or ranges.includes(entry.nodes, node)


def _row(entry):
    who = f'{entry.subject} ({entry.label})' if entry.label else entry.subject
    uid = None if entry.claimed_uid is None else f'uid {entry.claimed_uid}'
    row = (
        base.when(entry.at),
        who,
        ' '.join(filter(None, (entry.claimed_user, uid))),
        ' '.join(filter(None, (entry.source, entry.door))),
        entry.action,
        entry.nodes,
        entry.outcome,
        entry.job_uuid,
        entry.detail,
    )
    return tuple(base.printable(value) for value in row)


def _count(text):
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 1_000_000):
        raise argparse.ArgumentTypeError(f'"{text}" is not a number from 1 to 1000000')
    return int(text)


def _moment(text):
    """:returns: float, seconds since the epoch."""
    ago = _AGO.fullmatch(text)
    if ago:
        return time.time() - int(ago[1]) * _SECONDS[ago[2]]
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f'"{text}" is no time such as 2026-11-20, 2026-11-20T12:00 or 12h'
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()
