"""One job and its runs, in its owner's memory: which are due, and who watches.

The rows are the truth; what is here was read from them, or was told by who runs them.  A run only
ever goes on: ``queued``, given to a conductor, ``running``, ``ended``.
"""

import collections
import dataclasses
import heapq
import json
import threading
import time

from obmd.db import runs
from obmd.streams import viewer

#: runs that a conductor may have beyond the limit, which it begins as others end; at least
AHEAD = 40
QUEUED, GIVEN, RUNNING, ENDED = runs.QUEUED, 'given', runs.RUNNING, runs.ENDED
_ORDER = (QUEUED, GIVEN, RUNNING, ENDED)


@dataclasses.dataclass(slots=True)
class Part:
    """One run.

    :ivar runner: incarnation of the conductor that has it, or None.
    :ivar given_at: monotonic s.
    :ivar failing_since: monotonic s since when no conductor takes it, or None.
    """

    position: int
    node_uuid: str | None
    node_name: str | None
    state: str
    outcome: str | None = None
    status: int | None = None
    reason: str | None = None
    runner: str | None = None
    output_bytes: int = 0
    given_at: float = 0.0
    failing_since: float | None = None

    def shown(self):
        """What watchers are told: a list, as in :class:`obmd.api.output.Output`."""
        state = QUEUED if self.state == GIVEN else self.state
        runner = None if state == QUEUED else self.runner
        return [
            self.position,
            state,
            self.outcome,
            self.status,
            self.reason,
            runner,
            self.output_bytes,
        ]


