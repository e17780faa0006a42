"""Which drivers there are: entry points in ``obmd.drivers`` that ``[drivers] enabled`` names."""

import stevedore.exception
from stevedore import named

from obmd.common import errors
from obmd.conf import CONF
from obmd.drivers import base

NAMESPACE = 'obmd.drivers'

_enabled = {}


def load():
    """Import the enabled drivers; call once at start.

    :raises Fatal: one cannot be imported or does not exist; the reason says which and why.
    """

    def failed(_manager, entry_point, error):
        raise errors.Fatal(f'driver {entry_point.name} cannot be imported: {error}')

    try:
        manager = named.NamedExtensionManager(
            NAMESPACE,
            CONF.drivers.enabled,
            name_order=True,
            on_load_failure_callback=failed,
            on_missing_entrypoints_callback=_said_below,
        )
    except stevedore.exception.NoMatches:
        manager = []
    loaded = {extension.name: extension.plugin for extension in manager}
    missing = [name for name in CONF.drivers.enabled if name not in loaded]
    if missing:
        raise errors.Fatal(
            f'[drivers] enabled names {", ".join(missing)}: no such driver installed'
        )
    for name, driver in loaded.items():
        if not (isinstance(driver, type) and issubclass(driver, base.Driver)):
            raise errors.Fatal(f'driver {name} is not a class made from obmd.drivers.base.Driver')
    _enabled.clear()
    _enabled.update(loaded)


def _said_below(_names):
    """Not stevedore's warning, but a refusal."""


def enabled():
    """:returns: dict name -> driver class."""
    return dict(_enabled)


def resolve(name):
    """:param name: a driver's name or alias.  :returns: (name, driver class).

    :raises InvalidInput: naming the enabled drivers.
    """
    if name in _enabled:
        return name, _enabled[name]
    for own_name, driver in _enabled.items():
        if name in driver.aliases:
            return own_name, driver
    raise errors.InvalidInput(f'unknown type; enabled are: {", ".join(sorted(_enabled))}')


def get(name):
    """:returns: the driver class of that name or alias.  :raises InvalidInput:"""
    return resolve(name)[1]
