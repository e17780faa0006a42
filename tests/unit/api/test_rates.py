"""Limits count callers apart, let each begin anew, and never keep more than so many."""

import types

import pytest

from obmd.api import errors as api_errors
from obmd.api import rates
from obmd.common import workers
from obmd.conf import CONF


@pytest.fixture
def now():
    return [100.0]


@pytest.fixture
def limits(now, conf):
    conf('agent', rate_per_address=2, rate_per_node=2)
    return rates.Rates(lambda: now[0], most=8)


def of(address):
    return types.SimpleNamespace(environ={'REMOTE_ADDR': address})


def refused(function, *args):
    with pytest.raises(api_errors.TooManyRequests) as caught:
        function(*args)
    return caught.value.retry_after


def test_each_address_is_counted_by_itself(limits):
    for address in ('192.0.2.1', '192.0.2.2'):
        limits.take(of(address))
        limits.take(of(address))
        refused(limits.take, of(address))


def test_a_count_begins_anew_after_a_second(limits, now):
    for _ in range(3):
        limits.take(of('192.0.2.1'))
        now[0] += 0.25
        limits.take(of('192.0.2.1'))
        assert refused(limits.take, of('192.0.2.1')) == pytest.approx(0.75)
        now[0] += 0.75


@pytest.mark.parametrize(
    ('one', 'other'),
    [
        ('2001:db8::1', '2001:db8::ffff:1'),
        ('::ffff:192.0.2.1', '192.0.2.1'),
        ('192.0.2.1', '198.51.100.1, 192.0.2.1'),
        ('nonsense', None),
    ],
)
def test_what_may_be_one_caller_is_counted_as_one(limits, one, other):
    limits.take(of(one))
    limits.take(of(other))
    refused(limits.take, of(one))


def test_networks_of_ipv6_are_counted_apart(limits):
    for address in ('2001:db8:0:1::1', '2001:db8:0:2::1'):
        limits.take(of(address))
        limits.take(of(address))


def test_nobody_uses_up_what_a_node_has_from_elsewhere(limits):
    limits.take_node(of('192.0.2.1'), 'n1')
    limits.take_node(of('192.0.2.1'), 'n1')
    refused(limits.take_node, of('192.0.2.1'), 'n1')
    limits.take_node(of('192.0.2.1'), 'n2')
    limits.take_node(of('192.0.2.9'), 'n1')


@pytest.mark.parametrize(('size', 'left'), [(0, 19), (4095, 19), (4096, 18), (65536, 3)])
def test_each_4_kib_count_as_a_request(limits, conf, size, left):
    conf('agent', rate_per_address=20)
    limits.take(of('192.0.2.1'))
    limits.take_size(of('192.0.2.1'), size)
    for _ in range(left):
        limits.take(of('192.0.2.1'))
    refused(limits.take, of('192.0.2.1'))


@pytest.mark.parametrize('most', [1, 2, 3])
def test_no_size_alone_is_above_the_limit(limits, conf, now, most):
    conf('agent', rate_per_address=most)
    for _ in range(2):
        limits.take(of('192.0.2.1'))
        limits.take_size(of('192.0.2.1'), 65536)
        refused(limits.take, of('192.0.2.1'))
        now[0] += 1


def test_sizes_above_the_limit_are_refused(limits, conf):
    conf('agent', rate_per_address=20)
    for _ in range(3):
        limits.take(of('192.0.2.1'))
    limits.take_size(of('192.0.2.1'), 65536)
    refused(limits.take_size, of('192.0.2.1'), 8192)


def test_each_name_of_a_node_is_counted(limits):
    limits.take_node(of('192.0.2.1'), 'a', 'b')
    limits.take_node(of('192.0.2.1'), 'c', 'b')
    for names in (['b'], ['d', 'b'], ['b', 'd']):
        refused(limits.take_node, of('192.0.2.1'), *names)
    limits.take_node(of('192.0.2.1'), 'a', 'c')


@pytest.mark.parametrize(('rate', 'together', 'part'), [(500, 2, 250), (3, 2, 2), (1, 8, 1)])
def test_each_worker_takes_its_part_of_what_an_address_may(
    limits, conf, monkeypatch, rate, together, part
):
    conf('agent', rate_per_address=rate)
    conf(workers=together)
    monkeypatch.setenv(workers.WORKER, '0')
    for _ in range(part):
        limits.take(of('192.0.2.1'))
    refused(limits.take, of('192.0.2.1'))


def test_a_process_that_is_no_worker_takes_all_that_an_address_may(limits, conf):
    conf(workers=2)
    for _ in range(2):
        limits.take(of('192.0.2.1'))
    refused(limits.take, of('192.0.2.1'))


def test_zero_is_no_limit(limits, conf):
    conf('agent', rate_per_address=0, rate_per_node=0)
    for _ in range(100):
        limits.take(of('192.0.2.1'))
        limits.take_size(of('192.0.2.1'), 65536)
        limits.take_node(of('192.0.2.1'), 'n1')


def test_memory_is_bounded_whoever_asks(now):
    windows = rates.Windows(lambda: now[0], most=8)
    for number in range(1000):
        assert windows.incr(str(number), 60) == 1
        assert len(windows) <= 8
    # the newest are still counted
    assert windows.incr('999', 60) == 2


def test_who_is_counted_already_costs_nobodys_count(now):
    windows = rates.Windows(lambda: now[0], most=8)
    for number in range(8):
        windows.incr(str(number), 60)
    for count in range(2, 20):
        assert windows.incr('0', 60) == count
    assert [windows.get(str(number)) for number in range(1, 8)] == [1] * 7


def test_what_has_ended_is_dropped(now):
    windows = rates.Windows(lambda: now[0])
    for number in range(100):
        windows.incr(str(number), 1)
    now[0] += 1
    windows.incr('new', 1)
    assert len(windows) == 1
    assert windows.get('5') == 0


def test_an_address_has_at_least_500_a_second_by_default():
    assert CONF.agent.rate_per_address >= 500
