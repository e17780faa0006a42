"""Access tokens: JWTs (RFC 7519) that give rights to commands, nodes and operations.

They are what the Action door takes, and what ``/api/v1`` takes beside the admin's credentials:
``Authorization: Bearer JWT``, signed with HS256 and nothing else.  The key is the text of
``[actions] jwt_secret_file``.  Claims:

``exp``
    seconds since 1970; required.
``jti``
    the token's row in the database.  It is read at each request, so a token that is revoked is
    refused at once.  Tokens that OpenFlight Action made have none: they are full users, as they
    were there, unless ``[actions] allow_unscoped_tokens`` says otherwise.
``commands``, ``nodes``, ``operations``
    list of str, range, list of str: what it is for.  Without ``commands`` all commands; without
    ``nodes`` all nodes; without ``operations`` only ``jobs``, which is running commands.
"""

import dataclasses
import functools
import hashlib
import logging
import time
import uuid
import warnings

import jwt

from obmd.api import auth
from obmd.api import selection
from obmd.common import callers
from obmd.common import errors
from obmd.common import ranges
from obmd.common import secrets
from obmd.conf import CONF
from obmd.db import access_tokens

LOG = logging.getLogger(__name__)

ALGORITHM = 'HS256'
#: what ``operations`` may have: rights to routes of ``/api/v1``; ``jobs`` is running commands
JOBS = 'jobs'
OPERATIONS = ('status', 'power', 'boot', 'console', 'nodes', JOBS)
#: days that a token is good for, by default and at most
DAYS, MOST_DAYS = 30, 3650
#: characters of a token: servers and proxies take headers of 8 KiB
LONGEST = 7000
#: characters of a label, and of the name of a command
LONGEST_LABEL = 255
#: commands that one token may name
MOST_COMMANDS = 100
_TIMES = ('verify_exp', 'verify_nbf', 'verify_iat')
#: bytes of a key under which HS256 is weaker than its hash (RFC 7518, section 3.2)
_STRONG_KEY = 32

#: what the subject begins with of tokens that have no id
_WITHOUT_ID = 'jwt-'

# said once at the start, in the log
warnings.filterwarnings('ignore', category=jwt.InsecureKeyLengthWarning)


@dataclasses.dataclass(frozen=True)
class Identity:
    """Who asks, and what they may.

    :ivar subject: str: ``admin``, a token's ``jti``, or for one without it a digest.
    :ivar label: str or None, what the token was called when it was made.
    :ivar commands: frozenset of str, or None: all.
    :ivar nodes: str, a range, or None: all.
    :ivar operations: frozenset of ``OPERATIONS``.
    :ivar expires_at: float, seconds since the epoch, or None: never.
    """

    subject: str
    label: str | None = None
    is_admin: bool = False
    commands: frozenset | None = None
    nodes: str | None = None
    operations: frozenset = frozenset((JOBS,))
    expires_at: float | None = None

    @property
    def jti(self):
        """str, the row of the token; None: it has none, or it is the admin who asks."""
        return None if self.is_admin or self.subject.startswith(_WITHOUT_ID) else self.subject

    @property
    def who(self):
        """One of ``obmd.common.callers``, for the header of a call to a conductor."""
        return callers.ADMIN if self.is_admin else callers.BEARER

    def may(self, operation):
        """:param operation: one of ``OPERATIONS``.  :returns: bool."""
        return operation in self.operations

    def require(self, operation):
        """:raises Forbidden: the token is not for ``operation``."""
        if not self.may(operation):
            raise errors.Forbidden(f'this token is not for {operation}')

    def may_run(self, command, contextless=False):
        """Whether it may run a command, on nodes that :meth:`outside` lets pass.

        A command without nodes may reach any of them: a token for some nodes must name it.

        :param command: str.  :returns: bool.
        """
        if not self.may(JOBS):
            return False
        if self.commands is None:
            return not (contextless and self.nodes is not None)
        return command in self.commands

    def require_command(self, command, contextless=False):
        """:raises Forbidden: see :meth:`may_run`."""
        if not self.may_run(command, contextless):
            raise errors.Forbidden(f'this token is not for the command {command}')

    def outside(self, names):
        """:param names: iterable of str.  :returns: list of those that it is not for, in order."""
        if self.nodes is None:
            return []
        covered = self.covered()
        return [name for name in names if name not in covered]

    def covered(self):
        """:returns: frozenset of str, the names of the nodes that it is for; None: all."""
        return None if self.nodes is None else _covered(self.nodes)

    def expand(self, text):
        """What a range names, for who asks; whether those nodes exist is not looked up.

        A node that a token is not for is as one that does not exist, and who is in a group is not
        for its holder to know: then one answer is for a group that is not there or empty, too.

        :param text: str.  :returns: list of str, in the order of ``text``, each once.
        :raises InvalidInput: it is no range, or names no node.
        :raises NotFound: naming those outside, or the group that does not exist.
        """
        hides = self.nodes is not None and '@' in text
        try:
            names = selection.expand(text)
        except errors.NotFound:
            if not hides:
                raise
            names = []
        if hides and (not names or self.outside(names)):
            raise errors.NotFound('the range, or a part of it, is not there for this token')
        if not names:
            raise errors.InvalidInput('the range names no node')
        self.require_nodes(names)
        return names

    def require_nodes(self, names):
        """:param names: list of str that the caller gave.

        :raises NotFound: naming those that it is not for, as if they did not exist.
        """
        outside = self.outside(names)
        if outside:
            raise selection.Unknown(outside)


