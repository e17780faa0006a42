"""Nodes and conductors without daemons: who would own what, before and after a change.

Ownership is computed by ``obmd.conductor.ownership.Rings``, the code that conductors run.
"""

import collections
import dataclasses
import math
import uuid

from obmd.conductor import ownership
from obmd.db import conductors


@dataclasses.dataclass(frozen=True)
class Node:
    """What the ring reads of a node."""

    uuid: str
    conductor_group: str = ''
    driver: str = 'ipmi'


@dataclasses.dataclass(frozen=True)
class Change:
    """Conductors that left and joined at one moment, and what it did.

    :ivar scenario, what: str, which play and which step of it.
    :ivar before, after: conductors.
    :ivar moved: nodes that went from one live conductor to another, or from one that left.
    :ivar ideal: float, nodes that a perfectly even spread would have to move.
    :ivar stray: nodes that changed owner without a reason: neither from one that left nor to one
        that joined.
    :ivar orphaned: nodes for which no conductor is left.  :ivar found: such that have one again.
    :ivar heaviest, lightest: float, nodes of the conductor with most and with fewest, to the mean
        of its group and driver.
    """

    scenario: str
    what: str
    before: int
    after: int
    moved: int
    ideal: float
    stray: int
    orphaned: int
    found: int
    heaviest: float
    lightest: float

    @property
    def ratio(self):
        """Moved to ideal; None where nothing had to move."""
        return self.moved / self.ideal if self.ideal else None

    @property
    def bound(self):
        """Nodes that may move: 1.2 times the share, and three standard deviations of chance,
        which count where nodes are few."""
        return 1.2 * self.ideal + 3 * math.sqrt(self.ideal)

    @property
    def met(self):
        return self.stray == 0 and self.moved <= self.bound

    def to_json(self):
        told = dataclasses.asdict(self)
        for name in ('ideal', 'heaviest', 'lightest'):
            told[name] = round(told[name], 4)
        return told


class Fleet:
    """:param nodes: list of :class:`Node`.
    :param partitions: as ``[conductor] ring_partitions``.
    :param random: ``random.Random``.
    """

    def __init__(self, nodes, partitions, random):
        self._nodes = nodes
        self._partitions = partitions
        self._random = random
        self._cohorts = collections.defaultdict(list)
        for index, node in enumerate(nodes):
            self._cohorts[node.conductor_group, node.driver].append(index)
        self.members = ()
        self.owners = [None] * len(nodes)

    def copy(self):
        """:returns: Fleet, as this one is now; its changes are its own."""
        other = Fleet(self._nodes, self._partitions, self._random)
        other.members, other.owners = self.members, self.owners
        return other

    def conductor(self, group='', drivers=('ipmi',)):
        """:returns: a conductor that has just started, on no ring yet."""
        incarnation = self._incarnation()
        return conductors.Conductor(incarnation, f'host-{incarnation}', group, drivers, '')

    def restarted(self, conductor):
        """:returns: it after a restart: another incarnation at the same host."""
        return dataclasses.replace(conductor, incarnation=self._incarnation())

    def _incarnation(self):
        return f'{self._random.getrandbits(128):032x}'

    def some(self, count):
        """:returns: list of ``count`` members, drawn."""
        return self._random.sample(self.members, count)

    def change(self, scenario, what, left=(), joined=()):
        """:returns: :class:`Change`."""
        gone = {member.incarnation for member in left}
        new = {member.incarnation for member in joined}
        before, was = self.members, self.owners
        self.members = (*(one for one in before if one.incarnation not in gone), *joined)
        rings = ownership.Rings(self.members, self._partitions)
        self.owners = [rings.propose(node) for node in self._nodes]
        moved = stray = orphaned = found = 0
        for old, now in zip(was, self.owners, strict=True):
            if old == now:
                continue
            orphaned += now is None
            found += old is None
            moved += old is not None and now is not None
            stray += old not in gone and now not in new
        heaviest, lightest = self._balance()
        return Change(
            scenario,
            what,
            len(before),
            len(self.members),
            moved,
            self._ideal(before, gone, new),
            stray,
            orphaned,
            found,
            heaviest,
            lightest,
        )

    def _ideal(self, before, gone, new):
        total = 0.0
        for key, indexes in self._cohorts.items():
            there, here = _of(before, key), _of(self.members, key)
            if there and here:
                share = max(len(there & gone) / len(there), len(here & new) / len(here))
                total += len(indexes) * share
        return total

    def _balance(self):
        heaviest, lightest = 1.0, 1.0
        for key, indexes in self._cohorts.items():
            here = _of(self.members, key)
            if not here:
                continue
            loads = collections.Counter(dict.fromkeys(here, 0))
            loads.update(self.owners[index] for index in indexes)
            mean = len(indexes) / len(here)
            heaviest = max(heaviest, max(loads.values()) / mean)
            lightest = min(lightest, min(loads.values()) / mean)
        return heaviest, lightest


def _of(members, key):
    group, driver = key
    return {
        one.incarnation for one in members if one.conductor_group == group and driver in one.drivers
    }


def make_nodes(count, random, groups=('',), drivers=('ipmi',), weights=None):
    """:param weights: of the drivers, None: all alike.
    :returns: list of :class:`Node`, groups in turn, drivers drawn.
    """
    return [
        Node(
            str(uuid.UUID(int=random.getrandbits(128), version=4)),
            groups[number % len(groups)],
            random.choices(drivers, weights)[0],
        )
        for number in range(count)
    ]
