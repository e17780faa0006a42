"""Follows a job to its end: its output, its failures, its exit status."""

import base64
import contextlib
import signal
import threading

from obmd.client import errors
from obmd.client.cli import base

#: exit statuses are eight bits; this one stands for all that would not fit
LARGEST_STATUS = 255
#: commands whose exit status is an answer, not a failure
ANSWERS = ('power-status',)
#: how a run ended that did not exit by itself
WORDS = {
    'signalled': 'ended by a signal',
    'not_started': 'not started',
    'cancelled': 'cancelled',
    'timed_out': 'timed out',
    'output_limit': 'ended, it wrote too much',
    'lost': 'lost',
}


class Follower:
    """:param client: :class:`obmd.client.Client`.  :param job: dict, as the API shows it.

    :param screen: :mod:`obmd.client.cli.screen`.  :param lines: :mod:`obmd.client.cli.lines`.
    """

    def __init__(self, client, job, screen, lines):
        self._client = client
        self._job = job
        self._screen = screen
        self._lines = lines
        self._total = job.get('total') or 0
        self._states = {}
        self._largest = None

    def follow(self):
        """:returns: int, the exit status: the largest of the job's."""
        job = self._job
        status = None
        self._screen.start(job['command'], self._total)
        try:
            for event in self._client.jobs.events(job['id']):
                if event.name == 'job':
                    status = event.data.get('status')
                else:
                    self._take(event)
        except BrokenPipeError:
            raise
        except (errors.ClientError, OSError) as error:
            # what cannot be written is told by its number else
            text = getattr(error, 'strerror', None) or error
            raise errors.ClientError(
                f'{text}; the job goes on, see: obm job watch {job["id"]}'
            ) from None
        finally:
            self._screen.stop()
        return exit_status(self._largest if status is None else status)

    def _take(self, event):
        take = {'run': self._run, 'output': self._output, 'gap': self._gap}.get(event.name)
        # a newer server may tell more
        if take is None:
            return
        try:
            take(event.data)
        except (KeyError, TypeError, AttributeError, ValueError):
            raise errors.BadAnswer(f'an event "{event.name}" is not as it should be') from None

    def _run(self, run):
        position, node, state = run['position'], run.get('node'), run['state']
        before = self._states.get(position)
        if state == before or before == 'ended':
            return
        self._states[position] = state
        if state == 'running':
            self._screen.begun(position, node or self._job['command'])
        elif state == 'ended':
            self._lines.end(position, node)
            status = run.get('status')
            status = 1 if status is None else status
            self._largest = max(status, self._largest or 0)
            self._screen.ended(position, bool(status) and not self._is_answer(run))
            self._tell(node, run, status)

    def _tell(self, node, run, status):
        outcome, reason = run.get('outcome'), run.get('reason')
        if outcome == 'exited':
            # of a single run obm's own exit status says it
            if not status or self._total <= 1 or self._is_answer(run):
                return
            words = f'exit status {status}'
        else:
            words = WORDS.get(outcome, outcome)
        self._note(node, f'{words}: {reason}' if reason else words)

    def _is_answer(self, run):
        return run.get('outcome') == 'exited' and self._job['command'] in ANSWERS

    def _output(self, data):
        if 'base64' in data:
            written = base64.b64decode(data['base64'])
        else:
            written = data['data'].encode('utf-8', 'replace')
        self._lines.feed(data['position'], data.get('node'), data['stream'], written)

    def _gap(self, data):
        count = data.get('bytes')
        count = 'an unknown number of' if count is None else count
        self._note(data.get('node') or data.get('conductor'), f'{count} bytes of output are lost')

    def _note(self, about, text):
        self._screen.write('stderr', f'obm: {base.printable(about or "")}: {text}\n'.encode())


def exit_status(status):
    """:param status: int or None, of a job.  :returns: int that a process can end with."""
    if status is None:
        return 1
    return status if 0 <= status <= LARGEST_STATUS else LARGEST_STATUS


@contextlib.contextmanager
def ctrl_c_cancels(client, job, tell):
    """The first Ctrl-C cancels the job, whose end is then told; the second one leaves.

    :param tell: callable that takes a str.
    """

    def first(number, frame):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        threading.Thread(target=cancel, daemon=True).start()

    def cancel():
        tell(f'cancelling job {job["id"]}; Ctrl-C again leaves it')
        try:
            client.jobs.cancel(job['id'])
        except errors.ClientError as error:
            tell(f'it could not be cancelled: {error}')

    before = signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
