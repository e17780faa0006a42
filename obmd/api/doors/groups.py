"""``/api/v1/groups``: names for ranges of nodes, used as ``@name`` wherever a range is."""

import time

from obmd.api import http
from obmd.api import node_groups
from obmd.api import times
from obmd.api import trail
from obmd.db import node_groups as rows


def index(request, services):
    """``GET /api/v1/groups?limit=&marker=``: 200 ``{"groups": [...], "next": NAME or null}``."""
    limit = request.parameters['limit']
    found = _after(request.parameters.get('marker', ''), limit + 1, request.identity.covered())
    left, found = len(found) > limit, found[:limit]
    return http.json_response(
        {
            'groups': [_shown(group) for group in found],
            'next': found[-1].name if left else None,
        }
    )


def _after(marker, most, covered):
    """:returns: list of Group, up to ``most`` behind ``marker`` with somebody for who asks."""
    found = rows.page(marker, most)
    if covered is None:
        return found
    shown = []
    while found and len(shown) < most:
        for group in found:
            part = node_groups.among(group, covered)
            shown += [part] if part.nodes else []
            time.sleep(0)  # a large group takes its time to unfold
        found = rows.page(found[-1].name, most)
    return shown[:most]


def show(request, services):
    """``GET /api/v1/groups/{id}``: 200 ``{"name", "nodes", "updated_at"}``."""
    group = node_groups.find(request.label)
    covered = request.identity.covered()
    if covered is not None:
        group = node_groups.among(group, covered)
        if not group.nodes:
            raise node_groups.not_found(group.name)
    return http.json_response(_shown(group))


def put(request, services):
    """``PUT /api/v1/groups/{id}`` ``{"nodes": RANGE}``: 200, or 201 for a new one, the group."""
    name, text = request.label, request.fields['nodes']
    with trail.recording(request, f'group set {name}'):
        group, is_new = node_groups.keep(name, text)
    return http.json_response(_shown(group), 201 if is_new else 200)


def delete(request, services):
    """``DELETE /api/v1/groups/{id}``: 204, empty.  The nodes stay."""
    with trail.recording(request, f'group remove {request.label}'):
        node_groups.remove(request.label)
    return http.Response(status=204)


def _shown(group):
    return {
        'name': group.name,
        'nodes': group.nodes,
        'updated_at': times.shown(group.updated_at),
    }
