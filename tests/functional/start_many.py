"""A conductor that owns many nodes starts: when are all consoles captured, at which cost?

    python -m tests.functional.start_many [--nodes 2000]

needs CAP_NET_RAW, to count the logins under way at once.
"""

import argparse
import collections
import sys
import time

from tests.functional import services
from tests.functional.deployment import Split
from tests.functional.deployment import wait_until
from tests.functional.farm import Farm
from tests.functional.logins import Logins
from tests.functional.sol_watch import SolWatch

#: seconds until all are captured, and logins at once
CAPTURED, AT_ONCE = 30.0, 100
CONFIG = {
    'conductor': {'heartbeat_interval': 2, 'heartbeat_ttl': 10},
    'console': {'capture': 'always', 'retry_min': 1, 'retry_max': 60},
    'ipmi': {'deadline': 5, 'sol_probe_interval': 3, 'probe_timeout': 3},
}


def captured(split, count):
    """Whether so many consoles are captured by a live conductor, their rows say."""
    found = split.query(
        'SELECT count(*) FROM nodes n JOIN conductors c ON c.incarnation = n.owner '
        "WHERE c.state = 'live' AND n.sol_holder LIKE n.owner || ' %' "
        "AND n.sol_holder NOT LIKE '% opening'"
    )
    return int(found) == count


def start(split, bmcs):
    """:returns: (float, seconds from the start until all are captured; Logins)."""
    began = time.monotonic()
    with Logins(bmcs[0]['port']) as logins:
        split.conductors[0].start()
        wait_until(lambda: captured(split, len(bmcs)), 300, 'all consoles captured', 0.2)
        took = time.monotonic() - began
    return took, logins


def main(arguments=None):
    """:returns: int, exit status: 1 when a bound is not met."""
    parser = argparse.ArgumentParser(prog='python -m tests.functional.start_many')
    parser.add_argument('--nodes', type=int, default=2000)
    args = parser.parse_args(arguments)
    farm = Farm(args.nodes, rate=0.2, power_on=True, boot_delay=0.05)
    with farm, services.RabbitMQ() as rabbitmq, services.PostgreSQL() as postgresql:
        with Split(rabbitmq, postgresql, conductors=1, workers=1, config=CONFIG) as split:
            for bmc in farm.bmcs:
                split.register_bmc(bmc)
            wait_until(lambda: captured(split, args.nodes), 300, 'all captured at first', 1)
            at = time.monotonic()
            split.conductors[0].stop(timeout=60)
            print(f'stopped in {time.monotonic() - at:.1f} s')
            took, logins = start(split, farm.bmcs)
            print(f'{args.nodes} consoles captured {took:.1f} s after the start (at most 30)')
            print(f'{logins.most} logins at once (at most 100), {logins.count} in all')
            with SolWatch(farm.bmcs, 2) as watch:
                unheld = watch.unheld(60)
            print(f'{len(unheld)} BMCs have no SOL session')
            lines = split.sweep(f'node[0001-{args.nodes:04d}]', deadline=20)
            on = sum(line.get('power_status') == 'on' for _, line in lines)
            print(f'{on} answer')
            wrong = collections.Counter(str(line.get('error'))[:200] for _, line in lines)
            for error, count in wrong.most_common(5):
                print(f'{count}: {error}')
    good = took <= CAPTURED and logins.most <= AT_ONCE and not unheld and on == args.nodes
    return int(not good)


if __name__ == '__main__':
    sys.exit(main())
