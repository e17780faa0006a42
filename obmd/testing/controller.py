"""One simulated BMC: the commands it answers, its sessions, its SOL.

A table maps (network function, command) to a method and the privilege it needs; section numbers
are those of the IPMI 2.0 specification.  No sensors, no FRU: such commands get 0xC1, as from a
BMC that lacks them.
"""

import dataclasses
import time
import uuid

from obmd.testing import rmcp
from obmd.testing import sel
from obmd.testing import sol
from obmd.testing.machine import Machine

#: sessions a BMC has room for; one that is over it is refused with 0x01 (table 13-15)
MAX_SESSIONS = 16
#: seconds between two looks for sessions to forget
REAP_INTERVAL = 5.0

USER, OPERATOR, ADMINISTRATOR = 2, 3, 4

# completion codes, table 5-2 and, for 0x80 and above, the command's own section
OK = 0x00
ALREADY = 0x80
PARAMETER_UNSUPPORTED = 0x80
INVALID_COMMAND = 0xC1
TOO_SHORT = 0xC7
INVALID_FIELD = 0xCC
PRIVILEGE = 0xD4
WRONG_STATE = 0xD5
UNSPECIFIED = 0xFF

BOOT_DEVICES = {0: 'default', 1: 'network', 2: 'disk', 3: 'safe', 5: 'cdrom', 6: 'setup'}
_BOOT_VALID, _BOOT_PERSISTENT = 0x80, 0x40

_RMCP = b'\x06\x00\xff\x07'
_IDENTIFY_SUPPORTED, _IDENTIFY_ON = 0x40, 0x10


@dataclasses.dataclass(frozen=True)
class Credentials:
    """What a client must know.  :param kg: bytes or None.  :param privilege: int, 2 to 4."""

    user: bytes
    password: bytes = dataclasses.field(repr=False)
    kg: bytes | None = dataclasses.field(default=None, repr=False)
    privilege: int = ADMINISTRATOR


