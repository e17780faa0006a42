"""The environment of a script: what it is told, and nothing else.

Nothing of the service's own environment is in it.  A node's parameters have their own names; their
values are texts: numbers as they are written, ``true`` and ``false``, lists and maps as JSON.
"""

import functools
import json
import os
import pwd

from obmd.common import errors
from obmd.common import parameters as checks
from obmd.conf import CONF

PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
LANG = 'C.UTF-8'


def build(command, root, name=None, parameters=None, username=None, uid=None):
    """:param command: str, its name.
    :param root: str, the folder that holds the command's folder.
    :param name: str, the node's; None: the command runs on no node.
    :param parameters: dict of the node's free parameters, as :mod:`obmd.common.parameters` takes
        them.
    :param username, uid: str and int or None, who asks, by their own word.
    :returns: dict of str to str.
    :raises InvalidInput: naming the parameter that cannot be one.
    """
    made = {}
    checks.check(parameters or {})
    for key, value in (parameters or {}).items():
        made[key] = _text(value)
    # after the parameters: these win
    made['PATH'], made['LANG'], made['HOME'] = PATH, LANG, home(CONF.actions.user)
    made['command'], made['SCRIPT_ROOT'] = command, root
    if name is not None:
        made['name'] = _checked('the name of the node', name)
    made['request_username'] = _checked('request_username', username or '')
    made['request_uid'] = '' if uid is None else str(uid)
    return made


def _text(value):
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(',', ':'))


def _checked(what, text):
    """:raises InvalidInput: the system cannot hand it to a program."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise errors.InvalidInput(f'{what} is not text') from None
    if '\0' in text:
        raise errors.InvalidInput(f'{what} holds NUL')
    return text


@functools.cache
def home(user):
    """:param user: str, whom scripts run as; empty or None: whom the service runs as.
    :returns: str, the user's home folder; ``/`` for one that has none.
    """
    try:
        found = pwd.getpwnam(user) if user else pwd.getpwuid(os.geteuid())
    except KeyError:
        return '/'
    return found.pw_dir or '/'
