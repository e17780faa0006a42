"""Who holds SOL at each BMC, asked all the time by somebody who never touches it.

    python -m tests.functional.sol_watch PAUSE      (inventory of a farm on stdin, one line)

prints ``TIME NAME HOLDER`` at each change (monotonic time, session id or 0) and answers a line
``ask`` with ``asked`` once every BMC was asked after it.  A process of its own, so that nothing
that the tests do slows it down.
"""

import collections
import json
import queue
import subprocess
import sys
import threading
import time

from tests.functional.farm import ROOT

#: seconds between two questions to one BMC
PAUSE = 0.25


class SolWatch:
    """Asks Get Payload Instance Info (IPMI 2.0 section 24.5) of every BMC of a farm.

    :param bmcs: as of ``Farm.bmcs``.
    :param pause: seconds between two questions to one BMC: gaps are measured as exactly as this.
    :ivar changes: dict of BMC name -> list of (monotonic time, session id or 0).
    """

    def __init__(self, bmcs, pause=PAUSE):
        self.changes = collections.defaultdict(list)
        self._bmcs = bmcs
        self._pause = pause
        self._process = None
        self._asked = queue.Queue()

    def __enter__(self):
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'tests.functional.sol_watch', str(self._pause)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._say(json.dumps(self._bmcs))
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def __exit__(self, *unused):
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()

    def holder(self, name):
        """:returns: int, the session that holds SOL, 0 for none, None before the first answer."""
        changes = self.changes[name]
        return changes[-1][1] if changes else None

    def held(self, timeout=10.0):
        """Ask all from now on.  :returns: bool, whether all consoles are somebody's."""
        return not self.unheld(timeout)

    def unheld(self, timeout=10.0):
        """Ask all from now on.  :returns: list of the names of consoles that are nobody's."""
        names = [bmc['name'] for bmc in self._bmcs]
        self._say('ask')
        try:
            self._asked.get(timeout=timeout)
        except queue.Empty:
            return names
        return [name for name in names if not self.holder(name)]

    def since(self, began):
        """:returns: dict of BMC name -> list of (time, holder) since then, the holder at that time
        first."""
        found = {}
        for bmc in self._bmcs:
            changes = list(self.changes[bmc['name']])
            before = [holder for at, holder in changes if at < began][-1:]
            found[bmc['name']] = [(began, holder) for holder in before] + [
                change for change in changes if change[0] >= began
            ]
        return found

    def hands(self, began):
        """:returns: dict of BMC name -> list of the sessions that held SOL since then."""
        return {
            name: [holder for _, holder in changes if holder]
            for name, changes in self.since(began).items()
        }

    def silence(self, began):
        """:returns: float, the longest time in seconds for which a console was nobody's; what may
        have been between two looks counts as silent."""
        longest = 0.0
        for changes in self.since(began).values():
            empty_at = None
            for at, holder in [*changes, (time.monotonic(), None)]:
                if empty_at is not None:
                    longest = max(longest, at - empty_at)
                empty_at = at if holder == 0 else None
        return longest + self._pause

    def forget(self, before):
        """Drop what was before then, for a watch of many hours."""
        for name, changes in self.changes.items():
            keep = max((i for i, (at, _) in enumerate(changes) if at < before), default=0)
            self.changes[name] = changes[keep:]

    def _say(self, line):
        self._process.stdin.write(line + '\n')
        self._process.stdin.flush()

    def _read(self):
        for line in self._process.stdout:
            if line == 'asked\n':
                self._asked.put(None)
            else:
                at, name, holder = line.split()
                self.changes[name].append((float(at), int(holder)))


class _Watcher:
    """The process's own part."""

    def __init__(self, bmcs, pause):
        self._bmcs = bmcs
        self._pause = pause
        self._asked = {bmc['name']: 0.0 for bmc in bmcs}

    def follow(self, bmc):
        """Ask one BMC for ever."""
        made = _bmc(bmc)
        name, last = bmc['name'], None
        while True:
            asked = time.monotonic()
            holder = _ask(made)
            if holder is not None:
                if holder != last:
                    last = holder
                    print(f'{time.monotonic():.4f} {name} {holder}', flush=True)
                self._asked[name] = asked
            time.sleep(self._pause)

    def serve(self):
        """Answer questions until there are no more."""
        while sys.stdin.readline():
            since = time.monotonic()
            while min(self._asked.values()) < since:
                time.sleep(0.05)
            print('asked', flush=True)


def _bmc(bmc):
    from obmd.drivers.ipmi.account import Account
    from obmd.drivers.ipmi.bmc import Bmc

    return Bmc(
        Account(
            node=bmc['name'],
            host=bmc['address'],
            port=bmc['port'],
            user=bmc['user'].encode(),
            password=bmc['password'].encode(),
        )
    )


def _ask(made):
    """:returns: int, the holder; None: no answer."""
    from obmd.common import errors
    from obmd.common.deadline import Deadline
    from obmd.drivers.ipmi.sol import APPLICATION
    from obmd.drivers.ipmi.sol import GET_INSTANCE_INFO

    try:
        answer = made.command(APPLICATION, GET_INSTANCE_INFO, (1, 1), deadline=Deadline(3))
    except errors.ObmdError:
        return None
    return int.from_bytes(answer.data[:4], 'little')


def _main(pause):
    import eventlet

    eventlet.monkey_patch()
    bmcs = json.loads(sys.stdin.readline())
    watcher = _Watcher(bmcs, pause)
    for number, bmc in enumerate(bmcs):
        eventlet.spawn_after(pause * number / len(bmcs), watcher.follow, bmc)
    watcher.serve()


if __name__ == '__main__':
    from obmd.common import threads  # noqa: F401  takes the native calls before they are patched

    _main(float(sys.argv[1]))
