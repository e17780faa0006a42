"""``/api/v1/nodes/{id}/console``: a console as framed events."""

from obmd.api import delivery
from obmd.api import http
from obmd.api import operations
from obmd.api import rows
from obmd.api import trail
from obmd.common import deadline
from obmd.common import errors
from obmd.conf import CONF

#: seconds without a byte after which a conductor is given up; it sends an empty line each 30 s
SILENCE = 75.0


def show(request, services):
    """``GET /api/v1/nodes/{id}/console[?replay=BYTES|cursor=RING:OFFSET][&takeover=true]``.

    200 ``application/x-ndjson`` until closed, see :mod:`obmd.streams.console_events`.  It is passed
    on, never redirected: so it ends when the caller's access token does, or is not for the node
    any more.
    """
    asked = request.parameters
    node = operations.find_for(request.identity, request.label)
    operations.check_capability(node, 'console')
    services.slots.take()
    try:
        stream = _open(request, services, node, asked)
    except BaseException as error:
        services.slots.give()
        if isinstance(error, errors.Unavailable) and error.node is None:
            error.node = node.name
        raise
    stream.on_end(services.slots.give)
    services.vigil.add(stream, request.identity, node.name)
    return http.Response(stream, content_type=rows.NDJSON)


def _open(request, services, node, asked):
    """:returns: :class:`obmd.streams.viewer.Stream`."""
    about = 'console takeover' if asked['takeover'] else 'console'
    with trail.recording(request, about, [node.name]):
        offer = operations.call(
            services.conductor_api.open_console_events,
            node,
            deadline=deadline.Deadline(CONF.console.connect_timeout),
            by_token=False,
            # a takeover ends another's session: once
            read=not asked['takeover'],
            # what was before may be another tenant's
            holder=None if request.identity.is_admin else request.identity.subject,
            replay=asked.get('replay'),
            cursor=asked.get('cursor'),
            takeover=asked['takeover'],
        )
        return offer.stream or delivery.RemoteStream(offer.url, SILENCE)
