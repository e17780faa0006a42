"""What lookup and heartbeat are asked with, checked in Ironic's words."""

import dataclasses
import logging
import re

from obmd.api import http
from obmd.api.ramdisk import callback
from obmd.api.ramdisk import versions
from obmd.common import errors
from obmd.conf import CONF

LOG = logging.getLogger(__name__)

#: addresses of one lookup that are looked for; the rest is dropped
MOST_ADDRESSES = 128
#: those that are looked at, for that
MOST_JUDGED = 1024
#: parameters of one lookup: each address may be one
MOST_PARAMETERS = 256
#: characters of what an answer repeats
REPEATED = 64

UUID = re.compile('[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', re.IGNORECASE | re.ASCII)
_MAC = re.compile('[0-9a-f]{2}(:[0-9a-f]{2}){5}', re.ASCII)

#: field of a heartbeat -> the version that it came with
FIELDS = {
    'callback_url': versions.RAMDISK,
    'agent_token': versions.RAMDISK,
    'agent_version': versions.AGENT_VERSION,
    'agent_verify_ca': versions.VERIFY_CA,
    'agent_status': versions.STATUS,
    'agent_status_message': versions.STATUS,
}
#: what an agent may say of itself
STATUSES = ('start', 'end', 'error')
#: characters of what is kept
LONGEST_VERSION, LONGEST_MESSAGE, LONGEST_CA = 64, 4096, 32768
_MISSING_URL = 'Missing mandatory parameter: callback_url'


# -- lookup -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Lookup:
    """:ivar node_uuid: str in lower case, or None.  It wins over the addresses.

    :ivar addresses: tuple of str, MAC addresses in lower case, each once.
    """

    node_uuid: str | None
    addresses: tuple

    @property
    def keys(self):
        """tuple of str, what limits count it by: all that is looked for."""
        return (self.node_uuid,) if self.node_uuid else self.addresses


def lookup(request):
    """:returns: :class:`Lookup`.  :raises InvalidInput:"""
    uuids, texts = [], []
    for name, value in request.query_pairs(MOST_PARAMETERS):
        if name == 'node_uuid':
            uuids.append(value)
        elif name == 'addresses':
            texts += filter(None, value.split(','))
        else:
            raise _unexpected(name)
    if len(uuids) > 1:
        raise _twice('node_uuid')
    node_uuid = uuids[0].strip() if uuids else ''
    if node_uuid and not UUID.fullmatch(node_uuid):
        raise errors.InvalidInput(f'Expected UUID for node_uuid: {_shown(node_uuid)}')
    addresses = _addresses(texts)
    if not node_uuid and not addresses:
        raise errors.InvalidInput(
            "At least one of 'addresses' and 'node_uuid' parameters is required"
        )
    return Lookup(node_uuid.lower() or None, addresses)


def _addresses(texts):
    macs = [text.strip().lower() for text in texts[:MOST_JUDGED]]
    found = [mac for mac in macs if _MAC.fullmatch(mac)]
    good = list(dict.fromkeys(found))
    dropped = len(texts) - len(found) + len(good[MOST_ADDRESSES:])
    if dropped:
        LOG.info(
            'A lookup names %d addresses that are not looked for: no MAC address with colons, or '
            'more than %d',
            dropped,
            MOST_ADDRESSES,
        )
    return tuple(good[:MOST_ADDRESSES])


# -- heartbeat --------------------------------------------------------------------------------


def heartbeat(request, body, minor):
    """The fields of a heartbeat; what they say is judged by :func:`beat`, once it is known that
    the agent says it.

    :param body: bytes of the request.
    :param minor: the version of the request.
    :returns: dict of str to str; ``callback_url`` is there.
    :raises InvalidInput:
    """
    given = _unique(request.query_pairs())
    for name, value in _said(body).items():
        if name in given:
            raise _twice(name)
        given[name] = value
    for name in given:
        if name not in FIELDS:
            raise _unexpected(name)
    given = {name: value for name, value in given.items() if value is not None}
    if 'callback_url' not in given:
        raise errors.InvalidInput(_MISSING_URL)
    for name, value in given.items():
        if not isinstance(value, str):
            shown = '***' if name == 'agent_token' else _shown(value)
            raise errors.InvalidInput(f'Expected string for {name}: {shown}')
        if minor < FIELDS[name]:
            raise errors.InvalidInput(f'Field "{name}" not recognised')
    return given


def _said(body):
    if not body.strip():
        return {}
    try:
        found = http.parse_json(body, pairs_hook=_unique)
    except _Twice:
        raise
    except errors.InvalidInput:
        found = None
    if not isinstance(found, dict):
        raise errors.InvalidInput(_MISSING_URL)
    return found


class _Twice(errors.InvalidInput):
    """Readers disagree about which of two values counts."""


def _twice(name):
    return _Twice(f'The parameter {_shown(name)} is given more than once')


def _unique(pairs):
    """:param pairs: list of (name, value).  :returns: dict.  :raises InvalidInput: a name twice."""
    found = {}
    for name, value in pairs:
        if name in found:
            raise _twice(name)
        found[name] = value
    return found


def beat(given):
    """What the conductor is told.

    :param given: of :func:`heartbeat`.
    :returns: dict of ``url``, ``version``, ``verify_ca``, ``status``, ``status_message``: str or
        None.
    :raises InvalidInput: naming the field.
    """
    options = CONF.agent
    callback.check(given['callback_url'], options.require_tls, options.allow_local_callback)
    if not given.get('agent_version') and not given.get('agent_status'):
        raise errors.InvalidInput('One of agent_version and agent_status is required')
    status = given.get('agent_status')
    if status is not None and status not in STATUSES:
        raise errors.InvalidInput(
            f'Agent status is invalid. Valid states are {",".join(STATUSES)}.'
        )
    return {
        'url': given['callback_url'],
        'version': _printable(given, 'agent_version', LONGEST_VERSION),
        'verify_ca': _certificate(given),
        'status': status,
        'status_message': _message(given),
    }


def _printable(given, name, longest):
    value = given.get(name)
    if value and not (len(value) <= longest and value.isascii() and value.isprintable()):
        raise errors.InvalidInput(f'{name} must have at most {longest} printable characters')
    return value or None


def _certificate(given):
    """PEM is text of ASCII (RFC 7468)."""
    value = given.get('agent_verify_ca')
    if value and not (
        len(value) <= LONGEST_CA
        and value.isascii()
        and '-----BEGIN CERTIFICATE-----' in value
        and all(line.isprintable() for line in value.splitlines())
    ):
        raise errors.InvalidInput('agent_verify_ca must be a certificate in PEM')
    return value or None


def _message(given):
    """A traceback has lines; nothing in it may move a terminal's cursor."""
    value = given.get('agent_status_message')
    if value is None:
        return None
    kept = (c if c.isprintable() or c in '\n\t' else ' ' for c in value[:LONGEST_MESSAGE])
    return ''.join(kept)


# -- in words ---------------------------------------------------------------------------------


def _unexpected(name):
    return errors.InvalidInput(f'Unexpected arguments: {_shown(name)}')


def _shown(value):
    text = value if isinstance(value, str) else repr(value)[: REPEATED + 1]
    text = ''.join(c if c.isprintable() else '?' for c in text[: REPEATED + 1])
    return text if len(text) <= REPEATED else text[:REPEATED] + '...'
