"""obmd's own API, ``/api/v1``, and the pages that monitoring asks."""

from obmd.api import http
from obmd.api import operations
from obmd.api import sweep as sweeps
from obmd.common import deadline
from obmd.common import errors
from obmd.common import exposition
from obmd.conf import CONF


def sweep(request, services):
    """``GET /api/v1/power?nodes=RANGE&deadline=SECONDS`` (admin).

    200 ``application/x-ndjson``, one line a node in the order the answers come:
    ``{"node", "power_status"}`` or ``{"node", "error": {"kind", "reason"}}``.
    """
    seconds = _seconds(request.parameters.get('deadline'))
    names = request.identity.expand(request.parameters['nodes'])
    services.slots.take()
    try:
        stream = sweeps.Sweep(services, names, deadline.Deadline(seconds))
        stream.start()
    except BaseException:
        services.slots.give()
        raise
    stream.on_end(services.slots.give)
    services.vigil.add(stream, request.identity)
    return http.Response(stream, content_type='application/x-ndjson')


def _seconds(given):
    longest = CONF.conductor.sweep_timeout
    if given is None:
        return min(CONF.ipmi.deadline, longest)
    if not 0 < given <= longest:
        raise errors.InvalidInput(f'deadline must be a number of seconds, at most {longest:g}')
    return given


def event_log(request, services):
    """``GET /api/v1/nodes/{id}/event_log?limit=N`` (admin).

    200 ``{"node", "events": [{"id", "time", "sensor", "event", "raw"}]}``, oldest first.
    """
    node = operations.find_for(request.identity, request.label)
    operations.check_capability(node, 'event_log')
    events = operations.call(
        services.conductor_api.event_log,
        node,
        request.parameters['limit'],
        by_token=False,
        read=True,
    )
    return http.json_response({'node': node.name, 'events': events})


def healthz(request, services):
    """``GET /healthz``: 200 while the process answers at all."""
    return http.json_response({'status': 'ok'})


def readyz(request, services):
    """``GET /readyz``: 200 when requests can be served, else 503 with the reason."""
    for check in services.readiness:
        check()
    return http.json_response({'status': 'ok'})


def metrics(request, services):
    """``GET /metrics``: the page for Prometheus, if ``[metrics]`` has it here."""
    if not exposition.is_here():
        raise errors.NotFound('there is no such page')
    return http.Response(exposition.page(), content_type=exposition.CONTENT_TYPE)
