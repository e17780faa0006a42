"""Labels are real limits of real processes: these tests label this one and look at it."""

import os
import resource
import subprocess

import pytest

from obmd.runner import labels


@pytest.fixture
def made():
    found = labels.Labels(os.getpid())
    yield found
    found.wear(None)


def test_labels_can_be_worn_here(made):
    assert made.usable


def test_a_process_is_found_by_its_label(made):
    label = made.new()
    made.wear(label)
    assert made.of(label) == [os.getpid()]


def test_who_wears_none_is_not_found(made):
    assert made.of(made.new()) == []


def test_a_process_of_a_live_run_is_no_stray(made):
    made.wear(made.new())
    assert made.strays() == []


def test_a_process_of_a_run_that_has_ended_is_a_stray(made):
    label = made.new()
    made.wear(label)
    made.forget(label)
    assert made.strays() == [(os.getpid(), label)]


def test_another_start_of_the_same_conductor_finds_it(made):
    label = made.new()
    made.wear(label)
    assert labels.Labels(os.getpid()).strays() == [(os.getpid(), label)]


def test_another_conductor_does_not(made):
    made.wear(made.new())
    assert labels.Labels(os.getpid() + 1).strays() == []


def test_a_process_that_wears_another_label_gets_no_signal(made):
    made.wear(made.new())
    made.signal(os.getpid(), made.new(), 9)


@pytest.fixture
def child():
    """A process in a session of its own."""
    process = subprocess.Popen(['/bin/sleep', '1000'], start_new_session=True)
    yield process.pid
    process.kill()
    process.wait()


def test_a_child_that_shed_its_label_is_left(made, child):
    assert (child, resource.RLIM_INFINITY) in made.left(())


def test_a_child_of_a_live_runs_session_is_not_left(made, child):
    assert child not in dict(made.left({child}))


def test_a_child_with_a_live_label_is_not_left(made, child):
    label = made.new()
    resource.prlimit(child, resource.RLIMIT_RTTIME, (label, resource.RLIM_INFINITY))
    assert child not in dict(made.left(()))


def test_who_is_no_child_is_not_left(made):
    assert os.getpid() not in dict(made.left(()))


def test_a_system_that_limits_that_already_has_no_room_for_labels(monkeypatch):
    monkeypatch.setattr(labels.resource, 'getrlimit', lambda which: (200000, 200000))
    found = labels.Labels(1)
    assert not found.usable
    found.wear(found.new())
    assert found.strays() == []


def test_no_label_is_one_that_could_limit_anything(made):
    assert made.new() > 10**18
    assert labels.Labels(2**80).new() < resource.RLIM_INFINITY % 2**64
