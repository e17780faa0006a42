"""``/api/v1/audit``: who did what on which nodes, from where, with which result (admin)."""

from obmd.api import http
from obmd.api import times
from obmd.common import ranges
from obmd.db import audit

#: entries that one request looks at when it asks for a node
MOST_LOOKED_AT = 20000
#: entries read at once
PAGE = 1000


def index(request, services):
    """``GET /api/v1/audit``: 200 ``{"audit": [...], "next"}``, the newest first."""
    asked = request.parameters
    found, last = _find(asked, _filters(asked), asked.get('marker'), asked['limit'])
    return http.json_response({'audit': [_told(entry) for entry in found], 'next': last})


def _filters(asked):
    """:returns: dict of parameters of :func:`obmd.db.audit.page`."""
    found = {name: times.parse(name, asked[name]) for name in ('since', 'until') if name in asked}
    found |= {name: asked[name] for name in ('subject', 'action', 'job') if name in asked}
    if 'command' in asked:
        found['action'] = f'command {asked["command"]}'
    return found


def _find(asked, filters, last, limit):
    """:returns: (list of :class:`obmd.db.audit.Entry`, id to go on from or None)."""
    found, looked_at = [], 0
    while looked_at < MOST_LOOKED_AT:
        page = audit.page(**filters, before_id=last, limit=PAGE)
        for entry in page:
            last = entry.id
            if 'node' in asked and not ranges.includes(entry.nodes, asked['node']):
                continue
            found.append(entry)
            if len(found) == limit:
                return found, last
        looked_at += len(page)
        if len(page) < PAGE:
            return found, None
    return found, last


def _told(entry):
    return {
        'id': entry.id,
        'at': times.shown(entry.at),
        'action': entry.action,
        'subject': entry.subject,
        'label': entry.label,
        'claimed_user': entry.claimed_user,
        'claimed_uid': entry.claimed_uid,
        'source': entry.source,
        'request_id': entry.request_id,
        'door': entry.door,
        'nodes': entry.nodes,
        'job': entry.job_uuid,
        'outcome': entry.outcome,
        'detail': entry.detail,
    }
