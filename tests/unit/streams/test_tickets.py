import threading

import pytest

from obmd.common import errors
from obmd.streams import tickets


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def box(clock):
    return tickets.Tickets(10, limit=3, clock=clock)


class Waiting:
    """A prepared stream: what became of it."""

    def __init__(self):
        self.opened = 0
        self.abandoned = 0

    def open(self):
        self.opened += 1
        return 'stream', {'a': 'b'}

    def abandon(self):
        self.abandoned += 1


def test_a_ticket_opens_what_it_stands_for_once(box):
    waiting = Waiting()
    ticket = box.issue(waiting.open, waiting.abandon)
    assert box.redeem(ticket) == ('stream', {'a': 'b'})
    with pytest.raises(errors.NotFound):
        box.redeem(ticket)
    assert (waiting.opened, waiting.abandoned) == (1, 0)


def test_tickets_cannot_be_guessed(box):
    one, two = (box.issue(lambda: None, lambda: None) for _ in range(2))
    assert one != two
    assert len(one) >= 43  # 256 bits


@pytest.mark.parametrize('ticket', ['', 'x', '../..', 'é'])
def test_a_ticket_that_never_was_is_not_found(box, ticket):
    with pytest.raises(errors.NotFound):
        box.redeem(ticket)


def test_a_ticket_too_old_opens_nothing_and_its_stream_is_given_up(box, clock):
    waiting = Waiting()
    ticket = box.issue(waiting.open, waiting.abandon)
    clock.now += 10.1
    with pytest.raises(errors.NotFound):
        box.redeem(ticket)
    assert (waiting.opened, waiting.abandoned) == (0, 1)
    box.sweep()
    assert waiting.abandoned == 1


def test_a_sweep_gives_up_what_nobody_came_for_and_nothing_else(box, clock):
    old, young = Waiting(), Waiting()
    box.issue(old.open, old.abandon)
    clock.now += 6
    ticket = box.issue(young.open, young.abandon)
    clock.now += 6
    box.sweep()
    assert (old.abandoned, young.abandoned) == (1, 0)
    assert box.redeem(ticket)[0] == 'stream'


def test_no_more_than_the_limit_wait_at_once(box, clock):
    first = Waiting()
    box.issue(first.open, first.abandon)
    clock.now += 5
    for _ in range(2):
        box.issue(lambda: None, lambda: None)
    with pytest.raises(errors.Unavailable) as refused:
        box.issue(lambda: None, lambda: None)
    assert refused.value.retry_after
    clock.now += 6  # the first has gone by itself
    assert box.issue(lambda: None, lambda: None)
    assert first.abandoned == 1


def test_what_an_opener_raises_reaches_the_one_who_redeems(box):
    def refuse():
        raise errors.Unauthorized('the token is not valid any more')

    ticket = box.issue(refuse, lambda: None)
    with pytest.raises(errors.Unauthorized):
        box.redeem(ticket)
    with pytest.raises(errors.NotFound):
        box.redeem(ticket)


def test_a_ticket_opens_for_one_of_many_who_come_at_once():
    for _ in range(30):
        box = tickets.Tickets(10)
        waiting = Waiting()
        ticket = box.issue(waiting.open, waiting.abandon)
        barrier = threading.Barrier(8)
        outcomes = []

        def redeem(box=box, ticket=ticket, barrier=barrier, outcomes=outcomes):
            barrier.wait()
            try:
                outcomes.append(box.redeem(ticket)[0])
            except errors.NotFound:
                outcomes.append(None)

        threads = [threading.Thread(target=redeem) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert sorted(outcomes, key=str) == [None] * 7 + ['stream']
        assert waiting.opened == 1
