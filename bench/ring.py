"""Plays a large fleet on the ring: who moves when conductors join, die, flap and restart.

``python -m bench.ring`` needs no server and no BMC.  It uses the product's rings, counts the
statements of the product's claims and hand-overs on SQLite, and exits with 1 when a node moved
without a reason or more moved than the bound allows.
"""

import argparse
import importlib.metadata
import itertools
import json
import math
import platform
import random
import sys
import time
import tracemalloc
import types
from unittest import mock

from bench import plays
from bench import statements
from bench.fleet import Fleet
from bench.fleet import make_nodes
from obmd.conductor import ownership
from obmd.conductor import revocation
from obmd.conf import CONF
from obmd.db import nodes

SIZES = (1, 2, 5, 10, 20, 50, 100)
#: look-ups timed, and how often each time is taken: the least is told, the machine has other work
LOOKUPS, REPETITIONS = 10000, 5


def parser():
    p = argparse.ArgumentParser(prog='python -m bench.ring', description=__doc__.splitlines()[0])
    add = p.add_argument
    add('--nodes', type=_positive, metavar='N', default=100000, help='(100000)')
    add(
        '--conductors',
        type=_sizes,
        metavar='N,N,...',
        default=SIZES,
        help='grows one by one to the largest; deaths and the rest are played at each ('
        f'{",".join(map(str, SIZES))})',
    )
    add('--partitions', type=_positive, metavar='N', default=512, help='(512)')
    add('--seed', type=int, metavar='N', default=1, help='the same seed draws the same fleet (1)')
    add('--json', metavar='FILE', help='write what was found there')
    return p


def _positive(text):
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError('must be 1 or more')
    return value


def _sizes(text):
    return tuple(sorted({_positive(part) for part in text.split(',')}))


def main(arguments=None):
    """:returns: int: 0; 1 when a change broke its bound."""
    args = parser().parse_args(arguments)
    began = time.monotonic()
    changes = []
    for change in plays.play(args.nodes, args.conductors, args.partitions, args.seed):
        changes.append(change)
        if sys.stderr.isatty():
            print(f'\r{change.scenario:9} {change.after:4}', end='', file=sys.stderr)
    found = {
        'nodes': args.nodes,
        'conductors': args.conductors,
        'partitions': args.partitions,
        'seed': args.seed,
        'statements': statements.count(),
        'intervals': intervals(),
        'times': [times(size, args.partitions) for size in args.conductors],
        'versions': {
            'python': platform.python_version(),
            'tooz': importlib.metadata.version('tooz'),
        },
        'changes': [change.to_json() for change in changes],
    }
    print(report(found, changes))
    print(f'\n{len(changes)} changes played in {time.monotonic() - began:.0f} s')
    if args.json:
        write(args.json, found)
    broken = [change for change in changes if not change.met]
    for change in broken:
        print(f'broken: {change}', file=sys.stderr)
    return int(bool(broken))


def intervals():
    """:returns: dict, seconds between what goes on by itself."""
    return {
        'heartbeat': CONF.conductor.heartbeat_interval,
        'token check': revocation.EARLY * CONF.console.revocation_check_interval,
    }


def times(size, partitions):
    """What a ring of ``size`` conductors costs the process that computes it.

    :returns: dict: milliseconds of CPU in all and of the longest slice, KiB that it keeps,
        microseconds of a look-up.
    """
    fleet = Fleet([], partitions, random.Random(size))
    members = [fleet.conductor() for _ in range(size)]
    keys = [node.uuid for node in make_nodes(LOOKUPS, random.Random(0))]
    runs = [_slices(members, partitions) for _ in range(REPETITIONS)]
    rings = ownership.Rings(members, partitions)
    lookups = [_seconds(rings, keys) for _ in range(REPETITIONS)]
    return {
        'conductors': size,
        'ring_ms': round(min(sum(slices) for slices in runs) * 1e3, 2),
        'slice_ms': round(min(max(slices) for slices in runs) * 1e3, 2),
        'kib': _kept(members, partitions),
        'lookup_us': round(min(lookups) / len(keys) * 1e6, 2),
    }


