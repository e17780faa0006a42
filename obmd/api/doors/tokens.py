"""``/api/v1/tokens``: access tokens, which give rights to users (admin)."""

from obmd.api import bearer
from obmd.api import http
from obmd.api import times
from obmd.api import trail
from obmd.common import errors
from obmd.db import access_tokens


def create(request, services):
    """``POST /api/v1/tokens`` ``{"days"?, "label"?, "commands"?, "nodes"?, "operations"?}``.

    201, what :func:`index` tells of it and ``token``, which is told this once.
    """
    asked = {name: value for name, value in request.fields.items() if value is not None}
    token, row = bearer.issue(services.jwt_key, **asked, clock=services.clock)
    trail.record(request, request.identity, 'token issue', detail=_scopes(row))
    return http.json_response({**_told(row, services.clock()), 'token': token}, status=201)


def index(request, services):
    """``GET /api/v1/tokens``: 200 ``{"tokens": [...], "next"}``, without the tokens themselves."""
    limit = request.parameters['limit']
    rows = access_tokens.page(request.parameters.get('marker', ''), limit)
    now = services.clock()
    last = rows[-1].jti if len(rows) == limit else None
    return http.json_response({'tokens': [_told(row, now) for row in rows], 'next': last})


def revoke(request, services):
    """``DELETE /api/v1/tokens/{id}``: 200, the token as it is then; it is refused from now on."""
    now = services.clock()
    row = access_tokens.revoke(request.label, now)
    if row is None:
        raise errors.NotFound('there is no such access token')
    trail.record(request, request.identity, 'token revoke', detail=_scopes(row))
    return http.json_response(_told(row, now))


def _scopes(row):
    """str, for the audit."""
    return f'{row.jti} {row.label or ""}'.strip()


def _told(row, now):
    if row.revoked_at is not None:
        state = 'revoked'
    else:
        state = 'good' if now < row.expires_at else 'expired'
    return {
        'jti': row.jti,
        'label': row.label,
        'state': state,
        'commands': row.commands,
        'nodes': row.nodes,
        'operations': [bearer.JOBS] if row.operations is None else row.operations,
        'issued_at': times.shown(row.issued_at),
        'expires_at': times.shown(row.expires_at),
        'revoked_at': times.shown(row.revoked_at),
    }
