"""Every route of the API in one table, and how a path finds its row.

A path is exact: its segments are compared after percent-decoding, case counts, and one more or an
empty one is another path.  ``{id}`` is the label of a node.
"""

from obmd.api import errors as api_errors
from obmd.api.doors import native
from obmd.api.doors import nodes
from obmd.api.doors import obmd
from obmd.common import errors
from obmd.common import exposition

LABEL = '{id}'

#: path -> method -> function of (request, services)
ROUTES = {
    # OBMd's API
    '/node/{id}': {'PUT': obmd.register, 'DELETE': obmd.unregister},
    '/node/{id}/token': {'POST': obmd.issue_token, 'DELETE': obmd.revoke_token},
    '/node/{id}/console': {'GET': obmd.console},
    '/node/{id}/power_cycle': {'POST': obmd.power_cycle},
    '/node/{id}/power_on': {'POST': obmd.power_on},
    '/node/{id}/power_off': {'POST': obmd.power_off},
    '/node/{id}/power_status': {'GET': obmd.power_status},
    '/node/{id}/boot_device': {'PUT': obmd.boot_device},
    # obmd's own
    '/api/v1/power': {'GET': native.sweep},
    '/api/v1/nodes/{id}': {'GET': nodes.show, 'PATCH': nodes.change},
    '/api/v1/nodes/{id}/event_log': {'GET': native.event_log},
    '/healthz': {'GET': native.healthz},
    '/readyz': {'GET': native.readyz},
    exposition.PATH: {'GET': native.metrics},
}

_TABLE = {tuple(path.split('/')[1:]): (path, methods) for path, methods in ROUTES.items()}
#: where the label stands, for each length of path
_LABEL_AT = {
    length: sorted({p.index(LABEL) for p in _TABLE if len(p) == length and LABEL in p})
    for length in {len(p) for p in _TABLE}
}


def find(segments):
    """:param segments: list of str, the decoded path without its leading slash.

    :returns: (str path as it stands in ``ROUTES``, its methods, str label as it stands in the
        path that was asked for or None).
    :raises NotFound: no such path.
    """
    path = tuple(segments)
    found = _TABLE.get(path) if LABEL not in path else None
    if found is not None:
        return *found, None
    for at in _LABEL_AT.get(len(path), ()):
        found = _TABLE.get((*path[:at], LABEL, *path[at + 1 :]))
        if found is not None and path[at]:
            return *found, path[at]
    raise errors.NotFound('there is no such page')


def choose(method, methods):
    """:param methods: of :func:`find`.  :returns: function.

    :raises MethodNotAllowed: ``method`` is another than these.
    """
    if method not in methods:
        allowed = sorted(methods)
        raise api_errors.MethodNotAllowed(f'use {" or ".join(allowed)} here', allowed=allowed)
    return methods[method]
