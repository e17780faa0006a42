"""Who holds SOL at each BMC, asked all the time by somebody who never touches it."""

import collections
import threading
import time

from obmd.common import errors
from obmd.common import threads
from obmd.common.deadline import Deadline
from obmd.drivers.ipmi.account import Account
from obmd.drivers.ipmi.bmc import Bmc
from obmd.drivers.ipmi.sol import APPLICATION
from obmd.drivers.ipmi.sol import GET_INSTANCE_INFO

#: seconds between two questions to one BMC
PAUSE = 0.25


class SolWatch:
    """Asks Get Payload Instance Info (IPMI 2.0 section 24.5) of every BMC of a farm.

    :ivar changes: dict of BMC name -> list of (monotonic time, session id or 0).
    """

    def __init__(self, bmcs):
        self.changes = collections.defaultdict(list)
        self._asked = collections.defaultdict(float)
        self._bmcs = bmcs
        self._stopped = threading.Event()

    def __enter__(self):
        for bmc in self._bmcs:
            threads.spawn(self._follow, bmc)
        return self

    def __exit__(self, *unused):
        self._stopped.set()

    def holder(self, bmc):
        """:returns: int, the session that holds SOL, 0 for none, None before the first answer."""
        changes = self.changes[bmc['name']]
        return changes[-1][1] if changes else None

    def held(self):
        """Ask all from now on.  :returns: bool, whether all consoles are somebody's."""
        now, until = time.monotonic(), time.monotonic() + 5
        while any(self._asked[bmc['name']] < now for bmc in self._bmcs):
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
        return all(self.holder(bmc) for bmc in self._bmcs)

    def since(self, began):
        """:returns: dict of BMC name -> list of (time, holder) since then, the holder at that time
        first."""
        found = {}
        for bmc in self._bmcs:
            changes = self.changes[bmc['name']]
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

    def gaps(self, began):
        """:returns: list of float, seconds for which each console was nobody's."""
        found = []
        for changes in self.since(began).values():
            total, empty_at = 0.0, None
            for at, holder in changes:
                if empty_at is not None:
                    total += at - empty_at
                empty_at = at if not holder else None
            if empty_at is not None:
                total += time.monotonic() - empty_at
            found.append(total)
        return found

    def _follow(self, bmc):
        made = Bmc(
            Account(
                node=bmc['name'],
                host=bmc['address'],
                port=bmc['port'],
                user=bmc['user'].encode(),
                password=bmc['password'].encode(),
            )
        )
        changes = self.changes[bmc['name']]
        while not self._stopped.is_set():
            asked = time.monotonic()
            try:
                answer = made.command(APPLICATION, GET_INSTANCE_INFO, (1, 1), deadline=Deadline(3))
                holder = int.from_bytes(answer.data[:4], 'little')
                if not changes or changes[-1][1] != holder:
                    changes.append((time.monotonic(), holder))
                self._asked[bmc['name']] = asked
            except errors.ObmdError:
                pass
            made.sleep(PAUSE)
        made.close(Deadline(1))
