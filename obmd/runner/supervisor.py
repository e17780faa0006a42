"""The loop that runs scripts: starts them, reads them, limits them, kills them, says how it went.

A run ends when its first process has ended, nothing is left of its process group, and both pipes
are at their end or have been given up.  Its END frame is queued before its end is told.
"""

import heapq
import itertools
import os
import select
import sys
import time

from obmd.runner import channel
from obmd.runner import clearing
from obmd.runner import frames
from obmd.runner import run as runs
from obmd.runner.clearing import Clearing

CANCELLED, TIMED_OUT, OUTPUT_LIMIT, LOST = 'cancelled', 'timed_out', 'output_limit', 'lost'
#: exit statuses of runs that did not exit by themselves; 124 and 125 as timeout(1) has them
STATUS = {CANCELLED: 130, TIMED_OUT: 124, OUTPUT_LIMIT: 125, LOST: 1}
#: seconds between two looks at the lease, at time limits and for strays; while nothing runs
TICK, IDLE_TICK = 0.25, 1.0
#: reads that take what a script wrote last: a pipe holds 1 MiB at most, pipe(7)
LAST_READS = 17
#: seconds between two times that the conductor is told of output only
PAUSE = 0.01
#: seconds from SIGKILL until a process counts as one that cannot be killed
UNKILLABLE = 10.0
#: seconds from SIGTERM to SIGKILL for what prints too much
SHORT_GRACE = 1.0


class Job:
    """:ivar left: bytes of output that its runs may write yet; below 0 if a file that was gone on
        with had more in it.
    :ivar running: int.  :ivar waiting: messages of runs that begin as others end, by position.
    """

    def __init__(self, limit):
        self.left = limit
        self.running = 0
        self.waiting = {}


