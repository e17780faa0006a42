import threading

import jsonschema
import pytest

from obmd.drivers import base
from obmd.drivers import mock


class Sink(base.ConsoleSink):
    def __init__(self, wanted):
        self.chunks = []
        self.wanted = wanted
        self.enough = threading.Event()

    def data(self, chunk):
        self.chunks.append(chunk)
        if len(self.chunks) >= self.wanted:
            self.enough.set()

    def lost(self, error):
        raise AssertionError(error)


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    monkeypatch.setattr(mock, 'RATE', 5000)


def make(**info):
    return mock.MockDriver(base.NodeRef('n1', 'uuid-1'), info)


def take(driver, count):
    sink = Sink(count)
    handle = driver.open_console(sink, None)
    assert sink.enough.wait(10)
    handle.close(None)
    return sink.chunks[:count]


def test_its_rate_is_what_was_promised(monkeypatch):
    monkeypatch.undo()
    assert 20 <= mock.RATE <= 1000


def test_the_console_counts_one_line_a_chunk():
    assert take(make(), 4) == [b'0\n', b'1\n', b'2\n', b'3\n']


@pytest.mark.parametrize(('start', 'first'), [(0, b'0\n'), (41, b'41\n'), (2.0, b'2\n')])
def test_it_counts_from_where_it_is_told(start, first):
    assert take(make(NumWrites=start), 1) == [first]


def test_a_later_viewer_never_sees_a_smaller_number():
    driver = make()
    before = take(driver, 5)
    after = take(driver, 5)
    assert int(after[0]) > int(before[-1])


def test_no_number_is_given_twice_whoever_asks():
    driver = make()
    lines = []
    threads = [
        threading.Thread(target=lambda: [lines.append(driver.take_line()) for _ in range(2000)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(set(lines)) == 8000


def test_a_closed_console_says_nothing_more():
    driver = make()
    sink = Sink(1)
    handle = driver.open_console(sink, None)
    assert sink.enough.wait(10)
    handle.close(None)
    handle.close(None)
    count = len(sink.chunks)
    threading.Event().wait(0.005)
    assert len(sink.chunks) <= count + 1


def test_power_is_always_mock_status_and_every_call_succeeds():
    driver = make()
    for action in ('on', 'off', 'reset', 'cycle', 'soft_off'):
        driver.set_power(action, None)
        assert driver.power_status(None) == 'Mock Status'
    driver.set_boot_device('A', None)
    assert driver.boot_devices == ('A', 'B')


@pytest.mark.parametrize('info', [{}, {'addr': 'x'}, {'NumWrites': 5}, {'addr': '', 'more': 1}])
def test_what_may_be_given(info):
    jsonschema.validate(info, mock.MockDriver.schema)


@pytest.mark.parametrize(
    'info', [{'addr': 5}, {'addr': None}, {'NumWrites': '5'}, {'NumWrites': -1}, {'NumWrites': 1.5}]
)
def test_what_may_not(info):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(info, mock.MockDriver.schema)


def test_its_address_is_what_was_given():
    assert mock.MockDriver.address({'addr': 'x'}) == 'x'
    assert mock.MockDriver.address({}) == ''
