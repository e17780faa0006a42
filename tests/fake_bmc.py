"""A scripted IPMI 2.0 BMC for tests: what a real one does wrong, on demand.

Written from the specification and sharing no code with pyghmi, so that the two check each other;
cipher suites 3 and 17.  :class:`FakeBmc` is the protocol (bytes in, bytes out),
:class:`UdpBmc` the same on a UDP port of its own.
"""

import hashlib
import hmac
import os
import select
import socket
import struct
import threading
import time

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.ciphers import modes

RMCP = b'\x06\x00\xff\x07'
GUID = bytes(range(16))
#: authentication and integrity algorithm, hash, bytes of an integrity check value
SUITES = {3: (1, 1, hashlib.sha1, 12), 17: (3, 4, hashlib.sha256, 16)}


class Session:
    def __init__(self, console_sid, bmc_sid, suite):
        self.console_sid, self.bmc_sid, self.suite = console_sid, bmc_sid, suite
        self.active = False
        self.sequence = 0
        self.random = os.urandom(16)

    def hash(self, key, *parts):
        return hmac.new(key, b''.join(parts), SUITES[self.suite][2]).digest()

    def agree(self, console_random, identity, k_uid, kg):
        self.console_random, self.identity, self.k_uid = console_random, identity, k_uid
        self.sik = self.hash(kg, console_random, self.random, identity)
        self.k1, self.k2 = (self.hash(self.sik, bytes([n]) * 20) for n in (1, 2))

    def seal(self, kind, payload):
        """An encrypted and authenticated packet to the console (table 13-8)."""
        self.sequence += 1
        pad = -(len(payload) + 1) % 16
        iv = os.urandom(16)
        aes = Cipher(algorithms.AES(self.k2[:16]), modes.CBC(iv)).encryptor()
        plain = payload + bytes(range(1, pad + 1)) + bytes([pad])
        body = iv + aes.update(plain) + aes.finalize()
        head = struct.pack('<BBIIH', 6, 0xC0 | kind, self.console_sid, self.sequence, len(body))
        packet = head + body
        fill = -(len(packet) + 2) % 4
        packet += b'\xff' * fill + bytes([fill, 7])
        return RMCP + packet + self.hash(self.k1, packet)[: SUITES[self.suite][3]]

    def open(self, packet):
        """:returns: the payload (bytes) or None if the integrity check fails."""
        size = SUITES[self.suite][3]
        if self.hash(self.k1, packet[4:-size])[:size] != packet[-size:]:
            return None
        length = struct.unpack_from('<H', packet, 14)[0]
        body = packet[16 : 16 + length]
        aes = Cipher(algorithms.AES(self.k2[:16]), modes.CBC(body[:16])).decryptor()
        plain = aes.update(body[16:]) + aes.finalize()
        return plain[: -1 - plain[-1]]


