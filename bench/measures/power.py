"""Single calls about one node."""

import time

from bench import clients
from bench import peers
from bench import roundtrip
from bench.report import Row
from bench.report import Samples

#: calls of one kind in a row
_TURN = 10


def status(lab):
    """``GET /node/x/power_status``, a connection each, and one ``ipmitool``, ten each in turns."""
    bmc = lab.quiet()[0]
    token = lab.obmd.token(bmc['name'])
    ask = lab.obmd.operation('GET', bmc['name'], 'power_status', token)
    clients.exchange(lab.obmd.address, ask)
    ours, theirs = [], []
    while len(ours) < lab.sizes.singles:
        ours += [_timed(lab, ask) for _ in range(_TURN)]
        theirs += [1000 * peers.ipmitool_status(bmc) for _ in range(_TURN)]
    ours, theirs = Samples(ours), Samples(theirs)
    return [
        Row(
            'status',
            'one power_status, warm',
            ours.median,
            'ms',
            5,
            bound_on_ratio=True,
            samples=ours,
            peer=theirs,
            peer_name='ipmitool',
            note='a new connection for each',
        )
    ]


def power_on(lab):
    """Turn a node on and see that it is, against round trips measured around it."""
    bmc = lab.quiet()[1]
    name, token = bmc['name'], lab.obmd.token(bmc['name'])
    turn_on, turn_off = (
        lab.obmd.operation('POST', name, operation, token)
        for operation in ('power_on', 'power_off')
    )
    trips = roundtrip.measure(bmc, lab.sizes.singles)
    took = []
    for _ in range(lab.sizes.singles):
        clients.exchange(lab.obmd.address, turn_off)
        if lab.farm.read(bmc, 'power') != '0':
            raise clients.BadAnswer('power_off was answered and the node is on')
        took.append(_timed(lab, turn_on))
        if lab.farm.read(bmc, 'power') != '1':
            raise clients.BadAnswer('power_on was answered and the node is off')
    trips += roundtrip.measure(bmc, lab.sizes.singles)
    took, trips = Samples(took), Samples([1000 * seconds for seconds in trips])
    return [
        Row(
            'power_on',
            'power on, verified',
            took.median,
            'ms',
            3 * trips.median + 20,
            samples=took,
            peer=trips,
            peer_name='round trip',
            is_rival=False,
            note='bound: 3 round trips (Get Chassis Status through the driver) + 20 ms',
        )
    ]


def _timed(lab, ask):
    """:returns: milliseconds."""
    started = time.monotonic()
    clients.exchange(lab.obmd.address, ask)
    return 1000 * (time.monotonic() - started)
