"""Giving runs to the conductors that run them: the owners of their nodes.

A run that is given twice is run once (``obmd.conductor.runs``), so whatever is in doubt is given
again.
"""

import functools
import logging
import threading
import time

from obmd.common import errors
from obmd.common import rpc
from obmd.common import threads
from obmd.conductor import work
from obmd.db import conductors
from obmd.db import nodes
from obmd.db import runs

LOG = logging.getLogger(__name__)

#: seconds that a conductor has to say that it takes runs
CALL_TIMEOUT = 10.0
#: seconds until runs that nobody takes are offered again, and for how long that is done
PAUSE, PATIENCE = 0.5, 60.0
#: seconds after which a run that was given and waits is given again: the call may be lost
AGAIN = 15.0
#: messages on their way to one conductor
LANES = 4
#: nodes whose facts a conductor may read with those of the first
AHEAD = 200


class Giving:
    """:param me: ``obmd.db.conductors.Conductor``.
    :param router: :class:`obmd.conductor.routing.Router`.
    :param local: :class:`obmd.conductor.runs.Runs`.
    :param client: of ``obmd.common.rpc``.
    """

    def __init__(self, me, router, local, client, clock=time.monotonic):
        self._me = me
        self._router = router
        self._local = local
        self._client = client
        self._clock = clock
        #: job -> node uuid -> Node as read; job -> conductors that were told of nodes ahead
        self._rows = {}
        self._told_ahead = {}
        self._lanes = {}

    # -- giving -----------------------------------------------------------------------------------

    def give(self, spec, owned, parts):
        """:param parts: list of ``obmd.conductor.job.Part``, given."""
        if not parts:
            return
        for incarnation, those in self._route(owned, parts).items():
            those = [part for part in those if self._may_have(owned, part, incarnation)]
            if not those:
                continue
            asked = [(part.position, part.node_uuid) for part in those]
            ahead = self._ahead(owned, incarnation)
            if incarnation == self._me.incarnation:
                self._take_local(spec, owned, those, asked, ahead)
            else:
                threads.spawn(self._send, incarnation, spec, owned, those, asked, ahead)

    @staticmethod
    def _may_have(owned, part, incarnation):
        if owned.give_to(part, incarnation):
            return True
        owned.put_back(part)
        return False

    def _route(self, owned, parts):
        """:returns: dict of incarnation -> list of Part."""
        rows = self._rows.setdefault(owned.uuid, {})
        wanted = [p.node_uuid for p in parts if p.node_uuid and p.node_uuid not in rows]
        if wanted:
            wanted += [p.node_uuid for p in owned.ahead(AHEAD) if p.node_uuid not in rows]
            rows.update((row.uuid, row) for row in nodes.by_uuids(wanted))
        routed = {}
        for part in parts:
            if part.node_uuid is None:
                routed.setdefault(self._me.incarnation, []).append(part)
                continue
            row = rows.get(part.node_uuid)
            if row is None:
                self._refuse(owned, part, 'the node was deleted')
                continue
            try:
                incarnation = self._router.owner_of(row).incarnation
            except errors.Unavailable as error:
                self._later(owned, part, error)
            else:
                routed.setdefault(incarnation, []).append(part)
        return routed

    def _ahead(self, owned, incarnation):
        """:returns: list of str, uuids of nodes that ``incarnation`` is given soon; only once."""
        told = self._told_ahead.setdefault(owned.uuid, {})
        count = told.get(incarnation, 0)
        told[incarnation] = count - 1
        if count > 0:
            return []
        rows, found = self._rows.get(owned.uuid, {}), []
        for part in owned.ahead(AHEAD):
            row = rows.get(part.node_uuid)
            if row is not None and row.owner == incarnation:
                found.append(row.uuid)
        told[incarnation] = max(1, len(found) // 32)
        return found

    def _take_local(self, spec, owned, parts, asked, ahead):
        try:
            refused = self._local.take(spec, asked, ahead)
        except errors.ObmdError as error:
            refused = dict.fromkeys((part.position for part in parts), error)
        self._answered(owned, parts, refused)

    def _send(self, incarnation, spec, owned, parts, asked, ahead):
        try:
            with self._lane(incarnation):
                answer = self._client.call(
                    self._router.conductor(incarnation).host,
                    'run_job',
                    CALL_TIMEOUT,
                    incarnation=incarnation,
                    spec=spec.to_wire(),
                    asked=asked,
                    ahead=ahead,
                )
        except rpc.NoAnswer:
            return  # it may have them: their rows will tell
        except errors.ObmdError as error:
            refused = dict.fromkeys((part.position for part in parts), error)
        else:
            refused = {p: errors.from_wire(wire) for p, wire in answer['refused']}
        self._answered(owned, parts, refused)

    # -- what is not taken --------------------------------------------------------------------

    def _answered(self, owned, parts, refused):
        """:param refused: dict of position -> ObmdError; the other parts were taken."""
        for part in parts:
            if part.position not in refused:
                part.failing_since = None
        for position, error in refused.items():
            part = owned.part(position)
            if isinstance(error, errors.NotOwner | errors.Unavailable):
                self._later(owned, part, error)
            else:
                self._refuse(owned, part, error.reason)

    def _later(self, owned, part, error):
        """Offer it again, to whom the node is by then; for a while."""
        now = self._clock()
        if part.failing_since is None:
            part.failing_since = now
        if now - part.failing_since > PATIENCE:
            self._refuse(owned, part, error.reason)
            return
        self._rows.get(owned.uuid, {}).pop(part.node_uuid, None)
        owned.put_back(part, PAUSE)

    @staticmethod
    def _refuse(owned, part, reason):
        """It is not run.  If that cannot be written it is tried again."""
        status = work.STATUS[runs.NOT_STARTED]
        try:
            runs.end_queued(
                owned.uuid, runs.NOT_STARTED, status, reason, time.time(), [part.position]
            )
            owned.read(runs.at(owned.uuid, [part.position]))  # it may have begun all the same
        except errors.Unavailable:
            owned.put_back(part, PAUSE)

    # -- what was given ---------------------------------------------------------------------------

    def orphans(self, owned):
        """:returns: set of str, incarnations that have runs of the job and seem not to live."""
        runners = {part.runner for part in owned.active()} - {None}
        return {one for one in runners if not self._lives(one)}

    def dead(self, owned):
        """:returns: set of str, those of the orphans that have no row any more, or a dead one.

        What is not seen to live may be new, or may be judged later: only its row says.
        """
        orphans = self.orphans(owned)
        if not orphans:
            return orphans
        alive = {row.incarnation for row in conductors.all() if row.state in conductors.ALIVE}
        return orphans - alive

    def _lives(self, incarnation):
        if incarnation == self._me.incarnation:
            return True
        try:
            self._router.conductor(incarnation)
        except errors.Unavailable:
            return False
        return True

    def again(self, owned, positions):
        """:param positions: of runs that were given and are still queued in their rows."""
        now = self._clock()
        for position in positions:
            part = owned.part(position)
            late = now - part.given_at > AGAIN
            if part.runner is None or late or not self._lives(part.runner):
                owned.put_back(part, running=late)

    def adopt(self, spec, owned):
        """Tell all who may have runs of a job that it has another owner than before: what waits
        there is given anew, what runs is reported here."""
        if owned.epoch == 1:
            return
        self._local.adopt(spec)
        for conductor in self._router.living:
            if conductor.incarnation != self._me.incarnation:
                self._tell(conductor.incarnation, 'adopt_job', spec=spec.to_wire())

    def cancel(self, spec, owned):
        """Tell those who have runs of a job to end them."""
        for incarnation in {part.runner for part in owned.active()} - {None}:
            if incarnation == self._me.incarnation:
                self._local.cancel(owned.uuid)
            elif self._lives(incarnation):
                self._tell(incarnation, 'cancel_runs', job=owned.uuid)

    def _tell(self, incarnation, method, **args):
        threads.spawn(functools.partial(self._tell_in_turn, incarnation, method, **args))

    def _tell_in_turn(self, incarnation, method, **args):
        try:
            host = self._router.conductor(incarnation).host
        except errors.Unavailable:
            return
        with self._lane(incarnation):
            self._client.send(host, method, incarnation=incarnation, **args)

    def _lane(self, incarnation):
        """:returns: Semaphore: a conductor that hangs must not take every connection there is."""
        return self._lanes.setdefault(incarnation, threading.Semaphore(LANES))

    def forget(self, owned):
        self._rows.pop(owned.uuid, None)
        self._told_ahead.pop(owned.uuid, None)
