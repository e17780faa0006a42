"""Plays a large fleet on the ring: who moves when conductors join, die, flap and restart.

``python -m bench.ring`` needs no server and no BMC.  It uses the product's rings, counts the
statements of the product's claims and hand-overs on SQLite, and exits with 1 when a node moved
without a reason or more moved than the bound allows.
"""

import argparse
import json
import platform
import sys
import time
import tracemalloc
import types
import uuid
from unittest import mock

import tooz.version

from bench import plays
from bench import statements
from bench.fleet import Fleet
from bench.fleet import make_nodes
from obmd.conductor import ownership
from obmd.conf import CONF

SIZES = (1, 2, 5, 10, 20, 50, 100)


def parser():
    p = argparse.ArgumentParser(
        prog='python -m bench.ring', description=__doc__.splitlines()[0]
    )
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
        'versions': {'python': platform.python_version(), 'tooz': tooz.version.version_string()},
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
        'revocation': CONF.console.revocation_check_interval,
    }


def times(size, partitions):
    """What a ring of ``size`` conductors costs the process that computes it.

    :returns: dict: milliseconds of CPU in all and of the longest slice, KiB that it keeps,
        microseconds of a look-up.
    """
    fleet = Fleet([], partitions, plays.random.Random(size))
    members = [fleet.conductor() for _ in range(size)]
    keys = [node.uuid for node in make_nodes(10000, plays.random.Random(0))]
    best = longest = lookup = float('inf')
    for _ in range(3):
        stamps = [time.perf_counter()]
        clock = types.SimpleNamespace(sleep=lambda _: stamps.append(time.perf_counter()))
        with mock.patch.object(ownership, 'time', clock):
            rings = ownership.Rings(members, partitions)
            rings.propose_for(keys[0], '', 'ipmi')
        stamps.append(time.perf_counter())
        best = min(best, stamps[-1] - stamps[0])
        longest = min(longest, max(b - a for a, b in zip(stamps, stamps[1:], strict=False)))
        began = time.perf_counter()
        for key in keys:
            rings.propose_for(key, '', 'ipmi')
        lookup = min(lookup, (time.perf_counter() - began) / len(keys))
    tracemalloc.start()
    rings = ownership.Rings(members, partitions)
    rings.propose_for(str(uuid.UUID(int=0)), '', 'ipmi')
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {
        'conductors': size,
        'build_ms': round(best * 1e3, 2),
        'slice_ms': round(longest * 1e3, 2),
        'kept_kib': round(kept / 1024),
        'lookup_us': round(lookup * 1e6, 2),
    }


# -- what it prints -------------------------------------------------------------------------------


def report(found, changes):
    """:returns: str."""
    parts = [
        f'{found["nodes"]} nodes, {found["partitions"]} partitions a conductor, seed {found["seed"]}',
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
        if change.ratio is None or (change.scenario == 'growth' and size not in sizes):
            continue
        what = change.what if change.scenario in ('racks', 'drivers', 'death') else ''
        grouped.setdefault((change.scenario, size, what), []).append(change)
    lines = [('play', 'conductors', 'changes', 'moved', 'ideal', 'ratio', 'stray', 'max/mean', '')]
    for (scenario, size, what), those in sorted(grouped.items()):
        worst = max(those, key=lambda change: change.ratio)
        lines.append(
            (
                scenario,
                size,
                len(those),
                worst.moved,
                f'{worst.ideal:.0f}',
                f'{worst.ratio:.3f}',
                sum(change.stray for change in those),
                f'{max(change.heaviest for change in those):.3f}',
                what,
            )
        )
    return _table(lines)


def _rates(found):
    """Statements a second at rest, by the size of the fleet."""
    counted, seconds = found['statements'], found['intervals']
    lines = [('conductors', 'writes/s at rest', 'reads/s at rest', 'writes of a join', 'of a death')]
    for size in found['conductors']:
        rest = at_rest(counted, seconds, size)
        share = found['nodes'] / size
        lines.append(
            (
                size,
                f'{rest["writes"]:.1f}',
                f'{rest["reads"]:.0f}',
                f'{share * counted["hand-over"]["writes"]:.0f}',
                f'{share * counted["claim"]["writes"]:.0f}',
            )
        )
    told = [('what', 'writes', 'reads')]
    told += [(name, one['writes'], one['reads']) for name, one in counted.items()]
    return f'{_table(told)}\n\n{_table(lines)}'


def at_rest(counted, seconds, size):
    """:returns: dict, statements a second of ``size`` conductors when nothing happens: beats,
    looks, and the check of tokens."""
    told = {}
    for kind in ('writes', 'reads'):
        often = counted['heartbeat'][kind] + counted['look'][kind]
        told[kind] = size * (
            often / seconds['heartbeat'] + counted['token check'][kind] / seconds['revocation']
        )
    return told


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
