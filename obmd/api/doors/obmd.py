"""OBMd's API, ``/node/...``: what HIL and everything written for OBMd speaks.

Success answers are OBMd's byte for byte; where OBMd answered 500 for a caller's mistake, a JSON
error says what it was.
"""

import re

from obmd.api import auth
from obmd.api import bearer
from obmd.api import delivery
from obmd.api import http
from obmd.api import operations
from obmd.api import registration
from obmd.api import trail
from obmd.api import validation
from obmd.api.schemas import obmd as schemas
from obmd.common import callers
from obmd.common import deadline
from obmd.common import errors
from obmd.common import secrets
from obmd.conf import CONF
from obmd.db import nodes
from obmd.drivers import base

_CURSOR = re.compile('[0-9A-Za-z_-]{1,64}:[0-9]{1,19}')
#: bytes; a ring has far less, and what is asked for beyond it is all there is
MOST_REPLAY = 10**18


# -- the admin --------------------------------------------------------------------------------


def register(request, services):
    """``PUT /node/{id}`` ``{"type", "info", "group"?}``: 200, empty."""
    auth.admin(request, services.admin_hash)
    label = operations.check_label(request.label)
    body = _fields(request.read_json(empty=False))
    validation.check(body, schemas.REGISTER)
    node = registration.register(
        services.public_key, label, body['type'], body['info'], body.get('group')
    )
    operations.tell(services.conductor_api.node_changed, node)
    _record(request, 'node create', label)
    return http.Response()


def unregister(request, services):
    """``DELETE /node/{id}``: 200, empty, also when there is none."""
    auth.admin(request, services.admin_hash)
    node = nodes.delete(operations.check_label(request.label))
    if node is not None:
        operations.tell(services.conductor_api.node_deleted, node)
        _record(request, 'node delete', node.name)
    return http.Response()


def issue_token(request, services):
    """``POST /node/{id}/token``: 200 ``{"token": ...}``; replaces the one before."""
    auth.admin(request, services.admin_hash)
    label = operations.check_label(request.label)
    token = secrets.new_token()
    node = nodes.set_token(label, secrets.token_hash(token), secrets.new_id())
    if node is None:
        raise errors.NotFound('there is no such node', label)
    operations.tell(services.conductor_api.token_changed, node)
    _record(request, 'node token issue', label)
    return http.json_response({'token': token})


def revoke_token(request, services):
    """``DELETE /node/{id}/token``: 200, empty, also when there is no token or no node."""
    auth.admin(request, services.admin_hash)
    node = nodes.clear_token(operations.check_label(request.label))
    if node is not None:
        operations.tell(services.conductor_api.token_changed, node)
        _record(request, 'node token revoke', node.name)
    return http.Response()


def _record(request, action, name):
    trail.record(request, bearer.ADMIN, action, nodes=[name], door=trail.OBMD)


# -- the holder of the token ------------------------------------------------------------------


def power_cycle(request, services):
    """``POST /node/{id}/power_cycle`` ``{"force": bool}``: 200, empty."""
    node = auth.node(request)
    body = _fields(request.read_json())
    validation.check(body, schemas.POWER_CYCLE)
    force = bool((body or {}).get('force'))
    operations.check_capability(node, 'power')
    _write(request, services.conductor_api.power_cycle, node, force)
    return http.Response()


def power_on(request, services):
    """``POST /node/{id}/power_on``: 200, empty."""
    return _set_power(request, services, base.Power.ON)


def power_off(request, services):
    """``POST /node/{id}/power_off``: 200, empty."""
    return _set_power(request, services, base.Power.OFF)


def _set_power(request, services, action):
    node = auth.node(request)
    operations.check_capability(node, 'power')
    _write(request, services.conductor_api.set_power, node, action)
    return http.Response()


def _write(request, method, node, what):
    caller = auth.caller(request, callers.HOLDER)
    operations.call(method, node, what, caller=caller)


def boot_device(request, services):
    """``PUT /node/{id}/boot_device`` ``{"bootdev": ...}``: 200, empty."""
    node = auth.node(request)
    body = _fields(request.read_json(empty=False))
    validation.check(body, schemas.BOOT_DEVICE)
    device = (body or {}).get('bootdev') or ''
    driver = operations.check_capability(node, 'boot_device')
    legal = driver.boot_devices if driver is not None else None
    if legal is not None and device not in legal:
        raise errors.InvalidInput(f'bootdev must be one of: {", ".join(legal)}', node.name)
    _write(request, services.conductor_api.set_boot_device, node, device)
    return http.Response()


def power_status(request, services):
    """``GET /node/{id}/power_status``: 200 ``{"power_status": ...}``."""
    node = auth.node(request)
    operations.check_capability(node, 'power')
    status = operations.call(services.conductor_api.power_status, node, read=True)
    return http.json_response({'power_status': status})


def console(request, services):
    """``GET /node/{id}/console[?replay=BYTES|cursor=RING:OFFSET][&takeover=true]``.

    200 ``application/octet-stream`` until closed, or 307 to the conductor that has the stream.
    """
    node = auth.node(request)
    query = request.query()
    replay = http.number(query, 'replay', None, 0, MOST_REPLAY)
    cursor = query.get('cursor')
    if cursor is not None and not _CURSOR.fullmatch(cursor):
        raise errors.InvalidInput('cursor must be RING:OFFSET as an Obmd-Cursor header told it')
    takeover = query.get('takeover', 'false')
    if takeover not in ('true', 'false'):
        raise errors.InvalidInput('takeover must be true or false')
    operations.check_capability(node, 'console')
    release = _take_slot(services)
    try:
        offer = operations.call(
            services.conductor_api.open_console,
            node,
            deadline=deadline.Deadline(CONF.console.connect_timeout),
            # a takeover ends another's session: once
            read=takeover == 'false',
            replay=replay,
            cursor=cursor,
            takeover=takeover == 'true',
        )
        return delivery.respond(services, offer, 'application/octet-stream', release)
    except BaseException as error:
        release()
        if isinstance(error, errors.Unavailable) and error.node is None:
            error.node = node.name
        raise


def _take_slot(services):
    """:returns: function that gives the stream's slot back, harmless when called again."""
    if not (services.local or CONF.api.console_delivery == 'proxy'):
        return lambda: None
    services.slots.take()
    held = [services.slots.give]
    return lambda: held.pop()() if held else None


def _fields(body):
    """Go takes the keys of a body in any case, so callers of OBMd may write them so."""
    if isinstance(body, dict):
        return {key.lower(): value for key, value in body.items()}
    return body
