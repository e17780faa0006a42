import threading

import pytest

from obmd.common import errors
from obmd.common.deadline import Deadline
from obmd.drivers.cloud import calls

GOING = errors.Unavailable('going down')


@pytest.fixture
def made():
    return calls.Calls()


def test_what_a_call_gives_is_given(made):
    assert made.run(lambda: 5, Deadline(30)) == 5


def test_what_a_call_raises_is_raised(made):
    with pytest.raises(ZeroDivisionError):
        made.run(lambda: 1 / 0, Deadline(30))


def test_after_its_deadline_a_call_is_not_begun(made):
    begun = []
    with pytest.raises(calls.Late):
        made.run(lambda: begun.append(1), Deadline(0))
    assert begun == []


def test_a_call_is_waited_for_until_its_deadline(made):
    end = threading.Event()
    with pytest.raises(calls.Late):
        made.run(end.wait, Deadline(0.05))
    end.set()


def test_going_down_ends_every_wait(made):
    begun, end = threading.Event(), threading.Event()
    raised = []

    def wait():
        try:
            made.run(lambda: (begun.set(), end.wait()), Deadline(60))
        except errors.Unavailable as error:
            raised.append(error.reason)

    thread = threading.Thread(target=wait)
    thread.start()
    assert begun.wait(10)
    made.abort(GOING)
    thread.join(10)
    end.set()
    assert raised == ['going down']
    with pytest.raises(errors.Unavailable):
        made.run(lambda: 5, Deadline(60))
