import threading

import pytest

from obmd.common.deadline import Deadline
from obmd.drivers.cloud import calls
from obmd.drivers.cloud import gathering


class Cloud:
    """Answers what it is asked, after those who ask have come."""

    def __init__(self):
        self.asked = []
        self.error = None
        self.moment = threading.Event()

    def ask(self, names, deadline):
        self.asked.append(names)
        if self.error is not None:
            raise self.error
        return {name: name.upper() for name in names if name != 'none'}

    def sleep(self, _seconds):
        assert self.moment.wait(10)


@pytest.fixture
def cloud():
    return Cloud()


@pytest.fixture
def ask(cloud):
    """``ask(names)`` has each ask in a thread of its own.  :returns: dict of what they got."""
    made = gathering.Gathering(cloud.ask, 3, cloud.sleep)

    def ask(names):
        got, threads = {}, []

        def one(name):
            try:
                got[name] = made.get(name, Deadline(30))
            except Exception as error:
                got[name] = error

        for name in names:
            threads.append(threading.Thread(target=one, args=(name,)))
            threads[-1].start()
        cloud.moment.set()
        for thread in threads:
            thread.join(10)
        return got

    return ask


def test_each_gets_the_answer_of_its_own(ask):
    assert ask(['a', 'b', 'none']) == {'a': 'A', 'b': 'B', 'none': None}


def test_no_call_has_more_than_it_may(ask, cloud):
    ask([f'n{number}' for number in range(10)])
    assert all(len(names) <= 3 for names in cloud.asked)
    assert sum(map(len, cloud.asked)) == 10


def test_an_error_is_of_all_who_asked(ask, cloud):
    cloud.error = ZeroDivisionError()
    got = ask(['a', 'b'])
    assert [type(one) for one in got.values()] == [ZeroDivisionError] * 2


def test_who_asks_after_a_call_was_sent_gets_another(ask, cloud):
    ask(['a'])
    ask(['a'])
    assert cloud.asked == [['a'], ['a']]


def test_no_answer_in_time_is_not_taken_for_none(cloud):
    made = gathering.Gathering(cloud.ask, 3, cloud.sleep)
    with pytest.raises(calls.Late):
        made.get('a', Deadline(0.05))
    cloud.moment.set()
