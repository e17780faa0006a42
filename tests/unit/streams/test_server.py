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


# -- for monitoring ---------------------------------------------------------------------------


def test_it_is_healthy_whatever_the_conductor_is(box):
    app = server.make_app(box, lambda: {'fenced': 'x'})
    status, _, body = get(app, '/healthz')
    assert (status, json.loads(body[0])) == ('200 OK', {'status': 'ok'})


def test_it_is_ready_without_a_reason_why_not(app):
    assert get(app, '/readyz')[0] == '200 OK'


def test_it_names_each_reason_why_it_is_not_ready(box):
    app = server.make_app(box, lambda: {'fenced': 'it is fenced', 'b': 'and more'})
    status, headers, body = get(app, '/readyz')
    assert status == '503 Service Unavailable'
    assert headers['Retry-After'] == '1'
    assert json.loads(body[0]) == {
        'error': {'kind': 'unavailable', 'reason': 'it is fenced; and more'},
        'reasons': ['b', 'fenced'],
    }


def test_metrics_are_here_unless_they_are_elsewhere(app, monkeypatch):
    status, headers, body = get(app, '/metrics')
    assert (status, headers['Content-Type'][:10]) == ('200 OK', 'text/plain')
    assert headers['Content-Length'] == str(len(body[0]))
    monkeypatch.setattr(server.exposition, 'is_here', lambda: False)
    assert get(app, '/metrics')[0] == '404 Not Found'


@pytest.mark.parametrize('path', ['/healthz', '/readyz', '/metrics'])
@pytest.mark.parametrize('method', ['HEAD', 'POST', 'DELETE'])
def test_monitoring_only_reads(app, path, method):
    status, headers, _ = get(app, path, method)
    assert (status, headers['Allow']) == ('405 Method Not Allowed', 'GET')


@pytest.mark.parametrize(
    ('path', 'route'),
    [
        ('/stream/a-secret-ticket', '/stream/{ticket}'),
        ('/metrics', '/metrics'),
        ('/nosuch', None),
        ('/readyz/', None),
    ],
)
def test_a_request_is_counted_by_what_it_is_for(app, path, route):
    environ = {'REQUEST_METHOD': 'GET', 'PATH_INFO': path}
    app(environ, lambda *args: None)
    assert environ.get('obmd.route') == route
