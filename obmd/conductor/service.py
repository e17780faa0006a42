"""One conductor, put together: started, kept, stopped.

``start`` registers it and claims what is its; ``stop`` gives everything back (SOL sessions,
logins, rows), so that another can go on at once.
"""

import dataclasses
import logging
import threading
import time

from obmd.common import errors
from obmd.common import secrets
from obmd.common import threads
from obmd.common import timers
from obmd.common.deadline import Deadline
from obmd.conductor import agents
from obmd.conductor import audit
from obmd.conductor import console
from obmd.conductor import console_log
from obmd.conductor import engine
from obmd.conductor import handover
from obmd.conductor import holdings
from obmd.conductor import home
from obmd.conductor import lease
from obmd.conductor import log_track
from obmd.conductor import manager
from obmd.conductor import membership
from obmd.conductor import neighbours
from obmd.conductor import ownership
from obmd.conductor import power
from obmd.conductor import revocation
from obmd.conductor import rpcapi
from obmd.conductor import status
from obmd.conf import CONF
from obmd.db import conductors
from obmd.db import nodes
from obmd.db import owners
from obmd.drivers import gate
from obmd.drivers import registry
from obmd.streams import tickets

LOG = logging.getLogger(__name__)

#: seconds that a start waits for its first claims; thousands of nodes, and the consoles that open
#: with them, take longer, and then it serves meanwhile
FIRST_LOOK = 0.5
#: seconds within which a look at the conductors is not repeated
REFRESH = 0.2
#: seconds for which calls are answered after the last node was handed over: they were sent to
#: this conductor just before, and are told to go to the next
LINGER = 0.5
#: part of the time to stop that runs of jobs have to end
JOBS = 0.5


