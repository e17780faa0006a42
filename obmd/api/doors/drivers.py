"""``/api/v1/drivers``: what the enabled drivers can do, and what a node of theirs is given."""

from obmd.api import http
from obmd.common import errors
from obmd.drivers import base
from obmd.drivers import registry


def index(request, services):
    """``GET /api/v1/drivers``: 200 ``{"drivers": [...]}``, each as :func:`show` answers it."""
    enabled = sorted(registry.enabled().items())
    return http.json_response({'drivers': [_told(name, driver) for name, driver in enabled]})


def show(request, services):
    """``GET /api/v1/drivers/{id}``: 200, the driver of that name."""
    try:
        name, driver = registry.resolve(request.label)
    except errors.InvalidInput as error:
        raise errors.NotFound(error.reason.replace('type', 'driver', 1)) from None
    return http.json_response(_told(name, driver))


def _told(name, driver):
    devices = getattr(driver, 'boot_devices', ())
    return {
        'name': name,
        'aliases': list(driver.aliases),
        'capabilities': base.capabilities(driver),
        'boot_devices': None if devices is None else list(devices),
        'secret_fields': list(driver.secret_fields),
        'info_schema': driver.schema,
    }
