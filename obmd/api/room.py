"""How many requests of agents are looked up at once: what there is no time for is refused at once,
and not kept waiting until nobody waits for the answer any more."""

from obmd.common import errors
from obmd.conf import CONF

#: seconds after which who found no room may try again; agents do so by themselves
RETRY_AFTER = 1.0


class Room:
    """A context manager around what asks the database; ``[agent] max_beats`` fit in.

    :ivar taken: int.
    """

    def __init__(self):
        self.taken = 0

    def __enter__(self):
        if self.taken >= CONF.agent.max_beats:
            raise errors.Unavailable(
                f'{self.taken} lookups and heartbeats of agents are under way here already',
                retry_after=RETRY_AFTER,
            )
        self.taken += 1
        return self

    def __exit__(self, *exc_info):
        self.taken -= 1
