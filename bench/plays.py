"""What happens to a simulated fleet: each play gives the changes it is made of."""

import random

from bench.fleet import Fleet
from bench.fleet import make_nodes

#: times that a flapping conductor goes and comes
FLAPS = 3
#: the largest fleet of which every conductor is restarted in turn; larger ones show no more
ROLLED = 20
#: racks and conductors of each, in the play of groups
RACKS, RACK_CONDUCTORS = 10, 3
#: a fleet of several makes: driver -> its part of the nodes, and of the conductors that have it
MAKES = {'ipmi': (0.7, 1.0), 'redfish': (0.25, 0.5), 'pdu': (0.05, 0.2)}


def play(nodes, sizes, partitions, seed):
    """All plays, one after the other.

    :param nodes: int.  :param sizes: conductors, ascending.
    :returns: iterator of :class:`bench.fleet.Change`.
    """
    drawn = random.Random(seed)
    fleet = Fleet(make_nodes(nodes, drawn), partitions, drawn)
    for size in range(1, max(sizes) + 1):
        yield fleet.change('growth', 'one starts', joined=[fleet.conductor()])
        if size in sizes and size > 1:
            yield from _deaths(fleet.copy(), size)
            yield from _flapping(fleet.copy())
            if size <= ROLLED:
                yield from _rolling_restart(fleet.copy())
    yield from _racks(nodes, partitions, drawn)
    yield from _makes(nodes, max(sizes), partitions, drawn)


def _deaths(fleet, size):
    for count in sorted({1, max(1, size // 10), max(1, size // 2)}):
        yield fleet.copy().change('death', f'{count} of {size} die', left=fleet.some(count))


def _flapping(fleet):
    """The one that comes back has its former place on the ring, which is its host's."""
    (one,) = fleet.some(1)
    for _ in range(FLAPS):
        yield fleet.change('flapping', 'it goes', left=[one])
        one = fleet.restarted(one)
        yield fleet.change('flapping', 'it comes', joined=[one])
    again = fleet.restarted(one)
    yield fleet.change('flapping', 'killed and started at once', left=[one], joined=[again])


def _rolling_restart(fleet):
    for one in fleet.members:
        yield fleet.change('restart', 'one stops', left=[one])
        yield fleet.change('restart', 'it starts', joined=[fleet.restarted(one)])


def _racks(nodes, partitions, drawn):
    groups = [f'rack{number}' for number in range(RACKS)]
    fleet = Fleet(make_nodes(nodes, drawn, groups), partitions, drawn)
    rows = [[fleet.conductor(group) for _ in range(RACK_CONDUCTORS)] for group in groups]
    yield fleet.change('racks', 'all start', joined=[one for row in rows for one in row])
    yield fleet.change('racks', 'one of a rack joins', joined=[fleet.conductor(groups[0])])
    yield fleet.change('racks', 'one of a rack dies', left=rows[1][:1])
    yield fleet.change('racks', 'one of each rack dies', left=[row[-1] for row in rows])
    yield fleet.change('racks', 'the last of a rack dies', left=rows[1][1:2])
    yield fleet.change('racks', 'that rack has one again', joined=[fleet.conductor(groups[1])])


def _makes(nodes, size, partitions, drawn):
    weights = [part for part, _ in MAKES.values()]
    fleet = Fleet(make_nodes(nodes, drawn, drivers=list(MAKES), weights=weights), partitions, drawn)
    members = [
        fleet.conductor(drivers=tuple(d for d, (_, part) in MAKES.items() if n < part * size))
        for n in range(size)
    ]
    yield fleet.change('drivers', 'all start', joined=members)
    yield fleet.change(
        'drivers', 'one with all drivers joins', joined=[fleet.conductor('', tuple(MAKES))]
    )
    yield fleet.change('drivers', 'one with one driver joins', joined=[fleet.conductor()])
    yield fleet.change('drivers', 'one with all drivers dies', left=members[:1])
