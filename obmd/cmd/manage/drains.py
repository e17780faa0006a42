"""``obmd-manage conductor drain`` and ``undrain``: a conductor that is to own nothing."""

import time

from obmd.cmd.manage import base
from obmd.cmd.manage import conductors as shared
from obmd.common import errors
from obmd.db import conductors
from obmd.db import owners

#: seconds between two looks at what is left
LOOK = 0.5
#: nodes that are named when they stay
NAMED = 5


class ConductorDrain(shared.OneHost, base.Command):
    """Let a conductor hand all its nodes over to the others of its group, and own nothing.

    It goes on running, and the drain lasts until "conductor undrain", however often it is
    restarted. Nodes for which there is no other conductor stay where they are.
    """

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--wait',
            action='store_true',
            help='Return when it owns nothing; with status 1 when nodes stay.',
        )
        parser.add_argument(
            '--timeout',
            type=shared.seconds,
            default=600.0,
            metavar='SECONDS',
            help='How long --wait waits. Default: 600.',
        )
        return parser

    def take_action(self, parsed_args):
        base.open_database()
        host = parsed_args.host
        incarnations = _drain(host)
        left = shared.left_with(incarnations)
        total = sum(left.values())
        self.say(f'{base.printable(host)} is drained: it owns {shared.many(total)}')
        for line in shared.takers(left)[0]:
            self.say(f'  {line}')
        if parsed_args.wait:
            self._wait(host, incarnations, total, parsed_args.timeout)

    def _wait(self, host, incarnations, total, timeout):
        until = time.monotonic() + timeout
        shown = Shown(self.app.stderr, total)
        while True:
            rows = shared.find(host)
            incarnations |= {row.incarnation for row in rows}
            left = shared.left_with(incarnations)
            count = sum(left.values())
            shown.show(count)
            if not count:
                return
            if not any(row.drained for row in rows):
                raise errors.Unavailable(
                    f'{base.printable(host)} is not drained any more; it owns {shared.many(count)}'
                )
            lines, stay = shared.takers(left)
            if stay == count:
                raise errors.Unavailable(f'nodes stay where they are: {"; ".join(lines)}')
            if time.monotonic() > until:
                raise errors.Unavailable(
                    f'{shared.many(count)} still there after {timeout:g} s: {_named(incarnations)}'
                )
            time.sleep(LOOK)


class ConductorUndrain(shared.OneHost, base.Command):
    """Let a drained conductor have its share of the nodes again, by hand-over from the others."""

    def take_action(self, parsed_args):
        base.open_database()
        host = parsed_args.host
        name = base.printable(host)
        rows, was = shared.rows_of(host), False
        # A start may take the drain from one row to the next in this moment.
        while any(row.drained for row in rows):
            for row in rows:
                was = conductors.undrain(row.incarnation) or was
            rows = shared.find(host)
        if not was:
            self.say(f'{name} is not drained')
        elif shared.alive(rows):
            self.say(f'{name} is not drained any more: it takes its share')
        else:
            self.say(f'{name} is not drained any more; it is not running')


class Shown:
    """What is left, on one line of a terminal, or line by line as it changes."""

    def __init__(self, stream, total):
        self._stream = stream
        self._total = total
        self._last = None

    def show(self, count):
        if count == self._last:
            return
        self._last = count
        self._total = max(self._total, count)
        line = f'nodes left: {count} of {self._total}'
        if self._stream.isatty():
            self._stream.write(f'\r\x1b[K{line}' + ('' if count else '\n'))
        else:
            self._stream.write(f'{line}\n')
        self._stream.flush()


def _drain(host):
    """:returns: set of str, the incarnations of ``host`` that were drained.

    :raises Unsupported: an all-in-one.  :raises Unavailable: it does not run.
    """
    rows = shared.rows_of(host)
    name = base.printable(host)
    if any(row.kind == conductors.ALL_IN_ONE for row in shared.alive(rows)):
        raise errors.Unsupported(
            f'{name} is an all-in-one: it is alone, and nobody could take its nodes'
        )
    drained = {row.incarnation for row in shared.alive(rows) if conductors.drain(row.incarnation)}
    if not drained:
        if any(row.drained for row in rows):
            raise errors.Unavailable(f'{name} is drained already; it is not running')
        raise errors.Unavailable(f'{name} is not running: its nodes are claimed by others')
    return drained


def _named(incarnations):
    """:returns: str, some of the nodes that stay, and what runs on them."""
    found = []
    for incarnation in sorted(incarnations):
        found += owners.owned_by(incarnation, NAMED + 1)
    named = [
        f'{node.name} ({node.lock_purpose})' if node.lock_purpose else node.name
        for node in found[:NAMED]
    ]
    return base.printable(', '.join(named) + (', ...' if len(found) > NAMED else ''))
