"""Many faults in a row, on a large deployment: what ``make chaos`` runs.

Three conductors own hundreds of simulated BMCs with captured consoles, over RabbitMQ and
PostgreSQL.  Random faults hit them one after the other; after each, every node is owned once and
by one that lives, every console is captured by its owner, nobody fights, no lock is left, and no
token is alive that was revoked.  The same seed gives the same faults.
"""

import argparse
import dataclasses
import os
import random
import shutil
import sys
import time
import traceback

from tests.functional import cluster as clusters
from tests.functional import faults
from tests.functional import services
from tests.functional.farm import Farm


def parser():
    p = argparse.ArgumentParser(
        prog='python -m tests.functional.chaos',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = p.add_argument
    add('--faults', type=int, default=100, metavar='N', help='how many (100)')
    add('--seed', type=int, help='of their choice; made up and told by default')
    add('--nodes', type=int, help='simulated BMCs (600, with --small 60)')
    add('--each', action='store_true', help='each fault once, in their order, and a table')
    add('--only', action='append', choices=list(faults.FAULTS), help='this fault; repeatable')
    add('--brisk', action='store_true', help='less than half of the time-outs')
    add('--small', action='store_true', help='short time-outs, as the tests have')
    add('--logs', metavar='DIR', help='keep what the services wrote there when something fails')
    return p


def plan(args):
    """:returns: list of (fault's name, number of the conductor that it hits)."""
    chosen = args.only or list(faults.FAULTS)
    choice = random.Random(args.seed)
    if args.each:
        return [(name, choice.choice((1, 2, 3))) for name in chosen]
    return [(choice.choice(chosen), choice.choice((1, 2, 3))) for _ in range(args.faults)]


class Record:
    """What was measured, and what went wrong."""

    def __init__(self):
        self.worst = {}
        self.failed = []
        self.done = 0

    def take(self, name, measured):
        for what, value, bound in measured:
            values = self.worst.setdefault((name, what, bound), [])
            values.append(value)

    def table(self):
        """:returns: str."""
        lines = [f'{"fault":18} {"measured":40} {"median":>8} {"worst":>8} {"bound":>8} {"n":>4}']
        for (name, what, bound), values in self.worst.items():
            values = sorted(values)
            limit = '' if bound is None else f'{bound:.1f}'
            lines.append(
                f'{name:18} {what:40} {values[len(values) // 2]:8.2f} {values[-1]:8.2f} '
                f'{limit:>8} {len(values):4}'
            )
        return '\n'.join(lines)


def run(cluster, steps, record, logs=None):
    """Let all ``steps`` happen; ends early only when the deployment does not recover."""
    for number, (name, conductor) in enumerate(steps, 1):
        print(f'-- {number}/{len(steps)}: {name}, c{conductor}', flush=True)
        cluster.measured.clear()
        began = time.monotonic()
        try:
            cluster.wait_balanced()
            cluster.check_calm()
            faults.FAULTS[name](cluster, conductor)
        except Exception as error:
            record.failed.append((number, name, f'{type(error).__name__}: {error}'[:500]))
            traceback.print_exc()
            _keep(cluster, logs, number)
            _repair(cluster)
        record.take(name, cluster.measured)
        record.done += 1
        cluster.watch.forget(began)
        print(f'   {time.monotonic() - began:.0f} s', flush=True)


def _keep(cluster, folder, number):
    if folder is None:
        return
    for process in cluster.split.processes:
        name = f'{number:03d}-{os.path.basename(process.path)}'
        os.makedirs(folder, exist_ok=True)
        shutil.copy(process.path, os.path.join(folder, name))


def _repair(cluster):
    """Whatever failed, the next fault finds everything running."""
    for conductor in cluster.split.conductors:
        if conductor.returncode is not None:
            conductor.start()
        conductor.resume()


def main(arguments=None):
    """:returns: int, exit status: 1 when a promise was broken."""
    args = parser().parse_args(arguments)
    if args.seed is None:
        args.seed = random.randrange(1_000_000)
    sizes = clusters.SMALL if args.small else clusters.BRISK if args.brisk else clusters.LARGE
    sizes = dataclasses.replace(sizes, nodes=args.nodes or sizes.nodes)
    steps = plan(args)
    print(f'{len(steps)} faults on {sizes.nodes} nodes, seed {args.seed}', flush=True)
    record = Record()
    farm = Farm(sizes.nodes, rate=sizes.rate, power_on=True, boot_delay=0.05)
    with farm, services.RabbitMQ() as rabbitmq, services.PostgreSQL() as postgresql:
        with clusters.deployed(farm, rabbitmq, postgresql, sizes) as cluster:
            run(cluster, steps, record, args.logs)
    print(record.table())
    for number, name, why in record.failed:
        print(f'FAILED {number}: {name}: {why}')
    print(f'{record.done} faults, {len(record.failed)} failed, seed {args.seed}')
    return int(bool(record.failed))


if __name__ == '__main__':
    sys.exit(main())
