"""Jobs: one command on many nodes, or on none."""

from obmd.client import events
from obmd.client import pages
from obmd.client import transport as transports


class Jobs:
    """:param transport: :class:`obmd.client.transport.Transport`."""

    def __init__(self, transport):
        self._transport = transport

    def start(self, command, nodes=None, arguments=(), **options):
        """Start a job and return at once.

        :param command: str.  :param nodes: str, a range; None for a command that takes none.
        :param arguments: iterable of str.
        :param options: ``limit`` (int, runs at once), ``stagger`` (float s between starts),
            ``timeout`` (float s a run), ``request_username``, ``request_uid``; None is left out.
        :returns: dict, the job.
        :raises Unreachable: whether it was started is then not known.
        """
        return self._post(command, nodes, arguments, options)

    def plan(self, command, nodes=None, arguments=(), **options):
        """What :meth:`start` would run where; nothing is run.

        :returns: list of dicts: ``position``, ``node``, ``rank``, ``executes``, ``conductor``,
            ``problem``.
        """
        return self._post(command, nodes, arguments, {**options, 'dry_run': True})['runs']

    def _post(self, command, nodes, arguments, options):
        body = {'command': command, 'arguments': list(arguments), 'nodes': nodes}
        body |= {name: value for name, value in options.items() if value is not None}
        return self._transport.write('POST', '/jobs', body)

    def get(self, job):
        """:param job: str, its id.  :returns: dict."""
        return self._transport.read(_path(job))

    def list(self, state=None):
        """Yield each job that may be seen, newest first.  :param state: ``running``, ``ended``."""
        return pages.every(self._transport, '/jobs', 'jobs', state=state)

    def runs(self, job, state=None):
        """Yield each run.  :param state: ``queued``, ``running`` or ``ended``."""
        return pages.every(self._transport, _path(job, 'runs'), 'runs', state=state)

    def output(self, job, position, stream='both'):
        """:param position: int, of the run.  :param stream: ``stdout``, ``stderr`` or ``both``.

        :returns: iterator of bytes, as they come.
        """
        path = _path(job, 'runs', position, 'output')
        return self._transport.read_bytes(path, stream=stream)

    def cancel(self, job):
        """End what runs, start nothing more.  Harmless when the job has ended."""
        self._transport.write('DELETE', _path(job))

    def events(self, job, cursor=None):
        """Yield what happens, from the beginning, until the job ends.

        A connection that breaks off is made again; nothing is told twice.

        :param cursor: str, :attr:`~obmd.client.events.Event.id` of the last one that is known.
        :returns: iterator of :class:`~obmd.client.events.Event`: ``run`` (a run's state),
            ``output`` (see :func:`text`), ``gap`` (output was lost), and ``job``, the last.
        """
        return events.follow(self._transport, _path(job, 'events'), _is_end, cursor)

    def wait(self, job):
        """:returns: dict, the job when it has ended."""
        for _ in self.events(job):
            pass
        return self.get(job)


def _is_end(event):
    return event.name == 'job' and event.data.get('state') == 'ended'


def _path(job, *more):
    return '/'.join(('/jobs', transports.segment(job), *map(str, more)))
