"""Tokens, keys, and BMC credentials sealed to the conductors' public key.

The API holds the public key and can only seal; a conductor holds the private keys and can open.
Both are files of one line a key, ``<key id> <base64 of 32 bytes>``, the newest last.  The key id
is the start of the SHA-256 of the public key, so a wrong pair shows.

What is sealed (libsodium's sealed box: X25519, XSalsa20-Poly1305) is the whole ``info`` of a node
with its uuid, driver type and address.  A row whose sealed part came from another node is refused:
else one BMC's password would be sent to another.

What keeps secrets out of logs is in ``scrubbing``; its names are here too.
"""

import base64
import binascii
import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
import stat
import threading

from nacl import exceptions as nacl_exceptions
from nacl import public as nacl

from obmd.common import errors
from obmd.common.scrubbing import Scrub
from obmd.common.scrubbing import scrub
from obmd.conf import CONF

__all__ = [
    'Keyring',
    'PublicKey',
    'Scrub',
    'add_key',
    'admin_token_path',
    'create_keys',
    'jwt_secret_path',
    'key_paths',
    'matches',
    'new_id',
    'new_jwt_secret',
    'new_token',
    'open_info',
    'open_json',
    'parse_token',
    'read_admin_token',
    'read_jwt_secret',
    'read_private',
    'scrub',
    'seal_info',
    'seal_json',
    'token_hash',
    'write_secret',
]

#: what to type when a key is missing, named by each refusal
KEY_COMMAND = 'obmd-manage key new'
TOKEN_COMMAND = 'obmd-manage token new --write'  # noqa: S105
JWT_COMMAND = 'obmd-manage generate-jwt-secret'
#: bytes of a secret that signs access tokens, at least: one can try secrets on a token at home
SHORTEST_SECRET = 16
#: what is sealed is padded to a multiple of this, in bytes: else its length tells the password's
_PADDING = 128

_TOKEN = re.compile('[0-9a-fA-F]{32}')
_NO_HASH = '0' * 64


# -- tokens -----------------------------------------------------------------------------------


def new_token():
    """:returns: str, 128 random bits as 32 lower-case hexadecimal digits."""
    return secrets.token_hex(16)


def new_id():
    """:returns: str, 32 random hexadecimal digits that name something and are no secret."""
    return secrets.token_hex(16)


def parse_token(text):
    """:param text: what a caller sent.  :returns: str in lower case, or None: not a token."""
    if isinstance(text, str) and _TOKEN.fullmatch(text):
        return text.lower()
    return None


def token_hash(token):
    """:returns: str, SHA-256 in hex: 128 random bits need no salt and no slow hash."""
    return hashlib.sha256(token.encode()).hexdigest()


def matches(token, stored_hash):
    """Whether ``token`` is the one with ``stored_hash``, in constant time.

    :param stored_hash: str or None (no token, no node): the same work, then False.
    """
    same = hmac.compare_digest(token_hash(token), stored_hash or _NO_HASH)
    return same and stored_hash is not None


# -- keys -------------------------------------------------------------------------------------


class PublicKey:
    """What the API seals with."""

    def __init__(self, raw):
        """:param raw: bytes, 32 of them."""
        self._key = nacl.PublicKey(raw)
        self.key_id = hashlib.sha256(raw).hexdigest()[:16]

    @classmethod
    def load(cls, path):
        """:raises Fatal: missing, unreadable or not a key."""
        keys = _parse(path, _read(path, f'run "{KEY_COMMAND}" or copy it from a conductor'))
        made = cls(keys[-1][1])
        if made.key_id != keys[-1][0]:
            raise errors.Fatal(f'{path}: the key does not have the id that the file says')
        return made

    def seal(self, plain):
        """:param plain: dict, JSON.  :returns: str, base64."""
        text = json.dumps(plain, separators=(',', ':')).encode()
        text += b' ' * (-len(text) % _PADDING)
        return base64.b64encode(nacl.SealedBox(self._key).encrypt(text)).decode()

    def line(self):
        """:returns: str, the key's line in a file."""
        return f'{self.key_id} {base64.b64encode(bytes(self._key)).decode()}\n'

    def __repr__(self):
        return f'<PublicKey {self.key_id}>'


