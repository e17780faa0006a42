"""A node's free parameters: what its scripts find in their environment.

A value is a text, a number, true, false, a list or a map of such; a script is given lists and maps
as JSON.  A name is one of an environment variable, and none that would change what runs: those are
refused with an error, never passed over.
"""

import itertools
import json
import re

from obmd.common import errors

#: IEEE Std 1003.1-2017, section 8.1, in letters of either case
_NAME = re.compile('[A-Za-z_][A-Za-z0-9_]{0,254}')
#: what shells, loaders, interpreters and tools read, and where clouds' credentials would be
_REFUSED = re.compile(
    'PATH|HOME|USER|SHELL|IFS|ENV|PS4|SHELLOPTS'
    '|(BASH|LD_|DYLD_|PYTHON|PERL|RUBY|NODE_|GIT_|SSH_|AWS_|AZURE_|OS_).*'
    '|(?i:.*_proxy)'
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
            _check_value(value, _DEEPEST, itertools.count())
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


def _check_value(value, levels, counter):
    """:param counter: of what was looked at; a value of YAML may hold another many times over."""
    if next(counter) > LARGEST:
        raise errors.InvalidInput(f'is longer than {LARGEST} bytes')
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, list | dict):
        if not levels:
            raise errors.InvalidInput('is nested too deeply')
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str):
                    raise errors.InvalidInput('has a map with a key that is no text')
                _check_text(key)
        for child in value.values() if isinstance(value, dict) else value:
            if child is not None:  # JSON's null has its place in a list
                _check_value(child, levels - 1, counter)
    elif value is None:
        raise errors.InvalidInput('has no value')
    elif isinstance(value, float) and not float('-inf') < value < float('inf'):
        raise errors.InvalidInput('is no number')
    elif not isinstance(value, int | float):
        raise errors.InvalidInput(
            'must be text, a number, true, false, a list or a map; a date wants quotes'
        )


def _check_text(text):
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
