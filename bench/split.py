"""Measures API and conductors over RabbitMQ and PostgreSQL: calls, nodes that move, and what the
database has to do for them.

``python -m bench.split`` starts one API process and three conductors, calls them, ends the third by
SIGTERM, starts it again and kills it.  The nodes are of the driver ``mock``: no console is captured
and no BMC is waited for; obmd's own work is measured.
"""

import argparse
import signal
import sys
import time

from bench import clients
from tests.functional.deployment import Split
from tests.functional.services import PostgreSQL
from tests.functional.services import RabbitMQ

#: seconds that a move of all may take
PATIENCE = 300.0
#: callers at once, and seconds for which they call
CALLERS, BUSY = 32, 8.0
#: seconds after which PostgreSQL's counters hold what was done
SETTLE = 2.0


def main(arguments=None):
    """:returns: int, 0."""
    p = argparse.ArgumentParser(prog='python -m bench.split', description=__doc__.split(':')[0])
    p.add_argument('--nodes', type=int, default=2000, metavar='N', help='(2000)')
    args = p.parse_args(arguments)
    with RabbitMQ() as rabbitmq, PostgreSQL() as postgresql:
        with Split(rabbitmq, postgresql, conductors=3, workers=1) as split:
            for number in range(args.nodes):
                split.register(f'n{number}', 'mock', {})
            split.wait_for()
            third = split.conductors[2]
            print(_calls(split, args.nodes), flush=True)
            print(_moves(split, 'leaves', lambda: third.send(signal.SIGTERM)), flush=True)
            third.wait(30)
            print(_moves(split, 'joins', third.start), flush=True)
            print(_moves(split, 'dies', third.kill), flush=True)
    return 0


def _calls(split, nodes):
    """``power_status`` of mock nodes over the bus.  :returns: str."""
    asks = []
    for number in range(min(CALLERS, nodes)):
        path = f'/node/n{number}/power_status?token={split.token(f"n{number}")}'
        asks.append(clients.request('GET', path))
    time.sleep(SETTLE)
    start = _transactions(split)
    time.sleep(BUSY)
    before = _transactions(split)
    with clients.Loop() as loop:
        callers = [clients.Caller(('127.0.0.1', split.port), ask) for ask in asks]
        for caller in callers:
            loop.add(caller)
        loop.run(BUSY)
    answered = sorted(seconds for caller in callers for seconds in caller.times)
    time.sleep(SETTLE)
    asked = _transactions(split) - before - (before - start) * (1 + SETTLE / BUSY)
    return (
        f'one API process: {len(answered) / BUSY:.0f} calls a second from {len(asks)} callers, '
        f'median {1000 * answered[len(answered) // 2]:.1f} ms, '
        f'{asked / len(answered):.1f} transactions each'
    )


def _moves(split, what, act):
    """From the first node that moves to the last: a death is noticed a time-to-live later.

    :returns: str.
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
    if first is None:
        raise TimeoutError(f'one of three {what}: nothing moved within {PATIENCE:g} s')
    moved = sum(now[name] != owner for name, owner in before.items())
    seconds = max(0.1, last - first + 0.1)
    writes = _written(split) - written
    return (
        f'one of three {what}: {moved} nodes in {seconds:.1f} s, '
        f'{moved / seconds:.0f} a second, {writes / moved:.2f} rows written for each'
    )


def _owners(split):
    lines = split.query('SELECT name, owner FROM nodes').splitlines()
    pairs = (line.split('|') for line in lines)
    return {name: owner or None for name, owner in pairs}


def _written(split):
    """:returns: int, rows of nodes that were changed since the start."""
    return int(split.query("SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'nodes'"))


def _transactions(split):
    text = f"SELECT xact_commit FROM pg_stat_database WHERE datname = '{split.database}'"
    return int(split.query(text))


if __name__ == '__main__':
    sys.exit(main())
