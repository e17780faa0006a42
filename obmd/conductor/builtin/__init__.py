"""Commands that obmd has itself, carried out by a node's driver instead of a script.

What they are called and say to users is in :mod:`obmd.conductor.builtin.metadata`; the API reads
only that.  :func:`run` is what a conductor calls for a node of its own.
"""

import logging

from obmd.common import callers
from obmd.common import errors
from obmd.conductor.builtin import estate
from obmd.conductor.builtin import event_log
from obmd.conductor.builtin import power
from obmd.conductor.builtin import usage

LOG = logging.getLogger(__name__)

#: exit status of what did not work
FAILED = 1

_RUN = {
    'power-on': power.on,
    'power-off': power.off,
    'power-cycle': power.cycle,
    'power-status': power.status,
    'estate-show': estate.show,
    'estate-change': estate.change,
    'ipmi-sel': event_log.show,
}


def run(name, live, arguments, deadline, say, caller=callers.UNKNOWN):
    """Carry out a built-in command for one node; returns when it has ended.

    :param name: str, of the command.
    :param live: :class:`obmd.conductor.node.LiveNode`.
    :param arguments: list of str.
    :param deadline: :class:`obmd.common.deadline.Deadline` of the whole run.
    :param say: ``say(text, error=False)`` takes one line of output, without its newline;
        ``error``: it belongs on standard error.
    :param caller: :class:`obmd.common.callers.Caller`, for whom.
    :returns: int, the exit status.  What fails is said, never raised.
    """
    try:
        return _RUN[name](live, arguments, deadline, say, caller)
    except errors.Unsupported:
        return unsupported(name, live.name, say)
    except usage.Wrong as error:
        for line in error.lines:
            say(line, error=True)
        return error.status
    except errors.ObmdError as error:
        say(error.reason, error=True)
    except Exception:
        LOG.exception('%s: %s', live.name, name)
        say('internal error', error=True)
    return FAILED


def unsupported(name, node_name, say):
    """A node has no driver that could do it, and no script fits.  :returns: as :func:`run`."""
    say(f'The default script for {name} is not supported.  Specify an appropriate rank', error=True)
    say(f'for {node_name}.', error=True)
    return FAILED
