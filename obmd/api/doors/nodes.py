"""``/api/v1/nodes``: which nodes there are, what operators say about one and see of it."""

import datetime
import itertools
import logging
import time
import urllib.parse

from obmd.api import http
from obmd.api import operations
from obmd.api import registration
from obmd.api import selection
from obmd.api import trail
from obmd.common import deadline
from obmd.common import errors
from obmd.db import agents as agent_rows
from obmd.db import conductors
from obmd.db import descriptions as description_rows
from obmd.db import node_lists
from obmd.db import nodes
from obmd.db import ranks

LOG = logging.getLogger(__name__)

#: seconds that an answer waits for the node's conductor to say whether the agent is alive
PATIENCE = 5.0


def index(request, services):
    """``GET /api/v1/nodes?nodes=RANGE&driver=&conductor_group=&rank=&conductor=&limit=&marker=``.

    200 ``{"nodes": [...], "next": NAME or null}``: those that fit all that is given, in the order
    of the range or by name; ``next`` is the ``marker`` of the next page.
    """
    asked = request.parameters
    fits = {name: asked[name] for name in ('driver', 'conductor_group', 'rank') if name in asked}
    if 'conductor' in asked:
        rows = conductors.all()
        fits['owners'] = {one.incarnation for one in rows if one.host == asked['conductor']}
    limit, marker = asked['limit'], asked.get('marker')
    named = _named(request.identity, asked.get('nodes'))
    if named is None:
        page = node_lists.page(**fits, after=marker or '', limit=limit + 1)
    else:
        page = _among(named, fits, limit + 1, marker)
    following = page[limit - 1].name if len(page) > limit else None
    page = page[:limit] if named is None else _in_order(page[:limit])
    words = ranks.among(node.uuid for node in page)
    return http.json_response(
        {
            'nodes': [_listed(services, node, words.get(node.uuid, [])) for node in page],
            'next': following,
        }
    )


def _named(identity, text):
    """:returns: list of Place, those of a range or that are for who asks; None: all there are."""
    if text is not None:
        return selection.rows(identity.expand(text))
    covered = identity.covered()
    if covered is None:
        return None
    found = node_lists.places(sorted(covered))
    return sorted(found, key=lambda one: one.name.encode())


def _among(found, fits, limit, marker):
    """:returns: list of Place: those of ``found`` that fit, up to ``limit`` behind ``marker``."""
    if marker is not None:
        found = list(itertools.dropwhile(lambda one: one.name != marker, found))[1:]
    if 'rank' in fits:
        having = set(ranks.members(fits['rank']))
        found = [one for one in found if one.name in having]
    for name in ('driver', 'conductor_group'):
        if name in fits:
            found = [one for one in found if getattr(one, name) == fits[name]]
    if 'owners' in fits:
        found = [one for one in found if one.owner in fits['owners']]
    return found[:limit]


def _in_order(places):
    """:returns: list of Node; one that was deleted in this moment is not among them."""
    rows = {node.uuid: node for node in nodes.by_uuids(place.uuid for place in places)}
    return [rows[place.uuid] for place in places if place.uuid in rows]


def create(request, services):
    """``POST /api/v1/nodes`` ``{"name", "obm": {"type", "info"}?, ...}``: 201, the node.

    Besides what ``PATCH`` takes: ``name``.  Without ``obm`` the parameters are searched for a
    driver's credentials; a node without either has no BMC.  Who is for some nodes alone makes
    none: its BMC might be another node's.
    """
    name = request.fields['name']
    with trail.recording(request, 'node create', [name]):
        if request.identity.nodes is not None:
            raise errors.Forbidden('name: a token for some nodes may not register nodes')
        node = registration.create(services.public_key, request.fields)
    operations.tell(services.conductor_api.node_changed, node)
    location = f'/api/v1/nodes/{urllib.parse.quote(node.name, safe="")}'
    return http.json_response(_shown(services, node), 201, [('Location', location)])


