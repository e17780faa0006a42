"""What a conductor answers on the bus; its client is ``obmd.conductor.rpcapi``.

Each method first makes sure that the call is meant for this start of this conductor, under the
epoch at which it owns the node; then nothing of it has been sent to a BMC when it is refused.
"""

import collections
import logging
import threading

import oslo_messaging

from obmd.common import callers
from obmd.common import errors
from obmd.common import rpc
from obmd.common import threads
from obmd.common.deadline import Deadline
from obmd.conductor import power
from obmd.conductor import reception
from obmd.conductor import sweep
from obmd.conf import CONF
from obmd.db import nodes
from obmd.streams import readers

LOG = logging.getLogger(__name__)

#: calls remembered so that a message that comes twice is carried out once
REMEMBERED = 10000


class Manager:
    """:param incarnation: str, of this start.
    :param holdings: :class:`obmd.conductor.holdings.Holdings`.
    :param revocation: :class:`obmd.conductor.revocation.Revocation`.
    :param tickets: :class:`obmd.streams.tickets.Tickets`.
    :param agents: :class:`obmd.conductor.agents.Agents`.
    :param callback_url: str, under which the tickets' streams are served.
    :param lease: :class:`obmd.conductor.lease.Lease`.
    :param refresh: looks at the conductors now, if that was not done just before.
    :ivar reception: :class:`obmd.conductor.reception.Reception`, for other endpoints too.
    """

    target = oslo_messaging.Target(version='1.2')

    def __init__(
        self, incarnation, holdings, revocation, tickets, agents, callback_url, lease, refresh
    ):
        self.reception = reception.Reception(incarnation, lease, tickets, callback_url)
        self._lease = lease
        self._refresh = refresh
        self._holdings = holdings
        self._revocation = revocation
        self._agents = agents
        self._seen = collections.OrderedDict()
        self._lock = threading.Lock()

    def stop(self, error):
        """Refuse every call from now on with ``error``."""
        self.reception.stopping = error

    # -- calls ----------------------------------------------------------------------------------

    @rpc.answers
    def power_status(self, _context, call):
        live = self._live(call)
        return live.read_power(Deadline(call['timeout']))

    @rpc.answers
    def set_power(self, _context, call, action):
        live = self._live(call, once=True)
        power.set_power(live, action, Deadline(call['timeout']), _caller(call))

    @rpc.answers
    def power_cycle(self, _context, call, force):
        live = self._live(call, once=True)
        caller = _caller(call)
        # what goes on after the answer is named after the request that began it
        began_by = caller.request_id or call['id']
        power.cycle(live, force, Deadline(call['timeout']), began_by, caller)

    @rpc.answers
    def set_boot_device(self, _context, call, device):
        live = self._live(call, once=True)
        power.set_boot_device(live, device, Deadline(call['timeout']), _caller(call))

    @rpc.answers
    def event_log(self, _context, call, limit):
        live = self._live(call)
        live.require('event_log')
        with live.place(), live.bmc() as driver:
            return driver.event_log(Deadline(call['timeout']), limit)

    @rpc.answers
    def open_console(self, _context, call, token_id, replay, cursor, takeover):
        live = self._live(call)
        live.require('console')
        self._require_room(live)
        cursor = readers.parse_cursor(cursor) if cursor is not None else None
        deadline = Deadline(call['timeout']).within(CONF.console.connect_timeout)
        with live.place():
            stream, headers = live.console.watch(token_id, replay, cursor, takeover, deadline)
        headers.update(reception.headers('application/octet-stream'))
        return self.reception.ticket(
            lambda: self._redeem_console(live, stream, headers), stream.close, headers
        )

    def _redeem_console(self, live, stream, headers):
        asked = self._revocation.now()
        try:
            row = nodes.get_by_uuid(live.uuid)
            if row is None or (stream.is_by_token and row.token_id != stream.token_id):
                raise errors.Unauthorized('the token is not valid any more')
            self._require_room(live)
        except errors.ObmdError:
            stream.end('refused to its viewer')
            raise
        if stream.ended is not None:
            raise errors.Unavailable(f'the console was closed: {stream.ended}', live.name, 1)
        self._revocation.add(stream, asked)
        return stream, headers

    @rpc.answers
    def open_console_events(self, _context, call, holder, replay, cursor, takeover):
        """:param holder: str, whose access token asks, or None: the admin reads all history."""
        live = self._live(call)
        live.require('console')
        self._require_room(live)
        cursor = readers.parse_cursor(cursor) if cursor is not None else None
        deadline = Deadline(call['timeout']).within(CONF.console.connect_timeout)
        with live.place():
            stream = live.console.watch_events(holder, replay, cursor, takeover, deadline)
        headers = reception.headers('application/x-ndjson')
        return self.reception.ticket(
            lambda: self._redeem_console(live, stream, headers), stream.close, headers
        )

    @rpc.answers
    def boot_device(self, _context, call):
        live = self._live(call)
        live.require('boot_device')
        with live.place(), live.bmc() as driver:
            return driver.boot_device(Deadline(call['timeout']))

    @rpc.answers
    def open_sweep(self, _context, incarnation, nodes, seconds):
        self.reception.require_self(incarnation)
        lives, missing = [], {}
        for uuid in nodes:
            try:
                lives.append(self._holdings.find(uuid))
            except errors.ObmdError as error:
                if error.node is not None:
                    missing[error.node] = error
        seconds = min(seconds, CONF.conductor.sweep_timeout)
        headers = reception.headers('application/x-ndjson')
        return self.reception.ticket(
            lambda: (sweep.start(lives, missing, seconds), headers), _nothing, headers
        )

    # -- ramdisk agents -----------------------------------------------------------------------

    @rpc.answers
    def agent_heartbeats(self, _context, incarnation, beats, seconds):
        self.reception.require_self(incarnation)
        answers = self._agents.take(beats, Deadline(seconds))
        return [error and error.to_wire() for error in answers]

    @rpc.answers
    def agent_state(self, _context, call):
        return self._agents.state(self._live(call))

    @rpc.answers
    def open_configdrive(self, _context, call):
        return self._holdings.open_configdrive(self._live(call))

    # -- news; nobody waits for an answer ----------------------------------------------------

    @rpc.answers
    def token_changed(self, _context, node, token_id):
        token_id = self._newest_token(node, token_id)
        live = self._holdings.get(node)
        if live is not None:
            live.console.set_barrier(token_id)
        self._revocation.cut(node, token_id)

    def _newest_token(self, uuid, told):
        """News may overtake one another: an older one must not end the newest token's streams."""
        try:
            row = nodes.get_by_uuid(uuid)
        except errors.ObmdError:
            return told
        return row and row.token_id

    @rpc.answers
    def node_changed(self, _context, node):
        live = self._holdings.get(node)
        if live is not None:
            self._renew(live)
        if self._holdings.get(node) is None and self.reception.stopping is None:
            self._lease.require()
            self._refresh()  # whom the ring gives it to may have changed just before
            self._holdings.find(node)

    def _renew(self, live):
        """Its row has another epoch: the BMC is reached otherwise, or the node moves."""
        row = nodes.get_by_uuid(live.uuid)
        if row is None or (row.owner, row.owner_epoch) == (live.incarnation, live.epoch):
            return
        if self._holdings.adopt(live, row):
            return
        LOG.info('%s: its BMC or its group was changed', live.name)
        self._holdings.drop(live.uuid)
        gone = errors.OutcomeUnknown('the BMC of the node was changed meanwhile', live.name)
        # its SOL is the next owner's, who may be this conductor
        threads.spawn(close, live, gone, gone.reason, None, False)

    @rpc.answers
    def node_deleted(self, _context, node):
        self.forget(node)

    def forget(self, uuid):
        """The node is not registered any more: end its streams, leave its BMC."""
        self._revocation.cut(uuid, None, 'deleted')
        live = self._holdings.drop(uuid)
        if live is not None:
            LOG.info('%s: deleted', live.name)
            gone = errors.NotFound('the node was deleted', live.name)
            threads.spawn(close, live, gone, gone.reason)

    # -- checks -----------------------------------------------------------------------------

    def _require_room(self, live):
        if len(self._revocation) >= CONF.console.max_viewers:
            raise errors.Unavailable('this conductor serves too many viewers', live.name, 5)

    def _live(self, call, once=False):
        self.reception.require_self(call['owner'])
        if call['timeout'] <= 0:
            raise errors.BmcSilent('the deadline had passed before the conductor was asked')
        if once:
            self._remember(call['id'])
        live = self._holdings.find(call['node'])
        if call['epoch'] is not None and call['epoch'] != live.epoch:
            raise errors.NotOwner('the node has changed hands since the call was made', live.name)
        return live

    def _remember(self, call_id):
        with self._lock:
            if call_id in self._seen:
                raise errors.OutcomeUnknown('this call has come before; it is not run twice')
            self._seen[call_id] = True
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)


def close(live, error, reason, deadline=None, deactivate=True):
    """Give back all that is held for a node: viewers, SOL, the BMC's session.

    :param error: what those get who wait for the BMC.  :param reason: str, for the log.
    """
    deadline = deadline or Deadline(CONF.conductor.stop_timeout)
    live.drop_target()
    live.abort(error)
    live.console.close(deadline, reason, deactivate)
    live.driver.close(deadline)


def _caller(call):
    return callers.from_wire(call.get('caller'))


def _nothing():
    pass
