"""Serial over LAN (IPMI 2.0 sections 15 and 24) in the session that commands use too.

A console costs no green thread: packets and timers call it in the hub.  A drop is noticed by a
packet that says so, by a probe while the line is silent, or with the session.
"""

import ipaddress
import struct

from obmd.common import errors
from obmd.conf import CONF
from obmd.drivers import base

APPLICATION = 0x06
ACTIVATE_PAYLOAD, DEACTIVATE_PAYLOAD = 0x48, 0x49
GET_ACTIVATION_STATUS, GET_INSTANCE_INFO = 0x4A, 0x4B
GET_SESSION_INFO = 0x3D
#: payload type 1 (SOL), instance 1
_SOL = (0x01, 0x01)
#: encryption and authentication, table 24-2
_PROTECTED = 0xC0
#: completion code of Activate Payload: active on another session
_ACTIVE_ELSEWHERE = 0x80
#: status bit of a packet from the BMC: SOL deactivated or about to be, table 15-2
_DEACTIVATED = 0x10
#: seconds for which a session of ours that was lost may still hold SOL at the BMC (users report
#: 30 to 60)
_REMEMBERED = 120.0
#: seconds after such a packet before the BMC is asked who holds SOL now: whoever took it
#: activates after it has deactivated us
_SETTLE = 0.3


def open_console(bmc, sink, deadline, takeover, authorise):
    """As :meth:`obmd.drivers.base.Console.open_console`.

    :param authorise: as :meth:`obmd.drivers.base.Driver.authorise`.
    """
    if bmc.console is not None:
        raise bmc.account.error(errors.ConsoleHeld, 'its console is open here already')
    console = SolConsole(bmc, sink, authorise)
    try:
        console.activate(deadline, takeover)
    except BaseException:
        console.end()
        raise
    return console


