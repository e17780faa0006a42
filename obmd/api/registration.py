"""Registering a node: what a door, the demo and an import from OBMd share."""

from uuid import uuid4

from obmd.api import groups
from obmd.api import validation
from obmd.common import errors
from obmd.common import secrets
from obmd.db import nodes
from obmd.drivers import registry

#: characters of a BMC's address that the database keeps
LONGEST_ADDRESS = 255


def register(public_key, label, type_, info, group=None):
    """Check ``info`` against the driver's schema, seal it, add the node.

    :param public_key: :class:`obmd.common.secrets.PublicKey`.
    :param label: str, the node's name.  :param type_: str, a driver's name or alias.
    :param info: what the driver needs; any JSON value, it is judged here.
    :param group: str, its conductor group, or None: by its BMC's address.
    :returns: :class:`obmd.db.nodes.Node`.
    :raises InvalidInput: naming the field.  :raises NodeExists:
    """
    driver_name, info, address = check(type_, info)
    if group is None:
        group = groups.group_of(address)
    uuid = str(uuid4())
    sealed, key_id = secrets.seal_info(public_key, uuid, driver_name, address, info)
    return nodes.create(label, driver_name, address, sealed, key_id, group, uuid)


def check(type_, info):
    """:returns: (the driver's name, info as it keeps it, the BMC's address).

    :raises InvalidInput: naming the field.
    """
    driver_name, driver = registry.resolve(type_)
    validation.check(info, driver.schema, 'info')
    info = driver.normalise(info)
    address = driver.address(info)
    if len(address) > LONGEST_ADDRESS or not address.isprintable():
        raise errors.InvalidInput('the address in info is not one')
    return driver_name, info, address
