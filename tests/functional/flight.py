"""A client that asks as ``flight-action`` does: JSON:API over a connection for each request, and
streams read with a time limit on each read, asked for once more in silence when that is over."""

import http.client
import json
import subprocess
import sys
import urllib.parse

from tests.functional import deployment

MANAGE = 'import sys; from obmd.cmd.manage.app import main; sys.exit(main())'
MEDIA_TYPE = 'application/vnd.api+json'


class Flight:
    """:param base_url: of its configuration.  :param token: str.
    :param patience: seconds that one read may take.
    :param agent: str, how it names itself.
    """

    def __init__(self, base_url, token, patience=60.0, agent='Faraday v1.3.0'):
        self._base = urllib.parse.urlsplit(base_url)
        self._token = token
        self._patience = patience
        self._agent = agent
        #: times that a stream was asked for again
        self.again = 0

    def ask(self, method, path, document=None, **headers):
        """:returns: (int status, what the JSON says or None)."""
        body = None if document is None else json.dumps(document)
        accept = {'Accept': MEDIA_TYPE, 'Content-Type': MEDIA_TYPE}
        connection, answer = self._request(method, path, body, {**accept, **headers})
        with connection:
            text = answer.read()
            return answer.status, json.loads(text) if text else None

    def _request(self, method, path, body=None, headers=()):
        connection = _Connection(self._base.hostname, self._base.port, timeout=self._patience)
        connection.request(
            method,
            f'{self._base.path}{path}',
            body,
            {
                'Authorization': f'Bearer {self._token}',
                'Connection': 'close',
                'User-Agent': self._agent,
                **dict(headers),
            },
        )
        return connection, connection.getresponse()

    def run(self, command, context, *arguments, group=False):
        """Make a ticket.  :returns: its resource object."""
        kind = 'groups' if group else 'nodes'
        relationships = {'command': {'data': {'type': 'commands', 'id': command}}}
        if context is not None:
            relationships['context'] = {'data': {'type': kind, 'id': context}}
        status, document = self.ask(
            'POST',
            '/tickets',
            {
                'data': {
                    'type': 'tickets',
                    'attributes': {
                        'arguments': list(arguments),
                        'request_username': 'root',
                        'request_uid': 0,
                    },
                    'relationships': relationships,
                }
            },
        )
        assert status == 201, document
        return document['data']

    def print(self, ticket, chunk=65536):
        """What a user sees of a ticket's stream.  :returns: bytes."""
        shown = bytearray()
        try:
            self._read(ticket, shown, chunk)
        except TimeoutError:
            # Net::HTTP's one more try, of which the user knows nothing
            self.again += 1
            self._read(ticket, shown, chunk)
        return bytes(shown)

    def _read(self, ticket, shown, chunk):
        connection, answer = self._request(
            'GET', ticket['links']['output_stream'], None, {'Accept': '*/*'}
        )
        assert answer.status == 200, answer.read()
        with connection:
            while data := answer.read1(chunk):
                shown += data

    def run_and_print(self, *args, **kwargs):
        return self.print(self.run(*args, **kwargs))


class _Connection(http.client.HTTPConnection):
    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


def manage(one, *argv):
    """Run obmd-manage beside an all-in-one.  :returns: str, its output."""
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', MANAGE, '--config-file', one.config, *argv],
        env=deployment.environment(OBMD_STATE_DIR=one.state),
        cwd=one.folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
