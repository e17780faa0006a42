"""The system event log (IPMI 2.0 sections 31 and 32)."""

import datetime
import struct

from pyghmi.ipmi.events import EventHandler
from pyghmi.ipmi.private import constants

from obmd.common import errors
from obmd.conf import CONF

STORAGE = 0x0A
GET_SEL_INFO, GET_SEL_ENTRY = 0x40, 0x43
FIRST, LAST = 0x0000, 0xFFFF
#: completion code: no such record
_NOT_PRESENT = 0xCB
#: timestamps up to here count from the BMC's start (section 37.1)
_SINCE_START = 0x20000000
_NO_TIME = 0xFFFFFFFF


def event_log(bmc, deadline, limit):
    """As :meth:`obmd.drivers.base.EventLog.event_log`."""
    info = _call(bmc, deadline, GET_SEL_INFO)
    count = struct.unpack_from('<H', info.data, 1)[0]
    if not count or limit < 1:
        return []
    if count > limit:
        records = _tail(bmc, deadline, limit)
        if records is not None:
            return [decode(r) for r in records]
    return [decode(r) for r in _walk(bmc, deadline, FIRST)[-limit:]]


def _tail(bmc, deadline, limit):
    """The log can only be read forwards.  Record ids nearly always follow each other: try the one
    that must then be the first of the last ``limit``.

    :returns: list of bytes, or None if the guess was wrong.
    """
    newest = _entry(bmc, deadline, LAST)
    if newest is None:
        return None
    start = struct.unpack_from('<H', newest[1])[0] - limit + 1
    if start <= FIRST:
        return None
    records = _walk(bmc, deadline, start)
    return records if len(records) == limit else None


def _walk(bmc, deadline, record_id):
    records, seen = [], set()
    while record_id != LAST:
        entry = _entry(bmc, deadline, record_id)
        if entry is None or entry[1][:2] in seen:
            break
        record_id = entry[0]
        seen.add(entry[1][:2])
        records.append(entry[1])
    return records


def _entry(bmc, deadline, record_id):
    """:returns: (id of the next record, the record) or None."""
    request = struct.pack('<HHBB', 0, record_id, 0, 0xFF)
    limit = deadline.within(CONF.ipmi.deadline)
    answer = bmc.command(STORAGE, GET_SEL_ENTRY, request, deadline=limit)
    if answer.code == _NOT_PRESENT:
        return None
    if answer.code:
        raise bmc.account.error(errors.BmcRefused, answer.words)
    if len(answer.data) < 18:
        return None
    return struct.unpack_from('<H', answer.data)[0], answer.data[2:18]


def _call(bmc, deadline, command):
    return bmc.call(STORAGE, command, deadline=deadline.within(CONF.ipmi.deadline))


def decode(record):
    """:param record: 16 bytes.  :returns: dict, see ``obmd.drivers.base.EventLog``."""
    event = _handler._sel_decode(record)
    return {
        'id': event['record_id'],
        'time': _time(event.get('timecode', _NO_TIME)),
        'sensor': _sensor(event, record),
        'event': _text(event, record),
        'raw': record.hex(),
    }


def _time(timecode):
    if timecode <= _SINCE_START or timecode == _NO_TIME:
        return None
    return datetime.datetime.fromtimestamp(timecode, datetime.UTC).isoformat()


def _sensor(event, record):
    kind = event.get('component_type')
    if kind is None:
        return ''
    return f'{kind} #{record[11]:#04x}'.strip()


def _text(event, record):
    text = event.get('event') or ''
    if event.get('event_data'):
        text = f'{text}: {event["event_data"]}' if text else str(event['event_data'])
    if not text:
        text = f'event {record[12] & 0x7F:#04x}, data {record[13:].hex()}'
    return f'{text} (deasserted)' if event.get('deassertion') else text


class _NoSensors:
    """What pyghmi's decoder asks of an SDR: reading a real one takes seconds."""

    sensors = {}
    fru = {}


class _NoBmc:
    """What it asks of a connection."""

    def __init__(self):
        self._oem = self

    def get_event_constants(self):
        return constants

    def process_event(self, event, ipmicmd, seldata):
        pass


_handler = EventHandler(_NoSensors(), _NoBmc())
