"""Jobs in the hands of a test: made, read and watched through ``/api/v1``."""

import collections
import contextlib
import json
import os
import socket
import threading

from tests.functional.deployment import wait_until


def make_command(folder, name, text, context=True, script='default.sh'):
    """Write a command.  :returns: str, the path of its script."""
    where = os.path.join(folder, name)
    os.makedirs(where, exist_ok=True)
    has = '' if context else '  has_context: false\n'
    with open(os.path.join(where, 'metadata.yaml'), 'w') as file:
        file.write(f'help:\n  summary: for a test\n{has}')
    path = os.path.join(where, script)
    with open(path + '.new', 'w') as file:
        file.write(text)
    os.chmod(path + '.new', 0o755)
    os.rename(path + '.new', path)
    return path


def lines_of(path):
    """:returns: list of str, what scripts have appended to a file."""
    try:
        with open(path) as file:
            return file.read().splitlines()
    except FileNotFoundError:
        return []


class Job:
    """:param door: :class:`tests.functional.deployment.Deployment`."""

    def __init__(self, door, told):
        self.door = door
        self.id = told['id']
        self.path = f'/api/v1/jobs/{self.id}'

    def get(self):
        answer = self.door.as_admin('GET', self.path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def runs(self):
        """:returns: list of dict, all of them, by position."""
        answer = self.door.as_admin('GET', f'{self.path}/runs', params={'limit': 1000})
        assert answer.status_code == 200, answer.text
        return answer.json()['runs']

    def outcomes(self):
        return [run['outcome'] for run in self.runs()]

    def states(self):
        return [run['state'] for run in self.runs()]

    def cancel(self):
        json_ = {'Content-Type': 'application/json'}
        answer = self.door.as_admin('DELETE', self.path, headers=json_)
        assert answer.status_code in (200, 202), answer.text

    def wait(self, timeout=40.0):
        """Until it has ended.  :returns: dict, the job."""
        return wait_until(
            lambda: (told := self.get())['state'] == 'ended' and told, timeout, 'the end of a job'
        )

    def watch(self, cursor=None):
        return Watch(self, cursor)


class Watch:
    """A reader of a job's events.

    :ivar events: list of (kind, data, cursor), those that have come.
    """

    def __init__(self, job, cursor=None):
        self._job = job
        self._cursor = cursor
        self.events = []
        self.broken = None
        self.ended = False
        self._answer = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            self._read()
        except Exception as error:
            self.broken = error

    def _read(self):
        headers = {'Last-Event-ID': self._cursor} if self._cursor else {}
        self._answer = self._job.door.as_admin(
            'GET', f'{self._job.path}/events', stream=True, headers=headers, timeout=120
        )
        assert self._answer.status_code == 200, self._answer.text
        event = {}
        for line in self._answer.iter_lines():
            if line:
                name, _, value = line.decode().partition(': ')
                event[name] = value
            elif 'data' in event:
                self._take(event)
                event = {}
        self.ended = True

    def _take(self, event):
        # an event without an id leaves the last one as it was, as in a browser
        known = event.get('id') or (self.events[-1][2] if self.events else self._cursor)
        self.events.append((event.get('event'), json.loads(event['data']), known))

    def text(self, node=None, stream='stdout'):
        """:returns: str, what was written so far."""
        return ''.join(
            data['data']
            for kind, data, _ in list(self.events)
            if kind == 'output'
            and data['stream'] == stream
            and (node is None or data['node'] == node)
        )

    def ends(self):
        """:returns: dict of node to outcome, as told."""
        return {
            data['node']: data['outcome']
            for kind, data, _ in list(self.events)
            if kind == 'run' and data['state'] == 'ended'
        }

    def wait_for(self, check, timeout=40.0, what='an event'):
        return wait_until(lambda: check(self), timeout, what)

    def leave(self):
        """Close the connection.  :returns: str, the last cursor."""
        # the reader sits in the buffered file above this socket, so that cannot be closed
        with contextlib.suppress(OSError, AttributeError):
            self._answer.raw._fp.fp.raw._sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        return self.events[-1][2]

    def wait(self, timeout=40.0):
        """Until the stream has ended.  :returns: self."""
        wait_until(lambda: self.ended or self.broken, timeout, 'the end of the events')
        assert self.broken is None, self.broken
        assert self.events[-1][0] == 'job', self.events[-3:]
        return self


def run(door, command, nodes=None, arguments=(), **options):
    """:returns: :class:`Job`."""
    body = {'command': command, 'arguments': list(arguments), 'nodes': nodes, **options}

    def post():
        answer = door.as_admin('POST', '/api/v1/jobs', json=body)
        # a command that was made just now may not be seen yet on a slow machine
        return answer if answer.status_code != 404 else None

    answer = wait_until(post, 10, f'the command {command}')
    assert answer.status_code == 201, answer.text
    return Job(door, answer.json())


# -- over several conductors --------------------------------------------------------------------


def hosts(split):
    """:returns: dict of node to the name of its owner."""
    rows = split.query(
        'SELECT n.name, c.host FROM nodes n JOIN conductors c ON c.incarnation = n.owner'
    )
    return dict(line.replace(' ', '').split('|') for line in rows.splitlines())


def owner_of(split, job):
    """:returns: Process of the conductor that owns a job."""
    host = split.query(
        'SELECT c.host FROM jobs j JOIN conductors c ON c.incarnation = j.owner '
        f"WHERE j.uuid = '{job.id}'"
    )
    return split.conductors[int(host.removeprefix('c')) - 1] if host else None


def a_runner(split, job):
    """:returns: Process of a conductor that runs a part of a job and does not own it."""
    owner = owner_of(split, job)
    running = {run['conductor'] for run in job.runs() if run['state'] == 'running'}
    found = [split.conductors[int(host.removeprefix('c')) - 1] for host in running]
    return next(one for one in found if one is not owner)


def ran(trace):
    """:returns: dict of node to the number of its starts."""
    return collections.Counter(lines_of(trace))


def assert_judged(job, trace):
    """Nothing ran twice; what ended well ran; everything has an end."""
    starts = ran(trace)
    assert max(starts.values(), default=0) <= 1, starts
    for run in job.runs():
        assert run['state'] == 'ended', run
        if run['outcome'] == 'exited':
            assert starts[run['node']] == 1, run
        else:
            assert run['status'] != 0, run
