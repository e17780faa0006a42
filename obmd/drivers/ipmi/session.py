"""One RMCP+ session: pyghmi's packet format and login, without its sockets, threads and waiting.

:class:`Rmcp` is fed with packets, sends packets and calls its owner back.  It never waits.  What
pyghmi's class does in a login stays pyghmi's (``_send_rakp1`` and so on); who reads, who waits,
what is sent again and what a refusal means is said here.

``pyghmi_pin`` lists every private name of pyghmi that is used.

Sections and tables are those of the IPMI 2.0 specification.
"""

import collections
import hashlib
import struct

from pyghmi.ipmi.private import constants
from pyghmi.ipmi.private import session as pyghmi_session
from pyghmi.ipmi.private.util import get_ipmi_error

from obmd.common import errors

#: seconds before a packet is sent again: the first pause (up to twice that, at random), what it
#: grows by, and the longest
RETRY, RETRY_GROWTH, RETRY_MAX = 0.25, 1.4, 1.5
#: logins begun anew because the BMC does not know a session any more
RESTARTS = 5
#: seconds in which a BMC that is not slow answers
QUICK = 0.05
#: the longest first pause in the login of a BMC that takes its time
PATIENCE_MAX = 3.0
#: how often one packet of a login is sent again before the login is begun anew
REPEATS = 2
#: seconds without progress after which a login begins anew at the first packet (a slow BMC gets
#: two of its pauses more)
STALL = 5.0

ADMINISTRATOR, OPERATOR = 4, 3
#: RMCP+ status codes, table 13-15
_CREDENTIALS = (0x0C, 0x0D)
_ROLE = (0x09, 0x0A, 0x0D)
_ALGORITHM = (0x03, 0x04, 0x05, 0x06, 0x07, 0x10, 0x11, 0x12)
_STALE = (0x02, 0x08)
#: algorithm numbers of the suites: authentication, integrity (tables 13-17, 13-18)
_ALGORITHMS = {3: (1, 1), 17: (3, 4)}
#: pyghmi looks at the third field for its server side
_NOT_QUEUED = (None, None, None)


