"""Starting a thread of work that nobody joins.

Plain ``threading`` everywhere else; a process that is monkey-patched (``obmd.cmd``) gets green
threads from the same calls.
"""

import _thread
import logging

LOG = logging.getLogger(__name__)


def spawn(function, *args):
    """Run ``function(*args)`` in a thread of its own; an error that escapes it is logged.

    ``_thread`` and not ``threading.Thread``: a sweep starts thousands, and the latter waits
    for each to have begun.
    """
    _thread.start_new_thread(_run, (function, args))


def _run(function, args):
    try:
        function(*args)
    except Exception:
        LOG.exception('%s failed', getattr(function, '__qualname__', function))
