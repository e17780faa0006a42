"""Queues that are served in turn."""

from obmd.conductor import turns


def filled(**queues):
    made = turns.Turns()
    for key, items in queues.items():
        made.add(key, list(items))
    return made


def taken(made, count, room=None):
    return ''.join(item for _key, item in made.take(count, room))


def test_a_long_queue_keeps_no_short_one_waiting():
    made = filled(a='123456', b='xy')
    assert taken(made, 4) == '1x2y'
    assert taken(made, 10) == '3456'
    assert len(made) == 0


def test_who_was_served_last_comes_last():
    made = filled(a='12', b='xy', c='pq')
    assert taken(made, 2) == '1x'
    assert taken(made, 2) == 'p2'
    assert taken(made, 9) == 'yq'


def test_no_more_of_a_queue_is_taken_than_there_is_room_for():
    made = filled(a='123456', b='xy')
    assert taken(made, 9, {'a': 1, 'b': 5}.get) == '1xy'
    assert taken(made, 9, {'a': 0}.get) == ''
    assert made.count('a') == 5


def test_what_is_put_back_comes_first_in_its_order():
    made = filled(a='12345')
    items = [item for _key, item in made.take(3)]
    made.put_back('a', items)
    assert taken(made, 9) == '12345'


def test_what_is_dropped_is_given_back_and_not_taken():
    made = filled(a='12', b='xy')
    assert made.drop('a') == ['1', '2']
    assert made.drop('a') == []
    assert made.keys() == ['b']
    assert made.drop_all() == ['x', 'y']
    assert made.take(1) == []


def test_there_is_no_need_of_room_where_nothing_waits():
    made = filled(a='', b='xy')
    assert taken(made, 9, {'b': 5}.__getitem__) == 'xy'
