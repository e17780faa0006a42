"""Moves nodes between real conductors, over RabbitMQ and PostgreSQL: how many a second, and what
the database has to write for it.

``python -m bench.moves --nodes 2000`` starts two conductors and a third, ends the third by SIGTERM,
starts it again and kills it.  The nodes are of the driver ``mock``: no console is captured, no BMC
answers slowly; it is obmd's own work that is measured.
"""

import argparse
import signal
import sys
import time

from tests.functional.deployment import Split
from tests.functional.services import PostgreSQL
from tests.functional.services import RabbitMQ

#: seconds that a move of all may take
PATIENCE = 300.0
_THIRD = "(SELECT incarnation FROM conductors WHERE host = 'c3' AND state = 'live')"


def main(arguments=None):
    """:returns: int, 0."""
    p = argparse.ArgumentParser(prog='python -m bench.moves', description=__doc__.split(':')[0])
    p.add_argument('--nodes', type=int, default=2000, metavar='N', help='(2000)')
    args = p.parse_args(arguments)
    with RabbitMQ() as rabbitmq, PostgreSQL() as postgresql:
        with Split(rabbitmq, postgresql, conductors=3, workers=1) as split:
            for number in range(args.nodes):
                split.register(f'n{number}', 'mock', {})
            split.wait_for()
            for line in _moves(split):
                print('  '.join(line), flush=True)
    return 0


def _moves(split):
    third = split.conductors[2]
    yield _measure(split, 'leaves', lambda: third.send(signal.SIGTERM), 'nothing', 3)
    third.wait(30)
    yield _measure(split, 'joins', third.start, 'its share', 2)
    yield _measure(split, 'dies', third.kill, 'nothing', 3)


def _measure(split, what, act, until, _before):
    """From the first node that moves to the last: a death is noticed a time-to-live later.

    :returns: tuple of str.
    """
    before, written = _owners(split), _written(split)
    act()
    first = last = None
    now, seen = before, before
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        time.sleep(0.1)
        now = _owners(split)
        if now != seen:
            last = time.monotonic()
            first = first or last
            seen = now
        elif first and time.monotonic() - last > 5 and None not in now.values():
            break
    moved = sum(now[name] != owner for name, owner in before.items())
    seconds = max(0.1, last - first + 0.1)
    writes = _written(split) - written
    return (
        f'one of three {what}: {moved} nodes in {seconds:.1f} s,',
        f'{moved / seconds:.0f} a second, {writes / moved:.2f} rows written for each',
    )


def _owners(split):
    lines = split.query('SELECT name, owner FROM nodes').splitlines()
    pairs = (line.split('|') for line in lines)
    return {name: owner or None for name, owner in pairs}


def _written(split):
    """Rows of nodes that were changed since the start."""
    split.query('SELECT pg_stat_force_next_flush()')
    return int(split.query("SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'nodes'"))


if __name__ == '__main__':
    sys.exit(main())
