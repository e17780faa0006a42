"""``obmd-manage conductor remove``: a conductor that will not come back."""

import time

from obmd.cmd.manage import base
from obmd.cmd.manage import conductors as shared
from obmd.common import errors
from obmd.conf import CONF
from obmd.db import conductors

#: seconds between two looks at a beat
LOOK = 0.2


class ConductorRemove(shared.OneHost, base.Command):
    """Declare a conductor dead that will not come back: others claim its nodes at once.

    Its beat is watched first: one that lives is not removed. The row goes when its nodes have
    new owners. Its drain is forgotten.
    """

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--watch',
            type=shared.seconds,
            metavar='SECONDS',
            help='How long its beat must stand still. Default: [conductor] heartbeat_ttl. Less, '
            'down to twice heartbeat_interval, only if you know that the machine is off: cut off '
            'from the database, it may act on its BMCs for up to heartbeat_ttl.',
        )
        return parser

    def take_action(self, parsed_args):
        watch, least = parsed_args.watch, 2 * CONF.conductor.heartbeat_interval
        watch = CONF.conductor.heartbeat_ttl if watch is None else watch
        if watch < least:
            raise errors.InvalidInput(
                f'--watch must be {least:g} or more: twice [conductor] heartbeat_interval'
            )
        base.open_database()
        host, name = parsed_args.host, base.printable(parsed_args.host)
        rows = shared.rows_of(host)
        if shared.alive(rows):
            self.progress(f'watching for {watch:g} s whether {name} lives')
            self._watch(host, shared.alive(rows), watch)
        left = shared.left_with([row.incarnation for row in rows])
        for row in rows:
            conductors.undrain(row.incarnation)
            if not shared.left_with([row.incarnation]):
                conductors.remove(row.incarnation)
        if not left:
            self.say(f'{name} is removed')
            return
        count = sum(left.values())
        self.say(f'{name} is dead; {shared.many(count)} to be claimed, then its row goes')
        for line in shared.takers(left)[0]:
            self.say(f'  {line}')

    def _watch(self, host, rows, watch):
        """Mark ``rows`` dead once their beats have stood still.  :raises Unavailable: it lives."""
        known = {row.incarnation: row for row in rows}
        until = time.monotonic() + watch
        while True:
            for one in shared.alive(shared.find(host)):
                seen = known.get(one.incarnation)
                if seen is None or seen.beat != one.beat:
                    raise _lives(one)
            if time.monotonic() >= until:
                break
            time.sleep(LOOK)
        for row in rows:
            if not conductors.mark_dead(row.incarnation, row.beat):
                # It has beaten in the last moment, or others have said that it is dead.
                for one in shared.alive(shared.find(host)):
                    raise _lives(one)


def _lives(row):
    return errors.Unavailable(
        f'{base.printable(row.host)} ({base.printable(row.callback_url)}) lives: its beat moves. '
        'Stop it; or "obmd-manage conductor drain"'
    )
