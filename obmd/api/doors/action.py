"""The Action door, ``/action/...``: what ``flight-action`` and its wrappers speak.

JSON:API 1.0 as the server of OpenFlight Action answers it, for holders of access tokens.  A ticket
is a job, its jobs are the job's runs.
"""

import logging
import re

from obmd.api import auth
from obmd.api import bearer
from obmd.api import following
from obmd.api import http
from obmd.api import jobs
from obmd.api import output
from obmd.api import tickets
from obmd.api import trail
from obmd.api.jsonapi import documents
from obmd.api.jsonapi import errors as jsonapi_errors
from obmd.api.jsonapi import requests
from obmd.common import errors
from obmd.db import nodes as node_rows
from obmd.db import runs

LOG = logging.getLogger(__name__)

#: clients that ask again in silence: Net::HTTP
_ASKS_AGAIN = re.compile('Ruby|Faraday')
_places = following.Places()


def _enter(request, services):
    """:returns: :class:`obmd.api.bearer.Identity` of who may run commands at all."""
    identity = bearer.holder(request, services)
    identity.require(bearer.JOBS)
    return identity


def _id(request):
    """The ``{id}`` of the path, which may be a long range.  :returns: str."""
    raw = request.environ['obmd.variables']['id']
    try:
        return raw.encode('latin-1').decode('utf-8')
    except UnicodeError:
        raise errors.InvalidInput('the path is not UTF-8') from None


# -- commands, nodes, groups ------------------------------------------------------------------


def commands(request, services):
    """``GET /action/commands``: 200, those that the token may run."""
    identity = _enter(request, services)
    asked = requests.query(request, filters=True)
    return documents.answer(
        [
            tickets.show_command(command)
            for command in jobs.table.all()
            if identity.may_run(command.name, not command.has_context)
            and (asked.ids is None or command.name in asked.ids)
        ]
    )


def command(request, services):
    """``GET /action/commands/{id}``: 200 or 404."""
    identity = _enter(request, services)
    requests.query(request)
    found = tickets.command(_id(request))
    if not identity.may_run(found.name, not found.has_context):
        raise tickets.not_found('command', found.name)
    return documents.answer(tickets.show_command(found))


def nodes(request, services):
    """``GET /action/nodes``: 200, those that the token is for, by name."""
    identity = _enter(request, services)
    asked = requests.query(request, filters=True)
    names = node_rows.names()
    outside = set(identity.outside(names))
    return documents.answer(
        [
            tickets.show_node(name)
            for name in names
            if name not in outside and (asked.ids is None or name in asked.ids)
        ]
    )


def node(request, services):
    """``GET /action/nodes/{id}``: 200 or 404."""
    identity = _enter(request, services)
    requests.query(request)
    (found,) = tickets.select(identity, tickets.NODES, _id(request))
    return documents.answer(tickets.show_node(found.name))


def groups(request, services):
    """``GET /action/groups``: 200 and none: any range is one."""
    _enter(request, services)
    requests.query(request)
    return documents.answer([])


def group(request, services):
    """``GET /action/groups/{id}``: 200, what a range names, or 404."""
    identity = _enter(request, services)
    asked = requests.query(request, includes=('nodes',))
    text = _id(request)
    names = [one.name for one in tickets.select(identity, tickets.GROUPS, text)]
    included = None
    if asked.include is not None:
        wanted = names if asked.includes('nodes') else ()
        included = [tickets.show_node(name) for name in wanted]
    return documents.answer(tickets.show_group(text, names), included)


def group_nodes(request, services):
    """``GET /action/groups/{id}/nodes``: 200, the nodes that a range names, or 404."""
    identity = _enter(request, services)
    requests.query(request)
    found = tickets.select(identity, tickets.GROUPS, _id(request))
    return documents.answer([tickets.show_node(one.name) for one in found])


# -- tickets ----------------------------------------------------------------------------------


def create(request, services):
    """``POST /action/tickets``: 201, the ticket; its command runs."""
    identity = _enter(request, services)
    query = requests.query(request, includes=tickets.ONE)
    asked = tickets.Asked(*requests.new(request, 'tickets'))
    _permit(request, identity, asked)
    found = None if asked.context is None else tickets.select(identity, *asked.context)
    kind, text = asked.context or (None, None)
    try:
        job = jobs.create(
            services,
            _requester(request, identity, asked),
            asked.command.name,
            asked.arguments,
            found,
            context=text,
            context_type=kind,
        )
    except errors.InvalidInput as error:
        raise jsonapi_errors.Unprocessable(error.reason, '/data/attributes/arguments') from None
    told = jobs.runs_of(job.uuid) if query.includes('jobs') else None
    return documents.answer(
        tickets.show(job, told),
        tickets.included(job, query, told, {}),
        status=201,
        # resolved against the URL that was asked for: right with the door's prefix and without
        headers=[('Location', documents.path('tickets', job.uuid)[1:])],
    )


