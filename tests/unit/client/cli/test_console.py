import base64
import json

import pytest

from obmd.client import Refused
from obmd.client import Unreachable
from obmd.client.cli import console
from tests.unit.client.fake import Broken

PATH = '/nodes/n1/console'


def line(event, **more):
    return json.dumps({'event': event, **more}).encode() + b'\n'


def data(content, cursor):
    return line('data', data=base64.b64encode(content).decode(), cursor=cursor)


def test_bytes_come_as_they_are(api, obm):
    api.on('GET', PATH, [data(b'login\xff', 'r:6'), data(b': ', 'r:8')])
    assert obm.run('console', 'n1') == 0
    assert obm.stdout.buffer.getvalue() == b'login\xff: '


def test_gaps_and_states_are_told_beside_them(api, obm):
    api.on('GET', PATH, [line('gap', bytes=12), line('state', state='down'), data(b'x', 'r:1')])
    obm.run('console', 'n1')
    assert (obm.out, obm.err) == ('x', 'obm: 12 bytes are lost\nobm: n1: down\n')


def test_it_goes_on_where_it_broke_off(api, client):
    api.on('GET', PATH, [data(b'a', 'r:1'), Broken], [data(b'b', 'r:2')])
    assert b''.join(console.following(client, 'n1', {'replay': 5}, print)) == b'ab'
    assert [request.query for request in api.requests] == [{'replay': '5'}, {'cursor': 'r:1'}]


def test_one_that_was_never_there_is_not_asked_for_again(api, client):
    api.on('GET', PATH, [Broken])
    with pytest.raises(Unreachable):
        list(console.following(client, 'n1', {}, print))
    assert len(api.requests) == 1


def test_a_console_that_somebody_holds_is_told(api, client):
    api.refuse('GET', PATH, 409, 'console_held', 'another client holds it')
    with pytest.raises(Refused, match='another client'):
        list(console.following(client, 'n1', {}, print))


def test_a_server_that_stays_away_is_given_up(api, client, clock):
    busy = (503, {'error': {'kind': 'unavailable', 'reason': 'later'}})
    api.on('GET', PATH, [data(b'a', 'r:1'), Broken], busy)
    with pytest.raises(Refused, match='later'):
        list(console.following(client, 'n1', {}, print))
    assert 50 <= sum(clock.pauses) <= 60
