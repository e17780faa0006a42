"""How the API calls conductors: the client of ``obmd.conductor.manager``.

RPC API history:

1.0  power_status, set_power, power_cycle, set_boot_device, event_log, open_console, open_sweep,
     token_changed, node_changed, node_deleted.
1.1  agent_heartbeats, agent_state, open_configdrive.
1.2  job_changed, open_job_events, open_job_output, boot_device, open_console_events; and between
     conductors run_job, adopt_job, cancel_runs, runs_changed.

A message asks for the version that its method came with: so during an upgrade either side may be
the newer one, and only what an older conductor does not know is refused, with ``Unavailable``.

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
from obmd.conductor import beats

LOG = logging.getLogger(__name__)

TOPIC = 'obmd.conductor'
#: that a method came with, and so the least that a conductor must have
VERSION, AGENTS, JOBS = '1.0', '1.1', '1.2'


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
        self._agents = bus.client(TOPIC, AGENTS)
        self._jobs = bus.client(TOPIC, JOBS)
        self._beats = beats.Beats(self._send_beats)
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

    def boot_device(self, node, deadline):
        """:returns: as :meth:`obmd.drivers.base.BootDevice.boot_device`."""
        return self._call(node, 'boot_device', deadline, read=True, client=self._jobs)

    def open_console_events(self, node, deadline, holder, replay=None, cursor=None, takeover=False):
        """The console as ``obmd.streams.console_events`` frames it, for who needs no token of the
        node.

        :param holder: str, the subject of the access token that asks: its history begins when it
            came first; or None: the admin, who reads all there is.
        :param cursor: str ``RING:OFFSET`` or None.  :returns: :class:`StreamOffer`.
        """
        offer = self._call(
            node,
            'open_console_events',
            deadline,
            read=not takeover,
            client=self._jobs,
            holder=holder,
            replay=replay,
            cursor=cursor,
            takeover=takeover,
        )
        return self._offer(offer)

    def agent_heartbeat(self, node, beat, deadline):
        """Have the owner of ``node`` take a heartbeat of its agent; returns when it has.

        Doing it twice does no harm, so it may be repeated as a read is.

        :param beat: dict: ``token_hash`` and ``url``, str; ``version``, ``verify_ca``,
            ``status``, ``status_message``, str or None: the agent did not say; what it said
            before stays.
        :raises InvalidInput: the token is not the agent's any more, or the URL is another one
            while the agent is alive; the reason is Ironic's.
        :raises Unavailable: not now; nothing of it is kept.
        """
        conductor = self._router.owner_of(node)
        beat = {'node': node.uuid, 'epoch': _epoch(node, conductor), **beat}
        try:
            self._beats.take(conductor, beat, deadline)
        except errors.NotOwner:
            self._router.look_again()
            raise

    def _send_beats(self, conductor, beats, timeout):
        return self._agents.call(
            conductor.host,
            'agent_heartbeats',
            timeout,
            watched=functools.partial(self._router.watched, conductor.incarnation),
            incarnation=conductor.incarnation,
            beats=beats,
            seconds=timeout,
        )

    def agent_state(self, node, deadline):
        """What the owner knows of the node's agent.

        :returns: dict of ``url``, ``version``, ``verify_ca`` (PEM), ``status``,
            ``status_message``: str or None; ``heartbeat_at``: wall time in s or None; ``alive``.
        """
        return self._call(node, 'agent_state', deadline, read=True, client=self._agents)

    def open_configdrive(self, node, deadline):
        """The ``configdrive`` of the node's ``instance_info`` in the clear; only the owner has the
        key, and nothing else that is secret leaves it.

        :returns: what was said, a str or a dict; None if there is none.
        """
        return self._call(node, 'open_configdrive', deadline, read=True, client=self._agents)

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

    def job_changed(self, job):
        """Tell the job's owner, or who should claim it, in the background; its next look would
        tell it too."""
        try:
            conductor = self._router.owner_of_job(job)
        except errors.Unavailable as error:
            LOG.warning('job %s: %s', job.uuid, error.reason)
            return
        self._jobs.tell(conductor.host, 'job_changed', job=job.uuid)

    def open_job_events(self, job, deadline):
        """What becomes of the runs of ``job``.

        :param job: ``obmd.db.jobs.Job``.
        :returns: :class:`StreamOffer` of JSON lines, see ``obmd.conductor.job.OwnedJob.watch``.
        :raises NotOwner: the job is another's by now; read it again.
        """
        conductor = self._router.owner_of_job(job)
        return self._offer(self._ask(conductor, 'open_job_events', deadline, job=job.uuid))

    def open_job_output(self, conductor, job, cursor, deadline):
        """What runs of a job have written at one conductor, and write.

        :param conductor: ``obmd.db.conductors.Conductor`` to ask.
        :param job: str, uuid.  :param cursor: str ``SPOOL:OFFSET`` or None: from the start.
        :returns: :class:`StreamOffer`, see ``obmd.conductor.spool_stream``.
        :raises NotFound: there is nothing of it at that conductor.
        """
        return self._offer(
            self._ask(conductor, 'open_job_output', deadline, job=job, cursor=cursor)
        )

    def _ask(self, conductor, method, deadline, **args):
        incarnation = conductor.incarnation
        return self._jobs.call(
            conductor.host,
            method,
            deadline.remaining,
            watched=functools.partial(self._router.watched, incarnation),
            incarnation=incarnation,
            **args,
        )

    def token_changed(self, node):
        """Tell the owner, in the background, that the token of ``node`` is another or none."""
        self._tell(node, 'token_changed', token_id=node.token_id)

    def node_changed(self, node):
        """Tell who owns a node, or should, that it is new or its BMC is reached otherwise; it would
        also find that out by itself."""
        try:
            conductor = self._router.owner_of(node)
        except errors.Unavailable as error:
            LOG.warning('%s is registered or changed, but: %s', node.name, error.reason)
            return
        self._client.tell(conductor.host, 'node_changed', node=node.uuid)

    def node_deleted(self, node):
        self._tell(node, 'node_deleted')

    def _call(self, node, method, deadline, caller=None, read=False, client=None, **args):
        """:param read: it changes nothing: who waits for it is told when the owner is gone."""
        conductor = self._router.owner_of(node)
        watched = functools.partial(self._router.watched, conductor.incarnation)
        call = {
            'node': node.uuid,
            'owner': conductor.incarnation,
            'epoch': _epoch(node, conductor),
            'id': secrets.new_id(),
            'timeout': deadline.remaining,
        }
        if caller is not None:
            call['caller'] = caller.to_wire()
        try:
            return (client or self._client).call(
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


def _epoch(node, conductor):
    """:returns: int, the epoch that a call is made for; None: the conductor is to claim first."""
    return node.owner_epoch if node.owner == conductor.incarnation else None
