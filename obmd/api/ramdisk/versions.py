"""Versions of Ironic's API: which one a request asks for, and what every answer says of them.

They are 1.NN; only NN is kept here.  A request without a header asks for the least.
"""

import re

from obmd.api import errors as api_errors
from obmd.common import errors

#: the least there is, and the last whose promises this door keeps
LEAST, MOST = 1, 72
#: what came with which version: the door itself, the issue of tokens, fields of a heartbeat
RAMDISK, TOKEN = 22, 62
AGENT_VERSION, VERIFY_CA, STATUS = 36, 68, 72

HEADER = 'X-OpenStack-Ironic-API-Version'
_VERSION = re.compile(r'1\.(0|[1-9][0-9]{0,4})')


def text(minor):
    """:returns: str, e.g. ``1.72``."""
    return f'1.{minor}'


def asked(environ):
    """The version of a request.  :returns: int.

    :raises NotAcceptable: not one of those that are offered, or none at all.
    """
    said = _said(environ)
    if said is None:
        return LEAST
    if said.lower() == 'latest':
        return MOST
    found = _VERSION.fullmatch(said)
    if found is None or not LEAST <= int(found.group(1)) <= MOST:
        raise api_errors.NotAcceptable(
            f'The version must be "latest" or one from {text(LEAST)} to {text(MOST)}'
        )
    return int(found.group(1))


def _said(environ):
    """``OpenStack-API-Version`` counts first where it names this service, as in Ironic."""
    general = [
        words[1] if len(words) == 2 else ''
        for part in environ.get('HTTP_OPENSTACK_API_VERSION', '').split(',')
        if (words := part.split()) and words[0].lower() == 'baremetal'
    ]
    if general:
        return general[0] if len(general) == 1 else ''
    own = environ.get('HTTP_X_OPENSTACK_IRONIC_API_VERSION')
    return None if own is None else own.strip()


def require(environ, least):
    """:returns: int, the version of a request.

    :raises NotAcceptable: as :func:`asked`.
    :raises NotFound: there was no such page before ``least``.
    """
    minor = asked(environ)
    if minor < least:
        raise errors.NotFound('there is no such page in this version')
    return minor


def headers(environ):
    """:returns: list of (name, value): the range, and the version that the answer is in."""
    try:
        spoken = asked(environ)
    except api_errors.NotAcceptable:
        spoken = LEAST
    return [
        ('X-OpenStack-Ironic-API-Minimum-Version', text(LEAST)),
        ('X-OpenStack-Ironic-API-Maximum-Version', text(MOST)),
        (HEADER, text(spoken)),
    ]