ADMIN = Identity('admin', is_admin=True, operations=frozenset(OPERATIONS))


def _covered(text):
    """:returns: frozenset of str, the names that a token's range has now."""
    limit = CONF.api.max_range
    if '@' in text:
        try:
            return frozenset(ranges.expand(text, limit, functools.partial(_members, text)))
        except errors.NotFound:
            return frozenset()
    return _expanded(text, limit)


@functools.lru_cache(maxsize=64)
def _expanded(text, limit):
    return frozenset(ranges.expand(text, limit))


def _members(text, group, most):
    """A group that is not there, or not yet, has nobody in it.

    :raises NotFound: the token would be for more nodes by that.
    """
    try:
        return selection.members(group, most)
    except errors.NotFound:
        if ranges.only_grows(text, group):
            return []
        raise


# -- who asks ---------------------------------------------------------------------------------


def identify(request, services):
    """The admin by HTTP Basic or somebody by an access token, as the request's scheme says.

    :param services: :class:`obmd.api.operations.Services`.
    :returns: :class:`Identity`.
    :raises Unauthorized: no, wrong or malformed credentials.
    :raises Forbidden: a browser sent an admin's request for a page from elsewhere.
    """
    if _bearer(request) is not None:
        try:
            return holder(request, services)
        except errors.Unauthorized as error:
            error.challenge = 'Bearer realm="obmd"'  # RFC 6750, section 3
            raise
    auth.admin(request, services.admin_hash)
    return ADMIN


def holder(request, services):
    """The holder of an access token and nobody else.

    :returns: :class:`Identity`.
    :raises Unauthorized: in one form, unless the token was good once.
    """
    text = _bearer(request)
    if text is None:
        raise errors.Unauthorized('an access token is needed')
    return verify(text, services.jwt_key, services.clock)


def _bearer(request):
    """:returns: str, the credentials of RFC 6750, or None: another scheme, or none."""
    scheme, _, text = request.environ.get('HTTP_AUTHORIZATION', '').partition(' ')
    return text.strip() if scheme.lower() == 'bearer' else None


def verify(text, key, clock=time.time):
    """:param text: str, a JWT.  :param key: bytes.  :param clock: wall time, s.

    :returns: :class:`Identity`.
    :raises Unauthorized: it is not good.  :raises Unavailable: the database does not answer.
    """
    claims = _read(text, key, clock())
    scopes = _scopes(claims) | {'expires_at': float(claims['exp'])}
    jti = claims.get('jti')
    if jti is None:
        if not CONF.actions.allow_unscoped_tokens:
            raise errors.Unauthorized('access tokens without an id are not taken here')
        return Identity(f'{_WITHOUT_ID}{hashlib.sha256(text.encode()).hexdigest()[:32]}', **scopes)
    row = access_tokens.get(jti)
    if row is None:
        raise errors.Unauthorized('the access token is not known here')
    if row.revoked_at is not None:
        raise errors.Unauthorized('the access token was revoked')
    return Identity(jti, row.label, **scopes)


