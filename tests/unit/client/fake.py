"""An obmd that answers within the process, in place of the network."""

import collections
import io
import json
import urllib.parse

import requests
from urllib3 import response

Request = collections.namedtuple('Request', 'method path query headers value')


class Broken(Exception):
    """In a body: here the connection breaks off."""


class _Body(io.RawIOBase):
    def __init__(self, chunks):
        self._chunks = iter(chunks)
        self._rest = b''

    def readable(self):
        return True

    def readinto(self, buffer):
        if not self._rest:
            chunk = next(self._chunks, b'')
            if chunk is Broken:
                raise ConnectionResetError(104, 'Connection reset by peer')
            self._rest = chunk
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


class FakeApi(requests.adapters.BaseAdapter):
    """Answers with what :meth:`on` was told, in that order; the last answer stays.

    :ivar requests: list of :class:`Request`, those that came.
    """

    def __init__(self):
        super().__init__()
        self.requests = []
        self._answers = {}

    def on(self, method, path, *answers):
        """:param path: below ``/api/v1``.

        :param answers: each what JSON can say; or (status, value); or (status, value, headers);
            or list of bytes, a stream; or an exception.
        """
        self._answers[method, path] = collections.deque(answers)
        return self

    def refuse(self, method, path, status, kind, reason, **headers):
        error = {'error': {'kind': kind, 'reason': reason}}
        return self.on(method, path, (status, error, headers))

    def asked(self, method, path):
        """:returns: list of :class:`Request`."""
        return [one for one in self.requests if (one.method, one.path) == (method, path)]

    def send(self, request, **options):
        parts = urllib.parse.urlsplit(request.url)
        path = parts.path.partition('/api/v1')[2]
        query = dict(urllib.parse.parse_qsl(parts.query))
        value = json.loads(request.body) if request.body else None
        self.requests.append(Request(request.method, path, query, request.headers, value))
        answers = self._answers.get((request.method, path))
        if answers is None:
            error = {'error': {'kind': 'not_found', 'reason': f'no answer for {path}'}}
            return self._make(request, 404, [json.dumps(error).encode()])
        answer = answers.popleft() if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            answer = answer(self.requests[-1])
        if (
            isinstance(answer, list)
            and answer
            and (isinstance(answer[0], bytes) or Broken in answer)
        ):
            return self._make(request, 200, answer)
        status, value, *headers = answer if isinstance(answer, tuple) else (200, answer)
        body = [value] if isinstance(value, bytes) else [json.dumps(value).encode()]
        return self._make(request, status, body, *headers)

    def _make(self, request, status, chunks, headers=None):
        raw = response.HTTPResponse(
            body=io.BufferedReader(_Body(chunks)),
            status=status,
            headers=headers or {},
            preload_content=False,
        )
        return requests.adapters.HTTPAdapter().build_response(request, raw)

    def close(self):
        pass


def event(name, data, cursor=None):
    """:returns: bytes, a server-sent event."""
    lines = [f'event: {name}', f'data: {json.dumps(data)}']
    if cursor is not None:
        lines.append(f'id: {cursor}')
    return ('\n'.join(lines) + '\n\n').encode()


def run_event(position, node, state, outcome=None, status=None, reason=None):
    return event(
        'run',
        {
            'position': position,
            'node': node,
            'state': state,
            'outcome': outcome,
            'status': status,
            'reason': reason,
        },
    )


def output_event(position, node, text, stream='stdout', cursor=None):
    data = {'position': position, 'node': node, 'stream': stream, 'data': text}
    return event('output', data, cursor)


def job_event(status):
    return event('job', {'state': 'ended', 'status': status})


def a_job(command='power-off', total=1, **more):
    return {
        'id': 'j1',
        'command': command,
        'arguments': [],
        'nodes': None,
        'state': 'running',
        'status': None,
        'total': total,
        **more,
    }
