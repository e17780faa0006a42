"""Which conductor should own a node: consistent hashing, one ring per group and driver.

The ring only proposes.  ``nodes.owner`` decides, changed by compare-and-swap alone
(``obmd.db.nodes.claim``), and the API routes to the owner in the row.
"""

from tooz import hashring

from obmd.db.conductors import LIVE


class Rings:
    """The rings over some live conductors; immutable.

    :param conductors: iterable of ``obmd.db.conductors.Conductor``, the live ones; those that
        leave are on no ring.
    :param partitions: points a conductor has on its rings.  tooz's default of 32 moves up to
        1.9 times the ideal share at a join; 512 keeps it within 1.2.
    """

    def __init__(self, conductors, partitions):
        members = {}
        for conductor in conductors:
            if conductor.state != LIVE:
                continue
            for driver in conductor.drivers:
                members.setdefault((conductor.conductor_group, driver), set()).add(
                    conductor.incarnation
                )
        self._partitions = partitions
        self._members = members
        self._rings = {}

    def __eq__(self, other):
        return isinstance(other, Rings) and self._members == other._members

    __hash__ = None

    def propose(self, node):
        """As :meth:`propose_for`.  :param node: ``obmd.db.nodes.Node``."""
        return self.propose_for(node.uuid, node.conductor_group, node.driver)

    def propose_for(self, uuid, group, driver):
        """:returns: str, the incarnation that should own the node, or None when no live
        conductor of its group has its driver."""
        key = group, driver
        members = self._members.get(key)
        if not members:
            return None
        if len(members) == 1:
            return next(iter(members))
        if key not in self._rings:
            self._rings[key] = hashring.HashRing(sorted(members), partitions=self._partitions)
        return next(iter(self._rings[key].get_nodes(uuid.encode())))