class Keyring:
    """The conductors' private keys by id; the newest is what the API should seal to.

    A key that is added to the file later is found when it is first needed.
    """

    def __init__(self, path):
        self._path = path
        self._lock = threading.Lock()
        self._keys = {}
        self._seen = None
        self.public = None

    @classmethod
    def load(cls, path):
        """:raises Fatal: missing, readable by others, of another user, or damaged."""
        made = cls(path)
        made._load()
        return made

    def _load(self):
        text = read_private(self._path, f'run "{KEY_COMMAND}"')
        keys = {}
        for key_id, raw in _parse(self._path, text):
            private = nacl.PrivateKey(raw)
            public = PublicKey(bytes(private.public_key))
            if public.key_id != key_id:
                raise errors.Fatal(f'{self._path}: key {key_id} is damaged')
            keys[key_id] = private
        self._keys, self.public = keys, public
        self._seen = self._stamp()

    def _stamp(self):
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    @property
    def key_ids(self):
        """Tuple of str, oldest first."""
        return tuple(self._keys)

    def open(self, sealed, key_id):
        """:returns: dict that was sealed.

        :raises KeyMissing: sealed to a key that is not in the file.
        :raises SealMismatch: damaged, or not sealed to that key.
        """
        key = self._keys.get(key_id) or self._added(key_id)
        if key is None:
            raise errors.KeyMissing(f'key {key_id} is not in {self._path}')
        try:
            raw = base64.b64decode(sealed, validate=True)
            plain = json.loads(nacl.SealedBox(key).decrypt(raw))
        except (ValueError, TypeError, nacl_exceptions.CryptoError):
            # neither content nor cause: both may hold parts of what is sealed
            raise errors.SealMismatch(f'what is sealed to key {key_id} cannot be opened') from None
        if not isinstance(plain, dict):
            raise errors.SealMismatch(f'what is sealed to key {key_id} is not an object')
        return plain

    def _added(self, key_id):
        with self._lock:
            if self._seen != self._stamp():
                with contextlib.suppress(errors.Fatal):
                    self._load()
        return self._keys.get(key_id)

    def __repr__(self):
        return f'<Keyring {", ".join(self._keys)}>'


def create_keys(private_path, public_path):
    """Make the first key pair: a private file (0600) and a public one (0644).

    :returns: :class:`PublicKey`.
    :raises Fatal: there is one already, or a file cannot be written.
    """
    if os.path.exists(private_path):
        raise errors.Fatal(f'{private_path} exists already')
    return _write_keys(private_path, public_path, '')


def add_key(private_path, public_path):
    """Add a key pair; what was sealed to the older ones can still be opened.

    :returns: :class:`PublicKey`, the new one.  :raises Fatal: as :meth:`Keyring.load`.
    """
    Keyring.load(private_path)
    older = read_private(private_path, f'run "{KEY_COMMAND}"')
    return _write_keys(private_path, public_path, older)


def _write_keys(private_path, public_path, older):
    private = nacl.PrivateKey.generate()
    public = PublicKey(bytes(private.public_key))
    line = f'{public.key_id} {base64.b64encode(bytes(private)).decode()}\n'
    # the private half first: nothing may be sealed to a key that nobody has
    write_secret(private_path, older + line)
    _write(public_path, public.line(), 0o644)
    return public


def _parse(path, text):
    """:returns: list of (key id, 32 bytes), at least one."""
    keys = []
    for line in text.split('\n'):
        parts = line.split()
        if not parts or parts[0].startswith('#'):
            continue
        try:
            key_id, encoded = parts
            raw = base64.b64decode(encoded, validate=True)
        except (ValueError, binascii.Error):
            raw = b''
        if len(raw) != 32:
            raise errors.Fatal(f'{path}: a line is not "<key id> <base64 of 32 bytes>"')
        keys.append((key_id, raw))
    if not keys:
        raise errors.Fatal(f'{path}: no key in it')
    return keys


def key_paths():
    """:returns: (private, public) paths from ``[secrets]``, by default under ``state_path``."""
    state = os.path.abspath(CONF.state_path)
    return (
        CONF.secrets.private_key_file or os.path.join(state, 'conductor.key'),
        CONF.secrets.public_key_file or os.path.join(state, 'conductor.pub'),
    )


# -- a node's info ----------------------------------------------------------------------------


def seal_info(public, uuid, driver, address, info):
    """:param info: dict, as the driver normalised it.  :returns: (sealed, key id), both str."""
    plain = {'uuid': uuid, 'driver': driver, 'address': address, 'info': info}
    return public.seal(plain), public.key_id


def open_info(keyring, node):
    """:param node: with ``uuid``, ``name``, ``driver``, ``address``, ``sealed_info``, ``key_id``.

    :returns: dict, the node's info.
    :raises SealMismatch: damaged, or sealed for another node, driver or address.
    :raises KeyMissing: sealed to a key that this conductor lacks.
    """
    try:
        plain = keyring.open(node.sealed_info, node.key_id)
    except (errors.SealMismatch, errors.KeyMissing) as error:
        error.node = node.name
        raise
    sealed_for = [plain.get('uuid'), plain.get('driver'), plain.get('address')]
    if sealed_for != [node.uuid, node.driver, node.address] or 'info' not in plain:
        raise errors.SealMismatch(
            'the sealed credentials are not those of this node, driver and address',
            node=node.name,
        )
    return plain['info']


