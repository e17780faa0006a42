"""How the API calls conductors: the client of ``obmd.conductor.manager``.

RPC API history:

1.0  power_status, set_power, power_cycle, set_boot_device, event_log, open_console, open_sweep,
     token_changed, node_changed, node_deleted.

A call says which conductor start (incarnation) and which epoch of ownership it was made for; the
conductor refuses any other, so a message that comes late or to the wrong place does nothing.
A write also says for whom it is (``caller``); a conductor answers a call without it just so.
"""

import dataclasses
import functools
import logging
import typing

from obmd.common import callers
from obmd.common import errors
from obmd.common import secrets

LOG = logging.getLogger(__name__)

TOPIC = 'obmd.conductor'
VERSION = '1.0'


@dataclasses.dataclass(frozen=True)
class StreamOffer:
    """Where a stream waits for its viewer.

    :ivar url: str, absolute, with a ticket that is good once and for seconds.
    :ivar headers: dict of answer headers.
    :ivar stream: the stream itself where the conductor is in this process, else None.
    """

    url: str = dataclasses.field(repr=False)
    headers: dict
    stream: typing.Any = None


class ConductorAPI:
    """Calls to the owners of nodes.

    :param bus: ``obmd.common.rpc`` Bus or LocalBus.
    :param router: :class:`obmd.conductor.routing.Router`.
    :param tickets: the local conductor's tickets in an all-in-one, else None.
    """

    def __init__(self, bus, router, tickets=None):
        self._client = bus.client(TOPIC, VERSION)
        self._router = router
        self._tickets = tickets

    def power_status(self, node, deadline):
        return self._call(node, 'power_status', deadline, read=True)

    def set_power(self, node, action, deadline, caller=callers.UNKNOWN):
        self._call(node, 'set_power', deadline, caller, action=action)

    def power_cycle(self, node, force, deadline, caller=callers.UNKNOWN):
        self._call(node, 'power_cycle', deadline, caller, force=force)

    def set_boot_device(self, node, device, deadline, caller=callers.UNKNOWN):
        self._call(node, 'set_boot_device', deadline, caller, device=device)

    def event_log(self, node, limit, deadline):
        return self._call(node, 'event_log', deadline, read=True, limit=limit)

    def open_console(self, node, deadline, replay=None, cursor=None, takeover=False):
        """:param cursor: str ``RING:OFFSET`` or None.  :returns: :class:`StreamOffer`."""
        offer = self._call(
            node,
            'open_console',
            deadline,
            read=not takeover,
            token_id=node.token_id,
            replay=replay,
            cursor=cursor,
            takeover=takeover,
        )
        return self._offer(offer)

    def open_sweep(self, incarnation, nodes, deadline):
        """Read the power of ``nodes``, all of one conductor.

        :param nodes: list of Node.  :returns: :class:`StreamOffer` of one JSON line a node.
        """
        conductor = self._router.conductor(incarnation)
        offer = self._client.call(
            conductor.host,
            'open_sweep',
            deadline.remaining,
            watched=functools.partial(self._router.watched, incarnation),
            incarnation=incarnation,
            nodes=[node.uuid for node in nodes],
            seconds=deadline.remaining,
        )
        return self._offer(offer)

    def token_changed(self, node):
        """Tell the owner, in the background, that the token of ``node`` is another or none."""
        self._tell(node, 'token_changed', token_id=node.token_id)

    def node_changed(self, node):
        """Tell who should own a new node to claim it; it would also find it by itself."""
        try:
            conductor = self._router.owner_of(node)
        except errors.Unavailable as error:
            LOG.warning('%s is registered, but: %s', node.name, error.reason)
            return
        self._client.tell(conductor.host, 'node_changed', node=node.uuid)

    def node_deleted(self, node):
        self._tell(node, 'node_deleted')

    def _call(self, node, method, deadline, caller=None, read=False, **args):
        """:param read: it changes nothing: who waits for it is told when the owner is gone."""
        conductor = self._router.owner_of(node)
        watched = functools.partial(self._router.watched, conductor.incarnation)
        call = {
            'node': node.uuid,
            'owner': conductor.incarnation,
            'epoch': node.owner_epoch if node.owner == conductor.incarnation else None,
            'id': secrets.new_id(),
            'timeout': deadline.remaining,
        }
        if caller is not None:
            call['caller'] = caller.to_wire()
        try:
            return self._client.call(
                conductor.host,
                method,
                deadline.remaining,
                watched=watched if read else None,
                call=call,
                **args,
            )
        except errors.NotOwner:
            self._router.look_again()  # who should own it may be new here
            raise

    def _tell(self, node, method, **args):
        for conductor in self._router.may_hold(node):
            self._client.tell(conductor.host, method, node=node.uuid, **args)

    def _offer(self, offer):
        if self._tickets is None:
            return StreamOffer(offer['url'], offer['headers'])
        stream, headers = self._tickets.redeem(offer['ticket'])
        return StreamOffer(offer['url'], headers, stream)
