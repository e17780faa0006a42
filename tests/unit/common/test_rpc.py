"""The bus in one process, and how outcomes cross either bus."""

import logging
import threading

import oslo_messaging
import pytest

from obmd.common import errors
from obmd.common import rpc


class Endpoint:
    target = oslo_messaging.Target(version='1.1')

    def __init__(self):
        self.got = []
        self.told = threading.Event()

    @rpc.answers
    def echo(self, _context, value):
        self.got.append(value)
        return value

    @rpc.answers
    def refuse(self, _context):
        raise errors.NodeBusy('busy', 'node-1', 1)

    @rpc.answers
    def crash(self, _context):
        raise ValueError('the password is hunter2')

    @rpc.answers
    def news(self, _context, node):
        self.got.append(node)
        self.told.set()


@pytest.fixture
def endpoint():
    return Endpoint()


@pytest.fixture
def bus(endpoint):
    made = rpc.LocalBus()
    made.serve('topic', 'host', endpoint)
    return made


@pytest.fixture
def client(bus):
    return bus.client('topic', '1.0')


def test_an_answer_is_a_copy_of_what_was_given_and_arguments_too(client, endpoint):
    given = {'list': [1, (2, 3)], 'none': None}
    answer = client.call('host', 'echo', 5, value=given)
    assert answer == {'list': [1, [2, 3]], 'none': None}
    given['list'].append(4)
    assert endpoint.got == [{'list': [1, [2, 3]], 'none': None}]
    assert answer is not endpoint.got[0]


def test_what_json_cannot_say_does_not_cross_in_one_process_either(client):
    with pytest.raises(TypeError):
        client.call('host', 'echo', 5, value=object())


def test_an_error_arrives_as_itself_without_a_traceback_of_the_other_side(client):
    with pytest.raises(errors.NodeBusy) as refused:
        client.call('host', 'refuse', 5)
    assert (refused.value.reason, refused.value.node, refused.value.retry_after) == (
        'busy',
        'node-1',
        1,
    )
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None


def test_a_crash_is_told_without_its_words(client, caplog):
    with pytest.raises(errors.ObmdError) as failed:
        client.call('host', 'crash', 5)
    assert failed.value.kind == 'internal'
    assert 'hunter2' not in failed.value.reason
    assert 'crash failed' in caplog.text


def test_a_server_that_is_not_there_is_unavailable(client):
    with pytest.raises(errors.Unavailable) as gone:
        client.call('elsewhere', 'echo', 5, value=1)
    assert gone.value.retry_after


def test_a_server_that_stopped_is_not_there(endpoint):
    bus = rpc.LocalBus()
    stop = bus.serve('topic', 'host', endpoint)
    stop()
    stop()
    with pytest.raises(errors.Unavailable):
        bus.client('topic', '1.0').call('host', 'echo', 5, value=1)


def test_a_client_made_before_its_server_finds_it(endpoint):
    bus = rpc.LocalBus()
    client = bus.client('topic', '1.0')
    bus.serve('topic', 'host', endpoint)
    assert client.call('host', 'echo', 5, value=1) == 1


def test_news_are_delivered_without_waiting(client, endpoint):
    client.tell('host', 'news', node='uuid')
    assert endpoint.told.wait(10)
    assert endpoint.got == ['uuid']


def test_news_for_nobody_are_one_line_in_the_log(client):
    lines = []
    logged = threading.Event()

    class Handler(logging.Handler):
        def emit(self, record):
            lines.append(record)
            logged.set()

    handler = Handler()
    root = logging.getLogger('obmd')
    root.addHandler(handler)
    try:
        client.tell('elsewhere', 'news', node='uuid')
        assert logged.wait(10)
    finally:
        root.removeHandler(handler)
    assert lines[0].levelno == logging.WARNING
    assert lines[0].exc_info is None


def test_a_newer_version_than_the_server_has_is_not_called(bus):
    with pytest.raises(Exception, match='version'):
        bus.client('topic', '2.0').call('host', 'echo', 5, value=1)


def test_methods_of_a_server_are_only_those_that_are_public(client):
    with pytest.raises(Exception, match='_secret'):
        client.call('host', '_secret', 5)
