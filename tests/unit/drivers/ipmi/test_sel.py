import struct

import pytest

from obmd.drivers.ipmi import sel


def record(number, seconds=0x60000000, data=b'\x04\x12\x00\x6f\x01\xff\xff'):
    return struct.pack('<HBI', number, 2, seconds) + b'\x20\x00' + data


@pytest.fixture
def bmc(rig):
    return rig.connect()


def ids(rig, bmc, limit):
    return [e['id'] for e in sel.event_log(bmc, rig.deadline(), limit)]


def test_an_empty_log(rig, bmc):
    assert ids(rig, bmc, 10) == []


def test_oldest_first(rig, bmc):
    rig.fake.log = [record(i) for i in range(1, 6)]
    assert ids(rig, bmc, 10) == [1, 2, 3, 4, 5]


def test_the_newest_of_a_long_log_are_read_without_the_rest(rig, bmc):
    rig.fake.log = [record(i) for i in range(1, 501)]
    assert ids(rig, bmc, 3) == [498, 499, 500]
    assert len(rig.fake.commands) < 10


def test_record_numbers_with_holes(rig, bmc):
    rig.fake.log = [record(i) for i in (7, 1, 3, 900, 12)]
    assert ids(rig, bmc, 3) == [3, 900, 12]


def test_a_log_that_links_to_itself_ends(rig, bmc):
    rig.fake.log = [record(1), record(2)]
    rig.fake.script[10, 0x43] = [lambda data: b'\0\x01\0' + record(1)] * 5
    assert ids(rig, bmc, 10) == [1]


def test_a_record_is_decoded():
    raw = record(1, data=b'\x04\x01\x30\x01\x59\x5a\x50')
    event = sel.decode(raw)
    assert event == {
        'id': 1,
        'time': '2021-01-14T08:25:36+00:00',
        'sensor': 'Temperature #0x30',
        'event': 'Upper critical',
        'raw': raw.hex(),
    }


def test_a_time_since_the_start_of_the_bmc_is_no_time():
    assert sel.decode(record(1, seconds=1234))['time'] is None
    assert sel.decode(record(1, seconds=0xFFFFFFFF))['time'] is None


@pytest.mark.parametrize('kind', [0x02, 0xC0, 0xDF, 0xE0, 0xF0, 0xFF])
@pytest.mark.parametrize('fill', [0x00, 0x55, 0xFF])
def test_every_kind_of_record_is_said_plainly(kind, fill):
    event = sel.decode(struct.pack('<HB', 5, kind) + bytes([fill]) * 13)
    assert event['id'] == 5
    assert event['event']
