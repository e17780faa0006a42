"""The server's end of an RMCP+ session: cipher suites 3 and 17, RAKP, K_g, privilege limits.

pyghmi brings the framing and the encryption; its own server accepts any proposal as SHA-1 and is
silent where a BMC refuses, so the key exchange is here.  IPMI 2.0 sections 13.17 to 13.24 and
13.31 to 13.32.
"""

import hashlib
import hmac
import os
import struct

from pyghmi.ipmi.private import constants
from pyghmi.ipmi.private import serversession
from pyghmi.ipmi.private import session

#: cipher suite -> (authentication, integrity, confidentiality algorithm); table 22-20
SUITES = {3: (1, 1, 1), 17: (3, 4, 1)}
#: authentication algorithm -> (hash, bytes of an integrity check value); sections 13.28, 13.28.4
_HASHES = {1: (hashlib.sha1, 12), 3: (hashlib.sha256, 16)}
#: seconds after which a BMC forgets a silent session; section 6.12.15
IDLE = 60.0

# RMCP+ status codes, table 13-15
OK = 0x00
ROLE_REFUSED = 0x0A
NAME_REFUSED = 0x0D
CHECK_VALUE_WRONG = 0x0F
NO_SUITE = 0x11

_RANDOM_BYTES = 16


def proposed_suite(request, offered):
    """Which of ``offered`` an Open Session Request asks for.

    :param request: bytes of the payload; section 13.17.
    :param offered: iterable of suite numbers, the best first.
    :returns: int, or None.
    """
    # a length of 0 leaves the choice to the BMC
    asked = [request[s + 4] & 0x3F if request[s + 3] else None for s in (8, 16, 24)]
    for suite in offered:
        if all(a in (None, b) for a, b in zip(asked, SUITES[suite], strict=True)):
            return suite
    return None


class ServerSession(serversession.ServerSession):
    """One client's session with one BMC.

    :param bmc: the BMC: ``credentials``, ``suites``, ``uuid``, ``socket``, ``sessions``.
    :param client: the client's socket address.
    :param request: bytes, its Open Session Request.
    """

    def __new__(cls, bmc, client, request, now):
        return object.__new__(cls)

    def __init__(self, bmc, client, request, now):
        self.seen = now
        self.established = False
        self.sol_handler = None
        self.last_payload_type = None
        self.clientpriv = 2
        self.status = NO_SUITE
        super().__init__(None, None, client, bmc.socket, request, bmc.uuid, bmc)
        # pyghmi keeps sessions by client address for ever; a BMC keeps them by their id
        session.Session.bmc_handlers.pop(client, None)

    @property
    def id(self):
        """int, the session id that this BMC gave; clients put it into every packet."""
        return int.from_bytes(self.managedsessionid, 'little')

    @property
    def client_id(self):
        return bytes(self.clientsessionid)

    def handle(self, packet, now):
        """Take a packet of this session.  :param packet: bytearray, RMCP header included."""
        self.seen = now
        self._handle_ipmi_packet(packet, sockaddr=self.sockaddr)

    # -- Open Session, RAKP ------------------------------------------------------------------

    def create_open_session_response(self, request):
        self.managedsessionid = os.urandom(4)
        self.clientsessionid = request[4:8]
        suite = proposed_suite(request, self.bmc.suites)
        if suite is None:
            return bytearray((request[0], NO_SUITE, 0, 0)) + self.clientsessionid
        self.status = OK
        algorithms = SUITES[suite]
        self.currhashlib, self.currhashlen = _HASHES[algorithms[0]]
        response = bytearray((request[0], OK, self.bmc.credentials.privilege, 0))
        response += self.clientsessionid + self.managedsessionid
        for kind, algorithm in enumerate(algorithms):
            response += bytes((kind, 0, 0, 8, algorithm, 0, 0, 0))
        return response

    def _got_rmcp_openrequest(self, data):
        """A repeated request: the BMC opens a new session for it, this one goes stale."""

    def _got_rakp1(self, data):
        if self.established:
            return
        self._remote_random = bytes(data[8 : 8 + _RANDOM_BYTES])
        self._random = os.urandom(_RANDOM_BYTES)
        self._role = data[24]
        self.maxpriv = self._role & 0x0F
        name = bytes(data[28 : 28 + data[27]])
        self._role_and_name = bytes((self._role, len(name))) + name
        credentials = self.bmc.credentials
        if not hmac.compare_digest(name, credentials.user):
            self._send_status('rakp2', data[0], NAME_REFUSED)
            return
        if self.maxpriv > credentials.privilege:
            self._send_status('rakp2', data[0], ROLE_REFUSED)
            return
        proof = self._hmac(
            credentials.password,
            self.client_id + self.managedsessionid + self._remote_random + self._random,
            self.uuid.bytes + self._role_and_name,
        )
        self._send(
            'rakp2',
            bytes((data[0], OK, 0, 0)) + self.client_id + self._random + self.uuid.bytes + proof,
        )

    def _got_rakp3(self, data):
        if self.established or data[1] != OK or not hasattr(self, '_random'):
            return
        credentials = self.bmc.credentials
        proof = self._hmac(credentials.password, self._random + self.client_id, self._role_and_name)
        if not hmac.compare_digest(proof, bytes(data[8:])):
            self._send_status('rakp4', data[0], CHECK_VALUE_WRONG)
            return
        sik = self._hmac(
            credentials.kg or credentials.password,
            self._remote_random + self._random,
            self._role_and_name,
        )
        self.k1 = self._hmac(sik, b'\x01' * 20)
        self.k2 = self._hmac(sik, b'\x02' * 20)
        self.aeskey = self.k2[:16]
        check = self._hmac(sik, self._remote_random + self.managedsessionid + self.uuid.bytes)
        self._send('rakp4', bytes((data[0], OK, 0, 0)) + self.client_id + check[: self.currhashlen])
        self._establish()

    def _establish(self):
        self.established = True
        self.confalgo = 'aes'
        self.integrityalgo = 'hmac'
        self.sequencenumber = 1
        self.sessionid = struct.unpack('<I', self.client_id)[0]
        self.localsid = self.id
        self.ipmicallback = self.handle_client_request

    def _hmac(self, key, *data):
        return hmac.new(key, b''.join(data), self.currhashlib).digest()

    def _send(self, payload, data):
        self.send_payload(data, constants.payload_types[payload], retry=False)

    def _send_status(self, payload, tag, status):
        self._send(payload, bytes((tag, status, 0, 0)) + self.client_id)

    # -- commands ----------------------------------------------------------------------------

    def handle_client_request(self, request):
        key = request['netfn'], request['command']
        if key == (6, 0x3B):
            self._set_privilege(request['data'])
        elif key == (6, 0x3C):
            self.send_ipmi_response()
            self.bmc.forget(self)
        else:
            self.bmc.command(self, key, bytes(request['data']))

    def _set_privilege(self, data):
        """Set Session Privilege Level, section 22.18; 0 only asks."""
        asked = data[0] & 0x0F if data else 0
        if asked > min(self.maxpriv, self.bmc.credentials.privilege):
            self.send_ipmi_response(code=0x81)
            return
        if asked > 1:
            self.clientpriv = asked
        self.send_ipmi_response(data=[self.clientpriv])

    def _xmit_packet(self, retry=True, delay_xmit=None, timeout=None):
        """pyghmi's makes the socket blocking and keeps timers for clients."""
        if self.sequencenumber:
            self.sequencenumber += 1
        self.bmc.send(self.netpacket, self.sockaddr)