def _read(text, key, now):
    """:returns: dict, the claims of a token whose signature and times are right."""
    try:
        if not text.isascii() or not 0 < len(text) <= 2 * LONGEST:
            raise jwt.DecodeError('not a token')
        claims = jwt.decode(
            text,
            key,
            algorithms=[ALGORITHM],
            # the times are judged below, by the clock that was passed in
            options={'require': ['exp'], **dict.fromkeys(_TIMES, False)},
        )
        begins = max(float(claims.get(name) or 0) for name in ('nbf', 'iat'))
        ends = float(claims['exp'])
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
        raise errors.Unauthorized('the access token is missing or wrong') from None
    if not now < ends:
        raise errors.Unauthorized('the access token has expired')
    if not begins <= now:
        raise errors.Unauthorized('the access token is not good yet')
    return claims


def _scopes(claims):
    """:returns: dict of the fields of :class:`Identity`."""
    scopes = {}
    for name in ('commands', 'operations'):
        given = claims.get(name)
        if given is None:
            continue
        if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
            raise errors.Unauthorized('the access token is missing or wrong')
        scopes[name] = frozenset(given)
    nodes = claims.get('nodes')
    if nodes is not None:
        if not isinstance(nodes, str):
            raise errors.Unauthorized('the access token is missing or wrong')
        scopes['nodes'] = nodes
    return scopes


# -- issuing ----------------------------------------------------------------------------------


def issue(key, days=DAYS, label=None, commands=None, nodes=None, operations=None, clock=time.time):
    """Make a token, and its row.

    :param key: bytes.  :param days: number.  :param label: str or None, for people.
    :param commands: list of str, or None: all.  :param nodes: str, a range, or None: all.
    :param operations: list of ``OPERATIONS``, or None: ``jobs``.
    :returns: (str token, :class:`obmd.db.access_tokens.AccessToken`).
    :raises InvalidInput: naming what is wrong.
    """
    check(days, label, commands, nodes, operations)
    jti, now = str(uuid.uuid4()), clock()
    expires_at = int(now + days * 86400)
    claims = {'admin': None, 'exp': expires_at, 'jti': jti}
    scopes = {'commands': commands, 'nodes': nodes, 'operations': operations}
    claims |= {name: value for name, value in scopes.items() if value is not None}
    token = jwt.encode(claims, key, algorithm=ALGORITHM)
    if len(token) > LONGEST:
        raise errors.InvalidInput(
            'the token would be too long for a header; say its nodes by a group, as @rack1'
        )
    row = access_tokens.AccessToken(jti, label, issued_at=now, expires_at=expires_at, **scopes)
    access_tokens.issue(row)
    LOG.info('the access token %s was issued', jti)
    return token, row


def check(days, label, commands, nodes, operations):
    """:raises InvalidInput: what :func:`issue` cannot make a token of."""
    if not 0 < days <= MOST_DAYS:
        raise errors.InvalidInput(f'days must be a number above 0 and at most {MOST_DAYS}')
    if label is not None and not (0 < len(label) <= LONGEST_LABEL and label.isprintable()):
        raise errors.InvalidInput(f'label must be 1 to {LONGEST_LABEL} printable characters')
    if commands is not None:
        if not 0 < len(commands) <= MOST_COMMANDS:
            raise errors.InvalidInput(f'commands must be 1 to {MOST_COMMANDS} names')
        for name in commands:
            if not (0 < len(name) <= LONGEST_LABEL and name.isprintable()):
                raise errors.InvalidInput('commands holds what is no name of a command')
    if nodes is not None:
        try:
            _covered(nodes)
        except errors.ObmdError as error:
            raise errors.InvalidInput(f'nodes: {error.reason}') from None
    unknown = sorted(set(operations or ()) - set(OPERATIONS))
    if unknown or operations == []:
        raise errors.InvalidInput(f'operations must be some of: {", ".join(OPERATIONS)}')


# -- the key ----------------------------------------------------------------------------------


def load_key(path):
    """:returns: bytes, the key in a file.  :raises Fatal: it cannot be used."""
    key = secrets.read_jwt_secret(path)
    try:
        jwt.get_algorithm_by_name(ALGORITHM).prepare_key(key)
    except jwt.InvalidKeyError:
        raise errors.Fatal(
            f'{path}: a private key, a certificate or a JWK is no secret to sign tokens with'
        ) from None
    if len(key) < _STRONG_KEY:
        LOG.warning(
            '%s: the secret has less than %d bytes, so it can be guessed from a token; '
            'make another with "%s --force"',
            path,
            _STRONG_KEY,
            secrets.JWT_COMMAND,
        )
    return key