class Conductor:
    """:param bus: ``obmd.common.rpc`` Bus or LocalBus.
    :param keyring: ``obmd.common.secrets.Keyring``.
    :param callback_url: str.
    :param kind: ``conductors.CONDUCTOR`` or ``ALL_IN_ONE``.
    :param on_lost: called when this start was declared dead by others: the process must end.
    """

    def __init__(self, bus, keyring, callback_url, kind, on_lost, version=''):
        options = CONF.conductor
        self.row = conductors.Conductor(
            incarnation=secrets.new_id(),
            host=CONF.host,
            conductor_group=options.group,
            drivers=tuple(sorted(registry.enabled())),
            callback_url=callback_url,
            kind=kind,
            key_ids=tuple(keyring.key_ids),
            version=version,
            started_at=time.time(),
        )
        interval, ttl = options.heartbeat_interval, options.heartbeat_ttl
        self._bus = bus
        self._client = bus.client(rpcapi.TOPIC, rpcapi.VERSION)
        self._lease = lease.Lease(ttl)
        self._timers = timers.Timers()
        self._log = _console_log()
        self.tickets = tickets.Tickets(CONF.console.ticket_ttl)
        self._holdings = holdings.Holdings(
            self.row.incarnation, keyring, self._make_console, self._settle, self._timers
        )
        self._revocation = revocation.Revocation(
            CONF.console.revocation_check_interval,
            CONF.console.revocation_grace,
            lambda: self._holdings.uuids,
            self._forget,
            audit.Audit(self.row.incarnation, self._holdings, manager.close).compare,
        )
        self._agents = agents.Agents(
            self.row.incarnation, self._holdings, self._lease, self._timers
        )
        self.manager = manager.Manager(
            self.row.incarnation,
            self._holdings,
            self._revocation,
            self.tickets,
            self._agents,
            callback_url,
            self._lease,
            self._refresh,
        )
        self._engine = engine.Engine(
            self.row, bus, self._holdings, self._lease, self.manager.reception
        )
        self.status = status.Status(self._holdings, self._lease, self._revocation, self._log)
        self._on_lost = on_lost
        self._heartbeat = None
        self._observer = membership.Observer(interval, ttl, self._look)
        self._handover = handover.Handover(
            self.row.incarnation,
            self._holdings,
            manager.close,
            self._tell_owner,
            self._agents.save,
        )
        self._home = home.Home(CONF.state_path, self.row.host)
        self._claiming = threading.Lock()
        self._stopping = False
        self._stop_serving = None
        self._forgotten = set()
        self._unbalanced = False
        self._balancing = threading.Lock()
        self._hosts = {}
        self._looked_at = float('-inf')
        self._refreshing = threading.Lock()

    # -- start ----------------------------------------------------------------------------------

    def start(self):
        """Register, answer calls, claim.

        :raises Fatal: another conductor runs with this state_path, has this host name, or is an
            all-in-one; options that cannot be.
        :raises Unavailable: the database or the broker is not there.
        """
        if CONF.conductor.heartbeat_ttl < 2 * CONF.conductor.heartbeat_interval:
            raise errors.Fatal('[conductor] heartbeat_ttl must be twice heartbeat_interval or more')
        self.row = dataclasses.replace(self.row, home=self._home.take())
        others = neighbours.Neighbours(self.row, CONF.conductor.heartbeat_ttl)
        others.make_room()
        self._remember_forgotten()
        if self._log is not None:
            self._log.start()
        gate.close_by(self._lease.allows)
        self._lease.start()
        self._register(others)
        self._engine.start(self.row.home)
        self._stop_serving = self._bus.serve(
            rpcapi.TOPIC, self.row.host, self.manager, self._engine.endpoint
        )
        claimed = threading.Event()
        threads.spawn(self._first_look, claimed)
        claimed.wait(FIRST_LOOK)
        self._observer.start()
        self._revocation.start()
        self._forget_late_tickets()
        self.status.begin()

    def _register(self, others):
        interval = CONF.conductor.heartbeat_interval
        self._heartbeat = membership.Heartbeat(self.row, interval, self._lease, self._on_lost)
        self._heartbeat.start()
        try:
            others.check()
        except errors.ObmdError:
            conductors.remove(self.row.incarnation)
            raise

    def _first_look(self, claimed):
        try:
            self._observer.look()
            LOG.info('conductor %s owns %d nodes', self.row.host, len(self._holdings))
        except errors.ObmdError as error:
            LOG.warning('nothing is claimed yet: %s', error.reason)
        finally:
            claimed.set()

    def _remember_forgotten(self):
        """Owners whose rows were removed: looked for here only, it reads a whole index."""
        # Before the rows: a conductor that starts meanwhile has its row before it owns anything.
        owning = owners.incarnations() | self._engine.incarnations()
        self._forgotten = owning - {row.incarnation for row in conductors.all()}

    # -- what goes on -----------------------------------------------------------------------------

    def _look(self, live, rows):
        """After each look at the conductors: bury the dead, claim what is due."""
        self._hosts = {conductor.incarnation: conductor.host for conductor in live}
        self._looked_at = time.monotonic()
        self._engine.look(live, rows)
        if self._stopping:
            return
        self._notice_drain(rows)
        # At once, whoever else is claiming: what is told to come to us now must be seen as ours.
        rings = ownership.Rings(live, CONF.conductor.ring_partitions)
        if rings != self._holdings.rings:  # the points of a ring are worth keeping
            self._holdings.rings = rings
            self._unbalanced = True
        if self._lease.state != lease.FRESH or not self._claiming.acquire(blocking=False):
            return
        try:
            dead = {row.incarnation for row in rows if row.state == conductors.DEAD}
            if self._may_bury():
                dead |= self._bury(live, rows)
            self._engine.claim_due(dead | self._forgotten)
            self._holdings.claim_due(
                self.row.conductor_group, self.row.drivers, dead | self._forgotten
            )
            if self._unbalanced:
                self._unbalanced = False
                threads.spawn(self._rebalance)
            kept = {row.incarnation for row in rows if row.drained}
            for incarnation in dead - kept:
                if not owners.owns_any(incarnation) and not self._engine.owns_any(incarnation):
                    conductors.remove(incarnation)
        finally:
            self._claiming.release()

    def _notice_drain(self, rows):
        """The rings leave a drained one out; who reads the log is told here."""
        drained = any(row.drained for row in rows if row.incarnation == self.row.incarnation)
        if drained != self.row.drained:
            self.row = dataclasses.replace(self.row, drained=drained)
            LOG.warning('drained: owns nothing' if drained else 'not drained any more')

    def _rebalance(self):
        """Hand over what the rings give to others; again later if some of it was busy."""
        if not self._balancing.acquire(blocking=False):
            self._unbalanced = True
            return
        try:
            self._write_agents()
            if not self._handover.give():
                self._unbalanced = True
        finally:
            self._balancing.release()

    def _write_agents(self):
        """The next owners know of agents what is in their rows."""
        try:
            self._agents.flush()
        except errors.ObmdError as error:
            LOG.warning('the times of the last heartbeats are not written: %s', error.reason)

    def _tell_owner(self, incarnation, uuid):
        host = self._hosts.get(incarnation)
        if host is not None:
            self._client.tell(host, 'node_changed', node=uuid)

    def _refresh(self):
        """One look for all who are told of nodes at the same time.

        It claims nothing: each of them waits for it, and claims what it was told of.
        """
        with self._refreshing:
            if time.monotonic() - self._looked_at <= REFRESH:
                return
            claims = self._claiming.acquire(blocking=False)
            try:
                self._observer.look()
            finally:
                if claims:
                    self._claiming.release()
                # one that failed counts: those who waited must not try one after the other
                self._looked_at = time.monotonic()

    def _bury(self, live, rows):
        """:returns: set of the incarnations whose beat has stood still for too long."""
        living = {conductor.incarnation for conductor in live}
        buried = set()
        for row in rows:
            still = row.state in conductors.ALIVE and row.incarnation not in living
            if still and conductors.mark_dead(row.incarnation, row.beat):
                LOG.warning('conductor %s on %s is dead', row.incarnation, row.host)
                buried.add(row.incarnation)
        return buried

    def _may_bury(self):
        """Others are judged only by who has himself renewed for a whole time-to-live."""
        return self._heartbeat.steady_for > CONF.conductor.heartbeat_ttl

    def _make_console(self, live):
        return console.Console(live, self._revocation, self._timers, self._log)

    def _settle(self, live):
        live.console.start()
        self._agents.adopt(live)
        if self._holdings.heir(live) is not None:
            self._unbalanced = True  # the rings have changed while it was claimed
        if live.target is not None:
            threads.spawn(power.carry_on, live)

    def _forget(self, uuid):
        """A node of ours is missing in the database's answer: look once more, then forget."""
        if nodes.get_by_uuid(uuid) is None:
            self.manager.forget(uuid)

    def _forget_late_tickets(self):
        self.tickets.sweep()
        if not self._stopping:
            self._timers.after(CONF.console.ticket_ttl, self._forget_late_tickets)

    # -- the end --------------------------------------------------------------------------------

    def stop(self):
        """Hand over to the others, then give everything back.

        Calls for what has not moved yet are answered until it has.  Takes at most ``[conductor]
        handover_timeout`` (only if there are others) and ``stop_timeout``.
        """
        self._stopping = self.status.stopping = True
        self._holdings.close()
        self._engine.stop_giving()
        if self._claiming.acquire(timeout=CONF.conductor.stop_timeout / 4):
            self._claiming.release()
        # Who is cut off has nothing to give: others judge his rows, and the next start here does.
        connected = self._lease.state == lease.FRESH
        if connected:
            self._write_agents()
        others = connected and self._give_away(Deadline(CONF.conductor.handover_timeout))
        deadline = Deadline(CONF.conductor.stop_timeout)
        self.manager.stop(_gone(others))
        self._engine.stop(deadline.within(deadline.remaining * JOBS))
        if connected:
            self._write_agents()
        self._quit(deadline, deactivate=True)
        if connected:
            self._give_rows_back()
        if others:
            _linger(deadline)
        self._end(deadline)

    def _give_rows_back(self):
        try:
            owners.release_all(self.row.incarnation)
            conductors.remove(self.row.incarnation)
        except errors.ObmdError as error:
            LOG.warning('rows are not given back: %s', error.reason)

    def abandon(self):
        """Others have declared this start dead: let go of everything and touch nothing.

        No SOL is deactivated and no row is written: both are the next owners'.  Viewers are sent
        on.
        """
        deadline = Deadline(CONF.conductor.stop_timeout)
        self._stopping = self.status.stopping = True
        self._holdings.close()
        self._engine.abandon()
        self.manager.stop(_gone(True))
        self._quit(deadline, deactivate=False)
        self._end(deadline)

    def _give_away(self, deadline):
        """Move all nodes to the other conductors.  :returns: bool, whether there are any."""
        me = self.row.incarnation
        if not self._hosts.keys() - {me}:
            return False
        try:
            if not conductors.set_state(me, conductors.LEAVING):
                return False
            rows = [row for row in conductors.all() if row.incarnation in self._hosts]
        except errors.ObmdError as error:
            LOG.warning('nodes are not handed over: %s', error.reason)
            return False
        self._holdings.rings = ownership.Rings(rows, CONF.conductor.ring_partitions)
        if self._balancing.acquire(timeout=deadline.remaining):
            self._balancing.release()
        self._handover.give(deadline.remaining)
        return True

    def _quit(self, deadline, deactivate):
        self._observer.stop()
        self._revocation.stop()
        self._close_all(deadline, deactivate)
        if self._heartbeat is not None:
            self._heartbeat.stop()

    def _end(self, deadline):
        self._lease.stop()
        if self._stop_serving is not None:
            self._stop_serving_within(deadline)
        if self._log is not None:
            self._log.stop(deadline)
        self._home.leave()

    def _stop_serving_within(self, deadline):
        """A broker that hangs holds nobody."""
        done = threading.Event()

        def stop():
            try:
                self._stop_serving()
            finally:
                done.set()

        threads.spawn(stop)
        if not done.wait(max(0.5, deadline.remaining)):
            LOG.warning('the broker was not told that this conductor has stopped')

    def _close_all(self, deadline, deactivate):
        """Close all nodes at once; a BMC that is silent delays no other."""
        lives = list(self._holdings)
        done = threading.Semaphore(0)
        gone = errors.Unavailable('obmd is stopping', retry_after=5)

        def close(live):
            try:
                manager.close(live, gone, gone.reason, deadline, deactivate)
            finally:
                done.release()

        for live in lives:
            threads.spawn(close, live)
        for _ in lives:
            if not done.acquire(timeout=max(0.01, deadline.remaining)):
                LOG.warning('some BMCs did not end their session in time')
                break


def _console_log():
    options = CONF.console
    if not options.log_dir:
        return None
    limits = log_track.Limits(options.log_segment_size, options.log_segments)
    keep = options.log_keep * 86400
    return console_log.ConsoleLog(options.log_dir, options.log_queue_size, limits, keep)


def _linger(deadline):
    time.sleep(min(LINGER, deadline.remaining))


def _gone(others):
    """:returns: what those get who call a conductor that has stopped.  :param others: bool."""
    if others:
        return errors.NotOwner('this conductor has given its nodes to others')
    return errors.Unavailable('obmd is stopping', retry_after=5)
