"""Names are those of Prometheus' house style, labels are few, counting is exact."""

import re

import prometheus_client
import pytest

from obmd.common import errors
from obmd.common import metrics

#: all labels there are; a new one must be thought about
LABELS = {
    'code',
    'driver',
    'group',
    'kind',
    'method',
    'outcome',
    'pool',
    'reason',
    'route',
    'service',
    'state',
    'version',
}


@pytest.fixture
def registry(monkeypatch):
    registry = prometheus_client.CollectorRegistry()
    monkeypatch.setattr(metrics, 'registry', registry)
    monkeypatch.setattr(metrics, 'ALL', [])
    return registry


def values(registry, name):
    """:returns: dict of tuple of label values to value, of the samples called ``name``."""
    return {
        tuple(sample.labels.values()): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == name
    }


def test_every_name_has_the_prefix_and_is_there_once():
    names = [metric.name for metric in metrics.ALL]
    assert len(set(names)) == len(names) > 30
    assert all(re.fullmatch('obmd_[a-z_]+', name) for name in names)


def test_a_name_says_what_kind_it_is():
    for metric in metrics.ALL:
        assert metric.name.endswith('_total') is isinstance(metric, metrics.Events), metric.name
        if isinstance(metric, metrics.Durations):
            assert metric.name.endswith('_seconds'), metric.name


def test_no_label_could_name_a_node_a_token_or_a_caller():
    assert {label for metric in metrics.ALL for label in metric.labels} == LABELS


def test_events_are_counted_by_their_labels(registry):
    events = metrics.Events('obmd_x_total', 'x', ('kind',))
    events.count('a')
    events.count('b', by=5)
    events.count('a')
    assert values(registry, 'obmd_x_total') == {('a',): 2, ('b',): 5}


def test_a_metric_without_labels_is_there_before_its_first_event(registry):
    metrics.Events('obmd_x_total', 'x').begin()
    metrics.Events('obmd_y_total', 'y', ('kind',)).begin()
    assert values(registry, 'obmd_x_total') == {(): 0}
    assert values(registry, 'obmd_y_total') == {}


def test_labels_beyond_the_limit_are_one(registry, monkeypatch):
    monkeypatch.setattr(metrics, 'MOST', 3)
    events = metrics.Events('obmd_x_total', 'x', ('kind', 'reason'))
    for number in range(100):
        events.count(f'kind {number}', 'r')
    found = values(registry, 'obmd_x_total')
    assert found == {
        ('kind 0', 'r'): 1,
        ('kind 1', 'r'): 1,
        ('kind 2', 'r'): 1,
        ('other', 'other'): 97,
    }


def test_a_state_that_is_not_told_any_more_is_0(registry):
    state = metrics.State('obmd_x', 'x', ('group',))
    state.show({('rack1',): 2, ('rack2',): 1})
    state.show({('rack1',): 1})
    assert values(registry, 'obmd_x') == {('rack1',): 1, ('rack2',): 0}


def test_a_timer_observes_the_outcome_and_what_is_under_way(registry):
    durations = metrics.Durations('obmd_x_seconds', 'x', ('method', 'outcome'))
    with metrics.Timer(durations, 'm'):
        assert durations.running == 1
    with pytest.raises(errors.BmcSilent), metrics.Timer(durations, 'm'):
        raise errors.BmcSilent('silent')
    assert durations.running == 0
    assert values(registry, 'obmd_x_seconds_count') == {('m', 'ok'): 1, ('m', 'bmc_silent'): 1}


def of_a_peer(kind):
    return errors.from_wire({'kind': kind})


@pytest.mark.parametrize(
    ('error', 'outcome'),
    [
        (None, 'ok'),
        (errors.NodeBusy('x'), 'node_busy'),
        (errors.ObmdError('x'), 'internal'),
        (ValueError('x'), 'internal'),
        (of_a_peer('unavailable'), 'unavailable'),
        (of_a_peer('whatever a conductor of the next version says'), 'other'),
    ],
)
def test_an_outcome_is_a_kind_of_error_that_the_code_has(error, outcome):
    assert metrics.outcome(error) == outcome
