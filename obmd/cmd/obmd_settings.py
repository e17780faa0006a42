"""The configuration that OBMd's users have: environment variables, or ``-config FILE`` (JSON).

Each setting becomes options of obmd's own.  Whoever gives any of them gets OBMd's rules: an admin
token is required and never made up.
"""

import dataclasses
import json
import os

import sqlalchemy
from psycopg2 import extensions

from obmd.common import errors
from obmd.common import secrets
from obmd.conf import CONF

VARIABLES = (
    'DB_TYPE',
    'DB_PATH',
    'LISTEN_ADDR',
    'ADMIN_TOKEN',
    'TLS_CERT',
    'TLS_KEY',
    'INSECURE',
)
_FILE_KEYS = {
    'DBType': 'db_type',
    'DBPath': 'db_path',
    'ListenAddr': 'listen_addr',
    'AdminToken': 'admin_token',
    'TLSCert': 'tls_cert',
    'TLSKey': 'tls_key',
    'Insecure': 'insecure',
}
#: what Go's strconv.ParseBool takes
_BOOLEANS = {
    **dict.fromkeys(('1', 't', 'T', 'TRUE', 'true', 'True'), True),
    **dict.fromkeys(('0', 'f', 'F', 'FALSE', 'false', 'False'), False),
}


@dataclasses.dataclass
class Settings:
    """What was given; None or '' where it was not."""

    db_type: str | None = None
    db_path: str | None = dataclasses.field(default=None, repr=False)
    listen_addr: str | None = None
    admin_token: str | None = dataclasses.field(default=None, repr=False)
    tls_cert: str | None = None
    tls_key: str | None = None
    insecure: bool = False
    plaintext_allowed: bool = False

    def apply(self):
        """Set the options.  :raises Fatal: a setting that cannot be used."""
        if secrets.parse_token(self.admin_token or '') is None:
            raise errors.Fatal(
                'ADMIN_TOKEN is missing or malformed: give 32 hexadecimal digits '
                '("obmd -gen-token" prints fresh ones)'
            )
        if self.listen_addr:
            CONF.set_override('listen', self.listen_addr, 'api')
        CONF.set_override('tls_cert', self.tls_cert or None, 'api')
        CONF.set_override('tls_key', self.tls_key or None, 'api')
        if self.insecure and (self.tls_cert or self.tls_key):
            raise errors.Fatal('INSECURE is set together with a TLS certificate or key: choose one')
        plaintext = self.insecure or (self.plaintext_allowed and not self.tls_cert)
        CONF.set_override('insecure', plaintext, 'api')
        url = connection(self.db_type, self.db_path)
        if url:
            CONF.set_override('connection', url, 'database')

    @property
    def admin_hash(self):
        return secrets.token_hash(secrets.parse_token(self.admin_token))


def from_environment(environment=os.environ):
    """:returns: :class:`Settings`, or None when no variable of OBMd's is set.

    The admin token is taken out of ``environment``: what obmd starts does not inherit it.
    """
    given = {name.lower(): environment[name] for name in VARIABLES if name in environment}
    if not given:
        return None
    environment.pop('ADMIN_TOKEN', None)
    if 'insecure' in given:
        given['insecure'] = _boolean(given['insecure'])
    return Settings(**given)


def from_file(path):
    """:param path: JSON file as OBMd 0.1 and 0.2 took it.  :raises Fatal:"""
    try:
        with open(path, encoding='utf-8') as file:
            content = json.load(file)
    except OSError as error:
        raise errors.Fatal(f'{path}: {error.strerror}') from None
    except (ValueError, RecursionError) as error:
        raise errors.Fatal(f'{path}: not JSON: {error}') from None
    if not isinstance(content, dict):
        raise errors.Fatal(f'{path}: not a JSON object')
    given = {}
    for key, name in _FILE_KEYS.items():
        wanted = bool if name == 'insecure' else str
        value = content.get(key)
        if not isinstance(value, wanted | None):
            kind = 'true or false' if wanted is bool else 'a string'
            raise errors.Fatal(f'{path}: {key} must be {kind}')
        if value is not None:
            given[name] = value
    # OBMd 0.1 had no such key and served plain HTTP wherever it was told to.
    return Settings(**given, plaintext_allowed='insecure' not in given)


def _boolean(text):
    try:
        return _BOOLEANS[text]
    except KeyError:
        raise errors.Fatal('INSECURE must be true or false') from None


def connection(db_type, db_path):
    """:returns: str, an SQLAlchemy URL, or None for obmd's own default."""
    if not db_type and not db_path:
        return None
    if db_type == 'sqlite3':
        # go-sqlite3 takes parameters after a question mark; none of them matters here
        database = (db_path or '').partition('?')[0].removeprefix('file:')
        if not database:
            raise errors.Fatal('DB_PATH is missing: a file name or :memory:')
        return sqlalchemy.URL.create('sqlite', database=database).render_as_string()
    if db_type == 'postgres':
        return _postgres(db_path or '')
    raise errors.Fatal('DB_TYPE must be sqlite3 or postgres')


def _postgres(dsn):
    try:
        fields = extensions.parse_dsn(dsn)
    except Exception:
        # psycopg2's own words repeat the text, and with it the password
        raise errors.Fatal('DB_PATH is not a libpq string such as "host=... dbname=..."') from None
    url = sqlalchemy.URL.create(
        'postgresql',
        username=fields.pop('user', None),
        password=fields.pop('password', None),
        database=fields.pop('dbname', None),
        query=fields,
    )
    return url.render_as_string(hide_password=False)