class OwnedJob:
    """:param row: ``obmd.db.jobs.Job``.  :param epoch: int, at which it is ours.
    :param rows: list of ``obmd.db.runs.Run``, all of them.
    :ivar bell: Event, set when there may be something to do.
    """

    def __init__(self, row, epoch, rows, clock=time.monotonic):
        self.row = row
        self.epoch = epoch
        self.bell = threading.Event()
        self.cancelled = row.cancelled_at is not None
        self.over = False
        self._clock = clock
        self._lock = threading.Lock()
        self._parts = [
            Part(
                run.position,
                run.node_uuid,
                run.node_name,
                run.state,
                run.outcome,
                run.status,
                run.reason,
                run.runner,
                run.output_bytes,
                clock(),
            )
            for run in rows
        ]
        self._queue = collections.deque(p.position for p in self._parts if p.state == QUEUED)
        self._later = []
        self._active = {p.position for p in self._parts if p.state == RUNNING}
        self._left = sum(part.state != ENDED for part in self._parts)
        self._next_start = float('-inf')
        self._runners = {p.runner for p in self._parts if p.state == RUNNING}
        self._watchers = []

    @property
    def uuid(self):
        return self.row.uuid

    @property
    def all_ended(self):
        return not self._left

    def part(self, position):
        """:returns: :class:`Part`."""
        return self._parts[position]

    def active(self):
        """:returns: list of Part, those that a conductor has."""
        return [self._parts[position] for position in list(self._active)]

    def queued(self):
        """:returns: list of Part, those that wait to be given out."""
        with self._lock:
            waiting = [*self._queue, *(position for _, position in self._later)]
        parts = [self._parts[position] for position in waiting]
        return [part for part in parts if part.state == QUEUED]

    # -- giving out -----------------------------------------------------------------------------

    def due(self):
        """Take what may be started now, within the limit and the pause between two starts.

        :returns: list of Part, now ``given``.
        """
        now, taken = self._clock(), []
        with self._lock:
            while self._later and self._later[0][0] <= now:
                self._queue.appendleft(heapq.heappop(self._later)[1])
            most = self._most()
            while self._queue and len(self._active) < most:
                if self.row.stagger and now < self._next_start:
                    break
                part = self._parts[self._queue.popleft()]
                if part.state != QUEUED:
                    continue
                part.state, part.given_at = GIVEN, now
                self._active.add(part.position)
                self._next_start = now + self.row.stagger
                taken.append(part)
        return taken

    def _most(self):
        """How many runs may be given out.  Where one conductor has all, it keeps the limit itself
        and has the next ones ready; several are given no more than may run at once."""
        limit = self.row.run_limit
        if self.row.stagger or len(self._runners) != 1:
            return limit
        most = limit + max(limit, AHEAD)
        # a few at a time: each message costs as much as ten runs
        return most if len(self._active) <= most - max(1, limit) else 0

    def give_to(self, part, incarnation):
        """:param part: Part that is given to a conductor.
        :returns: bool; False: it has to wait, for others have more than the limit leaves.
        """
        with self._lock:
            alone = self._runners <= {incarnation}
            if not alone and len(self._active) > self.row.run_limit:
                self._runners.add(incarnation)
                return False
            self._runners.add(incarnation)
            part.runner = incarnation
            return True

    def pause(self):
        """:returns: seconds until something is due by itself, or None."""
        with self._lock:
            times = [self._later[0][0]] if self._later else []
            if self._queue and self.row.stagger and len(self._active) < self.row.run_limit:
                times.append(self._next_start)
        return max(0.0, min(times) - self._clock()) if times else None

    def ahead(self, count):
        """:returns: list of Part, the next that will be due."""
        with self._lock:
            return [self._parts[p] for p in list(self._queue)[:count]]

    def put_back(self, part, pause=0.0, running=False):
        """Nobody has begun it: give it out again ``pause`` seconds from now.

        :param running: even if somebody said that it runs: its row says otherwise.
        """
        with self._lock:
            if part.state != GIVEN and not (running and part.state == RUNNING):
                return
            part.state, part.runner = QUEUED, None
            self._active.discard(part.position)
            heapq.heappush(self._later, (self._clock() + pause, part.position))
        self.bell.set()

    # -- news -----------------------------------------------------------------------------------

    def advance(self, changes):
        """Take news of runs; what is no news changes nothing.

        :param changes: iterable of (position, state, runner, outcome, status, reason, bytes).
        """
        news = []
        with self._lock:
            for position, state, runner, outcome, status, reason, size in changes:
                part = self._parts[position]
                if _ORDER.index(state) <= _ORDER.index(part.state):
                    continue
                part.state, part.runner = state, runner
                part.outcome, part.status, part.reason = outcome, status, reason
                part.output_bytes = size
                if state == ENDED:
                    self._left -= 1
                    self._active.discard(position)
                else:
                    self._active.add(position)
                news.append(part.shown())
            if news:
                self._say({'runs': news})
        if news:
            self.bell.set()

    def read(self, rows):
        """Take what rows say.  :param rows: list of ``obmd.db.runs.Run``."""
        self.advance(
            (
                run.position,
                run.state,
                run.runner,
                run.outcome,
                run.status,
                run.reason,
                run.output_bytes,
            )
            for run in rows
            if run.state != QUEUED
        )

    def reset(self, rows):
        """Believe rows against what was told: these runs have not ended.

        :param rows: list of ``obmd.db.runs.Run``, queued or running.
        """
        with self._lock:
            for run in rows:
                part = self._parts[run.position]
                if part.state != ENDED:
                    continue
                part.state, part.runner = run.state, run.runner
                part.outcome = part.status = part.reason = None
                self._left += 1
                if run.state == QUEUED:
                    self._queue.append(run.position)
                else:
                    self._active.add(run.position)
        self.bell.set()

    def _say(self, message):
        line = json.dumps(message).encode() + b'\n'
        self._watchers = [one for one in self._watchers if one.ended is None]
        for watcher in self._watchers:
            watcher.put(line)

    # -- watchers -------------------------------------------------------------------------------

    def watch(self):
        """:returns: :class:`obmd.streams.viewer.LineStream`: what is, then what changes."""
        stream = viewer.LineStream()
        with self._lock:
            told = [part.shown() for part in self._parts if part.state not in (QUEUED, GIVEN)]
            stream.put(json.dumps({'runs': told}).encode() + b'\n')
            self._watchers.append(stream)
            if self.over:
                stream.finish()
        return stream

    def finish(self, ended=None):
        """Nothing more comes from here: the job has ended, or is another's.

        :param ended: ``obmd.db.jobs.Job`` as it ended, or None.
        """
        with self._lock:
            self.over = True
            if ended is not None:
                self._say({'job': {'state': ended.state, 'status': ended.status}})
            for watcher in self._watchers:
                watcher.finish()
        self.bell.set()
