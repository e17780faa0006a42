"""What becomes of a job and what its runs write, as it comes: one stream of events.

The owner of the job tells what becomes of the runs; each conductor that runs some hands over what
they write (``obmd.runner.frames``).  Both are read again where they broke off, at whom has them by
then, so an :class:`Output` goes on over the restart of a conductor and starts anywhere.  It holds
at most :data:`ROOM` bytes of output: who reads slowly is waited for, for output is in files.
"""

import base64
import binascii
import json
import logging
import threading
import time
import typing

from obmd.api import operations
from obmd.api import spools
from obmd.common import errors
from obmd.common import threads
from obmd.db import jobs
from obmd.db import runs

LOG = logging.getLogger(__name__)

#: bytes of output that wait for a reader
ROOM = 1024 * 1024
#: seconds between two tries at the owner of the job: first and longest
PAUSE, PAUSE_MAX = 0.2, 2.0
#: seconds without any output that the end of a run waits for the end of its own
PATIENCE = 5.0
_STATES = (None, runs.QUEUED, runs.RUNNING, runs.ENDED)

RUN, STDOUT, STDERR, GAP, JOB = 'run', 'stdout', 'stderr', 'gap', 'job'


class Event(typing.NamedTuple):
    """One thing that happened.

    :ivar kind: ``RUN``: a run is in another state, ``data`` is a dict (position, node, state,
        outcome, status, reason); ``STDOUT``, ``STDERR``: ``data`` is bytes, cut anywhere; ``GAP``:
        int, bytes that are missing; ``JOB``: the job has ended, a dict (state, status); the last.
    :ivar position: int, of the run, or None.  :ivar node: str, its node's name, or None.
    :ivar cursor: str of output: resumes behind it.
    """

    kind: str
    position: int | None
    node: str | None
    data: typing.Any
    cursor: str | None = None


