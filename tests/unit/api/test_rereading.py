"""Many who wait for rows cost one query."""

import threading
import types

import pytest

from obmd.api import rereading
from obmd.common import errors


class Table:
    def __init__(self):
        self.asked = []
        self.error = None
        self.gate = threading.Event()

    def read(self, uuids):
        self.asked.append(set(uuids))
        if self.error is not None:
            raise self.error
        return [types.SimpleNamespace(uuid=uuid) for uuid in uuids if uuid != 'gone']

    def sleep(self, _seconds):
        assert self.gate.wait(10)


@pytest.fixture
def table():
    return Table()


def all_at_once(table, uuids):
    """:returns: dict of uuid -> row, None or the error, all asked for while the first waits."""
    made = rereading.Rereading(table.read, table.sleep)
    found = {}

    def get(uuid):
        try:
            found[uuid] = made.get(uuid, 1)
        except errors.ObmdError as error:
            found[uuid] = error

    threads = [threading.Thread(target=get, args=(uuid,)) for uuid in uuids]
    for thread in threads:
        thread.start()
    while not made._next or len(made._next[1].uuids) < len(uuids):
        threading.Event().wait(0.001)
    table.gate.set()
    for thread in threads:
        thread.join(10)
    return made, found


def test_all_who_come_while_one_waits_share_a_query(table):
    uuids = {f'u{number}' for number in range(20)}
    made, found = all_at_once(table, uuids)
    assert table.asked == [uuids]
    assert {uuid: row.uuid for uuid, row in found.items()} == {uuid: uuid for uuid in uuids}
    made.get('u1', 0)
    assert table.asked[1:] == [{'u1'}]


def test_a_node_that_is_gone_is_none(table):
    _, found = all_at_once(table, ['u1', 'gone'])
    assert found['gone'] is None
    assert found['u1'].uuid == 'u1'


def test_a_database_that_is_down_is_each_ones_own_error_and_the_next_asks_again(table):
    table.error = errors.Unavailable('down', retry_after=3)
    made, found = all_at_once(table, ['u1', 'u2'])
    assert found['u1'] is not found['u2']
    assert (found['u1'].reason, found['u1'].retry_after) == ('down', 3)
    table.error = None
    assert made.get('u1', 0).uuid == 'u1'


def test_a_fault_holds_nobody(table):
    table.error = ValueError('bug')
    made = rereading.Rereading(table.read, lambda _: None)
    with pytest.raises(ValueError):
        made.get('u1', 0)
    assert made._next == {}


def test_who_waits_a_short_while_is_not_held_by_who_waits_a_long_one(table):
    made = rereading.Rereading(table.read, lambda pause: table.sleep(pause) if pause else None)
    long = threading.Thread(target=made.get, args=('u1', 1))
    long.start()
    while not made._next:
        threading.Event().wait(0.001)
    assert made.get('u2', 0).uuid == 'u2'
    assert long.is_alive()
    table.gate.set()
    long.join(10)
    assert table.asked == [{'u2'}, {'u1'}]
