"""What the runner may do: as little as it needs.

It becomes the user that scripts are to run as, drops every capability, cannot be looked into or
traced by processes of that user, and inherits the processes that scripts leave behind.
"""

import ctypes
import os
import pwd
import resource
import signal

#: prctl(2)
SET_DUMPABLE, SET_CHILD_SUBREAPER, CAP_AMBIENT, CAP_AMBIENT_CLEAR_ALL = 4, 36, 47, 4
#: _LINUX_CAPABILITY_VERSION_3 of capget(2)
CAPABILITY_VERSION = 0x20080522
#: the conductor decides when scripts end, not a terminal or who stops the service
IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE)
#: descriptors that a script may have open unless it asks for more
SCRIPT_FILES = 1024
#: descriptors of the runner: three a run
RUNNER_FILES = 65536

_libc = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):
    """Scripts cannot be run so; the text says why."""


def settle():
    """Make this process a supervisor: signals, folder, limits, orphans."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    os.chdir('/')
    os.umask(0o022)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = RUNNER_FILES if most == resource.RLIM_INFINITY else min(RUNNER_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    # what a script crashes with has its environment in it
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    _prctl(SET_CHILD_SUBREAPER, 1)
    hide()


def hide():
    """No other process of this user may trace this one or read its memory and environment."""
    _prctl(SET_DUMPABLE, 0)


def become(name):
    """Run as the user ``name`` from here on, for good.

    :raises Refused: there is none, or this process may not.
    """
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        raise Refused(f'[actions] user: there is no user {name!r}') from None
    if os.getresuid() != (user.pw_uid,) * 3 or os.getresgid() != (user.pw_gid,) * 3:
        try:
            os.initgroups(name, user.pw_gid)
            os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
            os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
        except PermissionError:
            raise Refused(
                f'[actions] user: obmd may not change to {name!r}; it must run as root, or with '
                'CAP_SETUID and CAP_SETGID'
            ) from None
    if user.pw_uid != 0:
        _drop_capabilities()
    hide()


def _drop_capabilities():
    # Those that a service manager has given survive both the change of user and exec.
    _prctl(CAP_AMBIENT, CAP_AMBIENT_CLEAR_ALL)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if _libc.capset(header, nothing) != 0:
        raise Refused(f'capabilities cannot be dropped: {os.strerror(ctypes.get_errno())}')


def _prctl(*arguments):
    words = [ctypes.c_ulong(argument) for argument in arguments]
    words += [ctypes.c_ulong(0)] * (5 - len(words))
    if _libc.prctl(*words) != 0:
        raise OSError(ctypes.get_errno(), f'prctl {arguments[0]}')
