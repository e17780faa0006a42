"""Registering and changing a node: what the doors, the demo and the imports share."""

import time
from uuid import uuid4

from obmd.api import descriptions
from obmd.api import groups
from obmd.api import validation
from obmd.common import errors
from obmd.common import names
from obmd.common import parameters
from obmd.common import ranks
from obmd.common import secrets
from obmd.db import descriptions as description_rows
from obmd.db import registrations
from obmd.drivers import registry

#: characters of a BMC's address that the database keeps
LONGEST_ADDRESS = 255
#: type of a node without a BMC
NONE = 'none'


def register(public_key, label, type_, info, group=None, beside=registrations.NOTHING, uuid=None):
    """Check ``info`` against the driver's schema, seal it, add the node.

    :param public_key: :class:`obmd.common.secrets.PublicKey`.
    :param label: str, the node's name.  :param type_: str, a driver's name or alias.
    :param info: what the driver needs; any JSON value, it is judged here.
    :param group: str, its conductor group, or None: by its BMC's address.
    :param beside: :class:`obmd.db.registrations.Beside`.
    :returns: :class:`obmd.db.nodes.Node`.
    :raises InvalidInput: naming the field.  :raises NodeExists: :raises MacTaken:
    """
    names.check_label(label)
    uuid = uuid or str(uuid4())
    obm = seal(public_key, uuid, *check(type_, info))
    if group is None:
        group = groups.group_of(obm.address)
    return registrations.create(label, obm, group, uuid, beside)


def seal(public_key, uuid, driver_name, info, address):
    """:param driver_name, info, address: of :func:`check`.

    :returns: :class:`obmd.db.registrations.Obm`.
    """
    sealed, key_id = secrets.seal_info(public_key, uuid, driver_name, address, info)
    return registrations.Obm(driver_name, address, sealed, key_id)


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


def account(name, given, known=NONE):
    """Find out of a node's free parameters how its BMC is reached.

    :param given: dict, the parameters as they were given.
    :param known: str, the node's driver as it is; it becomes another one only when that is said.
    :returns: ((type, info) or None, dict of the parameters that are left).
    :raises InvalidInput: naming the parameter.
    """
    found = {}
    for driver_name, driver in registry.enabled().items():
        one = driver.from_parameters(name, given)
        if one is not None:
            found[driver_name] = one
    if len(found) > 1:
        raise errors.InvalidInput(f'parameters are credentials of {" and of ".join(found)}')
    for driver_name, (info, left) in found.items():
        if known not in (NONE, driver_name):
            raise errors.InvalidInput(
                f'parameters are credentials of {driver_name}, and the node is of type {known}: '
                'change its obm'
            )
        return (driver_name, info), left
    return None, given


def create(public_key, body):
    """Register a node as ``POST /api/v1/nodes`` says it.

    :param body: dict that fits ``schemas.nodes.CREATE``.
    :returns: :class:`obmd.db.nodes.Node`.
    :raises: as :func:`register`.
    """
    said = dict(body)
    name, uuid = said.pop('name'), str(uuid4())
    names.check(name)
    obm, group, beside = _read(public_key, name, uuid, said, NONE)
    type_, info = obm or (NONE, {})
    return register(public_key, name, type_, info, group, beside, uuid)


def change(public_key, node, body, in_place=False):
    """Change a node in place as ``PATCH /api/v1/nodes/{id}`` says it.

    :param body: dict that fits ``schemas.nodes.CHANGE``.
    :param in_place: bool, the caller may not make it another machine.
    :returns: :class:`obmd.db.nodes.Node` as it is then.
    :raises InvalidInput: naming the field.  :raises NotFound: :raises MacTaken:
    :raises NodeBusy: something runs on the node that must end before its BMC is another.
    :raises Forbidden: naming the field that ``in_place`` keeps.
    """
    if not body:
        return node
    try:
        if in_place:
            _check_in_place(node, body)
        obm, group, beside = _read(public_key, node.name, node.uuid, body, node.driver)
        if in_place:
            obm = None  # parameters that were there already do not reach a BMC anew
        if obm is not None:
            obm = seal(public_key, node.uuid, *check(*obm))
        if node.lock_purpose is not None and (obm or group not in (None, node.conductor_group)):
            raise errors.NodeBusy(f'{node.lock_purpose} runs: try again when it has ended')
        return registrations.change(node.uuid, obm, group, beside)
    except errors.ObmdError as error:
        error.node = error.node or node.name
        raise


def _check_in_place(node, body):
    """:raises Forbidden: naming what would make the node another machine."""
    for field in ('obm', 'conductor_group'):
        if field in body:
            raise errors.Forbidden(f'{field}: a token for some nodes may not change it')
    if 'parameters' not in body:
        return
    given, known = body['parameters'] or {}, description_rows.get(node.uuid).parameters
    for one in sorted(given.keys() | known.keys()):
        before, now = ({one: those[one]} if one in those else {} for those in (known, given))
        if now != before and (_reaches(node.name, now) or _reaches(node.name, before)):
            raise errors.Forbidden(f'parameters: a token for some nodes may not change {one}')


def _reaches(name, given):
    """:returns: bool, whether a driver takes what is in ``given`` for the node's."""
    try:
        return account(name, given)[0] is not None
    except errors.InvalidInput:
        return True


def _read(public_key, name, uuid, body, known):
    """:returns: ((type, info) or None, conductor group or None, Beside)."""
    objects, ports, seconds = descriptions.parse(body)
    columns = descriptions.columns(public_key, uuid, objects)
    obm = _obm(body)
    if 'parameters' in body:
        given = body['parameters'] or {}
        found, left = account(name, given, known) if obm is None else (None, given)
        parameters.check(left)
        columns['parameters'], obm = left, obm or found
    until = seconds and time.time() + seconds
    words = ranks.check(body['ranks'] or []) if 'ranks' in body else None
    return obm, body.get('conductor_group'), registrations.Beside(columns, ports, words, until)


def _obm(body):
    if 'obm' not in body:
        return None
    if body['obm'] is None:
        return NONE, {}
    return body['obm']['type'], body['obm'].get('info', {})


def compare(keyring, node, type_, info):
    """Whether a node's BMC is reached as ``type_`` and ``info`` say.

    :param keyring: :class:`obmd.common.secrets.Keyring`, or None: there is none here.
    :returns: bool, or None: only the keys could tell.
    :raises InvalidInput: naming the field of ``info``.
    """
    driver_name, info, address = check(type_, info)
    if (driver_name, address) != (node.driver, node.address):
        return False
    if not registry.get(driver_name).schema.get('properties'):
        return True
    if keyring is None:
        return None
    try:
        return secrets.open_info(keyring, node) == info
    except (errors.SealMismatch, errors.KeyMissing):
        return None
