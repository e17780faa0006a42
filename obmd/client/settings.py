"""Where obmd is and who asks: from options, the environment, the user's file, the site's file.

The first that says something about a name wins, name by name.  What flight-action's configuration
calls ``base_url``, ``jwt_token`` and ``verify_ssl`` is understood.
"""

import dataclasses
import os
import stat

from obmd.client import errors

DEFAULT_URL = 'http://127.0.0.1:8380'
SITE_FILE = '/etc/obm/config.yaml'
#: bytes that a file may have
LARGEST = 64 * 1024

#: name -> variable of the environment
VARIABLES = {
    'url': 'OBM_URL',
    'token': 'OBM_TOKEN',
    'token_file': 'OBM_TOKEN_FILE',
    'ca_file': 'OBM_CA_FILE',
    'insecure': 'OBM_INSECURE',
}
_TRUE, _FALSE = ('1', 'true', 'yes', 'on'), ('', '0', 'false', 'no', 'off')
_FLIGHT = ('base_url', 'jwt_token', 'verify_ssl')


@dataclasses.dataclass
class Settings:
    """:ivar url: str.  :ivar token: str or None, never in its repr.
    :ivar ca_file: str or None.  :ivar insecure: bool.
    :ivar warnings: list of str, what the user should mend.
    """

    url: str = DEFAULT_URL
    token: str | None = dataclasses.field(default=None, repr=False)
    ca_file: str | None = None
    insecure: bool = False
    warnings: list = dataclasses.field(default_factory=list)


def load(options=None, config=None, environ=os.environ):
    """:param options: dict with any of the names of :data:`VARIABLES`; None is not said.
    :param config: str, the only file to read; else ``OBM_CONFIG``, else the user's and the site's.
    :returns: :class:`Settings`.
    :raises SettingsError: naming the file and the name.
    """
    found = Settings()
    layers = [{name: value for name, value in (options or {}).items() if value is not None}]
    layers.append({name: environ[v] for name, v in VARIABLES.items() if environ.get(v)})
    for path, must_exist in _files(config, environ):
        layer = _read(path, must_exist)
        if layer.get('token'):
            _check_private(path, found.warnings)
        layers.append(layer)
    for name in ('url', 'ca_file', 'insecure'):
        for layer in layers:
            if name in layer:
                setattr(found, name, layer[name])
                break
    if not isinstance(found.insecure, bool):
        found.insecure = _truth(found.insecure)
    found.token = _token(layers, found.warnings)
    return found


def _files(config, environ):
    """:returns: list of (path, whether it must exist)."""
    named = config or environ.get('OBM_CONFIG')
    if named:
        return [(named, True)]
    home = environ.get('XDG_CONFIG_HOME') or os.path.join(os.path.expanduser('~'), '.config')
    return [(os.path.join(home, 'obm', 'config.yaml'), False), (SITE_FILE, False)]


def _token(layers, warnings):
    """A layer with a token or a token file decides; the token itself comes before its file."""
    for layer in layers:
        if 'token' in layer:
            return str(layer['token']).strip()
        if 'token_file' in layer:
            path = os.path.expanduser(layer['token_file'])
            text = _text(path).strip()
            if not text:
                raise errors.SettingsError(f'{path} is empty')
            _check_private(path, warnings)
            return text
    return None


def _read(path, must_exist):
    import yaml

    if not must_exist and not os.path.exists(path):
        return {}
    try:
        said = yaml.safe_load(_text(path)) or {}
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, 'problem_mark', None)
        where = f', line {mark.line + 1}' if mark else ''
        # never the text itself: it may be a token
        raise errors.SettingsError(f'{path}{where}: this is not YAML') from None
    if not isinstance(said, dict):
        raise errors.SettingsError(f'{path}: this is no list of names and values')
    if 'base_url' in said:
        said['url'] = str(said['base_url']).rstrip('/').removesuffix('/action')
    if 'jwt_token' in said:
        said['token'] = said['jwt_token']
    if 'verify_ssl' in said:
        said['insecure'] = said['verify_ssl'] is False
    said = {name: value for name, value in said.items() if name not in _FLIGHT}
    for name, value in said.items():
        if name not in VARIABLES:
            raise errors.SettingsError(
                f'{path}: {name!r} is unknown; there are {", ".join(VARIABLES)}'
            )
        if not isinstance(value, bool if name == 'insecure' else str):
            kind = 'true or false' if name == 'insecure' else 'text'
            raise errors.SettingsError(f'{path}: {name} must be {kind}')
    for name in ('token_file', 'ca_file'):
        if name in said:
            # a file of the site names files beside it
            base = os.path.dirname(os.path.abspath(path))
            said[name] = os.path.join(base, os.path.expanduser(said[name]))
    return said


def _text(path):
    try:
        with open(path, encoding='utf-8') as file:
            text = file.read(LARGEST + 1)
    except OSError as error:
        raise errors.SettingsError(f'{path}: {error.strerror}') from None
    except UnicodeError:
        raise errors.SettingsError(f'{path} is not text') from None
    if len(text) > LARGEST:
        raise errors.SettingsError(f'{path} is too large')
    return text


def _check_private(path, warnings):
    """A user's own file with a token in it is nobody else's."""
    try:
        found = os.stat(path)
    except OSError:
        return
    open_to = stat.S_IMODE(found.st_mode) & (stat.S_IRGRP | stat.S_IROTH)
    is_own = found.st_uid == os.geteuid() and stat.S_ISREG(found.st_mode)
    # one of the site is meant for others
    if open_to and is_own and not os.path.abspath(path).startswith('/etc/'):
        warnings.append(f'others may read the token in {path}: chmod 600 {path}')


def _truth(text):
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise errors.SettingsError('OBM_INSECURE must be true or false')
