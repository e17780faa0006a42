"""``/api/v1/nodes/{id}``: what operators say about a node and see of it."""

import datetime
import logging
import time

from obmd.api import auth
from obmd.api import descriptions
from obmd.api import http
from obmd.api import operations
from obmd.common import deadline
from obmd.common import errors
from obmd.db import agents as agent_rows
from obmd.db import descriptions as description_rows
from obmd.db import nodes

LOG = logging.getLogger(__name__)

#: seconds that an answer waits for the node's conductor to say whether the agent is alive
PATIENCE = 5.0


def show(request, services):
    """``GET /api/v1/nodes/{id}`` (admin): 200, the node; ``{id}`` is its uuid or name."""
    auth.admin(request, services.admin_hash)
    return _answer(services, operations.find(request.label))


def change(request, services):
    """``PATCH /api/v1/nodes/{id}`` (admin), a merge patch: 200, the node as it is then.

    Any of ``properties``, ``extra``, ``instance_info``, ``ports`` and ``expect_agent`` (true,
    false, ``{"seconds": N}``); null is empty, or false.
    """
    auth.admin(request, services.admin_hash)
    objects, ports, seconds = descriptions.parse(request.read_json(empty=False))
    node = operations.find(request.label)
    try:
        if objects or ports is not None:
            made = descriptions.columns(services.public_key, node.uuid, objects)
            description_rows.change(node.uuid, ports, **made)
        if seconds is not None:
            until = time.time() + seconds if seconds else None
            if not agent_rows.expect(node.uuid, until):
                raise errors.NotFound('there is no such node')
    except errors.ObmdError as error:
        error.node = node.name
        raise
    now = nodes.get_by_uuid(node.uuid)
    if now is None:
        raise errors.NotFound('there is no such node', node.name)
    return _answer(services, now)


def _answer(services, node):
    said = description_rows.get(node.uuid)
    agent = agent_rows.get(node.uuid)
    return http.json_response(
        {
            'uuid': node.uuid,
            'name': node.name,
            'driver': node.driver,
            'conductor_group': node.conductor_group,
            'conductor': services.router.host_of(node),
            'properties': said.properties,
            'extra': said.extra,
            'instance_info': said.instance_info,
            'ports': said.ports,
            'expect_agent': agent.is_expected(time.time()),
            'expect_agent_until': _when(agent.expect_until),
            'agent': _agent(services, node, agent),
            'reservation': _reservation(node),
            'target_power_state': node.target_power_state,
            'last_error': node.last_error,
            'created_at': _when(node.created_at),
            'updated_at': _when(node.updated_at),
        }
    )


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
