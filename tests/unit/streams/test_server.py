import json

import pytest

from obmd.common import errors
from obmd.streams import server
from obmd.streams import tickets


def get(app, path, method='GET'):
    answer = {}

    def start_response(status, headers):
        answer['status'] = status
        answer['headers'] = dict(headers)

    body = app({'REQUEST_METHOD': method, 'PATH_INFO': path}, start_response)
    return answer['status'], answer['headers'], body


def refuse(error):
    def opener():
        raise error

    return opener


@pytest.fixture
def box():
    return tickets.Tickets(10)


@pytest.fixture
def app(box):
    return server.make_app(box)


def test_a_ticket_is_answered_with_its_stream_and_headers(app, box):
    stream = iter([b'x'])
    ticket = box.issue(lambda: (stream, {'Content-Type': 'application/octet-stream'}), None)
    status, headers, body = get(app, f'/stream/{ticket}')
    assert status == '200 OK'
    assert headers == {'Content-Type': 'application/octet-stream'}
    assert body is stream


@pytest.mark.parametrize(
    ('path', 'method', 'status', 'kind'),
    [
        ('/stream/nothing', 'GET', '404 Not Found', 'not_found'),
        ('/stream/', 'GET', '404 Not Found', 'not_found'),
        ('/', 'GET', '404 Not Found', 'not_found'),
        ('', 'GET', '404 Not Found', 'not_found'),
        ('/node/x/console', 'GET', '404 Not Found', 'not_found'),
        ('/stream/x', 'POST', '405 Method Not Allowed', 'method_not_allowed'),
        ('/stream/x', 'HEAD', '405 Method Not Allowed', 'method_not_allowed'),
    ],
)
def test_all_else_is_refused_as_json_that_no_cache_keeps(app, path, method, status, kind):
    got, headers, body = get(app, path, method)
    body = b''.join(body)
    assert got == status
    assert json.loads(body)['error']['kind'] == kind
    assert headers['Cache-Control'] == 'no-store'
    assert headers['Content-Length'] == str(len(body))
    assert ('Allow' in headers) is status.startswith('405')


def test_a_head_request_does_not_use_the_ticket_up(app, box):
    ticket = box.issue(lambda: (iter(()), {}), None)
    get(app, f'/stream/{ticket}', 'HEAD')
    assert get(app, f'/stream/{ticket}')[0] == '200 OK'


@pytest.mark.parametrize(
    ('error', 'status'),
    [
        (errors.Unauthorized('revoked'), '401 Unauthorized'),
        (errors.Unavailable('later', retry_after=2), '503 Service Unavailable'),
        (errors.ObmdError('broken'), '500 Internal Server Error'),
    ],
)
def test_a_refusal_at_redemption_is_told(app, box, error, status):
    ticket = box.issue(refuse(error), None)
    got, headers, body = get(app, f'/stream/{ticket}')
    assert got == status
    assert json.loads(b''.join(body))['error']['reason'] == error.reason
    assert ticket not in repr((headers, body))


def test_an_answer_for_later_says_when(app, box):
    ticket = box.issue(refuse(errors.Unavailable('later', retry_after=1.2)), None)
    assert get(app, f'/stream/{ticket}')[1]['Retry-After'] == '2'
