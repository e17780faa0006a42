import struct

import pytest

from obmd.testing import sel
from obmd.testing.sel import Sel


@pytest.fixture
def log():
    return Sel(wall_clock=lambda: 1_000_000.0)


def entry(log, record):
    return log.entry(struct.pack('<HHBB', 0, record, 0, 0xFF))


def test_records_chain_from_the_first_to_the_last(log):
    log.add(sel.POWER_OFF)
    log.add(sel.POWER_UP)
    code, first = entry(log, 0)
    assert (code, first[:2], len(first)) == (0, b'\x02\0', 18)
    _, last = entry(log, 2)
    assert last[:2] == b'\xff\xff'
    assert last == entry(log, 0xFFFF)[1]


def test_a_record_tells_when_and_what(log):
    log.add(sel.HARD_RESET)
    record = entry(log, 1)[1][2:]
    assert struct.unpack_from('<I', record, 3) == (1_000_000,)
    assert (record[10], record[13]) == sel.HARD_RESET


def test_an_empty_log_and_an_unknown_record_have_no_entry(log):
    assert entry(log, 0) == (0xCB, b'')
    log.add(sel.POWER_UP)
    assert entry(log, 9) == (0xCB, b'')


def test_it_is_bounded_and_loses_the_oldest(log):
    for _ in range(sel.CAPACITY + 3):
        log.add(sel.POWER_UP)
    assert struct.unpack_from('<H', log.info()[1], 1) == (sel.CAPACITY,)
    assert entry(log, 0)[1][2:4] == b'\x04\0'


def test_it_is_cleared_only_by_the_right_words(log):
    log.add(sel.POWER_UP)
    assert log.clear(b'\0\0XXX\xaa')[0] == 0xCC
    assert struct.unpack_from('<H', log.info()[1], 1) == (1,)
    assert log.clear(b'\0\0CLR\xaa') == (0, b'\x01')
    assert struct.unpack_from('<H', log.info()[1], 1) == (0,)