def _permit(request, identity, asked):
    """:raises Forbidden: the token is not for the command; it stands in the audit trail."""
    try:
        identity.require_command(asked.command.name, not asked.command.has_context)
    except errors.Forbidden as error:
        trail.record(
            request,
            identity,
            f'command {asked.command.name}',
            outcome=error.kind,
            detail=asked.context and asked.context[1],
            claimed_user=asked.username,
            claimed_uid=asked.uid,
            door=trail.ACTION,
        )
        raise


def _requester(request, identity, asked=None):
    caller = auth.caller(request, identity.who)
    return jobs.Requester(
        identity.subject,
        admin=False,
        label=identity.label,
        door=trail.ACTION,
        source=caller.address,
        request_id=caller.request_id,
        claimed_user=asked and asked.username,
        claimed_uid=asked and asked.uid,
    )


def _ticket(request, identity, uuid):
    """:returns: ``obmd.db.jobs.Job`` that the token has made.  :raises NotFound:"""
    try:
        return jobs.get(uuid, _requester(request, identity))
    except errors.NotFound:
        raise tickets.not_found('ticket', uuid[:255]) from None


def index(request, services):
    """``GET /action/tickets``: 200, the newest of those that the token has made."""
    identity = _enter(request, services)
    query = requests.query(request, includes=tickets.MANY, filters=True)
    found = jobs.page(_requester(request, identity))
    found = [job for job in found if query.ids is None or job.uuid in query.ids]
    included = None
    if query.include is not None:
        every = [one for job in found for one in tickets.included(job, query, None, {})]
        included = list({(one['type'], one['id']): one for one in every}.values())
    return documents.answer([tickets.show(job) for job in found], included)


def show(request, services):
    """``GET /action/tickets/{id}``: 200 or 404."""
    identity = _enter(request, services)
    query = requests.query(request, includes=tickets.ONE)
    job = _ticket(request, identity, _id(request))
    told = written = None
    if query.includes('jobs'):
        written = tickets.read(services, job)
        told = jobs.runs_of(job.uuid)
    return documents.answer(
        tickets.show(job, told), tickets.included(job, query, told, written or {})
    )


def run(request, services):
    """``GET /action/jobs/{id}``: 200 or 404, one node's part of a ticket."""
    identity = _enter(request, services)
    requests.query(request)
    uuid, position = tickets.parse_run(_id(request))
    job = _ticket(request, identity, uuid)
    found = [one for one in jobs.runs_of(job.uuid) if one.position == position]
    if not found:
        raise tickets.not_found('job', f'{uuid}.{position}')
    return documents.answer(tickets.show_run(found[0], tickets.read(services, job)))


def cancel(request, services):
    """``DELETE /action/tickets/{id}``: 204; what runs is killed, what waits does not begin."""
    identity = _enter(request, services)
    requests.query(request)
    job = _ticket(request, identity, _id(request))
    if job.state != runs.ENDED:
        jobs.cancel(services, job.uuid, _requester(request, identity))
        trail.record(request, identity, 'job cancel', job=job.uuid, door=trail.ACTION)
    return http.Response(status=204)


def stream(request, services):
    """``GET /action/streaming/tickets/{id}``: 200 ``text/plain``, the lines of the ticket as they
    come; ends when all its jobs have ended."""
    identity = _enter(request, services)
    requests.query(request)
    job = _ticket(request, identity, _id(request))
    services.slots.take()
    try:
        key, source = (job.uuid, identity.subject), _asks_again(request, identity)
        place = _places.take(key, source)
        if place is None:
            with_names = job.context_type == tickets.GROUPS
            place = following.Place(output.Output(services, job), with_names)
        made = following.Following(place, key, _places, source)
    except BaseException:
        services.slots.give()
        raise
    made.on_end(services.slots.give)
    services.vigil.add(made, identity)
    return http.Response(made, content_type='text/plain', headers=[('X-Accel-Buffering', 'no')])


def _asks_again(request, identity):
    """:returns: str, the address of a client that asks again in silence; None: it does not."""
    if _ASKS_AGAIN.search(request.environ.get('HTTP_USER_AGENT', '')) is None:
        return None
    return auth.caller(request, identity.who).address


_GET = 'GET'
#: path -> method -> function of (request, services)
ROUTES = {
    '/action/commands': {_GET: commands},
    '/action/commands/{id}': {_GET: command},
    '/action/nodes': {_GET: nodes},
    '/action/nodes/{id}': {_GET: node},
    '/action/groups': {_GET: groups},
    '/action/groups/{id}': {_GET: group},
    '/action/groups/{id}/nodes': {_GET: group_nodes},
    '/action/tickets': {_GET: index, 'POST': create},
    '/action/tickets/{id}': {_GET: show, 'DELETE': cancel},
    '/action/jobs/{id}': {_GET: run},
    '/action/streaming/tickets/{id}': {_GET: stream},
}