def show(request, services):
    """``GET /api/v1/nodes/{id}``: 200, the node; ``{id}`` is its uuid or name."""
    node = operations.find_for(request.identity, request.label)
    return http.json_response(_shown(services, node))


def change(request, services):
    """``PATCH /api/v1/nodes/{id}``, a merge patch: 200, the node as it is then.

    Any of ``properties``, ``extra``, ``instance_info``, ``ports``, ``ranks``, ``parameters``,
    ``obm``, ``conductor_group`` and ``expect_agent`` (true, false, ``{"seconds": N}``); null is
    empty, false, or no BMC.
    """
    node = operations.find_for(request.identity, request.label)
    in_place = request.identity.nodes is not None
    with trail.recording(request, 'node change', [node.name]):
        now = registration.change(services.public_key, node, request.fields, in_place)
    tell_changed(services, node, now)
    return http.json_response(_shown(services, now))


def tell_changed(services, before, now):
    """Tell who holds a node, and who should, when its BMC, driver or group is another."""
    if now.owner_epoch == before.owner_epoch:
        return
    for row in {before.owner: before, now.owner: now}.values():
        operations.tell(services.conductor_api.node_changed, row)


def delete(request, services):
    """``DELETE /api/v1/nodes/{id}``: 204, empty."""
    node = operations.find_for(request.identity, request.label)
    with trail.recording(request, 'node delete', [node.name]):
        gone = nodes.delete(node.name)
        if gone is None:
            raise errors.NotFound('there is no such node', node.name)
    operations.tell(services.conductor_api.node_deleted, gone)
    return http.Response(status=204)


def _listed(services, node, words):
    return {
        'uuid': node.uuid,
        'name': node.name,
        'driver': node.driver,
        'conductor_group': node.conductor_group,
        'conductor': services.router.host_of(node),
        'ranks': words,
        'credentials_refused': node.credentials_refused is not None,
        'target_power_state': node.target_power_state,
        'last_error': node.last_error,
        'created_at': _when(node.created_at),
        'updated_at': _when(node.updated_at),
    }


def _shown(services, node):
    said = description_rows.get(node.uuid)
    agent = agent_rows.get(node.uuid)
    return _listed(services, node, ranks.get(node.uuid)) | {
        'properties': said.properties,
        'extra': said.extra,
        'instance_info': said.instance_info,
        'ports': said.ports,
        'parameters': said.parameters,
        'expect_agent': agent.is_expected(time.time()),
        'expect_agent_until': _when(agent.expect_until),
        'agent': _agent(services, node, agent),
        'reservation': _reservation(node),
    }


def _reservation(node):
    if node.lock_purpose is None:
        return None
    return {
        'purpose': node.lock_purpose,
        'caller': node.lock_caller,
        'since': _when(node.lock_since),
    }


def _agent(services, node, row):
    """What the node's conductor knows, or what the row says, if the conductor does not answer."""
    state = {
        'url': row.url,
        'version': row.version,
        'status': row.status,
        'status_message': row.status_message,
        'heartbeat_at': row.heartbeat_at,
        'verify_ca': row.verify_ca,
        'alive': False,
    }
    # without a token no agent reports in
    if row.token_hash is not None:
        state |= _asked(services, node)
    state['last_heartbeat'] = _when(state.pop('heartbeat_at'))
    return state


def _asked(services, node):
    try:
        return operations.call(
            services.conductor_api.agent_state,
            node,
            deadline=deadline.Deadline(PATIENCE),
            by_token=False,
            read=True,
        )
    except errors.ObmdError as error:
        LOG.info('whether the agent of %s is alive: %s', node.name, error.reason)
        return {'alive': None}


def _when(seconds):
    """:returns: str, a wall time in UTC (RFC 3339), or None."""
    if seconds is None:
        return None
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC).isoformat()
