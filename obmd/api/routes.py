"""Every route of the API in one table, and how a path finds its row.

A path is exact: its segments are compared after percent-decoding, case counts, and one more or an
empty one is another path.  ``{id}`` is the label of a node.
"""

from obmd.api import errors as api_errors
from obmd.api.doors import ironic
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

#: those of the Ironic door, all that ``[agent] listen`` serves
RAMDISK = {
    '/': {'GET': ironic.root},
    '/v1': {'GET': ironic.first},
    '/v1/': {'GET': ironic.first},
    '/v1/lookup': {'GET': ironic.lookup},
    '/v1/heartbeat/{id}': {'POST': ironic.heartbeat},
}
ROUTES.update(RAMDISK)
#: where a label may have slashes: a caller that quotes a name badly is told that name
_HEARTBEAT = ('v1', 'heartbeat')


class Table:
    """:param routes: dict of path -> method -> function."""

    def __init__(self, routes):
        self._rows = {tuple(path.split('/')[1:]): (path, how) for path, how in routes.items()}
        # where the label stands, for each length of path
        self._label_at = {
            length: sorted({p.index(LABEL) for p in self._rows if len(p) == length and LABEL in p})
            for length in {len(p) for p in self._rows}
        }

    def find(self, segments):
        """:param segments: list of str, the decoded path without its leading slash.

        :returns: (str path as it stands in ``ROUTES``, its methods, str label as it stands in
            the path that was asked for or None).
        :raises NotFound: no such path.
        """
        path = tuple(segments)
        found = self._rows.get(path) if LABEL not in path else None
        if found is not None:
            return *found, None
        if len(path) > 3 and path[:2] == _HEARTBEAT:
            path = (*path[:2], '/'.join(path[2:]))
        for at in self._label_at.get(len(path), ()):
            found = self._rows.get((*path[:at], LABEL, *path[at + 1 :]))
            if found is not None and path[at]:
                return *found, path[at]
        raise errors.NotFound('there is no such page')


EVERYTHING, RAMDISK_ONLY = Table(ROUTES), Table(RAMDISK)


def choose(method, methods):
    """:param methods: of :meth:`Table.find`.  :returns: function.

    :raises MethodNotAllowed: ``method`` is another than these.
    """
    if method not in methods:
        allowed = sorted(methods)
        raise api_errors.MethodNotAllowed(f'use {" or ".join(allowed)} here', allowed=allowed)
    return methods[method]
