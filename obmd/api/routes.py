"""Every route of the API in one table, and how a path finds its row.

A path is exact: its segments are compared after percent-decoding, case counts, and one more or an
empty one is another path.  What stands in braces is a variable, any text but an empty one;
``{id}`` is the name of what the path is about, under ``/node`` the label of a node.
"""

from obmd.api import errors as api_errors
from obmd.api import v1
from obmd.api.doors import action
from obmd.api.doors import ironic
from obmd.api.doors import native
from obmd.api.doors import obmd
from obmd.common import errors
from obmd.common import exposition

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
    # for monitoring
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
# obmd's own
ROUTES.update(v1.ROUTES)
# OpenFlight Action's
ROUTES.update(action.ROUTES)
#: where a label may have slashes: a caller that quotes a name badly is told that name, and a range
#: may have steps
_HEARTBEAT, _GROUPS = ('v1', 'heartbeat'), ('action', 'groups')


class _Place:
    """A place in a path: what may stand there next, and the row that ends here."""

    def __init__(self):
        self.fixed = {}
        self.variable = None
        self.row = None

    def next(self, segment):
        """The place behind ``segment`` of a row, made if there is none."""
        if not (segment.startswith('{') and segment.endswith('}')):
            return self.fixed.setdefault(segment, _Place())
        name = segment[1:-1]
        if self.variable is None:
            self.variable = (name, _Place())
        if self.variable[0] != name:
            raise ValueError(f'{segment} has another name in another row')
        return self.variable[1]

    def find(self, segments):
        """:returns: (row, list of (name, segment)), or None.  A fixed segment goes first."""
        if not segments:
            return self.row and (self.row, [])
        segment, rest = segments[0], segments[1:]
        if segment in self.fixed:
            found = self.fixed[segment].find(rest)
            if found is not None:
                return found
        if self.variable is None or not segment:
            return None
        name, place = self.variable
        found = place.find(rest)
        if found is not None:
            found[1].append((name, segment))
        return found


class Table:
    """:param routes: dict of path -> method -> function."""

    def __init__(self, routes):
        self._root = _Place()
        self._longest = 0
        for path, methods in routes.items():
            segments = path.split('/')[1:]
            self._longest = max(self._longest, len(segments))
            place = self._root
            for segment in segments:
                place = place.next(segment)
            place.row = (path, methods)

    def find(self, segments):
        """:param segments: list of str, the decoded path without its leading slash.

        :returns: (str path as it stands in ``ROUTES``, its methods, dict of what stands in the
            places of its variables, as in the path that was asked for).
        :raises NotFound: no such path.
        """
        path = tuple(segments)
        if len(path) > 3 and path[:2] == _HEARTBEAT:
            path = (*path[:2], '/'.join(path[2:]))
        if len(path) > 3 and path[:2] == _GROUPS:
            end = path[-1:] if path[-1] == 'nodes' else ()
            path = (*path[:2], '/'.join(path[2 : len(path) - len(end)]), *end)
        found = self._root.find(path) if len(path) <= self._longest else None
        if found is None:
            raise errors.NotFound('there is no such page')
        row, variables = found
        return *row, dict(variables)


EVERYTHING, RAMDISK_ONLY = Table(ROUTES), Table(RAMDISK)


def choose(method, methods):
    """:param methods: of :meth:`Table.find`.  :returns: function.

    :raises MethodNotAllowed: ``method`` is another than these.
    """
    if method not in methods:
        allowed = sorted(methods)
        raise api_errors.MethodNotAllowed(f'use {" or ".join(allowed)} here', allowed=allowed)
    return methods[method]
