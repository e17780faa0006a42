"""What may be logged of a request, and how long and large its body may be."""

import io

import pytest

from obmd.common import requests

SECRET = '6119cdf777334998d7068dece09069b8'


@pytest.mark.parametrize(
    ('path', 'query', 'logged'),
    [
        ('/node/n1', '', '/node/n1'),
        ('/node/n1/console', f'token={SECRET}', '/node/n1/console?token=***'),
        ('/x', f'replay=5&token={SECRET}&takeover=true', '/x?replay=5&token=***&takeover=true'),
        ('/x', f't%6Fken={SECRET}', '/x?***'),
        ('/x', f'TOKEN={SECRET}', '/x?***'),
        ('/x', SECRET, '/x?***'),
        ('/x', f'&&{SECRET}=', '/x?***&***&***'),
        ('/api/v1/power', 'nodes=n[1-3],x&deadline=5', '/api/v1/power?nodes=n[1-3],x&deadline=5'),
        (f'/stream/{SECRET}', '', '/stream/***'),
        (f'/prefix/stream/{SECRET}', '', '/prefix/stream/***'),
        ('/a b\n"\x00', '', '/a%20b%0A%22%00'),
        ('/caf\xc3\xa9', 'nodes=\xff', '/caf%C3%A9?nodes=\\xff'),
    ],
)
def test_no_token_and_no_ticket_is_logged(path, query, logged):
    assert requests.scrub_target(path, query) == logged


def test_a_long_query_is_cut():
    assert len(requests.scrub_target('/x', 'nodes=' + 'n' * 50000)) < 1000


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_all_reading_of_a_body_has_one_deadline():
    clock, dues = Clock(), []
    body = requests.TimedInput(io.BytesIO(b'abc\ndef'), dues.append, clock)
    assert body.read(2) == b'ab'
    clock.now += 10
    assert body.readline() == b'c\n'
    assert list(body) == [b'def']
    due = 100 + requests.BODY_TIMEOUT
    assert dues == [due, None] * (len(dues) // 2)


def test_lines_of_a_chunked_body_are_bounded():
    lines = requests.BoundedLines(io.BytesIO(b'5\r\n' + b'x' * 5000))
    assert lines.readline() == b'5\r\n'
    with pytest.raises(OSError, match='too long'):
        lines.readline()
