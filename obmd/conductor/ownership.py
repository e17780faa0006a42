"""Which conductor should own a node: consistent hashing, one ring per group and driver.

The ring only proposes.  ``nodes.owner`` decides, changed by compare-and-swap alone
(``obmd.db.owners.claim``), and the API routes to the owner in the row.

A conductor's place on a ring is its host's: one that was restarted gets its own nodes again, and
nobody else's move.

A ring is computed when it is first asked, in slices: a hundred conductors take some 40 ms, in
which nothing else of the process would run.  Who asks meanwhile waits for it.
"""

import collections
import threading
import time

from tooz import hashring

from obmd.db.conductors import LIVE

#: group and driver of the ring on which every conductor is: it owns what is of no group
EVERYBODY = None, None


class Rings:
    """The rings over some live conductors; immutable.

    :param conductors: iterable of ``obmd.db.conductors.Conductor``, the live ones; those that
        leave or are drained are on no ring.
    :param partitions: points a conductor has on its rings.  tooz's default of 32 moves up to
        1.9 times the ideal share at a join; 512 keeps it within 1.2.
    """

    def __init__(self, conductors, partitions):
        self._partitions = partitions
        #: group and driver -> host -> incarnation
        self._members = {}
        # of two starts on one host, of which one must be about to end, the later
        for conductor in sorted(conductors, key=lambda one: (one.started_at, one.incarnation)):
            if conductor.state != LIVE or conductor.drained:
                continue
            keys = [(conductor.conductor_group, driver) for driver in conductor.drivers]
            for key in (EVERYBODY, *keys):
                self._members.setdefault(key, {})[conductor.host] = conductor.incarnation
        self._hosts = {key: frozenset(those) for key, those in self._members.items()}
        #: by hosts: drivers that the same conductors have share one
        self._rings = {}
        self._computing = threading.Lock()

    def __eq__(self, other):
        return isinstance(other, Rings) and self._members == other._members

    __hash__ = None

    def members(self, group, driver):
        """:returns: frozenset of str, the incarnations that may own nodes of ``group``."""
        return frozenset(self._members.get((group, driver), {}).values())

    def propose(self, node):
        """As :meth:`propose_for`.  :param node: ``obmd.db.nodes.Node``."""
        return self.propose_for(node.uuid, node.conductor_group, node.driver)

    def propose_for(self, uuid, group, driver):
        """May yield to other threads, where a ring is asked for the first time.

        :returns: str, the incarnation that should own the node, or None when no live conductor
            of its group has its driver.
        """
        members = self._members.get((group, driver))
        if not members:
            return None
        if len(members) == 1:
            return next(iter(members.values()))
        hosts = self._hosts[group, driver]
        ring = self._rings.get(hosts)
        if ring is None:
            ring = self._compute(hosts)
        # get_nodes copies the members at each look-up: three times the cost with a hundred
        return members[ring._get_node(ring._get_partition(uuid.encode()))]

    def _compute(self, hosts):
        with self._computing:
            if hosts not in self._rings:
                self._rings[hosts] = _ring(hosts, self._partitions)
            return self._rings[hosts]


def _ring(members, partitions):
    """:returns: ``HashRing(members, partitions)``, computed in slices of a millisecond or two.

    tooz hashes and sorts all points in one call, and ``add_node`` sorts all of them again.
    """
    ring = hashring.HashRing((), partitions)
    runs = collections.deque()
    for member in sorted(members):
        time.sleep(0)
        one = hashring.HashRing((member,), partitions)
        ring.nodes.update(one.nodes)
        ring._ring.update(one._ring)
        runs.append(one._partitions)
    while len(runs) > 1:
        time.sleep(0)
        runs.append(sorted(runs.popleft() + runs.popleft()))  # merges two sorted runs
    ring._partitions = runs.pop()
    return ring


def why_nobody(group, driver, conductors):
    """Why no conductor should own the nodes of ``group`` with ``driver``.

    :param conductors: iterable of ``obmd.db.conductors.Conductor``, the live ones.
    :returns: str.
    """
    named = f'group {group!r}' if group else 'no group'
    drained = sorted(
        one.host
        for one in conductors
        if one.drained and one.conductor_group == group and driver in one.drivers
    )
    if drained:
        return (
            f'every live conductor of {named} with driver {driver} is drained: {", ".join(drained)}'
        )
    return f'no live conductor of {named} with driver {driver}'