class Bmc:
    """:param bound: UDP socket, bound and not blocking.

    :param suites: tuple of cipher suite numbers offered, the best first.
    :param machine: dict of further arguments of :class:`~obmd.testing.machine.Machine`.
    """

    def __init__(self, name, bound, credentials, suites=(3,), machine=None, clock=time.monotonic):
        self.name = name
        self.socket = bound
        self.address, self.port = bound.getsockname()[:2]
        self.credentials = credentials
        self.suites = suites
        self.uuid = uuid.uuid5(uuid.NAMESPACE_DNS, name)
        self.silent = False
        self.sessions = {}
        self.sol = None
        self.sel = sel.Sel()
        self._clock = clock
        self._reap_at = clock() + REAP_INTERVAL
        self._boot_flags = bytearray(5)
        self._identify_until = 0.0
        self.machine = Machine(
            name, self._say, boot_device=self._boot, clock=clock, **(machine or {})
        )

    # -- packets -----------------------------------------------------------------------------

    def received(self, packet, client):
        """:param packet: bytes of a datagram.  :param client: socket address of its sender."""
        if self.silent or len(packet) < 16 or packet[:4] != _RMCP:
            return
        packet = bytearray(packet)
        if packet[4] != 6:
            self._sessionless(packet, 14, client)
            return
        kind = packet[5] & 0x3F
        if kind == 0x10:
            self._open_session(packet, client)
            return
        # RAKP messages carry our session id in their body, all else in the header
        where = 20 if kind in (0x12, 0x14) else 6
        identifier = int.from_bytes(packet[where : where + 4], 'little')
        session = self.sessions.get(identifier)
        if session is not None and session.sockaddr == client:
            session.handle(packet, self._clock())
        elif kind == 0 and identifier == 0:
            self._sessionless(packet, 16, client)

    def send(self, packet, client):
        try:
            self.socket.sendto(packet, client)
        except OSError:
            pass  # a full buffer or a client that is gone: datagrams get lost

    def _open_session(self, packet, client):
        for session in list(self.sessions.values()):
            if not session.established and session.sockaddr == client:
                self.forget(session)
        if len(self.sessions) >= MAX_SESSIONS:
            body = bytes((packet[16], 0x01, 0, 0)) + packet[20:24]
            header = bytes((6, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, len(body), 0))
            self.send(_RMCP + header + body, client)
            return
        session = rmcp.ServerSession(self, client, packet[16:], self._clock())
        if session.status == rmcp.OK:
            self.sessions[session.id] = session

    def _sessionless(self, packet, start, client):
        """The two commands that need no session: sections 22.13 and 22.15."""
        message = packet[start:]
        if len(message) < 7 or message[1] >> 2 != 6:
            return
        if message[5] == 0x38:
            kg_set = 0x20 if self.credentials.kg else 0
            data = bytes((1, 0x80, kg_set | 0x04, 0x02, 0, 0, 0, 0))
        elif message[5] == 0x54 and len(message) >= 9:
            data = b'\x01' + self._cipher_suites(message[8] & 0x3F)
        else:
            return
        answer = bytearray((message[3], (7 << 2) | (message[4] & 3)))
        answer.append(-sum(answer) & 0xFF)
        body = bytes((message[0], (message[4] & 0xFC) | (message[1] & 3), message[5], OK)) + data
        answer += body + bytes((-sum(body) & 0xFF,))
        if start == 14:
            header = bytes(9) + bytes((len(answer),))
        else:
            header = b'\x06' + bytes(9) + len(answer).to_bytes(2, 'little')
        self.send(_RMCP + header + answer, client)

    def _cipher_suites(self, index):
        """The ``index``th 16 bytes of the cipher suite records, table 22-18."""
        records = b''
        for suite in sorted(self.suites):
            authentication, integrity, confidentiality = rmcp.SUITES[suite]
            records += bytes(
                (0xC0, suite, authentication, 0x40 | integrity, 0x80 | confidentiality)
            )
        return records[index * 16 : index * 16 + 16]

    # -- sessions ----------------------------------------------------------------------------

    def forget(self, session):
        """End a session, and SOL with it if it held that."""
        if self.sol is not None and self.sol.session is session:
            self._end_sol()
        self.sessions.pop(session.id, None)

    def restart(self):
        """The BMC itself starts anew: its sessions are gone, the machine behind it runs on."""
        self._end_sol()
        self.sessions.clear()
        self.silent = False

    def tick(self, now):
        """Do what is due.  :param now: seconds of the clock."""
        if now >= self._reap_at:
            self._reap_at = now + REAP_INTERVAL
            for session in [s for s in self.sessions.values() if now - s.seen > rmcp.IDLE]:
                self.forget(session)
        if self.sol is not None and not self.sol.tick(now):
            self._end_sol()
        self.machine.tick(now)

    # -- commands ----------------------------------------------------------------------------

    def command(self, session, key, data):
        """:param key: (network function, command).  :param data: bytes of the request."""
        handler, privilege = _COMMANDS.get(key, (None, USER))
        if handler is None:
            session.send_ipmi_response(code=INVALID_COMMAND)
        elif session.clientpriv < privilege:
            session.send_ipmi_response(code=PRIVILEGE)
        else:
            try:
                code, answer = handler(self, session, data)
            except IndexError:
                code, answer = TOO_SHORT, b''
            session.send_ipmi_response(data=answer, code=code)
            if key == (6, 0x48) and code == OK:
                self.sol = sol.Sol(session, self.machine.typed, self.machine.send_break)

    def _device_id(self, session, data):
        return OK, bytes((0x20, 1, 1, 0, 2, 0x84, 0, 0, 0, 0, 0))

    def _cold_reset(self, session, data):
        self.restart()
        return OK, b''

    def _system_guid(self, session, data):
        return OK, self.uuid.bytes_le

    def _chassis_status(self, session, data):
        identify = _IDENTIFY_ON if self._clock() < self._identify_until else 0
        return OK, bytes((int(self.machine.on), 0, _IDENTIFY_SUPPORTED | identify))

    def _chassis_control(self, session, data):
        """Section 28.3."""
        action = data[0] & 0x0F
        if action in (2, 3) and not self.machine.on:
            return WRONG_STATE, b''
        actions = {
            0: (self.machine.power_off, sel.POWER_OFF),
            1: (self.machine.power_on, sel.POWER_UP),
            2: (self.machine.power_cycle, sel.POWER_CYCLE),
            3: (self.machine.reset, sel.HARD_RESET),
            4: (self.machine.interrupt, sel.DIAGNOSTIC_INTERRUPT),
            5: (self.machine.shut_down, sel.POWER_OFF),
        }
        if action not in actions:
            return INVALID_FIELD, b''
        act, event = actions[action]
        act()
        self.sel.add(event)
        return OK, b''

    def _identify(self, session, data):
        """Section 28.5: seconds (15 if not given), then "for ever"."""
        seconds = float('inf') if data[1:2] == b'\x01' else data[0] if data else 15
        self._identify_until = self._clock() + seconds
        return OK, b''

    def _set_boot_options(self, session, data):
        """Section 28.12; parameter 5 holds the boot flags (table 28-14)."""
        parameter = data[0] & 0x7F
        if parameter == 5:
            if len(data) < 6:
                return TOO_SHORT, b''
            self._boot_flags = bytearray(data[1:6])
        return (OK if parameter <= 5 else PARAMETER_UNSUPPORTED), b''

    def _get_boot_options(self, session, data):
        parameter = data[0] & 0x7F
        values = {0: b'\0', 1: b'\0', 2: b'\0', 3: b'\0', 4: b'\0\0', 5: bytes(self._boot_flags)}
        if parameter not in values:
            return PARAMETER_UNSUPPORTED, b''
        return OK, bytes((1, parameter)) + values[parameter]

    def _boot(self):
        """The device a boot takes; flags that are not persistent hold for one boot."""
        valid, device = self._boot_flags[0] & _BOOT_VALID, self._boot_flags[1] >> 2 & 0x0F
        if not self._boot_flags[0] & _BOOT_PERSISTENT:
            self._boot_flags[0] &= ~_BOOT_VALID
        return BOOT_DEVICES.get(device, 'other') if valid else 'default'

    # -- SOL ---------------------------------------------------------------------------------

    def _activate_payload(self, session, data):
        """Section 24.1.  The SOL session itself begins once the answer is out."""
        if data[0] & 0x3F != sol.PAYLOAD_TYPE or data[1] & 0x0F != 1:
            return INVALID_FIELD, b''
        if self.sol is not None:
            return ALREADY, b''
        size = sol.PACKET_DATA.to_bytes(2, 'little')
        return OK, bytes(4) + size + size + self.port.to_bytes(2, 'little') + b'\xff\xff'

    def _deactivate_payload(self, session, data):
        """Section 24.2: ends whoever holds it."""
        if self.sol is None:
            return ALREADY, b''
        self._end_sol(tell=self.sol.session is not session)
        return OK, b''

    def _payload_status(self, session, data):
        return OK, bytes((1, int(self.sol is not None), 0))

    def _payload_instance(self, session, data):
        holder = self.sol.session.id if self.sol is not None else 0
        return OK, holder.to_bytes(4, 'little') + bytes(8)

    def _payload_support(self, session, data):
        return OK, bytes((0x03, 0, 0, 0, 0, 0, 0, 0))

    def _sol_parameter(self, session, data):
        """Section 26.3, table 26-5."""
        values = {
            0: b'\x00',
            1: b'\x01',
            2: bytes((ADMINISTRATOR,)),
            3: bytes((12, 96)),
            4: bytes((6, 10)),
            5: b'\x0a',
            6: b'\x0a',
            7: b'\x01',
            8: self.port.to_bytes(2, 'little'),
        }
        if data[1] not in values:
            return PARAMETER_UNSUPPORTED, b''
        return OK, b'\x11' + values[data[1]]

    def _say(self, data):
        if self.sol is not None:
            self.sol.write(data)

    def _end_sol(self, tell=False):
        if self.sol is not None:
            self.sol.end(tell)
            self.sol = None


