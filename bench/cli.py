"""The command line: which measures, how large, where the numbers go."""

import argparse
import dataclasses
import datetime
import os
import resource
import shutil
import signal
import sys

from bench import lab
from bench import report
from bench.measures import MEASURES

RESULTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'results')
_NEEDED = ('ipmi_sim', 'ipmipower', 'ipmitool')


def parser():
    p = argparse.ArgumentParser(prog='python -m bench', description=__doc__.splitlines()[0])
    add = p.add_argument
    add('--only', metavar='NAME', action='append', choices=list(MEASURES), help=', '.join(MEASURES))
    add('--nodes', type=int, metavar='N', help='simulated BMCs of sweep and consoles (1000)')
    add('--repetitions', type=int, metavar='N', help='of each measure that is repeated (5)')
    add('--quick', action='store_true', help='small: shows that it runs, not how fast')
    add('--json', metavar='FILE', help='write here instead of bench/results/<time>.json')
    return p


def main(arguments=None):
    """:returns: int: 0; 1 when a bound is not met (never with ``--quick``) or a measure failed;
    130 when it was interrupted, with what was measured until then."""
    args = parser().parse_args(arguments)
    missing = [name for name in _NEEDED if shutil.which(name) is None]
    if missing:
        print(f'not installed: {", ".join(missing)} (see bindep.txt)', file=sys.stderr)
        return 2
    sizes = lab.Sizes.quick() if args.quick else lab.Sizes()
    given = {'nodes': args.nodes, 'repetitions': args.repetitions}
    sizes = dataclasses.replace(sizes, **{k: v for k, v in given.items() if v})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.signal(signal.SIGTERM, _interrupt)
    facts, rows, broken, interrupted = report.machine(), [], [], False
    try:
        _run(args.only or list(MEASURES), sizes, rows, broken)
    except KeyboardInterrupt:
        interrupted = True
    facts['load_after'] = os.getloadavg()
    print(report.table(rows))
    for name in broken:
        print(f'{name}: failed, see above')
    path = args.json or os.path.join(RESULTS, f'{datetime.datetime.now():%Y%m%d-%H%M%S}.json')
    report.write(path, rows, facts, dataclasses.asdict(sizes))
    print(f'written to {path}')
    if interrupted:
        return 130
    return int(bool(broken) or (not args.quick and any(row.met is False for row in rows)))


def _run(names, sizes, rows, broken):
    """:param rows: list that the measures' rows are added to.
    :param broken: list that the names of those that fail are added to.
    """
    with lab.Lab(sizes, _say) as here:
        for name in MEASURES:
            if name not in names:
                continue
            _say(f'{name} ...')
            try:
                rows += MEASURES[name](here)
            except Exception as error:
                _say(f'{name}: {type(error).__name__}: {error}')
                broken.append(name)


def _interrupt(*_args):
    raise KeyboardInterrupt


def _say(text):
    print(text, file=sys.stderr, flush=True)