class FakeBmc:
    """:ivar commands: list of (netfn, command, data) that were carried out, logins aside.

    :ivar script: dict (netfn, command) -> list of completion codes or callables(data) returning
        bytes (code and data) or None for no answer; used up first in, first out.
    """

    def __init__(self, user=b'ADMIN', password=b'secret', kg=None, suites=(17, 3), level=4):
        self.user, self.password, self.kg = user, password, kg or password
        self.suites, self.level = suites, level
        self.sessions = {}
        self.commands, self.script, self.packets = [], {}, 0
        self.kinds = []
        self.on = False
        self.power_delay, self._power_due = 0, None
        self.boot_flags = b''
        self.sol = None
        self.sol_sequence = 0
        self.acknowledged = []
        self.log = []
        self.clock = time.monotonic

    def restart(self):
        self.sessions.clear()
        self.sol = None

    def handle(self, packet):
        """:returns: list of packets (bytes) to answer with."""
        self.packets += 1
        if packet[:1] != b'\x06' or packet[3:4] != b'\x07' or len(packet) < 16:
            return []
        if packet[4] == 0:
            return self._sessionless(packet[14:])
        kind = packet[5] & 0x3F
        self.kinds.append(kind)
        if kind in (0x10, 0x12, 0x14):
            answer = {0x10: self._open, 0x12: self._rakp1, 0x14: self._rakp3}[kind](packet[16:])
            if answer is None:
                return []
            head = struct.pack('<BBIIH', 6, kind + 1, 0, 0, len(answer))
            return [RMCP + head + answer]
        session = self.sessions.get(struct.unpack_from('<I', packet, 6)[0])
        payload = session.open(packet) if session and session.active else None
        if payload is None:
            return []
        if kind == 1:
            if payload[1] & 0xF:
                self.acknowledged.append((payload[1] & 0xF, payload[2]))
            return []
        answer = self._message(payload, session)
        return [session.seal(0, answer)] if answer else []

    # -- login ----------------------------------------------------------------------------------

    def _sessionless(self, message):
        if message[5] != 0x38:
            return []
        kg = 0x20 if self.kg != self.password else 0
        data = bytes([0, 1, 0x80, 0x04 | kg, 0x02, 0, 0, 0, 0])
        answer = self._envelope(message, data)
        return [RMCP + struct.pack('<BIIB', 0, 0, 0, len(answer)) + answer]

    def _open(self, data):
        console_sid = struct.unpack_from('<I', data, 4)[0]
        wanted = (data[12] & 0x3F, data[20] & 0x3F)
        suite = next((s for s in self.suites if SUITES[s][:2] == wanted), None)
        if suite is None:
            return bytes([data[0], 0x11, 0, 0]) + data[4:8]
        bmc_sid = struct.unpack('<I', os.urandom(4))[0] | 1
        self.sessions[bmc_sid] = Session(console_sid, bmc_sid, suite)
        return (
            bytes([data[0], 0, self.level, 0]) + struct.pack('<II', console_sid, bmc_sid) + data[8:]
        )

    def _rakp1(self, data):
        session = self.sessions.get(struct.unpack_from('<I', data, 4)[0])
        if session is None:
            return bytes([data[0], 2, 0, 0, 0, 0, 0, 0])
        if session.active:
            return None
        sid = struct.pack('<I', session.console_sid)
        role, name = data[24], data[28 : 28 + data[27]]
        if name != self.user:
            return bytes([data[0], 0x0D, 0, 0]) + sid
        if role & 0xF > self.level:
            return bytes([data[0], 0x09, 0, 0]) + sid
        identity = bytes([role, len(name)]) + name
        session.random = os.urandom(16)
        session.agree(data[8:24], identity, self.password, self.kg)
        code = session.hash(
            self.password,
            struct.pack('<II', session.console_sid, session.bmc_sid),
            session.console_random,
            session.random,
            GUID,
            identity,
        )
        return bytes([data[0], 0, 0, 0]) + sid + session.random + GUID + code

    def _rakp3(self, data):
        session = self.sessions.get(struct.unpack_from('<I', data, 4)[0])
        if session is None or not hasattr(session, 'sik'):
            return bytes([data[0], 2, 0, 0, 0, 0, 0, 0])
        sid = struct.pack('<I', session.console_sid)
        code = session.hash(session.k_uid, session.random, sid, session.identity)
        if code != data[8:]:
            return bytes([data[0], 0x0F, 0, 0]) + sid
        session.active = True
        bmc_sid = struct.pack('<I', session.bmc_sid)
        check = session.hash(session.sik, session.console_random, bmc_sid, GUID)
        return bytes([data[0], 0, 0, 0]) + sid + check[: SUITES[session.suite][3]]

    # -- commands -------------------------------------------------------------------------------

    def _message(self, message, session):
        netfn, command, data = message[1] >> 2, message[5], bytes(message[6:-1])
        if (netfn, command) not in ((6, 0x3B), (6, 0x3C)):
            self.commands.append((netfn, command, data))
        step = self.script.get((netfn, command))
        if step:
            step = step.pop(0)
            answer = step(data) if callable(step) else bytes([step])
        else:
            answer = self._carry_out(netfn, command, data, session)
        return None if answer is None else self._envelope(message, answer)

    def _envelope(self, message, answer):
        head = bytes([message[3], (message[1] & 0xFC) + 4])
        body = bytes([message[0], message[4], message[5]]) + answer
        return head + bytes([-sum(head) & 0xFF]) + body + bytes([-sum(body) & 0xFF])

    def _carry_out(self, netfn, command, data, session):
        if netfn == 0 and self._power_due and self.clock() >= self._power_due[0]:
            self.on, self._power_due = self._power_due[1], None
        match netfn, command:
            case 0, 0x01:
                return bytes([0, self.on, 0, 0])
            case 0, 0x02:
                return self._power(data[0])
            case 0, 0x08:
                if data[0] == 5:
                    self.boot_flags = data[1:]
                return b'\0'
            case 6, 0x01:
                return bytes(12)
            case 6, 0x3B:
                return bytes([0x80 if data[0] > self.level else 0, data[0]])
            case 6, 0x3C:
                self.sessions.pop(struct.unpack('<I', data)[0], None)
                return b'\0'
            case 6, 0x48:
                if self.sol is not None and self.sol in self.sessions.values():
                    return b'\x80'
                self.sol, self.sol_sequence = session, 0
                return bytes([0, 0, 0, 0, 0, 0xFF, 0, 0xFF, 0, 0x6F, 2, 0xFF, 0xFF])
            case 6, 0x49:
                self.sol = None
                return b'\0'
            case 6, 0x4B:
                holder = self.sol.bmc_sid if self.sol else 0
                return b'\0' + struct.pack('<I', holder) + bytes(8)
            case 6, 0x3D:
                address = bytes([192, 0, 2, 7]) + bytes(6) + struct.pack('<H', 4711)
                return bytes([0, 1, 4, 2, 2, 4, 1]) + address
            case 10, 0x40:
                return b'\0\x51' + struct.pack('<H', len(self.log)) + bytes(11)
            case 10, 0x43:
                return self._log_entry(struct.unpack_from('<H', data, 2)[0])
        return b'\xc1'

    def _power(self, action):
        if action in (2, 3, 4, 5) and not self.on:
            return b'\xd5'
        state = {0: False, 1: True, 5: False}.get(action)
        if state is not None and self.power_delay:
            self._power_due = (self.clock() + self.power_delay, state)
        elif state is not None:
            self.on = state
        return b'\0'

    def _log_entry(self, record_id):
        ids = [struct.unpack_from('<H', r)[0] for r in self.log]
        wanted = ids[0] if record_id == 0 else ids[-1] if record_id == 0xFFFF else record_id
        if wanted not in ids:
            return b'\xcb'
        at = ids.index(wanted)
        following = ids[at + 1] if at + 1 < len(ids) else 0xFFFF
        return b'\0' + struct.pack('<H', following) + self.log[at]

    def say(self, text, status=0, again=False):
        """:returns: bytes, a SOL packet to the session that holds SOL."""
        if not again:
            self.sol_sequence = self.sol_sequence % 15 + 1
        head = bytes([self.sol_sequence if text else 0, 0, 0, status])
        return self.sol.seal(1, head + text)


class UdpBmc:
    """``bmc`` on a UDP port, for as long as the ``with`` lasts.

    :param fault: callable (bytes, 'in' or 'out') -> list of packets to let through.
    """

    def __init__(self, bmc, fault=None, host='127.0.0.1'):
        self.bmc = bmc
        self.fault = fault or (lambda packet, way: [packet])
        self.peer = None
        self._socket = socket.socket(
            socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_DGRAM
        )
        self._socket.bind((host, 0))
        self.host, self.port = self._socket.getsockname()[:2]
        self._running = True

    def __enter__(self):
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc_info):
        self._running = False
        self._thread.join()
        self._socket.close()

    def send(self, packet):
        self._socket.sendto(packet, self.peer)

    def _serve(self):
        while self._running:
            if not select.select([self._socket], [], [], 0.1)[0]:
                continue
            packet, self.peer = self._socket.recvfrom(2048)
            for taken in self.fault(packet, 'in'):
                for answer in self.bmc.handle(taken):
                    for sent in self.fault(answer, 'out'):
                        self.send(sent)
