"""``/api/v1/jobs``: one command on many nodes, or on none."""

from obmd.api import auth
from obmd.api import http
from obmd.api import job_events
from obmd.api import jobs
from obmd.api import selection
from obmd.api import times
from obmd.api import trail
from obmd.common import errors
from obmd.db import jobs as job_rows
from obmd.db import runs as run_rows

#: names in a body that :func:`obmd.api.jobs.create` takes as they are
_LIMITS = ('limit', 'stagger', 'timeout')
_WHOLE = ('limit', 'request_uid')


def create(request, services):
    """``POST /api/v1/jobs``: 201, the job; with ``dry_run`` 200, what would run where."""
    asked = _given(request.fields)
    command = jobs.table.get(asked['command'])
    nodes = _nodes(request, command, asked.get('nodes'))
    if asked.get('dry_run'):
        planned = jobs.plan(services, command.name, nodes)
        return http.json_response({'command': command.name, 'runs': planned})
    job = jobs.create(
        services,
        _requester(request, asked),
        command.name,
        asked.get('arguments', []),
        nodes,
        context=asked.get('nodes'),
        **{name: asked[name] for name in _LIMITS if name in asked},
    )
    place = [('Location', f'/api/v1/jobs/{job.uuid}')]
    waiting = run_rows.Counts(queued=job.total)
    return http.json_response(_told(job, waiting), status=201, headers=place)


def _nodes(request, command, text):
    """:returns: list of Node, or None: a command without nodes.

    :raises Forbidden: the caller may not run it.  :raises NotFound: naming what is not there, or
        not for the caller.
    """
    identity = request.identity
    try:
        identity.require_command(command.name, contextless=not command.has_context)
    except errors.Forbidden as error:
        about = f'command {command.name}'
        trail.record(request, identity, about, outcome=error.kind, detail=error.reason)
        raise
    if text is None:
        return None
    return selection.rows(identity.expand(text))


def _given(fields):
    """:returns: dict, without null; 2.0 is a whole number in JSON."""
    return {
        name: int(value) if name in _WHOLE else value
        for name, value in fields.items()
        if value is not None
    }


def _requester(request, asked=None):
    asked = asked or {}
    identity = request.identity
    caller = auth.caller(request, identity.who)
    return jobs.Requester(
        subject=identity.subject,
        admin=identity.is_admin,
        label=identity.label,
        source=caller.address,
        request_id=caller.request_id,
        claimed_user=asked.get('request_username'),
        claimed_uid=asked.get('request_uid'),
    )


def index(request, services):
    """``GET /api/v1/jobs?state=&limit=&marker=``: 200 ``{"jobs": [...], "next"}``, the newest
    first: the caller's own, the admin's are all."""
    asked = request.parameters
    found = jobs.page(_requester(request), asked.get('state'), asked.get('marker'), asked['limit'])
    counted = run_rows.counts_among(job.uuid for job in found)
    told = [_told(job, counted.get(job.uuid, run_rows.Counts())) for job in found]
    last = found[-1].uuid if len(found) == asked['limit'] else None
    return http.json_response({'jobs': told, 'next': last})


def show(request, services):
    """``GET /api/v1/jobs/{id}``: 200, the job."""
    return _answer(_find(request))


def cancel(request, services):
    """``DELETE /api/v1/jobs/{id}``: 202, the job, which ends soon; 200 when it has ended."""
    found = _find(request)
    if found.state == job_rows.ENDED:
        return _answer(found)
    with trail.recording(request, 'job cancel', job=found.uuid):
        job = jobs.cancel(services, found.uuid, _requester(request))
    return _answer(job, 200 if job.state == job_rows.ENDED else 202)


def runs(request, services):
    """``GET /api/v1/jobs/{id}/runs?state=&limit=&marker=``: 200 ``{"runs": [...], "next"}``."""
    asked = request.parameters
    job = _find(request)
    states = [asked['state']] if 'state' in asked else None
    found = jobs.runs_of(job.uuid, states, asked.get('marker'), asked['limit'])
    last = found[-1].position if len(found) == asked['limit'] else None
    told = [_told_run(services, run) for run in found]
    return http.json_response({'runs': told, 'next': last})


def events(request, services):
    """``GET /api/v1/jobs/{id}/events[?cursor=]``: 200 ``text/event-stream`` until the job has
    ended, see :mod:`obmd.api.job_events`."""
    cursor = request.environ.get('HTTP_LAST_EVENT_ID') or request.parameters.get('cursor')
    job = _find(request)
    return _streamed(
        request,
        services,
        lambda: job_events.Events(services, job, cursor),
        job_events.MEDIA,
        [('X-Accel-Buffering', 'no')],
    )


def output(request, services):
    """``GET /api/v1/jobs/{id}/runs/{position}/output?stream=``: 200, bytes until the run has
    ended."""
    stream = request.parameters['stream']
    job = _find(request)
    position = request.variable('position') or ''
    if not (position.isascii() and position.isdigit() and len(position) < 10):
        raise errors.NotFound('there is no such run')
    if int(position) >= job.total:
        raise errors.NotFound('there is no such run')
    return _streamed(
        request,
        services,
        lambda: job_events.Bytes(services, job, int(position), stream),
        'application/octet-stream',
    )


def _streamed(request, services, open_, media, headers=()):
    services.slots.take()
    try:
        stream = open_()
    except BaseException:
        services.slots.give()
        raise
    stream.on_end(services.slots.give)
    services.vigil.add(stream, request.identity)
    return http.Response(stream, content_type=media, headers=headers)


def _find(request):
    if request.label is None:
        raise errors.NotFound('there is no such job')
    return jobs.get(request.label, _requester(request))


def _answer(job, status=200):
    return http.json_response(_told(job, jobs.counts(job.uuid)), status=status)


def _told(job, counted):
    """:param job: ``obmd.db.jobs.Job``.  :param counted: ``obmd.db.runs.Counts``."""
    path = f'/api/v1/jobs/{job.uuid}'
    return {
        'id': job.uuid,
        'command': job.command,
        'arguments': job.arguments,
        'nodes': job.context,
        'context_type': job.context_type,
        'state': job.state,
        'status': job.status,
        'total': job.total,
        'counts': {
            'queued': counted.queued,
            'running': counted.running,
            'ended': counted.ended,
        },
        'failed': counted.failed,
        'limit': job.run_limit,
        'stagger': job.stagger,
        'timeout': job.timeout,
        'output_limit': job.output_limit,
        'requested_by': {
            'subject': job.subject,
            'label': job.label,
            'username': job.claimed_user,
            'uid': job.claimed_uid,
            'source': job.source,
            'door': job.door,
        },
        'created_at': times.shown(job.created_at),
        'cancelled_at': times.shown(job.cancelled_at),
        'ended_at': times.shown(job.ended_at),
        'links': {'self': path, 'runs': f'{path}/runs', 'events': f'{path}/events'},
    }


def _told_run(services, run):
    """:param run: ``obmd.db.runs.Run``."""
    return {
        'position': run.position,
        'node': run.node_name,
        'state': run.state,
        'outcome': run.outcome,
        'status': run.status,
        'reason': run.reason,
        'conductor': services.router.host(run.runner),
        'started_at': times.shown(run.started_at),
        'ended_at': times.shown(run.ended_at),
        'output_bytes': run.output_bytes,
    }
