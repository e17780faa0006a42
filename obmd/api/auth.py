"""Who may: the admin by HTTP Basic, the holder of a node's token by ``?token=``.

A caller without the right learns nothing: a wrong token and an unknown node are one answer, with
the same work behind it.
"""

import base64
import binascii
import hmac
import urllib.parse

from oslo_middleware import request_id

from obmd.api import errors as api_errors
from obmd.common import callers
from obmd.common import errors
from obmd.common import secrets
from obmd.db import nodes

USER = b'admin'


def admin(request, admin_hash):
    """Let only the admin pass.

    :param admin_hash: str, ``secrets.token_hash`` of the admin token.
    :raises Unauthorized: no, wrong or malformed credentials.
    :raises Forbidden: a browser sent the request for a page from elsewhere.
    """
    user, token = _basic(request.environ.get('HTTP_AUTHORIZATION', ''))
    # both are compared whatever the first says
    known = hmac.compare_digest(user, USER)
    right = secrets.matches(token or '', admin_hash) and token is not None
    if not (known and right):
        refusal = errors.Unauthorized('admin credentials are needed')
        refusal.challenge = 'Basic realm="obmd", charset="UTF-8"'  # RFC 7617
        raise refusal
    # reads too: they take consoles over, ask BMCs and hold streams
    if _is_foreign(request.environ):
        raise errors.Forbidden('the request was made for a page from elsewhere')


def _basic(header):
    """RFC 7617.  :returns: (bytes user, str token in lower case or None)."""
    scheme, _, text = header.partition(' ')
    if scheme.lower() != 'basic':
        return b'', None
    try:
        pair = base64.b64decode(text.strip(), validate=True)
        user, colon, password = pair.partition(b':')
        return user, secrets.parse_token(password.decode('ascii')) if colon else None
    except (binascii.Error, ValueError):
        return b'', None


def _is_foreign(environ):
    """Whether a browser says that another site's page is behind this (Fetch Metadata, Origin).

    A browser repeats Basic credentials by itself; programs send neither header.
    """
    site = environ.get('HTTP_SEC_FETCH_SITE')
    if site is not None:
        return site not in ('same-origin', 'none')
    origin = environ.get('HTTP_ORIGIN')
    if origin is None:
        return False
    try:
        return urllib.parse.urlsplit(origin).netloc.lower() != environ['HTTP_HOST'].lower()
    except (KeyError, ValueError):
        return True


def node(request):
    """Let only the holder of the node's token pass; the first ``token`` in the query counts.

    :returns: :class:`obmd.db.nodes.Node`.
    :raises Unauthorized: in one form whatever is wrong.
    """
    try:
        token = secrets.parse_token(request.query().get('token'))
    except errors.InvalidInput:
        token = None
    if token is None:
        raise errors.Unauthorized('the token is missing or malformed')
    label = request.label
    found = nodes.get(label) if label is not None else None
    if not secrets.matches(token, found.token_hash if found else None):
        raise errors.Unauthorized('the token is wrong or there is no such node')
    return found


def caller(request, who):
    """Who asks, for those who find the node busy, the log and the node's row.

    :param who: of ``obmd.common.callers``, as the caller has proved to be.
    :returns: :class:`obmd.common.callers.Caller`.
    """
    environ = request.environ
    return callers.make(who, environ.get(request_id.ENV_REQUEST_ID), environ.get('REMOTE_ADDR'))


def require_json(request):
    """A body that comes through ``/api/v1`` says that it is JSON: no form of another page can.

    :raises UnsupportedMediaType:
    """
    content_type = request.environ.get('CONTENT_TYPE') or ''
    if content_type.partition(';')[0].strip().lower() != 'application/json':
        raise api_errors.UnsupportedMediaType('the Content-Type must be application/json')
