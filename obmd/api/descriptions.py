"""What an admin says about a node, from a body to columns: checked, and masked and sealed where
it holds secrets.

``instance_info`` may hold a configdrive and passwords.  Then all of it is sealed to the
conductors' key, and what the API keeps to show has :data:`MASK` in their places; nobody reads it
back but the node's conductor.
"""

import json

from oslo_utils import strutils

from obmd.api import validation
from obmd.api.schemas import nodes as schemas
from obmd.common import errors
from obmd.common import macs
from obmd.common import secrets
from obmd.conf import CONF

#: as Ironic writes what it does not show
MASK = '******'
#: bytes of JSON that one object may have
LARGEST = 65536
#: unknown names that an answer repeats, and characters of each
_NAMED, _NAME_SHOWN = 8, 64
_OBJECTS = ('properties', 'extra', 'instance_info')


def parse(body):
    """Check a merge patch (RFC 7396 of one level: a name that is given replaces the value, null
    is no value).

    :param body: what the request's JSON says.
    :returns: (dict of the objects that are given, list of MAC addresses or None (not given),
        seconds for which an agent is expected: a number, 0 (none is) or None (not given)).
    :raises InvalidInput: naming the field.
    """
    validation.check(body, schemas.CHANGE)
    unknown = sorted(body.keys() - schemas.CHANGE['properties'].keys())
    if unknown:
        named = ', '.join(name[:_NAME_SHOWN] for name in unknown[:_NAMED])
        legal = ', '.join(schemas.CHANGE['properties'])
        raise errors.InvalidInput(f'not to be set here: {named}; what can be set: {legal}')
    objects = {name: body[name] or {} for name in _OBJECTS if name in body}
    for name, value in objects.items():
        _check_object(name, value)
    if MASK in json.dumps(objects.get('instance_info')):
        raise errors.InvalidInput(
            f'instance_info has {MASK} in it, which stands for what is not shown; '
            'say what it is, or leave instance_info out'
        )
    ports = _ports(body['ports'] or ()) if 'ports' in body else None
    return objects, ports, _seconds(body) if 'expect_agent' in body else None


def _check_object(name, value):
    text = json.dumps(value, ensure_ascii=False, separators=(',', ':'))
    if len(text.encode()) > LARGEST:
        raise errors.InvalidInput(f'{name} is longer than {LARGEST} bytes')
    if '\\u0000' in text and '\0' in _texts(value):
        raise errors.InvalidInput(f'{name} holds text with NUL')


def _texts(value):
    """:returns: str, all keys and texts in ``value``."""
    if isinstance(value, dict):
        return ''.join(key + _texts(child) for key, child in value.items())
    if isinstance(value, list):
        return ''.join(map(_texts, value))
    return value if isinstance(value, str) else ''


def _ports(given):
    found = [macs.normalise(text) if isinstance(text, str) else None for text in given]
    if None in found:
        raise errors.InvalidInput(
            f'ports.{found.index(None)} must be a MAC address such as 52:54:00:12:34:56'
        )
    return sorted(set(found))


def _seconds(body):
    given = body['expect_agent']
    if isinstance(given, dict):
        return given['seconds']
    return CONF.agent.expect_timeout if given else 0


def columns(public_key, uuid, objects):
    """:param objects: of :func:`parse`.  :returns: dict of columns of ``descriptions``."""
    made = dict(objects)
    if 'instance_info' in objects:
        value = objects['instance_info']
        shown = mask(value)
        sealed = (None, None) if shown == value else secrets.seal_json(public_key, uuid, value)
        made['instance_info'] = shown
        made['sealed_instance_info'], made['key_id'] = sealed
    return made


def mask(instance_info):
    """:returns: dict, ``instance_info`` as it may be shown."""
    shown = strutils.mask_dict_password(instance_info, secret=MASK)
    if instance_info.get('configdrive'):
        shown['configdrive'] = MASK
    return shown
