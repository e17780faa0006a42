"""Heartbeats of agents on their way to the conductors that own their nodes.

Messages to a conductor are :data:`GAP` apart; what comes meanwhile waits and goes in the next one,
all together.  So a heartbeat that comes alone goes at once, and hundreds a second cost as many
messages as twenty do: it is the message that costs, not what is in it.
"""

import collections
import logging
import threading
import time

from obmd.common import errors
from obmd.common import rpc
from obmd.common import threads
from obmd.conf import CONF

LOG = logging.getLogger(__name__)

#: heartbeats in one message, and messages to one conductor at once
MOST, UNDER_WAY = 200, 2
#: seconds from one message to the next, and so about the longest that a heartbeat waits to be sent
GAP = 0.05
#: characters in one message, about: certificates may be long
LARGEST = 1 << 20
#: seconds after which an agent whose heartbeat found no room may try again
RETRY_AFTER = 1.0


class _Waiting:
    """A heartbeat whose sender waits for its answer.

    :ivar given_up: nobody waits any more.
    """

    __slots__ = ('beat', 'deadline', 'given_up', 'known', 'error')

    def __init__(self, beat, deadline):
        self.beat = beat
        self.deadline = deadline
        self.given_up = False
        self.known = threading.Event()
        self.error = None

    def answer(self, error):
        self.error = error
        self.known.set()


class _Lane:
    """What goes to one conductor.

    :ivar runners: threads that send; those of them that are ``waiting`` have no message under way.
    :ivar turn: time of the clock at which the next message may go.
    """

    def __init__(self):
        self.queue = collections.deque()
        self.runners = self.waiting = 0
        self.turn = float('-inf')


class Beats:
    """:param send: ``send(conductor, beats, timeout)`` calls a conductor; gives a list of None or
    an error's wire form, one for each beat.
    :param pause: waits for so many seconds.
    """

    def __init__(self, send, clock=time.monotonic, pause=time.sleep):
        self._send = send
        self._clock = clock
        self._pause = pause
        self._lanes = {}
        self._lock = threading.Lock()

    def take(self, conductor, beat, deadline):
        """Have ``conductor`` take ``beat``; returns when it has.

        :param conductor: :class:`obmd.db.conductors.Conductor`.
        :param beat: dict, as of ``ConductorAPI.agent_heartbeat``.
        :raises Unavailable: too many wait for that conductor, or it did not answer in time.
        :raises: what the conductor says of this beat.
        """
        waiting = _Waiting(beat, deadline)
        with self._lock:
            lane = self._lanes.setdefault(conductor.incarnation, _Lane())
            if len(lane.queue) >= CONF.agent.max_beats:
                raise errors.Unavailable(
                    f'{len(lane.queue)} heartbeats wait for the conductor {conductor.host} already',
                    retry_after=RETRY_AFTER,
                )
            lane.queue.append(waiting)
            begin = not lane.waiting and lane.runners < UNDER_WAY
            lane.runners += begin
            lane.waiting += begin
        if begin:
            threads.spawn(self._run, conductor, lane)
        if not waiting.known.wait(deadline.remaining):
            waiting.given_up = True
            raise errors.Unavailable(
                f'the conductor {conductor.host} did not take the heartbeat in time',
                retry_after=RETRY_AFTER,
            )
        if waiting.error is not None:
            raise waiting.error

    def _run(self, conductor, lane):
        """Send message after message until nothing waits."""
        while True:
            self._wait_for_turn(lane)
            batch = self._next(conductor, lane)
            if not batch:
                return
            try:
                found = self._send(
                    conductor,
                    [waiting.beat for waiting in batch],
                    max(waiting.deadline.remaining for waiting in batch),
                )
                outcomes = [None if wire is None else errors.from_wire(wire) for wire in found]
                if len(outcomes) != len(batch):
                    raise errors.ObmdError('the conductor failed to answer')
            except errors.ObmdError as error:
                outcomes = [_copy(error) for _ in batch]
            except Exception:
                LOG.exception('heartbeats could not be sent to %s', conductor.host)
                outcomes = [errors.ObmdError('internal error') for _ in batch]
            with self._lock:
                lane.waiting += 1
            for waiting, error in zip(batch, outcomes, strict=True):
                waiting.answer(error)

    def _wait_for_turn(self, lane):
        now = self._clock()
        with self._lock:
            turn = max(now, lane.turn)
            lane.turn = turn + GAP
        if turn > now:
            self._pause(turn - now)

    def _next(self, conductor, lane):
        """:returns: list of _Waiting that are sent now; empty: this thread's work is done."""
        batch, size = [], 0
        with self._lock:
            lane.waiting -= 1
            while lane.queue and len(batch) < MOST and size < LARGEST:
                waiting = lane.queue.popleft()
                if not waiting.given_up and not waiting.deadline.expired:
                    batch.append(waiting)
                    size += _size(waiting.beat)
            if not batch:
                lane.runners -= 1
                if not lane.runners:
                    del self._lanes[conductor.incarnation]
        return batch


def _size(beat):
    return sum(len(value) for value in beat.values() if isinstance(value, str))


def _copy(error):
    """One exception object raised in many threads mixes their tracebacks."""
    if isinstance(error, rpc.NoAnswer):
        return rpc.NoAnswer(error.server, error.gone)
    return errors.from_wire(error.to_wire())