class Rmcp(pyghmi_session.Session):
    """:param owner: told what becomes of a login, from the hub: ``answered(session)`` at the first
        packet (it then calls :meth:`open` when it is this login's turn), ``stalled(session)``
        when a login begins anew, ``ready(session)`` and ``refused(session, error)``.

    :param account: :class:`~obmd.drivers.ipmi.account.Account`.
    :param reactor: where packets and timers come from.
    :param family, peer: as ``Reactor.resolve`` returned them.
    :param suite, privilege: what this BMC took last, or None.
    """

    def __new__(cls, *_args, **_kwargs):
        return object.__new__(cls)

    def __init__(self, owner, account, reactor, family, peer, suite=None, privilege=None):
        self.owner = owner
        self.account = account
        self.reactor = reactor
        self.peer = peer
        self.suite = account.cipher_suite or suite or 17
        self.autopriv = account.privilege is None
        self.privlevel = account.privilege or privilege or ADMINISTRATOR
        self.heard_at = self.sent_at = reactor.now()
        self.on_sol = None
        self._timer = None
        self._asked_first_at = self._asked_at = self._progress_at = reactor.now()
        self._patience = RETRY
        self._sending_again = False
        self._upkeep = False
        self._repeats = self._restarts = self._stage = 0
        self._answer = None
        self._on_answer = None
        self._set_what_pyghmi_reads()
        self.link = reactor.attach(self, family, peer)

    def _set_what_pyghmi_reads(self):
        account = self.account
        self.bmc, self.port = account.host, account.port
        self.userid, self.password = account.user, account.password
        self.kgo, self.kg = account.kg, account.kg or account.password
        self.nameonly = 16  # look the user up by name, table 13-11
        self.maxtimeout = self.logontries = 1
        self.servermode = self.broken = False
        self.incommand = self.awaitingresponse = False
        self.logging, self.sessioncontext = True, None
        self.onlogpayload = self.onlogpayloadtype = self._customkeepalives = None
        self.last_payload_type = None
        self.request_entry = []
        self.pendingpayloads = collections.deque()

    # -- login ----------------------------------------------------------------------------------

    def login(self):
        """Ask who is there; the rest follows in :meth:`open`."""
        self._initsession()
        self._asked_first_at = self.reactor.now()
        self._get_channel_auth_cap()

    def open(self):
        """The BMC has answered and it is our turn: log in."""
        self._restarts = self._stage = 0
        self._progress_at = self.reactor.now()
        self._begin()

    @property
    def opening(self):
        """bool: the BMC has answered and the login is under way."""
        return bool(self.logging and self.sessioncontext)

    def _begin(self):
        """Start over with a session id of its own, so that answers to what went before are told
        from answers to this."""
        self._initsession()
        self.ipmiversion = 2.0
        self._open_rmcpplus_request()

    def _initsession(self):
        self._disarm()
        super()._initsession()
        self.localsid = 1 + int(self.reactor.random() * 0xFFFFFF00)
        self.sockaddr = self.peer
        self.attemptedhash = 256 if self.suite == 17 else 1
        self._on_answer = self._answer = None
        self.request_entry.clear()

    def _progress(self, stage):
        """A stage that was reached before in this login is none."""
        if stage > self._stage:
            self._stage, self._progress_at = stage, self.reactor.now()

    def _got_channel_auth_cap(self, response):
        self._disarm()
        # A BMC that takes its time here will take more of it over the keys.  An answer right
        # after a repeat rather says that the packets before were lost.
        now = self.reactor.now()
        if (took := now - self._asked_at) > QUICK:
            took = max(now - self._asked_first_at, 2 * took)
        self._patience = min(PATIENCE_MAX, max(RETRY, took))
        data = response['data']
        # table 22-15: extended capabilities, and IPMI 2.0 among them
        if response['code'] or len(data) < 4 or not (data[1] & 0x80 and data[3] & 0x02):
            self._fail(errors.BmcRefused, 'it does not offer IPMI 2.0 on this channel')
        else:
            self.owner.answered(self)

    def _got_rmcp_response(self, data):
        if self.sessioncontext != 'OPENSESSION' or data[0] != self.rmcptag:
            return
        if data[1]:
            self._open_refused(data[1])
        elif struct.unpack('<I', bytes(data[4:8]))[0] == self.localsid:
            if self._takes_other_suite(data):
                self._fail(errors.BmcRefused, f'it does not take cipher suite {self.suite}')
                return
            self._progress(1)
            super()._got_rmcp_response(data)

    def _open_refused(self, status):
        if status in _ALGORITHM and not self.account.cipher_suite and self.suite == 17:
            self.suite = 3
            self._begin()
        else:
            self._refused(status)

    def _takes_other_suite(self, data):
        """Some BMCs answer with other algorithms than were proposed (table 13-10)."""
        if len(data) < 36:
            return False
        chosen = (data[16] & 0x3F, data[24] & 0x3F)
        if chosen == _ALGORITHMS[self.suite]:
            return False
        if self.account.cipher_suite or chosen != _ALGORITHMS[3]:
            return True
        self.suite, self.attemptedhash = 3, 1
        self.currhashlib, self.currhashlen = hashlib.sha1, 12
        return False

    def _got_rakp2(self, data):
        if self.sessioncontext != 'EXPECTINGRAKP2' or data[0] != self.rmcptag:
            return
        if data[1]:
            self._refused(data[1])
        else:
            self._progress(2)
            super()._got_rakp2(data)

    def _got_rakp4(self, data):
        if self.sessioncontext != 'EXPECTINGRAKP4' or data[0] != self.rmcptag:
            return
        if data[1] == 0x0F and self._restarts < RESTARTS:
            # RAKP 2 has shown that the password is right.  It has seen a repeated RAKP 1 and
            # answered both with other random numbers.
            self._restarts += 1
            self._begin_slower()
        elif data[1]:
            self._refused(data[1])
        else:
            self._progress(3)
            super()._got_rakp4(data)

    def onlogon(self, parameter):
        """pyghmi's word that a key does not match; everything else is judged before."""
        if self.sessioncontext == 'FAILED':
            self._fail(errors.CredentialsRefused, 'the password is wrong')
        else:
            which = 'K_g is wrong' if self.account.kg else 'it has a K_g and none is given'
            self._fail(errors.CredentialsRefused, which)

    def _refused(self, status):
        words = constants.rmcp_codes.get(status, f'RMCP+ status {status:#04x}')
        if status in _STALE and self._restarts < RESTARTS:
            self._restarts += 1
            self._begin()
        elif status in _ROLE and self.autopriv and self.privlevel == ADMINISTRATOR:
            self.privlevel = OPERATOR
            self._begin()
        elif status in _CREDENTIALS:
            self._fail(errors.CredentialsRefused, f'login refused: {words}')
        else:
            self._fail(errors.BmcRefused, f'login refused: {words}')

    def _relog(self):
        self._begin()

    def _req_priv_level(self):
        self.logged = 1
        # Set Session Privilege Level, section 22.18
        self.request(6, 0x3B, (self.privlevel,), self._got_priv_level)

    def _got_priv_level(self, response):
        code, data = response['code'], response['data']
        if code in (0x80, 0x81) and self.autopriv and self.privlevel == ADMINISTRATOR:
            self.privlevel = OPERATOR
            self._req_priv_level()
        elif code:
            self._fail(errors.BmcRefused, f'privilege level refused: {verdict(response)}')
        elif data and data[0] & 0x0F < self.privlevel and not self.autopriv:
            self._fail(errors.BmcRefused, f'it grants privilege level {data[0] & 0x0F} only')
        else:
            self.logging = False
            self.owner.ready(self)

    def _fail(self, cls, text):
        self.end()
        self.owner.refused(self, self.account.error(cls, text))

    # -- packets --------------------------------------------------------------------------------

    def feed(self, packet):
        """:param packet: bytes, from the BMC, with our session id or none."""
        self._handle_ipmi_packet(bytearray(packet), self.sockaddr, _NOT_QUEUED)
        # Only now: whoever is called sends the next request, and pyghmi would take that for
        # the one just answered.
        answer, self._answer = self._answer, None
        if answer is not None:
            on_answer, self._on_answer = self._on_answer, None
            on_answer(answer)

    def _parse_ipmi_payload(self, payload):
        self.heard_at = self.reactor.now()
        return super()._parse_ipmi_payload(payload)

    def _sol_packet(self, payload):
        self.heard_at = self.reactor.now()
        if self.on_sol is not None:
            self.on_sol(bytes(payload))

    def _xmit_packet(self, retry=True, delay_xmit=None, timeout=None):
        if self.broken:
            return
        if self.sequencenumber:
            self.sequencenumber += 1
        self._asked_at = self.reactor.now()
        self.link.send(self.netpacket, self.sockaddr, self._upkeep)
        if retry:
            self._arm()

    def _arm(self):
        if self._sending_again:
            self.timeout = max(self.timeout, min(RETRY_MAX, self.timeout * RETRY_GROWTH))
        else:
            self._repeats = 0
            first = self._patience if self.opening else RETRY
            self.timeout = first * (1 + self.reactor.random())
        self._disarm()
        self._timer = self.reactor.call_later(self.timeout, self._timedout)

    def _disarm(self):
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _timedout(self):
        if self.opening:
            if self.reactor.now() - self._progress_at > STALL + 2 * self._patience:
                self._initsession()
                self.owner.stalled(self)
                if not self.broken:
                    self.login()
                return
            if self._repeats == REPEATS and self.sessioncontext != 'ESTABLISHED':
                if self.sessioncontext == 'OPENSESSION' and not self.account.cipher_suite:
                    self.suite = 3  # it may not even answer a proposal that it does not know
                self._begin_slower()
                return
        self._repeats += 1
        self._sending_again = True
        try:
            if self.lastpayload:
                self.send_payload()
        finally:
            self._sending_again = False

    def _begin_slower(self):
        self._patience = min(PATIENCE_MAX, 2 * self._patience)
        self._begin()

    # -- in the session -------------------------------------------------------------------------

    def request(self, netfn, command, data, on_answer, again=True, upkeep=False):
        """Send a command; one at a time.

        :param data: sequence of int.
        :param on_answer: called from the hub with ``{'netfn', 'command', 'code', 'data'}``.
        :param again: bool, send it again until it is answered or given up.
        :param upkeep: bool, as of :func:`obmd.drivers.gate.allows`.
        """
        self.give_up()
        self._upkeep = upkeep
        self.sent_at = self.reactor.now()
        self._on_answer = on_answer
        self.ipmicallback = self._answered
        self._send_ipmi_net_payload(netfn, command, data, retry=again)

    def _answered(self, response):
        self._disarm()
        self._answer = response

    def give_up(self):
        """Forget the command on its way: an answer that is late must not be taken for another's."""
        self._disarm()
        self._on_answer = self._answer = self.lastpayload = None
        if self.request_entry:
            self.request_entry.clear()
            self.seqlun = (self.seqlun + 1) & 0x3F

    def send_sol(self, payload):
        """Send a SOL packet at once: pyghmi would queue it behind the command on its way."""
        waiting, self.lastpayload = self.lastpayload, None
        upkeep, self._upkeep = self._upkeep, True
        try:
            self.send_payload(payload, constants.payload_types['sol'], retry=False)
        finally:
            self.lastpayload, self._upkeep = waiting, upkeep

    def listen_sol(self, on_sol):
        """:param on_sol: called from the hub with each SOL payload (bytes), or None."""
        self.on_sol = on_sol
        self.sol_handler = self._sol_packet if on_sol else None

    def tell(self, netfn, command, data):
        """Send a command once and listen to no answer."""
        if self.logged and not self.broken:
            self.give_up()
            self._upkeep = False
            self._send_ipmi_net_payload(netfn, command, data, retry=False)
            self.give_up()

    def say_goodbye(self):
        """Close Session (section 22.19) without waiting, and :meth:`end`."""
        self.tell(6, 0x3C, struct.pack('<I', self.sessionid))
        self.end()

    def end(self):
        """No packet comes or goes any more."""
        self.give_up()
        self.broken, self.logged, self.logging = True, 0, False
        self.listen_sol(None)
        self.reactor.detach(self, self.link, self.peer)

    def _mark_broken(self, error=None):
        self.end()

    def logout(self, sessionok=True):
        """pyghmi's sends Deactivate Payload, which ends whoever holds SOL: never call that."""
        self.end()


def verdict(response):
    """:returns: str, what the BMC says with a completion code, in the specification's words."""
    code, netfn = response['code'], response['netfn']
    text = get_ipmi_error({'code': code, 'command': response['command'], 'netfn': netfn})
    return f'{text} (code {code:#04x})'
