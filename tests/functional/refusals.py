"""Commands that end by themselves, most of them because they refuse to start.

Each costs a second of processor time, so many are run two at a time.
"""

import os
import subprocess
import threading
import time

from tests.functional.deployment import BIN
from tests.functional.deployment import environment


def run(folder, command, *args, env=None):
    """Run ``command`` until it ends by itself.

    :returns: subprocess.CompletedProcess with ``seconds``.
    """
    started = time.monotonic()
    done = subprocess.run(
        [os.path.join(BIN, command), *args],
        cwd=folder,
        env=environment(**(env or {})),
        capture_output=True,
        text=True,
        timeout=60,
    )
    done.seconds = time.monotonic() - started
    return done


def run_all(cases):
    """:param cases: dict name -> arguments of :func:`run` as (list, dict).

    :returns: dict name -> CompletedProcess.
    """
    done, limit = {}, threading.Semaphore(2)

    def one(name, args, kwargs):
        with limit:
            done[name] = run(*args, **kwargs)

    threads = [threading.Thread(target=one, args=(n, a, k)) for n, (a, k) in cases.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done


def check(done, command, reason, limit=10.0):
    """One clear line on standard error, status 1, in time; never a secret.

    :param limit: seconds.
    """
    assert done.returncode == 1, done.stderr
    assert done.stdout == ''
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith(f'{command}: ')
    assert reason in lines[0]
    assert done.seconds < limit
    assert 'hunter2' not in done.stderr
