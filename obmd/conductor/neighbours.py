"""Who else is registered in the database when a conductor starts, and whether both may be.

Two conductors of one host name would take each other's calls, and an all-in-one owns every node:
it is alone.  A row that may be a dead one's is watched for a time-to-live; a beat that moves
refuses the start at once.
"""

import logging
import time

from obmd.common import errors
from obmd.db import conductors

LOG = logging.getLogger(__name__)

#: seconds between two looks at a beat that may move
LOOK = 0.2


class Neighbours:
    """:param me: :class:`obmd.db.conductors.Conductor`, as it will be registered.
    :param ttl: seconds, ``[conductor] heartbeat_ttl``.
    """

    def __init__(self, me, ttl, clock=time.monotonic, sleep=time.sleep):
        self._me = me
        self._ttl = ttl
        self._clock = clock
        self._sleep = sleep

    def make_room(self):
        """Declare dead what this start replaces.

        :raises Fatal: a conductor that lives is in the way; names it.
        """
        watched = {}
        for row in self._in_the_way():
            if row.home and row.home == self._me.home:
                conductors.mark_dead(row.incarnation)
            else:
                LOG.warning('%s is registered: waiting whether it lives', _name(row))
                watched[row.incarnation] = row
        if watched:
            self._watch(watched)

    def check(self):
        """Once registered: two that started in one moment both find the other here.

        :raises Fatal: as :meth:`make_room`.
        """
        for row in self._in_the_way():
            raise self._refusal(row)

    def _watch(self, watched):
        until = self._clock() + self._ttl
        while watched and self._clock() < until:
            self._sleep(min(LOOK, self._ttl / 10))
            there = {row.incarnation: row for row in self._in_the_way()}
            for incarnation, row in list(watched.items()):
                now = there.get(incarnation)
                if now is None:
                    del watched[incarnation]
                elif now.beat != row.beat:
                    raise self._refusal(row)
        for row in watched.values():
            if not conductors.mark_dead(row.incarnation, row.beat):
                raise self._refusal(row)
            LOG.warning('%s is dead', _name(row))

    def _in_the_way(self):
        me = self._me
        for row in conductors.all():
            if row.state not in conductors.ALIVE or row.incarnation == me.incarnation:
                continue
            alone = conductors.ALL_IN_ONE in (me.kind, row.kind)
            if alone or row.host == me.host:
                yield row

    def _refusal(self, row):
        if row.host == self._me.host and row.kind == self._me.kind == conductors.CONDUCTOR:
            return errors.Fatal(
                f'{_name(row)} is live and has the host name of this one: '
                'give one of them another "host"'
            )
        if row.kind == conductors.ALL_IN_ONE:
            return errors.Fatal(
                f'{_name(row)} serves this database, and it must be alone: stop it first'
            )
        return errors.Fatal(
            f'{_name(row)} is live in this database, and an all-in-one must be alone: '
            'stop it first or use another database'
        )


def _name(row):
    kind = 'the all-in-one' if row.kind == conductors.ALL_IN_ONE else 'the conductor'
    return f'{kind} {row.host} ({row.callback_url})'
