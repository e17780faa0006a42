"""Where a call goes: to the owner in the node's row, if it lives."""

from obmd.common import errors
from obmd.conductor import ownership


class Router:
    """The API's view of the conductors; fed by an Observer (``look``).

    :param partitions: as on the conductors, ``[conductor] ring_partitions``.
    :param retry_after: seconds to advise to a caller whose node has no owner.
    """

    def __init__(self, partitions, retry_after):
        self._partitions = partitions
        self._retry_after = retry_after
        self._live = {}
        self._rings = ownership.Rings((), partitions)

    def look(self, live, _rows):
        """Take the live conductors as of now."""
        rings = ownership.Rings(live, self._partitions)
        if rings != self._rings:
            self._rings = rings
        self._live = {conductor.incarnation: conductor for conductor in live}

    @property
    def live(self):
        """Number of live conductors."""
        return len(self._live)

    def conductor(self, incarnation):
        """:raises Unavailable: it is not live any more."""
        try:
            return self._live[incarnation]
        except KeyError:
            raise errors.Unavailable(
                'the conductor has just gone', retry_after=self._retry_after
            ) from None

    def owner_of(self, node):
        """The conductor to call for ``node``: its owner, or for an unowned node the one that the
        ring proposes, which claims it when called.

        :raises Unavailable: neither lives.
        """
        owner = self._live.get(node.owner)
        if owner is not None:
            return owner
        proposed = None if node.owner else self._live.get(self._rings.propose(node))
        if proposed is not None:
            return proposed
        raise errors.Unavailable(self._why(node), node.name, self._retry_after)

    def may_hold(self, node):
        """The conductors that may hold something of ``node`` (a stream, a session)."""
        owner = self._live.get(node.owner)
        return [owner] if owner is not None else []

    def split(self, nodes):
        """:returns: ``(by_owner, unroutable)``: dict incarnation -> list of nodes, and dict of
        node name -> error."""
        by_owner, unroutable = {}, {}
        for node in nodes:
            try:
                by_owner.setdefault(self.owner_of(node).incarnation, []).append(node)
            except errors.Unavailable as error:
                unroutable[node.name] = error
        return by_owner, unroutable

    def _why(self, node):
        if node.owner:
            return 'the conductor that owns the node is not answering; another takes over soon'
        group = f'group {node.conductor_group!r}' if node.conductor_group else 'no group'
        return f'no live conductor of {group} with driver {node.driver}'
