"""The small process that runs scripts: without secrets, without green threads.

A conductor starts it (``obmd.conductor.scripts``) and speaks with it over a socket pair.  It
writes what scripts print into one file a job, watches their limits, and kills whatever they have
started when they end, are cancelled, or when the conductor has gone.  Only the standard library
is used here, and nothing else of obmd; the conductor and the API use :mod:`frames`.
"""

import os

#: what is run, by path: the runner finds nothing by the environment
PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), '__main__.py')
