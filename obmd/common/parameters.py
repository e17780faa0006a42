"""A node's free parameters: what its scripts find in their environment.

A value is a text, a number, true, false, a list or a map of such; a script is given lists and maps
as JSON.  A name is one of an environment variable, and none that would change what runs: those are
refused with an error, never passed over.
"""

import json
import re

from obmd.common import errors

#: IEEE Std 1003.1-2017, section 8.1, in letters of either case
_NAME = re.compile('[A-Za-z_][A-Za-z0-9_]{0,254}')
#: names by which a program would run other code, load other libraries, or read other files
_REFUSED = re.compile(
    # shells, and where programs and files are found
    'PATH|CDPATH|MANPATH|INFOPATH|HOME|PWD|OLDPWD|USER|LOGNAME|SHELL|IFS|ENV|PS[0-4]|SHELLOPTS'
    '|PROMPT_COMMAND|POSIXLY_CORRECT|OPTIND|FPATH|TMP|TEMP|TMPDIR|TMPPREFIX|(BASH|KSH|ZDOT|XDG_).*'
    # the loader and libc: libraries, locales, resolver, memory
    '|(LD_|DYLD_|MALLOC_|RES_|RESOLV_|LC_|GLIBC_|GCONV_|LIBC_).*|LANG|LANGUAGE|LOCPATH|NLSPATH'
    '|LOCALDOMAIN|HOSTALIASES|TZ|TZDIR|TERM|TERMINFO|TERMINFO_DIRS|TERMCAP|NSS_.*|KRB5.*'
    # interpreters and build tools
    '|(PYTHON|PERL|RUBY|GEM_|BUNDLE_|NODE_|NPM_|npm_|LUA_|PHP|TCL|R_|JDK_|JAVA_|_JAVA_).*'
    '|CLASSPATH|MAKEFILES|MAKEFLAGS|MFLAGS|GNUMAKEFLAGS|AWKPATH|AWKLIBPATH|GAWK.*|M4PATH'
    # what tools start, and whom they trust or log in as
    '|LESS.*|.*PAGER|.*EDITOR|VISUAL|BROWSER|INPUTRC|.*_ASKPASS|TAR_OPTIONS|RSYNC_RSH|CVS_RSH'
    '|(GIT_|SSH_|SSL_|OPENSSL_|CURL_|REQUESTS_|ANSIBLE_|DOCKER_|HELM_).*|WGETRC|KUBECONFIG'
    '|NETRC|SUDO_.*|SYSTEMD_.*|DBUS_.*|PAM_.*'
    # clouds, and proxies
    '|(AWS_|AZURE_|OS_).*|(?i:.*_proxy)'
)
#: what is a credential of a driver, and is sealed: never to be read again
_CREDENTIALS = ('ipmi_password',)
#: bytes of one value and of all of a node, as a script is given them
LARGEST, LARGEST_OF_ALL = 65536, 262144
#: of one node
MOST = 1000
#: levels that lists and maps may be nested
_DEEPEST = 16
#: characters of a name that is wrong in an answer
_SHOWN = 64


def check(parameters):
    """:param parameters: any value, of JSON or YAML.

    :raises InvalidInput: it is no dict of parameters; names the parameter, never a value.
    """
    if not isinstance(parameters, dict):
        raise errors.InvalidInput('parameters must be an object')
    if len(parameters) > MOST:
        raise errors.InvalidInput(f'parameters must have at most {MOST} names')
    total = 0
    for name, value in parameters.items():
        _check_name(name)
        try:
            _check_value(value, _DEEPEST, _Room())
        except errors.InvalidInput as error:
            raise errors.InvalidInput(f'parameters.{name} {error.reason}') from None
        size = len(_as_text(value).encode())
        if size > LARGEST:
            raise errors.InvalidInput(f'parameters.{name} is longer than {LARGEST} bytes')
        total += len(name) + size
    if total > LARGEST_OF_ALL:
        raise errors.InvalidInput(f'parameters are longer than {LARGEST_OF_ALL} bytes in all')


def _check_name(name):
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        shown = str(name)[:_SHOWN].encode('unicode_escape').decode()
        raise errors.InvalidInput(
            f'parameters: "{shown}" is no name of one: letters, digits and _, no digit first'
        )
    if _REFUSED.fullmatch(name):
        raise errors.InvalidInput(f'parameters: {name} would change how scripts run')
    if name in _CREDENTIALS:
        raise errors.InvalidInput(f'parameters: {name} is a credential: it belongs into obm')


class _Room:
    """What is left for one value, which may hold another many times over if it comes of YAML."""

    def __init__(self):
        self._left = LARGEST

    def take(self, size):
        """:raises InvalidInput: there is none left."""
        self._left -= size
        if self._left < 0:
            raise errors.InvalidInput(f'is longer than {LARGEST} bytes')


def _check_value(value, levels, room):
    """:param room: :class:`_Room`."""
    if isinstance(value, str):
        _check_text(value, room)
    elif isinstance(value, list | dict):
        room.take(len(value))
        if not levels:
            raise errors.InvalidInput('is nested too deeply')
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str):
                    raise errors.InvalidInput('has a map with a key that is no text')
                _check_text(key, room)
        for child in value.values() if isinstance(value, dict) else value:
            if child is not None:  # JSON's null has its place in a list
                _check_value(child, levels - 1, room)
    elif value is None:
        raise errors.InvalidInput('has no value')
    elif isinstance(value, float) and not float('-inf') < value < float('inf'):
        raise errors.InvalidInput('is no number')
    elif isinstance(value, int):
        room.take(value.bit_length() // 4)  # a digit is less than 4 bits
    elif not isinstance(value, float):
        raise errors.InvalidInput(
            'must be text, a number, true, false, a list or a map; a date wants quotes'
        )


def _check_text(text, room):
    room.take(len(text))
    if '\0' in text:
        raise errors.InvalidInput('holds text with NUL')
    try:
        text.encode()
    except UnicodeEncodeError:
        raise errors.InvalidInput('holds what is no text') from None


def _as_text(value):
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, separators=(',', ':'))
    except ValueError:
        # a whole number of more digits than Python writes
        raise errors.InvalidInput('parameters hold a number that is too long') from None
