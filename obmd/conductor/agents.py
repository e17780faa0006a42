"""The ramdisk agents of this conductor's nodes: what they told, and which of them are alive.

What an agent tells that differs from before (URL, version, certificate, status) is in its row when
its heartbeat is answered.  Of a heartbeat that says nothing new only the time is left to write:
those of :data:`FLUSH` seconds go to the database together, and before a node is let go.  If it
does not take them for :data:`BEHIND` seconds, no heartbeat is accepted until it does.  In a crash
the beats of those seconds may be lost; a row may then be one interval of its agent behind.

The rows of agents may be written by the conductor that owns the node, and by nobody for an agent
whose token was forgotten (``obmd.db.agents.record``).  What this module remembers
(``LiveNode.agent``) counts only while its token is the row's; it goes with the live node.

Whether an agent is alive is judged by this conductor's own clock.  The wall time in the row, which
another host may have written, only says how much of a window is left at a takeover: never more
than all.
"""

import contextlib
import hashlib
import logging
import threading
import time

from obmd.common import errors
from obmd.common import metrics
from obmd.conductor import outcomes
from obmd.conductor import windows
from obmd.conf import CONF
from obmd.db import agents as rows

LOG = logging.getLogger(__name__)

#: what an agent tells
TOLD = ('url', 'version', 'verify_ca', 'status', 'status_message')
#: seconds until the time of a heartbeat is in the row; seconds of failing after which no more
#: heartbeats are accepted
FLUSH, BEHIND = 2.0, 5.0
#: seconds after which the rows of newly claimed nodes are read, for many at once
ADOPT_AFTER = 1.0
#: seconds until something that the database did not allow is tried again
RETRY = 2.0
#: rows that are read or written in one go, so that no heartbeat waits for long
SLICE = 100

NOT_TAKEN = 'the database does not take heartbeats'
#: Ironic's texts
NOT_ITS_OWN = 'Invalid or missing agent token received.'
ANOTHER_URL = 'Detected change in ramdisk provided "callback_url"'


class Seen:
    """An agent as this conductor remembers it.

    :ivar told: dict of what it told last, the certificate as a digest.
    :ivar beat_at: seconds of the conductor's clock.  :ivar heartbeat_at: the same as wall time.
    """

    __slots__ = ('uuid', 'token_hash', 'told', 'beat_at', 'heartbeat_at')

    def __init__(self, uuid, token_hash, told, beat_at, heartbeat_at):
        self.uuid = uuid
        self.token_hash = token_hash
        self.told = told
        self.beat_at = beat_at
        self.heartbeat_at = heartbeat_at


class _News:
    """A beat that tells what is not in the row, or comes from an agent not seen before."""

    __slots__ = ('place', 'live', 'beat', 'told', 'forgotten', 'known')

    def __init__(self, place, live, beat, told):
        self.place = place
        self.live = live
        self.beat = beat
        self.told = told
        self.forgotten = live.agents_forgotten
        self.known = None


