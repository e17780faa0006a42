"""The bus in one process, and how outcomes cross either bus."""

import contextlib
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


# -- a conductor that does not answer ---------------------------------------------------------


class SilentClient:
    """Plays oslo.messaging's: a call that is answered when the test lets it be."""

    def __init__(self):
        self.let = threading.Event()
        self.answer = {'value': 'late'}

    def prepare(self, **_target):
        return self

    def call(self, _context, _method, **_args):
        assert self.let.wait(30)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_a_wait_ends_when_the_callee_is_gone_and_names_it():
    silent = SilentClient()

    @contextlib.contextmanager
    def watched(give_up):
        give_up()
        yield

    with pytest.raises(rpc.NoAnswer, match='the conductor c7 does not answer') as unknown:
        rpc._Client(silent, lambda _patience: None).call('c7', 'echo', 600, watched=watched)
    silent.let.set()
    assert (unknown.value.server, unknown.value.kind) == ('c7', 'outcome_unknown')
    assert unknown.value.gone


def test_an_answer_that_is_there_counts_though_the_callee_has_gone_since():
    answered = SilentClient()
    answered.let.set()

    @contextlib.contextmanager
    def watched(give_up):
        yield
        give_up()

    assert (
        rpc._Client(answered, lambda _patience: None).call('c7', 'echo', 600, watched=watched)
        == 'late'
    )


def test_a_time_out_is_no_answer():
    silent = SilentClient()
    silent.answer = oslo_messaging.MessagingTimeout('no')
    silent.let.set()
    with pytest.raises(rpc.NoAnswer) as unknown:
        rpc._Client(silent, lambda _patience: None).call('c7', 'echo', 600)
    assert not unknown.value.gone


def test_a_call_that_the_broker_did_not_confirm_may_have_been_carried_out():
    lost = SilentClient()
    lost.answer = oslo_messaging.MessageDeliveryFailure('no confirm')
    lost.let.set()
    with pytest.raises(rpc.NoAnswer) as unknown:
        rpc._Client(lost, lambda _patience: None).call('c7', 'echo', 600)
    assert unknown.value.kind == 'outcome_unknown'
    assert not unknown.value.gone


def test_an_unknown_outcome_crosses_the_bus_as_itself_and_not_as_silence():
    told = errors.from_wire(rpc.NoAnswer('c7').to_wire())
    assert type(told) is errors.OutcomeUnknown


# -- a conductor of another version ---------------------------------------------------------------


@pytest.mark.parametrize(
    'refusal',
    [
        oslo_messaging.RPCVersionCapError(version='1.1', version_cap='1.0'),
        oslo_messaging.RemoteError('UnsupportedVersion', 'Endpoint does not support 1.1'),
        oslo_messaging.RemoteError('NoSuchMethod', 'no method agent_state'),
    ],
)
def test_what_an_older_conductor_does_not_know_is_not_available_now(refusal):
    old = SilentClient()
    old.answer = refusal
    old.let.set()
    with pytest.raises(errors.Unavailable, match='c7 is of another version') as refused:
        rpc._Client(old, lambda _patience: None).call('c7', 'echo', 5)
    assert refused.value.retry_after == rpc.UPGRADE_PAUSE
