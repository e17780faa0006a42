"""What may be logged of a request, and how long and large its body may be."""

import email.message
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


def read_headers(data):
    lines = requests.HeaderLines(io.BytesIO(data))
    while lines.readline() not in (b'\r\n', b'\n', b''):
        pass
    return lines


@pytest.mark.parametrize(
    'data', [b'\r\n', b'\n', b"a-1!#$%&'*+.^_`|~: b c\r\n\r\n", b'A:\nB:\xe9\n\n']
)
def test_headers_of_any_client_pass(data):
    assert read_headers(data).fault is None


@pytest.mark.parametrize('data', [b'', b'A: b', b'A: b\r\n', b'A: b\r\nContent-Len'])
def test_headers_that_broke_off_are_told(data):
    assert read_headers(data).fault == 'the headers broke off'


@pytest.mark.parametrize(
    'line',
    [b'A : b', b' A: b', b'A', b': b', b'A: b\rC: d', b'A: b\r\n folded', b'A: \0', b'\xe9: b'],
)
def test_a_line_that_readers_take_differently_is_told(line):
    assert 'not valid' in read_headers(line + b'\r\n\r\n').fault


@pytest.mark.parametrize(
    ('headers', 'fault'),
    [
        ([], None),
        ([('Content-Length', '5')], None),
        ([('Transfer-Encoding', 'Chunked ')], None),
        ([('Content-Length', '+5')], 'not a number'),
        ([('Content-Length', '\u0665')], 'not a number'),
        ([('Content-Length', '5'), ('Content-Length', '5')], 'more than one'),
        ([('Content-Length', '5'), ('Transfer-Encoding', 'chunked')], 'and'),
        ([('Transfer-Encoding', 'identity')], 'not chunked'),
        ([('Transfer-Encoding', 'gzip, chunked')], 'not chunked'),
        ([('Transfer-Encoding', 'chunked'), ('Transfer-Encoding', 'chunked')], 'not chunked'),
        ([('Transfer-Encoding', '')], 'not chunked'),
    ],
)
def test_a_body_whose_end_is_in_doubt_is_told(headers, fault):
    message = email.message.Message()
    for name, value in headers:
        message[name] = value
    found = requests.framing_fault(message)
    assert (found is None) if fault is None else fault in found


@pytest.mark.parametrize(
    ('target', 'path'),
    [
        ('/node/n1?token=x', '/node/n1?token=x'),
        ('//node', '//node'),
        ('http://obmd:8380/node/n1?token=x', '/node/n1?token=x'),
        ('HTTPS://obmd', '/'),
        ('http://obmd?x', '/?x'),
        ('*', '*'),
    ],
)
def test_a_target_may_be_a_whole_url(target, path):
    assert requests.origin_form(target) == path


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
