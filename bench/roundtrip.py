"""The round trip to a BMC, through obmd's driver and nothing else.

A process of its own, because the driver lives on green threads:

    echo '{"bmc": {...}, "count": 50}' | python -m bench.roundtrip

prints a JSON list of seconds that each Get Chassis Status took on a warm session.
"""

import json
import subprocess
import sys
import time

from obmd.cmd import startup


def measure(bmc, count):
    """:param bmc: dict of the farm.  :returns: list of seconds."""
    done = subprocess.run(
        [sys.executable, '-m', 'bench.roundtrip'],
        input=json.dumps({'bmc': bmc, 'count': count}),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return json.loads(done.stdout)


def main():
    startup.patch()
    startup.configure([], 'obmd', [])
    from obmd.common.deadline import Deadline
    from obmd.drivers import base
    from obmd.drivers.ipmi.driver import IpmiDriver

    asked = json.load(sys.stdin)
    bmc = asked['bmc']
    info = {'addr': bmc['address'], 'port': bmc['port']}
    info.update(user=bmc['user'], password=bmc['password'])
    driver = IpmiDriver(base.NodeRef(bmc['name'], bmc['name']), IpmiDriver.normalise(info))
    driver.power_status(Deadline(10))
    times = []
    for _ in range(asked['count']):
        started = time.monotonic()
        driver.power_status(Deadline(10))
        times.append(time.monotonic() - started)
    driver.close(Deadline(1))
    json.dump(times, sys.stdout)


if __name__ == '__main__':
    main()