_COMMANDS = {
    (0x00, 0x01): (Bmc._chassis_status, USER),
    (0x00, 0x02): (Bmc._chassis_control, OPERATOR),
    (0x00, 0x04): (Bmc._identify, OPERATOR),
    (0x00, 0x08): (Bmc._set_boot_options, OPERATOR),
    (0x00, 0x09): (Bmc._get_boot_options, OPERATOR),
    (0x06, 0x01): (Bmc._device_id, USER),
    (0x06, 0x02): (Bmc._cold_reset, ADMINISTRATOR),
    (0x06, 0x37): (Bmc._system_guid, USER),
    (0x06, 0x48): (Bmc._activate_payload, OPERATOR),
    (0x06, 0x49): (Bmc._deactivate_payload, OPERATOR),
    (0x06, 0x4A): (Bmc._payload_status, USER),
    (0x06, 0x4B): (Bmc._payload_instance, USER),
    (0x06, 0x4E): (Bmc._payload_support, USER),
    (0x0A, 0x40): (lambda bmc, session, data: bmc.sel.info(), USER),
    (0x0A, 0x42): (lambda bmc, session, data: bmc.sel.reserve(), USER),
    (0x0A, 0x43): (lambda bmc, session, data: bmc.sel.entry(data), USER),
    (0x0A, 0x47): (lambda bmc, session, data: bmc.sel.clear(data), OPERATOR),
    (0x0A, 0x48): (lambda bmc, session, data: bmc.sel.time(), USER),
    (0x0C, 0x22): (Bmc._sol_parameter, OPERATOR),
}
