"""Answers beside the API: JSON that no cache keeps, errors in the form of all others."""

import json

from obmd.common import pages


class Started:
    """Plays ``start_response``."""

    def __call__(self, status, headers):
        self.status, self.headers = status, dict(headers)


def test_a_page_tells_its_length_and_is_kept_by_nobody():
    started = Started()
    body = pages.page(started, '200 OK', 'text/plain', b'four')
    assert body == [b'four']
    assert started.status == '200 OK'
    assert started.headers == {
        'Content-Type': 'text/plain',
        'Content-Length': '4',
        'Cache-Control': 'no-store',
        'X-Content-Type-Options': 'nosniff',
    }


def test_an_error_has_kind_and_reason_on_one_line():
    started = Started()
    (body,) = pages.error(started, '404 Not Found', 'not_found', 'no "such" page')
    assert json.loads(body) == {'error': {'kind': 'not_found', 'reason': 'no "such" page'}}
    assert body.endswith(b'}}\n')
    assert started.headers['Content-Type'] == 'application/json'
    assert not {'Allow', 'Retry-After'} & set(started.headers)


def test_another_method_is_told_which_is_taken():
    started = Started()
    pages.error(started, '405 Method Not Allowed', 'method_not_allowed', 'GET only')
    assert started.headers['Allow'] == 'GET'


def test_a_part_of_a_second_is_waited_for_as_a_whole_one():
    started = Started()
    pages.error(started, '503 Service Unavailable', 'unavailable', 'later', 0.2)
    assert started.headers['Retry-After'] == '1'
