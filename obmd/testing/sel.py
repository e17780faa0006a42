"""A small system event log.  IPMI 2.0 section 31 (commands) and 32.1 (record format)."""

import struct
import time

#: records kept; the oldest goes first, as in a BMC whose log is circular
CAPACITY = 64
_RECORD_TYPE_SYSTEM_EVENT = 0x02
_GENERATOR_BMC = 0x20
_EVENT_FORMAT = 0x04
_SENSOR_SPECIFIC = 0x6F

# (sensor type, offset), table 42-3
POWER_OFF = (0x09, 0x00)
POWER_CYCLE = (0x09, 0x01)
POWER_UP = (0x1D, 0x00)
HARD_RESET = (0x1D, 0x01)
DIAGNOSTIC_INTERRUPT = (0x13, 0x00)


class Sel:
    """:param wall_clock: callable giving seconds since 1970."""

    def __init__(self, wall_clock=time.time):
        self._wall_clock = wall_clock
        self._records = {}
        self._last_id = 0
        self._added_at = 0
        self._erased_at = 0
        self._reservation = 0

    def add(self, event):
        """:param event: one of the pairs above."""
        self._last_id += 1
        self._added_at = self._now()
        sensor_type, offset = event
        self._records[self._last_id] = struct.pack(
            '<HBIHBBBBBBB',
            self._last_id,
            _RECORD_TYPE_SYSTEM_EVENT,
            self._added_at,
            _GENERATOR_BMC,
            _EVENT_FORMAT,
            sensor_type,
            0x01,
            _SENSOR_SPECIFIC,
            offset,
            0xFF,
            0xFF,
        )
        if len(self._records) > CAPACITY:
            del self._records[min(self._records)]

    def info(self):
        """Get SEL Info.  :returns: (completion code, bytes)."""
        free = (CAPACITY - len(self._records)) * 16
        return 0, struct.pack(
            '<BHHIIB', 0x51, len(self._records), free, self._added_at, self._erased_at, 0x02
        )

    def reserve(self):
        self._reservation = self._reservation % 0xFFFF + 1
        return 0, struct.pack('<H', self._reservation)

    def entry(self, data):
        """Get SEL Entry.  :param data: bytes, the request: reservation, record id, part."""
        if len(data) < 6:
            return 0xC7, b''
        _, wanted, offset, count = struct.unpack('<HHBB', data[:6])
        ids = sorted(self._records)
        if not ids:
            return 0xCB, b''
        wanted = {0: ids[0], 0xFFFF: ids[-1]}.get(wanted, wanted)
        if wanted not in self._records:
            return 0xCB, b''
        later = [i for i in ids if i > wanted]
        record = self._records[wanted]
        part = record[offset:] if count == 0xFF else record[offset : offset + count]
        return 0, struct.pack('<H', later[0] if later else 0xFFFF) + part

    def clear(self, data):
        """Clear SEL.  :param data: bytes, the request; ``CLR`` and 0xAA erase, 0 asks."""
        if data[2:5] != b'CLR':
            return 0xCC, b''
        if data[5:6] == b'\xaa':
            self._records.clear()
            self._erased_at = self._now()
        return 0, b'\x01'

    def time(self):
        return 0, struct.pack('<I', self._now())

    def _now(self):
        return int(self._wall_clock())