class Agents:
    """:param incarnation: str, of this conductor's start.
    :param holdings: :class:`obmd.conductor.holdings.Holdings`.
    :param lease: :class:`obmd.conductor.lease.Lease`; nothing is written without a fresh one.
    :param timers: :class:`obmd.common.timers.Timers`.
    """

    def __init__(
        self, incarnation, holdings, lease, timers, clock=time.monotonic, wall_clock=time.time
    ):
        self._incarnation = incarnation
        self._holdings = holdings
        self._lease = lease
        self._timers = timers
        self._clock = clock
        self._wall_clock = wall_clock
        self._lock = threading.Lock()
        # held across a write, so that the last word is written last
        self._writing = threading.Lock()
        self._unwritten = {}
        self._unwritten_since = self._flushing_since = None
        self._flush_planned = False
        self._flushing = threading.Lock()
        self._to_adopt = []
        self._windows = windows.Windows(self._until, self._miss, timers, clock)

    # -- heartbeats -------------------------------------------------------------------------------

    def take(self, beats, deadline):
        """Take heartbeats; those of other nodes do not suffer when one is refused.

        :param beats: list of dicts, see ``rpcapi.ConductorAPI.agent_heartbeat``, with ``node`` and
            ``epoch``.
        :param deadline: within which the database has to take what is new.
        :returns: list of None or ObmdError, one for each.
        """
        answers, live, strange = [None] * len(beats), [], []
        for place, beat in enumerate(beats):
            with outcomes.answering(answers, place):
                held = self._holdings.get(beat['node']) is not None
                (live if held else strange).append(place)
        for places in (live, strange):  # what must be claimed first holds no other up
            self._take(places, beats, answers, deadline)
        outcomes.count(answers)
        return answers

    def _take(self, places, beats, answers, deadline):
        news, timeout, now = [], CONF.agent.heartbeat_timeout, self._clock()
        for place in places:
            with outcomes.answering(answers, place):
                live, told = self._find(beats[place]), _told(beats[place])
                if self._repeats(live.agent, beats[place], told, now - timeout):
                    self._note(live.agent)
                else:
                    news.append(_News(place, live, beats[place], told))
        if news:
            self._take_news(news, answers, timeout, deadline)

    def _find(self, beat):
        live = self._holdings.find(beat['node'])
        if beat['epoch'] not in (None, live.epoch):
            raise errors.NotOwner('the node has changed hands since the call was made', live.name)
        return live

    def _repeats(self, seen, beat, told, alive_since):
        """Whether the beat says nothing new, of an agent that is known and alive."""
        return (
            seen is not None
            and seen.token_hash == beat['token_hash']
            and seen.beat_at > alive_since
            and told.items() <= seen.told.items()
        )

    def _note(self, seen):
        """The agent is alive; the time of it is written soon."""
        now = self._clock()
        with self._lock:
            oldest = self._flushing_since or self._unwritten_since
            if oldest is not None and now - oldest > BEHIND:
                raise errors.Unavailable(NOT_TAKEN, None, RETRY)
            seen.beat_at, seen.heartbeat_at = now, self._wall_second()
            self._unwritten[seen.uuid] = seen
            if self._unwritten_since is None:
                self._unwritten_since = now
            plan, self._flush_planned = not self._flush_planned, True
        if plan:
            self._timers.after(FLUSH, self._flush_due)

    def _wall_second(self):
        """Whole seconds: all that beat within one are one statement."""
        return float(int(self._wall_clock()))

    def _take_news(self, news, answers, timeout, deadline):
        try:
            with self._turn(deadline.remaining):
                while news:
                    first = {one.live.uuid: one for one in reversed(news)}
                    batch = list(first.values())[:SLICE]
                    taken = set(map(id, batch))
                    news = [one for one in news if id(one) not in taken]
                    try:
                        self._write_news(batch, answers, timeout)
                    except errors.Unavailable:
                        news += batch
                        raise
                    except Exception:  # one of them, and nothing is written: each for itself
                        for one in batch:
                            with outcomes.answering(answers, one.place):
                                self._write_news([one], answers, timeout)
        except errors.Unavailable as error:
            for one in news:
                answers[one.place] = errors.from_wire(error.to_wire())

    @contextlib.contextmanager
    def _turn(self, seconds=BEHIND):
        """Write the rows, one after the other.  :raises Unavailable: not now."""
        with _held(self._writing, seconds):
            self._lease.require()
            yield

    def _write_news(self, batch, answers, timeout):
        """:param batch: list of _News, one of each node."""
        now, wall = self._clock(), self._wall_second()
        self._recall(batch, now)
        accepted, changes = [], []
        for one in batch:
            told, known = one.told, one.known
            if known is None:
                answers[one.place] = errors.InvalidInput(NOT_ITS_OWN, one.live.name)
            elif known.told['url'] not in (None, told['url']) and known.beat_at > now - timeout:
                answers[one.place] = errors.InvalidInput(ANOTHER_URL, one.live.name)
            else:
                accepted.append(one)
                changed = {name: one.beat[name] for name in told if told[name] != known.told[name]}
                if changed:
                    changes.append(
                        (one.live.uuid, known.token_hash, {**changed, 'heartbeat_at': wall})
                    )
        written = rows.record(changes, self._incarnation) if changes else set()
        refused = {uuid for uuid, _token, _columns in changes} - written
        found = rows.among(refused) if refused else {}
        for one in accepted:
            if one.live.uuid in refused:
                answers[one.place] = self._refusal(one, found.get(one.live.uuid))
                continue
            try:
                self._see(one, now, wall, one.live.uuid in written)
            except errors.Unavailable as error:
                answers[one.place] = error

    def _refusal(self, one, row):
        """:returns: ObmdError: why the row was not written."""
        if row is not None and row.token_hash == one.beat['token_hash']:
            return errors.NotOwner('the node has another owner now', one.live.name)
        return errors.InvalidInput(NOT_ITS_OWN, one.live.name)

    def _recall(self, batch, now):
        """Find what was known of each agent; only under the token that its beat has."""
        strange = []
        for one in batch:
            one.known = one.live.agent
            if one.known is None or one.known.token_hash != one.beat['token_hash']:
                strange.append(one)
        found = rows.among([one.live.uuid for one in strange]) if strange else {}
        for one in strange:
            row = found.get(one.live.uuid)
            ours = row is not None and row.token_hash == one.beat['token_hash'] is not None
            one.known = self._from_row(one.live.uuid, row, now) if ours else None

    def _from_row(self, uuid, row, now):
        told = {name: getattr(row, name) for name in TOLD}
        told['verify_ca'] = _digest(told['verify_ca'])
        age = float('inf')
        if row.heartbeat_at is not None:
            age = max(0.0, self._wall_clock() - row.heartbeat_at)
        return Seen(uuid, row.token_hash, told, now - age, row.heartbeat_at)

    def _see(self, one, now, wall, written):
        """Remember what was accepted, unless the agent was forgotten meanwhile."""
        known = one.known
        new = Seen(known.uuid, known.token_hash, {**known.told, **one.told}, now, wall)
        with self._lock:
            if one.live.agents_forgotten != one.forgotten:
                return
            one.live.agent = new
        self._windows.watch(new)
        if not written:
            self._note(new)

    # -- the times of heartbeats ------------------------------------------------------------------

    def save(self, live):
        """Write what is not in the row of a node that is let go.  :raises Unavailable:"""
        with _held(self._flushing, BEHIND):
            seen = self._unwritten.get(live.uuid)
            if seen is not None:
                with self._turn():
                    self._write_times([seen])

    def _flush_due(self):
        with self._lock:
            self._flush_planned = False
        try:
            self.flush()
        except errors.ObmdError as error:
            LOG.warning('the times of heartbeats are not written: %s', error.reason)

    def flush(self):
        """Write the times of heartbeats that are not in the rows yet.

        :raises Unavailable: the database does not take them, or this conductor may not write.
        """
        with _held(self._flushing, BEHIND):
            with self._lock:
                unwritten, self._unwritten = list(self._unwritten.values()), {}
                self._flushing_since, self._unwritten_since = self._unwritten_since, None
            try:
                while unwritten:
                    with self._turn():
                        self._write_times(unwritten[:SLICE])
                    del unwritten[:SLICE]
                    time.sleep(0)
            finally:
                self._take_back(unwritten)

    def _take_back(self, unwritten):
        with self._lock:
            if unwritten:
                self._unwritten_since = self._flushing_since
                self._unwritten = {seen.uuid: seen for seen in unwritten} | self._unwritten
            self._flushing_since = None
            plan = bool(self._unwritten) and not self._flush_planned
            self._flush_planned = self._flush_planned or plan
        if plan:
            self._timers.after(FLUSH, self._flush_due)

    def _write_times(self, batch):
        ours = [seen for seen in batch if self._is_current(seen)]
        times = [(seen.uuid, seen.token_hash, {'heartbeat_at': seen.heartbeat_at}) for seen in ours]
        written = rows.record(times, self._incarnation) if times else set()
        for seen in ours:
            if seen.uuid not in written:
                self._drop(seen)  # it was forgotten, or the node is another's

    def _is_current(self, seen):
        live = self._holdings.get(seen.uuid)
        return live is not None and live.agent is seen

    def _drop(self, seen):
        """:returns: LiveNode of an agent that was remembered until now, or None."""
        live = self._holdings.get(seen.uuid)
        with self._lock:
            if live is None or live.agent is not seen:
                return None
            live.agent = None
            return live

    # -- windows ----------------------------------------------------------------------------------

    def _until(self, seen):
        """:returns: when the window of an agent ends; None: it is not watched any more."""
        if not self._is_current(seen):
            return None
        return seen.beat_at + CONF.agent.heartbeat_timeout

    def _miss(self, silent):
        """The windows of these agents are over.  :raises Unavailable: look again later."""
        self._lease.require()  # a conductor that stood still has heard nothing: its own fault
        found = rows.among([seen.uuid for seen in silent])
        for seen in silent:
            row = found.get(seen.uuid)
            live = self._drop(seen)
            if live is not None and row is not None and row.token_hash == seen.token_hash:
                metrics.AGENT_WINDOWS_MISSED.count()
                LOG.warning(
                    '%s: no heartbeat of its agent for %d s, the last came at %s UTC',
                    live.name,
                    self._clock() - seen.beat_at,
                    time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(seen.heartbeat_at)),
                )

    # -- a claim ----------------------------------------------------------------------------------

    def adopt(self, live):
        """The node is ours since now: its agent, if it has one, is watched from here on."""
        with self._lock:
            self._to_adopt.append(live.uuid)
            begin = len(self._to_adopt) == 1
        if begin:
            self._timers.after(ADOPT_AFTER, self._adopt)

    def _adopt(self):
        """An agent whose window had ended before is not told of again."""
        with self._lock:
            uuids, self._to_adopt = self._to_adopt, []
        while uuids:
            try:
                found = rows.among(uuids[:SLICE])
            except errors.Unavailable as error:
                LOG.warning('agents are not read yet: %s', error.reason)
                self._adopt_later(uuids)
                return
            del uuids[:SLICE]
            self._remember(found)
            time.sleep(0)

    def _adopt_later(self, uuids):
        with self._lock:
            begin = not self._to_adopt
            self._to_adopt += uuids
        if begin:
            self._timers.after(RETRY, self._adopt)

    def _remember(self, found):
        timeout, now = CONF.agent.heartbeat_timeout, self._clock()
        for uuid, row in found.items():
            live = self._holdings.get(uuid)
            if live is None or row.token_hash is None or row.heartbeat_at is None:
                continue
            seen = self._from_row(uuid, row, now)
            if seen.beat_at + timeout <= now:
                continue
            with self._lock:
                if live.agent is not None:
                    continue
                live.agent = seen
            self._windows.watch(seen)

    # -- what is known ----------------------------------------------------------------------------

    def state(self, live):
        """:returns: dict, see ``rpcapi.ConductorAPI.agent_state``."""
        row = rows.get(live.uuid)
        now, seen = self._clock(), live.agent
        if seen is None or seen.token_hash != row.token_hash:
            seen = self._from_row(live.uuid, row, now)
        alive = row.token_hash is not None and seen.beat_at + CONF.agent.heartbeat_timeout > now
        told = {name: getattr(row, name) for name in TOLD}
        return {**told, 'heartbeat_at': seen.heartbeat_at, 'alive': alive}


@contextlib.contextmanager
def _held(lock, seconds):
    if not lock.acquire(timeout=max(0.01, seconds)):
        raise errors.Unavailable(NOT_TAKEN, None, RETRY)
    try:
        yield
    finally:
        lock.release()


def _told(beat):
    told = {name: beat[name] for name in TOLD if beat.get(name) is not None}
    if 'verify_ca' in told:
        told['verify_ca'] = _digest(told['verify_ca'])
    return told


def _digest(certificate):
    """Certificates may be long, and need only be compared."""
    if certificate is None:
        return None
    return hashlib.sha256(certificate.encode(errors='surrogatepass')).hexdigest()
