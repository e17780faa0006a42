"""Streams of conductors passed on by the API, over real connections."""

import socket
import threading
import time

import pytest

from obmd.api import delivery
from obmd.common import errors
from obmd.conductor import rpcapi
from obmd.conf import CONF
from tests.functional.common import certificates
from tests.functional.common import test_serving


@pytest.fixture(scope='module', params=['http', 'https'])
def conductor(request, tmp_path_factory):
    """A listener that plays a conductor's, with ``url(name)``."""
    folder = tmp_path_factory.mktemp('conductor')
    certificate = certificates.make(folder) if request.param == 'https' else None
    if certificate:
        CONF.set_override('conductor_cafile', certificate[0], 'api')
    made = test_serving.Service(folder, certificate)
    made.url = lambda name: f'{request.param}://localhost:{made.port}/stream/{name}'
    yield made
    made.stop()
    CONF.clear_override('conductor_cafile', 'api')


def test_bytes_are_passed_on_as_they_come(conductor):
    stream = delivery.RemoteStream(conductor.url('a'))
    assert stream.headers['Content-Type'] == 'application/octet-stream'
    for item in (b'x', b'y' * 1000, b'\x00'):
        conductor.ask('/put/a', item)
        received = next(stream)
        while len(received) < len(item):
            received += next(stream)
        assert received == item
    conductor.ask('/end/a')
    assert list(stream) == []
    assert stream.ended == 'finished'


def test_a_viewer_that_goes_ends_the_stream_at_the_conductor(conductor):
    stream = delivery.RemoteStream(conductor.url('b'))
    ended = []
    stream.on_end(lambda: ended.append(1))
    reader = threading.Thread(target=list, args=(stream,))
    reader.start()
    time.sleep(0.1)
    stream.close()
    reader.join(2)
    assert not reader.is_alive()
    assert ended == [1]
    assert conductor.wait(lambda state: 'b' in state['ended'], 2)


def test_silence_ends_a_stream_that_has_a_deadline(conductor):
    stream = delivery.RemoteStream(conductor.url('c'), silence=0.2)
    started = time.monotonic()
    assert list(stream) == []
    assert time.monotonic() - started < 2


def test_a_proxied_answer_carries_the_stream_and_releases_its_slot(conductor):
    CONF.set_override('console_delivery', 'proxy', 'api')
    released = []
    try:
        response = delivery.respond(
            None,
            rpcapi.StreamOffer(conductor.url('d'), {}),
            'application/octet-stream',
            lambda: released.append(1),
        )
    finally:
        CONF.clear_override('console_delivery', 'api')
    conductor.ask('/put/d', b'boot')
    assert next(iter(response.app_iter)) == b'boot'
    conductor.ask('/end/d')
    assert list(response.app_iter) == []
    assert released == [1]


def test_a_ticket_that_is_refused_is_unavailable_without_the_ticket(conductor):
    url = conductor.url('e').replace('/stream/e', '/fail/5ecret')
    with pytest.raises(errors.Unavailable) as caught:
        delivery.RemoteStream(url)
    assert '5ecret' not in caught.value.reason


def test_a_conductor_that_is_not_there_is_unavailable():
    with socket.socket() as unused:
        unused.bind(('127.0.0.1', 0))
        url = f'http://127.0.0.1:{unused.getsockname()[1]}/stream/5ecret'
        with pytest.raises(errors.Unavailable) as caught:
            delivery.RemoteStream(url)
    assert '5ecret' not in caught.value.reason


def test_a_certificate_of_nobody_known_is_unavailable(tmp_path):
    made = test_serving.Service(tmp_path, certificates.make(tmp_path))
    try:
        with pytest.raises(errors.Unavailable, match='SSLCertVerificationError'):
            delivery.RemoteStream(f'https://localhost:{made.port}/stream/f')
    finally:
        made.stop()
