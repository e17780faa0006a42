"""``python -m tests.functional.runner.victim FOLDER IDENTITY TTL PROGRAM``: one to be killed.

Runs a script, says the pids of its runner and of what the script printed, and goes on.
"""

import sys
import time

from oslo_config import cfg

from obmd.conf import CONF
from tests.functional.runner.stage import Stage


def main(folder, identity, ttl, program):
    CONF([], project='obmd', default_config_files=[])
    CONF.set_override('heartbeat_ttl', float(ttl), group='conductor')
    assert isinstance(CONF, cfg.ConfigOpts)
    stage = Stage(ttl=float(ttl), folder=folder, identity=identity)
    stage.scripts.start()
    job = stage.start(program, timeout=1000.0)
    printed = stage.said(job).decode().strip()
    print(stage.runner, printed, job, flush=True)
    while True:
        time.sleep(1)


if __name__ == '__main__':
    main(*sys.argv[1:])
