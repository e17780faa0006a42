"""Power and boot device of one node, ``/api/v1/nodes/{id}/power`` and ``.../boot_device``."""

from obmd.api import auth
from obmd.api import http
from obmd.api import operations
from obmd.api import trail
from obmd.api.schemas import native as schemas
from obmd.common import errors
from obmd.drivers import base

#: those that the driver sees done before it returns
_SEEN = (base.Power.ON, base.Power.OFF)


def show(request, services):
    """``GET /api/v1/nodes/{id}/power``: 200 ``{"node", "power_status"}``, the BMC's answer now."""
    node = operations.find_for(request.identity, request.label)
    operations.check_capability(node, 'power')
    status = _read(services.conductor_api.power_status, node)
    return http.json_response({'node': node.name, 'power_status': status})


def change(request, services):
    """``PUT /api/v1/nodes/{id}/power`` ``{"action"}``: 200 ``{"node", "action",
    "power_status"}``."""
    action = request.fields['action']
    node = operations.find_for(request.identity, request.label)
    operations.check_capability(node, 'power')
    conductor = services.conductor_api
    with trail.recording(request, f'power {action}', [node.name]):
        if action in (base.Power.CYCLE, schemas.SOFT_CYCLE):
            _write(request, conductor.power_cycle, node, action == base.Power.CYCLE)
        else:
            _write(request, conductor.set_power, node, action)
    status = action if action in _SEEN else None
    return http.json_response({'node': node.name, 'action': action, 'power_status': status})


def show_boot_device(request, services):
    """``GET /api/v1/nodes/{id}/boot_device``: 200 ``{"node", "device", "devices"}``, the BMC's
    answer now."""
    node = operations.find_for(request.identity, request.label)
    legal = _boot_devices(node)
    return _boot_device(node, _read(services.conductor_api.boot_device, node), legal)


def change_boot_device(request, services):
    """``PUT /api/v1/nodes/{id}/boot_device`` ``{"device"}``: 200 ``{"node", "device",
    "devices"}``."""
    device = request.fields['device']
    node = operations.find_for(request.identity, request.label)
    legal = _boot_devices(node)
    if legal is not None and device not in legal:
        raise errors.InvalidInput(f'device must be one of: {", ".join(legal)}', node.name)
    with trail.recording(request, f'boot device {device}', [node.name]):
        _write(request, services.conductor_api.set_boot_device, node, device)
    return _boot_device(node, device, legal)


def _boot_devices(node):
    """:returns: list of str, or None: any."""
    driver = operations.check_capability(node, 'boot_device')
    legal = driver.boot_devices if driver is not None else None
    return None if legal is None else list(legal)


def _boot_device(node, device, legal):
    return http.json_response({'node': node.name, 'device': device, 'devices': legal})


def _read(method, node):
    return operations.call(method, node, by_token=False, read=True)


def _write(request, method, node, what):
    caller = auth.caller(request, request.identity.who)
    operations.call(method, node, what, caller=caller, by_token=False)
