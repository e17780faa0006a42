"""``obmd-manage conductor list``, and what the other commands for conductors share."""

import argparse
import math
import time

from obmd.cmd.manage import base
from obmd.common import errors
from obmd.conductor import ownership
from obmd.conf import CONF
from obmd.db import conductors
from obmd.db import owners

#: rows that are read at once where only the rings look at them
PAGE = 2000
#: seconds that a command may be told to wait, at most
LONGEST = 86400.0
SILENT = 'silent'


def seconds(text):
    """A time for argparse.  :returns: float, above 0 and at most a day."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= LONGEST:
        raise argparse.ArgumentTypeError(f'a number of seconds above 0 and up to {LONGEST:g}')
    return value


class OneHost(base.Configured):
    """Mixed into commands about one conductor."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'host', metavar='HOST', help='The conductor, by its name in "conductor list".'
        )
        return parser


def find(host):
    """:returns: list of ``conductors.Conductor``, those of ``host``: a dead one beside a new."""
    # Compared here: not every database compares names as bytes.
    return [row for row in conductors.all() if row.host == host]


def rows_of(host):
    """As :func:`find`.  :raises NotFound: there is none."""
    found = find(host)
    if not found:
        raise errors.NotFound(
            f'there is no conductor "{base.printable(host)}": see "obmd-manage conductor list"'
        )
    return found


def alive(rows):
    """:returns: list, those whose row says that they run."""
    return [row for row in rows if row.state in conductors.ALIVE]


def left_with(incarnations):
    """:returns: dict of (group, driver) -> how many nodes ``incarnations`` own."""
    left = {}
    for (_owner, group, driver), count in owners.owned_counts(incarnations).items():
        left[group, driver] = left.get((group, driver), 0) + count
    return left


def takers(left):
    """Who is to own nodes once their owner has lost them, by the rows as they are now.

    :param left: as of :func:`left_with`.
    :returns: ``(lines, stay)``: list of str for a person, and how many nodes nobody takes.
    """
    rows = alive(conductors.all())
    hosts = {row.incarnation: row.host for row in rows}
    rings = ownership.Rings(rows, CONF.conductor.ring_partitions)
    lines, stay = [], 0
    for (group, driver), count in sorted(left.items()):
        members = sorted(hosts[one] for one in rings.members(group, driver))
        if members:
            named = f'group {group!r}' if group else 'no group'
            line = f'{many(count)} of {named} with driver {driver}: for {", ".join(members)}'
        else:
            stay += count
            line = f'{many(count)}: {ownership.why_nobody(group, driver, rows)}'
        lines.append(base.printable(line))
    return lines, stay


def many(count):
    return f'{count} node' if count == 1 else f'{count} nodes'


class ConductorList(base.Lister):
    """List the conductors that the database knows, dead ones included.

    State is what the row says: "live", "leaving" (it is being stopped and hands its nodes over)
    or "dead". One that was killed is "live" in its row until others have watched its beat stand
    still for [conductor] heartbeat_ttl: --watch tells it from one that lives. A drained one owns
    nothing from when its nodes are handed over until it is undrained. A dead one's row stays until
    its nodes have new owners, and while it is drained.
    """

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--watch',
            type=seconds,
            metavar='SECONDS',
            help='Watch the beats for so long first: a conductor whose beat stands still is '
            'listed as "silent". Should be longer than [conductor] heartbeat_interval.',
        )
        parser.add_argument(
            '--share',
            action='store_true',
            help='Also list how many nodes each should own. Looks at every node.',
        )
        return parser

    def take_action(self, parsed_args):
        base.open_database()
        silent = self._silent(parsed_args.watch) if parsed_args.watch else set()
        rows = sorted(conductors.all(), key=_order)
        owned = {}
        for (owner, _group, _driver), count in owners.owned_counts().items():
            owned[owner] = owned.get(owner, 0) + count
        share = _shares(rows, silent) if parsed_args.share else None
        columns = ('Host', 'Group', 'Kind', 'State', 'Drained', 'Beat', 'Nodes')
        columns += ('Share',) if parsed_args.share else ()
        columns += ('Types', 'Callback URL', 'Key ids', 'Version', 'Started', 'Incarnation')
        return columns, [_cells(row, silent, owned, share) for row in rows]

    def _silent(self, watch):
        """:returns: set, incarnations whose beat has not moved within ``watch`` seconds."""
        beats = {row.incarnation: row.beat for row in alive(conductors.all())}
        self.app.stderr.write(f'watching the beats for {watch:g} s\n')
        time.sleep(watch)
        return {
            row.incarnation
            for row in alive(conductors.all())
            if row.incarnation in beats and row.beat == beats[row.incarnation]
        }


def _order(row):
    return row.host, row.started_at, row.incarnation


def _shares(rows, silent):
    """:returns: dict of incarnation -> number of nodes that the rings give it."""
    living = [row for row in rows if row.incarnation not in silent]
    rings = ownership.Rings(living, CONF.conductor.ring_partitions)
    shares, last = {}, 0
    while page := owners.placements(last, PAGE):
        for _id, uuid, group, driver, _owner in page:
            owner = rings.propose_for(uuid, group, driver)
            shares[owner] = shares.get(owner, 0) + 1
        last = page[-1][0]
    return shares


def _cells(row, silent, owned, share):
    cells = [
        row.host,
        row.conductor_group,
        row.kind,
        SILENT if row.incarnation in silent else row.state,
        'yes' if row.drained else 'no',
        row.beat,
        owned.get(row.incarnation, 0),
    ]
    if share is not None:
        cells.append(share.get(row.incarnation, 0))
    cells += [
        ' '.join(row.drivers),
        row.callback_url,
        ' '.join(row.key_ids),
        row.version,
        base.when(row.started_at),
        row.incarnation,
    ]
    return tuple(cell if isinstance(cell, int) else base.printable(cell) for cell in cells)