class Supervisor:
    """:param conductor: :class:`obmd.runner.channel.Channel`.
    :param files: :class:`obmd.runner.output.Files`.
    :param labels: :class:`obmd.runner.labels.Labels`.
    :param wake: eventfd that ``files`` writes.
    :param grace: seconds from SIGTERM to SIGKILL.
    :param refusal: str, why no script may run, or None.
    """

    def __init__(self, conductor, files, labels, wake, grace, refusal, clock):
        self._conductor = conductor
        self._files = files
        self._labels = labels
        self._wake = wake
        self._grace = grace
        self._refusal = refusal
        self._clock = clock
        self._null = os.open('/dev/null', os.O_RDONLY | os.O_CLOEXEC)
        self._clearing = Clearing(labels, self._finish_cleared)
        self._jobs = {}
        self._runs = {}
        self._by_pid = {}
        self._watched = {}
        self._waiting = set()
        #: jobs of which a run has ended, so that another may begin
        self._room = {}
        self._timers = []
        self._order = itertools.count()
        self._ended = []
        self._grown = {}
        self._closed = []
        self._told_at = 0.0
        self._lease_until = clock()
        self._clears = False
        self._watches_sending = False
        self._gone = False
        self._poll = select.epoll()
        self._conductor_at = conductor.fileno()
        self._poll.register(self._conductor_at, select.EPOLLIN)
        self._poll.register(wake, select.EPOLLIN)
        self._do = {
            'job': self._open_job,
            'start': self._start_ordered,
            'kill': self._kill_ordered,
            'say': self._say,
            'end': self._end_ordered,
            'close': self._close_job,
            'lease': lambda message: self._renew(message['seconds']),
        }

    # -- the loop -------------------------------------------------------------------------------

    def serve(self):
        """Work until the conductor has gone and nothing of its scripts is left."""
        self._after(0.0, self._tick)
        while not (self._gone and not self._runs):
            for descriptor, _ in self._poll.poll(self._pause()):
                self._look(descriptor)
            now = self._clock()
            while self._timers and self._timers[0][0] <= now:
                heapq.heappop(self._timers)[2]()
            self._start_waiting()
            self._tell()
        self._clearing.end(self._reap)

    def _pause(self):
        """:returns: seconds until something is due."""
        pause = self._timers[0][0] - self._clock()
        news = self._ended or self._grown or self._closed
        if news and not self._gone and not self._conductor.blocked:
            pause = min(pause, self._told_at + PAUSE - self._clock())
        return max(0.0, pause)

    def _look(self, descriptor):
        if descriptor in self._watched:
            run = self._watched[descriptor]
            if descriptor == run.process:
                self._leader_ended(run)
            else:
                self._read(run, descriptor)
        elif descriptor == self._wake:
            os.eventfd_read(self._wake)
            self._grown.update(self._files.written())
            for job, size in self._files.found().items():
                if job in self._jobs:
                    self._jobs[job].left -= size
            self._closed += self._files.closed()
            self._go_on_reading()
        elif descriptor == self._conductor_at and not self._gone:
            self._listen()

    def _listen(self):
        try:
            for message in self._conductor.receive():
                self._do[message['do']](message)
            self._conductor.flush()
            self._watch_sending()
        except channel.Gone:
            self._conductor_gone()
        except (KeyError, TypeError, AttributeError) as error:
            print(f'obmd-runner: no message: {error!r}', file=sys.stderr, flush=True)
            self._conductor_gone()

    def _after(self, seconds, function):
        heapq.heappush(self._timers, (self._clock() + seconds, next(self._order), function))

    def _tick(self):
        self._after(TICK if self._runs else IDLE_TICK, self._tick)
        self._reap()
        self._clearing.sweep(self._clock(), self._by_pid)
        now = self._clock()
        if now > self._lease_until:
            self._kill_all('its conductor has lost the right to act', self._grace)
        for run in list(self._runs.values()):
            if now > run.due:
                self._kill(run, TIMED_OUT, 'it took longer than it may', self._grace)

    def _tell(self):
        """News for the conductor: ends at once, unless their jobs have something to go on with,
        output now and then."""
        if self._gone or self._conductor.blocked:
            return
        now = self._clock()
        news = self._ended or self._grown or self._closed
        if not news or (now < self._told_at + PAUSE and not self._someone_waits()):
            return
        news = {
            'do': 'news',
            'ended': self._ended,
            'wrote': self._grown,
            'closed': self._closed,
        }
        self._ended, self._grown, self._closed, self._told_at = [], {}, [], now
        try:
            self._conductor.send(news)
            self._watch_sending()
        except channel.Gone:
            self._conductor_gone()

    def _someone_waits(self):
        """:returns: bool, whether a job has ended all that it was given."""
        jobs = (self._jobs.get(end[0]) for end in self._ended)
        return any(job is None or not job.waiting for job in jobs)

    def _watch_sending(self):
        if self._conductor.blocked != self._watches_sending:
            self._watches_sending = self._conductor.blocked
            wanted = select.EPOLLIN | (select.EPOLLOUT if self._watches_sending else 0)
            self._poll.modify(self._conductor_at, wanted)

    def _conductor_gone(self):
        if not self._gone:
            self._gone = True
            self._poll.unregister(self._conductor_at)
            self._kill_all('its conductor has gone', SHORT_GRACE)
            # those that were being killed had longer
            self._after(SHORT_GRACE, self._end_all)

    # -- what the conductor asks for ------------------------------------------------------------

    def _open_job(self, message):
        self._files.open(message['job'], self._conductor.descriptor())
        self._jobs.setdefault(message['job'], Job(message['limit']))

    def _close_job(self, message):
        self._jobs.pop(message['job'], None)
        self._files.close(message['job'])

    def _renew(self, lease):
        self._lease_until = max(self._lease_until, self._clock() + lease)

    def _say(self, message):
        text = message['text'].encode('utf-8', 'replace')
        for at in range(0, len(text), frames.LONGEST):
            piece = text[at : at + frames.LONGEST]
            self._files.write(message['job'], message['position'], message['kind'], piece)

    def _end_ordered(self, message):
        end = frames.end(message['outcome'], message['status'])
        self._files.write(message['job'], message['position'], frames.END, end)

    def _start_ordered(self, message):
        # what it says of the lease is true now, and not when the run begins
        self._renew(message['lease'])
        if (message['job'], message['position']) in self._runs:
            return  # the same once more
        job = self._jobs.get(message['job'])
        if job is not None and (job.waiting or job.running >= message['width']):
            job.waiting[message['position']] = message
        else:
            self._start(message)

    def _start_waiting(self):
        """Not before all events are seen: what begins may get a number that one of them is of."""
        room, self._room = self._room, {}
        for job in room:
            self._start_next(job)

    def _start_next(self, job):
        """One has ended: begin what waits, until one does begin."""
        job = self._jobs.get(job)
        while job is not None and job.waiting and not self._gone:
            message = job.waiting.pop(next(iter(job.waiting)))
            if job.running >= message['width']:
                job.waiting = {message['position']: message, **job.waiting}
                return
            self._start(message)

    def _start(self, message):
        job, position = message['job'], message['position']
        label = self._labels.new()
        try:
            if self._refusal is not None:
                raise runs.NotStarted(runs.CANNOT_RUN, self._refusal)
            if job not in self._jobs:
                raise runs.NotStarted(runs.CANNOT_RUN, 'its job is not open')
            if self._clock() > self._lease_until:
                raise runs.NotStarted(runs.CANNOT_RUN, 'the conductor may not act now')
            run = runs.start(message, label, self._labels, self._null)
        except runs.NotStarted as error:
            self._labels.forget(label)
            self._report(job, position, runs.NOT_STARTED, error.status, error.reason, 0)
            return
        self._runs[job, position] = self._by_pid[run.pid] = run
        self._jobs[job].running += 1
        for descriptor in (run.process, *run.pipes):
            self._watched[descriptor] = run
            self._poll.register(descriptor, select.EPOLLIN)
        run.due = self._clock() + message['timeout']

    def _kill_ordered(self, message):
        job, position, outcome = message['job'], message['position'], message['outcome']
        if job in self._jobs and self._jobs[job].waiting.pop(position, None) is not None:
            self._report(job, position, outcome, STATUS.get(outcome, 1), message['reason'], 0)
        run = self._runs.get((message['job'], message['position']))
        if run is not None:
            self._kill(run, message['outcome'], message['reason'], self._grace)

    # -- output -----------------------------------------------------------------------------------

    def _read(self, run, descriptor):
        if self._files.crowded:
            if descriptor not in self._waiting:
                self._poll.unregister(descriptor)
                self._waiting.add(descriptor)
            return
        try:
            data = os.read(descriptor, frames.LONGEST)
        except BlockingIOError:
            return
        if not data:
            self._close_pipe(run, descriptor)
            self._finish_if_over(run)
            return
        job = self._jobs.get(run.job)
        fits = data[: max(0, job.left)] if job is not None else data
        run.output_bytes += len(fits)
        if fits:
            self._files.write(run.job, run.position, run.pipes[descriptor], fits)
        if job is not None:
            job.left -= len(fits)
            if len(fits) < len(data):
                self._close_pipes(run)
                why = 'the job has written as much as [actions] output_limit lets it'
                self._kill(run, OUTPUT_LIMIT, why, SHORT_GRACE)

    def _go_on_reading(self):
        if self._waiting and not self._files.crowded:
            for descriptor in self._waiting:
                self._poll.register(descriptor, select.EPOLLIN)
            self._waiting.clear()

    def _close_pipe(self, run, descriptor):
        del run.pipes[descriptor], self._watched[descriptor]
        if descriptor in self._waiting:
            self._waiting.remove(descriptor)
        else:
            # closing is not enough: a child that has not come to its exec has it open too
            self._poll.unregister(descriptor)
        os.close(descriptor)

    def _close_pipes(self, run):
        for descriptor in list(run.pipes):
            self._close_pipe(run, descriptor)

    # -- ends -----------------------------------------------------------------------------------

    def _kill(self, run, outcome, reason, grace):
        if run.ended or run.leader_gone or run.outcome is not None:
            return
        run.outcome, run.status, run.reason = outcome, STATUS.get(outcome, 1), reason
        clearing.terminate(run)
        self._after(grace, lambda: clearing.kill(run))
        self._after(grace + UNKILLABLE, lambda: self._give_up(run))

    def _kill_all(self, reason, grace):
        for name, job in self._jobs.items():
            waiting, job.waiting = job.waiting, {}
            for position in waiting:
                self._report(name, position, LOST, STATUS[LOST], reason, 0)
        for run in list(self._runs.values()):
            self._kill(run, LOST, reason, grace)

    def _end_all(self):
        for run in self._runs.values():
            clearing.kill(run)

    def _give_up(self, run):
        """It sleeps in the kernel, or is another user's."""
        if not run.ended:
            run.reason = f'{run.reason}; it cannot be killed'
            self._finish(run)

    def _leader_ended(self, run):
        result = os.waitid(os.P_PIDFD, run.process, os.WEXITED | os.WNOHANG)
        if result is None:
            return  # the event was of what had this number before
        self._forget_process(run)
        run.exited(result)
        for descriptor in list(run.pipes):
            self._drain(run, descriptor)
        if not self._finish_if_over(run):
            self._clearing.begin(run, self._clock())
            if not self._clears:
                self._clear()

    def _forget_process(self, run):
        del self._watched[run.process], self._by_pid[run.pid]
        self._poll.unregister(run.process)

    def _drain(self, run, descriptor):
        """What a script wrote last is there when it has ended."""
        for _ in range(LAST_READS):
            before = run.output_bytes
            if descriptor in run.pipes and descriptor not in self._waiting:
                self._read(run, descriptor)
            if run.output_bytes == before:
                return

    def _finish_if_over(self, run):
        if run.leader_gone and not run.ended and not run.pipes and not run.group_left():
            self._finish(run)
        return run.ended

    def _clear(self):
        """Look at what ended runs have left, now and then until nothing is."""
        self._clears = True
        self._reap()
        self._clears = self._clearing.press(self._clock())
        if self._clears:
            self._after(clearing.LOOK, self._clear)

    def _finish_cleared(self, run, over):
        """:param over: whether it has been killed for long enough."""
        if run.ended:
            return True
        # what is in a pipe waits for the disk, not for somebody to die
        if over and self._waiting.isdisjoint(run.pipes):
            self._finish(run)
        return self._finish_if_over(run)

    def _finish(self, run):
        run.ended = True
        self._close_pipes(run)
        if run.process is not None:
            self._forget_process(run)
            os.close(run.process)
            run.process = None
        self._labels.forget(run.label)
        self._clearing.later()
        del self._runs[run.job, run.position]
        self._report(run.job, run.position, run.outcome, run.status, run.reason, run.output_bytes)
        if run.job in self._jobs:
            self._jobs[run.job].running -= 1
            self._room[run.job] = True

    def _report(self, job, position, outcome, status, reason, output_bytes):
        self._files.write(job, position, frames.END, frames.end(outcome, status))
        self._ended.append([job, position, outcome, status, reason, output_bytes])

    def _reap(self):
        """Wait for orphans that have ended; leaders are told of by their pidfd.

        :returns: bool, whether there are children yet.
        """
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return False
            if found is None:
                return True
            run = self._by_pid.get(found.si_pid)
            if run is not None:
                self._leader_ended(run)
            else:
                os.waitid(os.P_PID, found.si_pid, os.WEXITED | os.WNOHANG)


def boot_time():
    """:returns: float, seconds since the machine started, its time asleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
