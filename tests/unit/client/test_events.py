import pytest
import requests

from obmd.client import BadAnswer
from obmd.client import Refused
from obmd.client import Unreachable
from obmd.client import events
from tests.unit.client.fake import Broken
from tests.unit.client.fake import event
from tests.unit.client.fake import job_event
from tests.unit.client.fake import output_event

PATH = '/jobs/j1/events'


def parsed(*chunks):
    return [tuple(one) for one in events.parse(chunks)]


def test_an_event_has_id_name_and_data():
    assert parsed(event('run', {'a': 1}, 'c1')) == [('c1', 'run', {'a': 1})]


@pytest.mark.parametrize('size', [1, 2, 3, 7, 1000])
def test_chunks_may_be_cut_anywhere(size):
    text = event('run', {'a': 'é'}, 'c1') + event('output', {'b': 2})
    chunks = [text[at : at + size] for at in range(0, len(text), size)]
    assert parsed(*chunks) == [('c1', 'run', {'a': 'é'}), ('c1', 'output', {'b': 2})]


def test_comments_that_keep_the_stream_alive_are_nothing():
    assert parsed(b': alive\n\n', b':\n\n') == []


def test_lines_may_end_as_on_windows():
    assert parsed(b'event: x\r\ndata: 1\r\n\r\n') == [(None, 'x', 1)]


def test_data_of_several_lines_is_one():
    assert parsed(b'data: [1,\ndata: 2]\n\n') == [(None, 'message', [1, 2])]


def test_what_is_cut_short_is_left_out():
    assert parsed(event('run', 1), b'event: run\ndata: 2\n') == [(None, 'run', 1)]


def test_a_colon_needs_no_space():
    assert parsed(b'event:x\ndata:1\nid:7\n\n') == [('7', 'x', 1)]


def test_data_that_is_no_json_is_refused():
    with pytest.raises(BadAnswer):
        parsed(b'data: {\n\n')


def test_an_event_without_end_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(events, 'LARGEST', 1000)
    with pytest.raises(BadAnswer):
        parsed(*[b'x' * 400] * 3)


def names(stream):
    return [one.data.get('data') or one.name for one in stream]


def test_a_job_is_followed_to_its_end(api, client):
    api.on('GET', PATH, [output_event(0, 'n1', 'a'), job_event(0), output_event(0, 'n1', 'b')])
    assert names(client.jobs.events('j1')) == ['a', 'job']


@pytest.mark.parametrize('end', [[], [Broken]])
def test_a_stream_that_breaks_off_goes_on_where_it_was(api, client, end):
    first = [output_event(0, 'n1', 'a', cursor='c1'), output_event(0, 'n1', 'b', cursor='c2'), *end]
    api.on('GET', PATH, first, [output_event(0, 'n1', 'c', cursor='c3'), job_event(0)])
    assert names(client.jobs.events('j1')) == ['a', 'b', 'c', 'job']
    asked = [request.headers.get('Last-Event-ID') for request in api.requests]
    assert asked == [None, 'c2']


def test_it_can_be_followed_from_a_place_that_is_known(api, client):
    api.on('GET', PATH, [job_event(0)])
    list(client.jobs.events('j1', cursor='c9'))
    assert api.requests[0].headers['Last-Event-ID'] == 'c9'


@pytest.mark.parametrize(
    'fault',
    [
        requests.exceptions.ConnectionError(ConnectionRefusedError(111, 'Connection refused')),
        requests.exceptions.ReadTimeout('slow'),
        (503, {'error': {'kind': 'unavailable', 'reason': 'later'}}),
        (502, b'<html>haproxy'),
    ],
)
def test_a_server_that_is_away_for_a_while_is_waited_for(api, client, fault):
    api.on('GET', PATH, [output_event(0, 'n1', 'a', cursor='c1')], fault, fault, [job_event(0)])
    assert names(client.jobs.events('j1')) == ['a', 'job']


def test_one_that_stays_away_is_given_up(api, client, clock):
    gone = requests.exceptions.ConnectionError(ConnectionRefusedError(111, 'Connection refused'))
    api.on('GET', PATH, [output_event(0, 'n1', 'a', cursor='c1')], gone)
    with pytest.raises(Unreachable, match='refused'):
        list(client.jobs.events('j1'))
    assert 50 <= sum(clock.pauses) <= 60


def test_patience_begins_anew_with_each_event(api, client, clock):
    gone = requests.exceptions.ConnectionError(ConnectionRefusedError(111, 'Connection refused'))
    some = [output_event(0, 'n1', 'a', cursor='c1')]
    api.on('GET', PATH, some, *[gone] * 40, some, *[gone] * 40, [job_event(0)])
    assert names(client.jobs.events('j1')) == ['a', 'a', 'job']


@pytest.mark.parametrize('status', [400, 401, 403, 404])
def test_a_stream_that_is_refused_is_not_asked_for_again(api, client, status):
    api.refuse('GET', PATH, status, 'some_kind', 'no')
    with pytest.raises(Refused):
        list(client.jobs.events('j1'))
    assert len(api.requests) == 1