def seal_json(public, uuid, value):
    """:param value: dict, a node's instance_info.  :returns: (sealed, key id), both str."""
    return public.seal({'uuid': uuid, 'json': value}), public.key_id


def open_json(keyring, uuid, sealed, key_id):
    """:returns: dict that :func:`seal_json` sealed.

    :raises SealMismatch: damaged, or sealed for another node or as something else.
    :raises KeyMissing: sealed to a key that this conductor lacks.
    """
    plain = keyring.open(sealed, key_id)
    if plain.get('uuid') != uuid or not isinstance(plain.get('json'), dict):
        raise errors.SealMismatch("what is sealed is not this node's")
    return plain['json']


# -- files ------------------------------------------------------------------------------------


def read_private(path, hint):
    """Read a file that nobody else may read.  :returns: str.

    :param hint: str, how to get one, said when it is missing.
    :raises Fatal: missing, not a file, of another user, or with a mode wider than 0600.
    """
    return _read(path, hint, private=True)


def _read(path, hint, private=False):
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, encoding='utf-8') as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise errors.Fatal(f'{path} is not a file')
            if private and found.st_uid != os.geteuid():
                raise errors.Fatal(
                    f'{path} belongs to uid {found.st_uid}: uid {os.geteuid()} does not trust it'
                )
            if private and stat.S_IMODE(found.st_mode) & 0o077:
                mode = stat.S_IMODE(found.st_mode)
                raise errors.Fatal(f'{path} has mode {mode:04o}: others may use it; chmod 600 it')
            return file.read()
    except FileNotFoundError:
        raise errors.Fatal(f'{path} is missing: {hint}') from None
    except OSError as error:
        raise errors.Fatal(f'{path}: {error.strerror}') from None
    except UnicodeDecodeError:
        raise errors.Fatal(f'{path} is not text') from None


def write_secret(path, text):
    """Replace a file as a whole, mode 0600, its folder made with 0700.

    Root gives it to the folder's owner: a service must be able to read what its operator made.

    :raises Fatal: it cannot be written.
    """
    _write(path, text, 0o600)


def _write(path, text, mode):
    folder = os.path.dirname(os.path.abspath(path))
    fresh = os.path.join(folder, f'.{os.path.basename(path)}.{secrets.token_hex(8)}')
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        descriptor = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, 'w', encoding='utf-8') as file:
                os.fchmod(descriptor, mode)
                if os.geteuid() == 0:
                    owner = os.stat(folder)
                    os.fchown(descriptor, owner.st_uid, owner.st_gid)
                file.write(text)
                file.flush()
                os.fsync(descriptor)
            os.rename(fresh, path)
        except BaseException:
            os.unlink(fresh)
            raise
        # the name too must outlive a power cut
        folder_descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        os.fsync(folder_descriptor)
        os.close(folder_descriptor)
    except OSError as error:
        raise errors.Fatal(f'{path}: {error.strerror}') from None


def admin_token_path():
    """:returns: str, ``[api] admin_token_file`` or its default under ``state_path``."""
    default = os.path.join(os.path.abspath(CONF.state_path), 'admin-token')
    return CONF.api.admin_token_file or default


def read_admin_token(path):
    """:returns: str, the admin token in lower case.

    :raises Fatal: missing, readable by others, empty or malformed.
    """
    token = parse_token(read_private(path, f'run "{TOKEN_COMMAND}"').strip())
    if token is None:
        raise errors.Fatal(f'{path}: an admin token is exactly 32 hexadecimal digits')
    return token


def new_jwt_secret():
    """:returns: str, what access tokens are signed with."""
    return secrets.token_urlsafe(48)


def jwt_secret_path():
    """:returns: str, ``[actions] jwt_secret_file`` or its default under ``state_path``."""
    default = os.path.join(os.path.abspath(CONF.state_path), 'jwt.secret')
    return CONF.actions.jwt_secret_file or default


def read_jwt_secret(path):
    """:returns: bytes, the file's text without its final newline.

    :raises Fatal: missing, readable by others, or too short.
    """
    text = read_private(path, f'run "{JWT_COMMAND}"')
    secret = text.removesuffix('\n').encode()
    if len(secret) < SHORTEST_SECRET:
        raise errors.Fatal(f'{path}: the secret has less than {SHORTEST_SECRET} bytes')
    return secret