class Output:
    """:param services: :class:`obmd.api.operations.Services`.
    :param job: ``obmd.db.jobs.Job``.
    :param cursor: str, of an earlier Output: goes on behind what that one gave.  States of runs
        are told anew, output is not.
    :param position: int, of the only run that it is about; None: all.
    :raises InvalidInput: that is no cursor.
    """

    def __init__(self, services, job, cursor=None, position=None, clock=time.monotonic):
        self._services = services
        self._job = job
        self._clock = clock
        self._only = position
        self._skip = _parse(cursor)
        self._given = dict(self._skip)
        self._bell = threading.Condition()
        self._queue = []
        self._size = 0
        self._closed = False
        self._names = {}
        self._states = {}
        #: position -> (row as told, bytes, when, runner): ended, and its output is not whole yet
        self._pending = {}
        self._received = {}
        #: conductor -> when it sent output at last, and position -> when it was of that
        self._moved = {}
        self._wrote = {}
        #: conductors whose output waits for room
        self._held = set()
        #: when the last read ended, and the first one began after a pause: what waited for room
        #: comes now
        self._read_at = self._resumed_at = clock()
        self._whole = set()
        #: incarnation of a living conductor -> what reads there
        self._sources = {}
        #: incarnations that were asked, and whether one that comes is asked too
        self._asked = set()
        self._searching = False
        self._runners = set()
        #: spool -> offset up to which it was read
        self._reached = {}
        self._opened = set()
        self._ended = None
        #: whether the last event was given
        self.finished = False
        threads.spawn(self._follow)

    @property
    def cursor(self):
        """str, where the events end that were given."""
        text = json.dumps(self._given, separators=(',', ':'))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip('=')

    def read(self, timeout):
        """:param timeout: seconds to wait for the first event.

        :returns: list of :class:`Event`, those that are there; empty: none came in time, or
            ``finished``.
        """
        until = self._clock() + timeout
        with self._bell:
            if self._clock() - self._read_at >= PATIENCE:
                self._resumed_at = self._clock()
            self._await_events(until)
            queue, self._queue, self._size = self._queue, [], 0
            self._read_at = self._clock()
            self._bell.notify_all()
        events = []
        for event, spool, offset in queue:
            if spool is not None:
                self._given[spool] = offset
                event = event._replace(cursor=self.cursor)
            events.append(event)
        if events and events[-1].kind == JOB:
            self.finished = True
            self.close()
        return events

    def _await_events(self, until):
        while not self._closed:
            self._ask_newcomers()
            self._give_up_waiting()
            left = until - self._clock()
            if self._queue or left <= 0:
                return
            looks = self._pending or self._searching
            self._bell.wait(min(left, PATIENCE / 2) if looks else left)

    def close(self):
        """Nobody reads any more."""
        with self._bell:
            self._closed = True
            self._bell.notify_all()
            opened = list(self._opened)
        for stream in opened:
            stream.close()

    @property
    def closed(self):
        return self._closed

    # -- the owner of the job ---------------------------------------------------------------------

    def _follow(self):
        pause = PAUSE
        while not self._closed and self._ended is None:
            try:
                self._look()
                pause = PAUSE
            except (errors.ObmdError, ValueError, TypeError, KeyError) as error:
                LOG.info('job %s: its owner cannot be followed: %s', self._job.uuid, error)
            if self._ended is None:
                with self._bell:
                    if not self._closed:
                        self._bell.wait(pause)
                pause = min(2 * pause, PAUSE_MAX)

    def _look(self):
        """Once: what the rows say, then what the owner tells."""
        row = jobs.get(self._job.uuid)
        if row is None:
            self._end({'state': runs.ENDED, 'status': None})
            return
        told = runs.of_job(row.uuid)
        self._names.update((run.position, run.node_name) for run in told)
        self._take([_as_told(run) for run in told])
        if row.state == jobs.ENDED:
            self._end({'state': row.state, 'status': row.status})
            return
        owner = self._services.router.owner_of_job(row).incarnation
        offer = self._services.conductor_api.open_job_events(row, operations.call_deadline())
        stream = spools.stream_of(offer)
        if not self.opened(stream):
            return
        try:
            # one that is frozen does not end it
            with self._services.router.watched(owner, stream.close):
                self._hear(stream)
        finally:
            self.dropped(stream)

    def _hear(self, stream):
        for line in spools.lines(stream):
            message = json.loads(line)
            if 'runs' in message:
                self._take(message['runs'])
            if 'job' in message:
                self._end(message['job'])

    def _take(self, told):
        """:param told: list of [position, state, outcome, status, reason, runner, bytes]."""
        with self._bell:
            for one in told:
                self._take_one(*one)
            self._bell.notify_all()

    def _take_one(self, position, state, outcome, status, reason, runner, size):
        if self._only not in (None, position):
            return
        if _STATES.index(state) <= _STATES.index(self._states.get(position)):
            return
        self._states[position] = state
        if state == runs.QUEUED:
            return
        shown = {
            'position': position,
            'node': self._names.get(position),
            'state': state,
            'outcome': outcome,
            'status': status,
            'reason': reason,
        }
        if runner is not None and runner not in self._runners:
            self._runners.add(runner)
            self._source(runner)
        if state == runs.ENDED and runner is not None and position not in self._whole:
            self._pending[position] = shown, size, self._clock(), runner
        else:
            self._put(RUN, position, shown)

    def _end(self, shown):
        with self._bell:
            self._ended = shown
            self._finish_if_whole()
            self._bell.notify_all()

    def _finish_if_whole(self):
        if self._ended is not None and not self._pending:
            self._put(JOB, None, self._ended)

    def _put(self, kind, position, data, spool=None, offset=None):
        event = Event(kind, position, self._names.get(position), data)
        self._queue.append((event, spool, offset))

    # -- what the conductors that run it hand over ----------------------------------------------

    def _source(self, runner):
        """Read what ``runner`` has written: there, or if it is gone, wherever its files are now."""
        living = self._services.router.living
        there = [one for one in living if one.incarnation == runner]
        # who is not seen may not be seen yet, or its files are at a start that is not
        self._searching = self._searching or not there
        for conductor in there or living:
            self._ask(conductor)

    def _ask(self, conductor):
        self._asked.add(conductor.incarnation)
        if conductor.incarnation not in self._sources:
            source = spools.Source(self._services, self._job.uuid, conductor, self)
            self._sources[conductor.incarnation] = source
            threads.spawn(source.run)

    def _ask_newcomers(self):
        if self._searching:
            for conductor in self._services.router.living:
                if conductor.incarnation not in self._asked:
                    self._ask(conductor)

    def gone(self, conductor):
        """A conductor does not live any more: its files may be with its next start."""
        with self._bell:
            self._sources.pop(conductor.incarnation, None)
            self._asked.discard(conductor.incarnation)
            if not self._closed:
                self._source(conductor.incarnation)

    def has_nothing(self, conductor):
        """A conductor has no output of the job.

        :returns: bool, whether it is not to be asked again until a run begins there.
        """
        with self._bell:
            if conductor.incarnation in self._runners:
                return False
            self._sources.pop(conductor.incarnation, None)
            return True

    def opened(self, stream):
        """:returns: bool; False: nobody reads any more, and the stream is closed."""
        with self._bell:
            if not self._closed:
                self._opened.add(stream)
                return True
        stream.close()
        return False

    def dropped(self, stream):
        with self._bell:
            self._opened.discard(stream)
        stream.close()

    def wrote(self, conductor, spool, found):
        """Take frames of a spool; waits while there is no room.

        :param conductor: ``obmd.db.conductors.Conductor`` that sent them.
        :param spool: str, its id.
        :param found: list of (kind, position, data, offset behind it): ``STDOUT``, ``STDERR`` with
            bytes, ``GAP`` with a count, None: the end of a run's output.
        """
        with self._bell:
            while self._size > ROOM and not self._closed:
                self._held.add(conductor.incarnation)
                self._bell.wait()
            self._held.discard(conductor.incarnation)
            self._moved[conductor.incarnation] = self._clock()
            skip, reached = self._skip.get(spool, 0), self._reached.get(spool, 0)
            for kind, position, data, behind in found:
                if behind > reached:
                    self._wrote_one(spool, kind, position, data, behind, behind <= skip)
                    self._reached[spool] = behind
            self._bell.notify_all()

    def _wrote_one(self, spool, kind, position, data, behind, again):
        if self._only not in (None, position):
            return
        if kind is None:
            self._whole.add(position)
            self._settle(position)
            return
        count = data if kind == GAP else len(data)
        self._wrote[position] = self._clock()
        self._received[position] = self._received.get(position, 0) + count
        if not again:
            self._put(kind, position, data, spool, behind)
            self._size += 0 if kind == GAP else len(data)

    def _give_up_waiting(self):
        late = self._clock() - PATIENCE
        for position, (shown, size, since, runner) in list(self._pending.items()):
            if since >= late:
                continue
            # who is dead and has not said how a run ended will not say it
            untold = shown['outcome'] == runs.LOST and not self._lives(runner)
            if untold or self._has_all(position, shown, size, late) or self._silent(runner, late):
                self._settle(position)

    def _has_all(self, position, shown, size, late):
        """Whether only the end of a run's output is missing; how much a lost run wrote is not
        known."""
        whole = shown['outcome'] != runs.LOST and self._received.get(position, 0) >= (size or 0)
        return whole and self._wrote.get(position, late - 1) < late

    def _silent(self, runner, late):
        # what one wrote that is gone may be with any other
        senders = {runner} if self._lives(runner) else self._held.union(self._moved)
        moved = max((self._moved.get(one, late - 1) for one in senders), default=late - 1)
        return max(moved, self._resumed_at) < late and self._held.isdisjoint(senders)

    def _lives(self, runner):
        return any(one.incarnation == runner for one in self._services.router.living)

    def _settle(self, position):
        """The output of a run is whole, or will not be: tell its end, if it is known."""
        waiting = self._pending.pop(position, None)
        if waiting is None:
            return
        shown, size, *_ = waiting
        missing = (size or 0) - self._received.get(position, 0)
        if position not in self._whole and missing > 0:
            self._put(GAP, position, missing)
        self._put(RUN, position, shown)
        self._finish_if_whole()


def _as_told(run):
    """As an owner tells it.  :param run: ``obmd.db.runs.Run``."""
    runner = run.runner if run.started_at is not None else None
    return [
        run.position,
        run.state,
        run.outcome,
        run.status,
        run.reason,
        runner,
        run.output_bytes,
    ]


def _parse(cursor):
    """:returns: dict of spool to offset."""
    if not cursor:
        return {}
    try:
        padded = cursor + '=' * (-len(cursor) % 4)
        said = json.loads(base64.urlsafe_b64decode(padded.encode('ascii')))
        if all(isinstance(k, str) and isinstance(v, int) and v >= 0 for k, v in said.items()):
            return said
    except (ValueError, binascii.Error, AttributeError, RecursionError):
        pass
    raise errors.InvalidInput('this is no cursor of the output of a job')