class SolConsole(base.ConsoleHandle):
    """An active SOL payload.

    :ivar peer: str, our ``address:port`` as the BMC sees it.
    """

    def __init__(self, bmc, sink, authorise):
        self.peer = ''
        self._authorise = authorise
        self._bmc = bmc
        self._sink = sink
        self._session = None
        self._active = self._ended = False
        self._early = []
        self._sequence = self._length = 0
        self._heard_at = 0.0
        self._timer = None
        self._holder = None
        self._knows_holder = True

    # -- opening and closing, in a caller's thread ----------------------------------------------

    def activate(self, deadline, takeover):
        """:raises ConsoleHeld: another client has it, and ``takeover`` is false or did not help."""
        answer, holder = self._activate(deadline), None
        if answer.code == _ACTIVE_ELSEWHERE:
            holder = self._holder_now(deadline)
            if holder == self._own:
                answer = answer._replace(code=0)  # the answer to our first packet was lost
            elif takeover or self._was_ours(holder):
                self._take_over(deadline)
                answer = self._activate(deadline)
        if answer.code == _ACTIVE_ELSEWHERE:
            raise self._held(holder, deadline)
        if answer.code:
            raise self._bmc.account.error(errors.BmcRefused, f'no console: {answer.words}')
        # Whoever holds it now is us, however this BMC writes that down.
        self._holder = self._holder_now(deadline)
        self._bmc.lost_sol = None
        if self._session is None or self._session.broken:
            raise self._bmc.account.silent()
        self._start()

    def _activate(self, deadline):
        self._bmc.session(deadline)  # only who is let in comes near to holding it
        self._sink.opening()
        data = (*_SOL, _PROTECTED, 0, 0, 0)
        return self._bmc.command(
            APPLICATION, ACTIVATE_PAYLOAD, data, deadline=deadline, prepare=self._bind
        )

    def _take_over(self, deadline):
        self._authorise()
        self._deactivate(deadline)

    def _deactivate(self, deadline):
        """Ends SOL for whoever holds it; only right after ``authorise``."""
        self._bmc.command(APPLICATION, DEACTIVATE_PAYLOAD, (*_SOL, 0, 0, 0, 0), deadline=deadline)

    def _bind(self, session):
        """Before the command goes out: data may come with the answer."""
        if self._session is not None and self._session is not session:
            self._session.listen_sol(None)
        self._session = session
        session.listen_sol(self._packet)

    def _start(self):
        session = self._session
        self.peer = session.reactor.local_address(session.link, session.peer)
        self._bmc.console = self
        self._active = True
        early, self._early = self._early, []
        for chunk in early:
            self._sink.data(chunk)
        self._heard()
        self._arm(CONF.ipmi.sol_probe_interval)

    @property
    def _own(self):
        return self._session.sessionid

    def _was_ours(self, holder):
        """A session that we lost may go on at the BMC, with nobody at its other end."""
        ids, at = self._bmc.lost_sol or ((), 0.0)
        return holder in ids and self._bmc.reactor.now() - at < _REMEMBERED

    def _holder_now(self, deadline):
        """:returns: int, id of the session that holds SOL, 0 for none, None if unknown."""
        limit = deadline.within(CONF.ipmi.probe_timeout)
        answer = self._bmc.command(APPLICATION, GET_INSTANCE_INFO, _SOL, deadline=limit)
        return _holder(answer)

    def _held(self, holder, deadline):
        """:returns: ConsoleHeld, naming the other client's address if the BMC tells."""
        who = ''
        if holder:
            request = bytes([0xFF]) + struct.pack('<I', holder)
            limit = deadline.within(CONF.ipmi.probe_timeout)
            try:
                who = _client(
                    self._bmc.command(APPLICATION, GET_SESSION_INFO, request, deadline=limit)
                )
            except errors.ObmdError:
                pass
        return self._held_by(who)

    def _held_by(self, who=''):
        text = f'its console is held by {who or "another client"}'
        return self._bmc.account.error(errors.ConsoleHeld, text)

    def close(self, deadline, deactivate=True):
        session, active = self._session, self._active
        self.end()
        if deactivate and active and not session.broken:
            self._release(session, deadline.within(CONF.ipmi.deadline))

    def _release(self, session, deadline):
        try:
            self._authorise()
        except errors.ObmdError:  # it may be another conductor's by now: leave it alone
            return
        try:
            self._deactivate(deadline)
        except errors.ObmdError:  # nobody may wait any more: say it without waiting
            session.tell(APPLICATION, DEACTIVATE_PAYLOAD, (*_SOL, 0, 0, 0, 0))

    def end(self):
        self._ended, self._active = True, False
        if self._timer is not None:
            self._timer.cancel()
        if self._session is not None:
            self._session.listen_sol(None)
        if self._bmc.console is self:
            self._bmc.console = None

    # -- while it is open, in the hub -----------------------------------------------------------

    def _packet(self, payload):
        """:param payload: bytes: sequence, acknowledged sequence, count, status, characters."""
        if len(payload) < 4:
            return
        sequence, status = payload[0] & 0x0F, payload[3]
        if sequence:
            data = payload[4:]
            # also one that came before: the acknowledgement may have been lost
            self._session.send_sol(bytearray((0, sequence, len(data), 0)))
            if sequence == self._sequence:
                data = data[self._length :]  # sent again, with what has come in since
                self._length += len(data)
            else:
                self._sequence, self._length = sequence, len(data)
            if data:
                self._deliver(data)
        self._heard()
        if status & _DEACTIVATED and self._active:
            self._arm(_SETTLE, self._probe)

    def _deliver(self, data):
        if self._active:
            self._sink.data(data)
        else:
            self._early.append(data)

    def _heard(self):
        self._heard_at = self._bmc.reactor.now()

    def _arm(self, seconds, function=None):
        if self._timer is not None:
            self._timer.cancel()
        spread = 1 - self._bmc.reactor.random() / 5
        self._timer = self._bmc.reactor.call_later(seconds * spread, function or self._tick)

    def _tick(self):
        """The line may be silent because nothing happens, or because it is not ours any more."""
        interval = CONF.ipmi.sol_probe_interval
        silent = self._bmc.reactor.now() - self._heard_at
        if silent < 0.75 * interval:
            self._arm(interval - silent)
        else:
            self._probe()

    def _probe(self):
        command, data = GET_INSTANCE_INFO, _SOL
        if not self._knows_holder:
            command, data = GET_ACTIVATION_STATUS, _SOL[:1]
        timeout = CONF.ipmi.probe_timeout
        if self._bmc.background(APPLICATION, command, data, timeout, self._probed):
            self._timer = None
        else:  # commands have precedence, and prove the session too
            self._arm(min(1.0, CONF.ipmi.sol_probe_interval), self._probe)

    def _probed(self, answer):
        if self._ended or answer is None:  # None: the session is gone and has told us
            return
        if self._knows_holder and answer.code and self._holder is None:
            self._knows_holder = False
            self._probe()
            return
        ours = self._is_ours(answer)
        if ours or ours is None:
            self._heard()
            self._arm(CONF.ipmi.sol_probe_interval)
            return
        holder = _holder(answer) if self._knows_holder else None
        if holder == 0:
            self._lost(self._bmc.account.error(errors.BmcRefused, 'it has ended the console'))
        elif not holder or not self._name(holder):
            self._lost(self._held_by())

    def _is_ours(self, answer):
        """:returns: bool, or None if the BMC does not tell."""
        if answer.code or len(answer.data) < 3:
            return None
        if self._knows_holder:
            return _holder(answer) in (self._own, self._holder)
        return bool(answer.data[1] & 1)  # instance 1 is active, for whomever

    def _name(self, holder):
        """Ask who took it, for the message."""
        request = bytes([0xFF]) + struct.pack('<I', holder)
        return self._bmc.background(
            APPLICATION,
            GET_SESSION_INFO,
            request,
            CONF.ipmi.probe_timeout,
            lambda answer: self._lost(self._held_by(_client(answer))),
        )

    def session_lost(self, session, error):
        """The session under it has ended; :class:`Bmc` calls."""
        if session is self._session:
            ids = {session.sessionid, self._holder} - {0, None}
            self._bmc.lost_sol = (ids, self._bmc.reactor.now())
            self._lost(error)

    def _lost(self, error):
        if not self._ended:
            active = self._active
            self.end()
            if active:
                self._sink.lost(error)


def _holder(answer):
    """Get Payload Instance Info, section 24.5."""
    if answer.code or len(answer.data) < 4:
        return None
    return struct.unpack_from('<I', answer.data)[0]


def _client(answer):
    """Get Session Info (section 22.20).  :returns: str, who has that session, '' if not told."""
    if answer is None or answer.code or len(answer.data) < 6:
        return ''
    if len(answer.data) < 18:  # the part for LAN is missing
        return f'another client (user id {answer.data[3] & 0x3F})'
    port = struct.unpack_from('<H', answer.data, 16)[0]
    return f'{ipaddress.IPv4Address(answer.data[6:10])}:{port}'