def _slices(members, partitions):
    """:returns: list of float, seconds of CPU between the moments at which others may run."""
    stamps = [time.process_time()]

    def sleep(_seconds):
        stamps.append(time.process_time())

    with mock.patch.object(ownership, 'time', types.SimpleNamespace(sleep=sleep)):
        _first_lookup(ownership.Rings(members, partitions))
    stamps.append(time.process_time())
    return [later - sooner for sooner, later in itertools.pairwise(stamps)]


def _seconds(rings, keys):
    _first_lookup(rings)
    began = time.process_time()
    for key in keys:
        rings.propose_for(key, '', 'ipmi')
    return time.process_time() - began


def _kept(members, partitions):
    tracemalloc.start()
    try:
        rings = ownership.Rings(members, partitions)
        _first_lookup(rings)
        return round(tracemalloc.get_traced_memory()[0] / 1024)
    finally:
        tracemalloc.stop()


def _first_lookup(rings):
    rings.propose_for('', '', 'ipmi')


# -- what it prints -------------------------------------------------------------------------------


def report(found, changes):
    """:returns: str."""
    parts = [
        '{nodes} nodes, {partitions} partitions a conductor, seed {seed}'.format(**found),
        _moves(changes, found['conductors']),
        _rates(found),
        _costs(found['times']),
    ]
    return '\n\n'.join(parts)


def _moves(changes, sizes):
    """One line for each play and size: the worst of its changes."""
    grouped = {}
    for change in changes:
        size = max(change.before, change.after)
        if not (change.ideal or change.orphaned):
            continue
        if change.scenario == 'growth' and size not in sizes:
            continue
        what = change.what if change.scenario in ('racks', 'drivers', 'death') else ''
        grouped.setdefault((change.scenario, size, what), []).append(change)
    head = ('play', 'conductors', 'changes', 'moved', 'ideal', 'ratio', 'stray', 'no owner')
    lines = [(*head, 'max/mean', '')]
    for (scenario, size, what), those in sorted(grouped.items()):
        worst = max(those, key=lambda change: change.ratio or 0)
        lines.append(
            (
                scenario,
                size,
                len(those),
                worst.moved,
                f'{worst.ideal:.0f}',
                f'{worst.ratio:.3f}' if worst.ratio else '',
                sum(change.stray for change in those),
                worst.orphaned,
                f'{max(change.heaviest for change in those):.3f}',
                what,
            )
        )
    return _table(lines)


def _rates(found):
    counted = found['statements']
    told = [('database', 'writes', 'reads')]
    told += [(name, one['writes'], one['reads']) for name, one in counted.items()]
    lines = [('conductors', 'writes/s', 'reads/s', 'writes of a join', 'of a death')]
    for size in found['conductors']:
        rest, share = at_rest(found, size), found['nodes'] / size
        lines.append(
            (
                size,
                f'{rest["writes"]:.1f}',
                f'{rest["reads"]:.1f}',
                f'{share * counted["hand-over"]["writes"]:.0f}',
                f'{share * counted["claim"]["writes"]:.0f}',
            )
        )
    return f'{_table(told)}\n\n{_table(lines)}'


def at_rest(found, size):
    """What ``size`` conductors ask of the database when nothing happens: beats, looks, and the
    check of all their nodes' tokens.

    :returns: dict: statements a second.
    """
    counted, seconds = found['statements'], found['intervals']
    queries = math.ceil(found['nodes'] / size / nodes.CHUNK)
    return {
        kind: size
        * (
            (counted['heartbeat'][kind] + counted['look'][kind]) / seconds['heartbeat']
            + counted['token check'][kind] * queries / seconds['token check']
        )
        for kind in ('writes', 'reads')
    }


def _costs(those):
    lines = [('conductors', 'ring, ms', 'longest slice, ms', 'KiB', 'look-up, us')]
    lines += [tuple(one.values()) for one in those]
    return _table(lines)


def _table(lines):
    lines = [[str(cell) for cell in line] for line in lines]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return '\n'.join(
        '  '.join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def write(path, found):
    """One change a line, so that two runs can be compared."""
    changes = ',\n  '.join(json.dumps(change) for change in found['changes'])
    rest = json.dumps({k: v for k, v in found.items() if k != 'changes'}, indent=1)
    with open(path, 'w') as file:
        file.write(f'{rest[:-2]},\n "changes": [\n  {changes}\n ]\n}}\n')


if __name__ == '__main__':
    sys.exit(main())
