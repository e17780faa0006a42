"""One BMC: one session that is held and reused, one command at a time.

Callers are green threads; everything that comes from the network or from a timer runs in the hub
and only wakes them.  A login is shared by all who wait for it and goes on as long as somebody
does; each waits no longer than its own deadline.
"""

import collections
import logging
import weakref

from obmd.common import errors
from obmd.common import exposition
from obmd.common import metrics
from obmd.common import threads
from obmd.conf import CONF
from obmd.drivers import base
from obmd.drivers import gate
from obmd.drivers.ipmi import reactor as reactor_module
from obmd.drivers.ipmi.admission import Admission
from obmd.drivers.ipmi.session import Rmcp
from obmd.drivers.ipmi.session import verdict

LOG = logging.getLogger(__name__)

#: completion codes (table 5-2) after which the same command may succeed: node busy; and, if it
#: may be carried out twice: timeout while processing, duplicated request
NODE_BUSY, TIMEOUT, DUPLICATE = 0xC0, 0xC3, 0xCF
#: seconds before a busy BMC is asked again: the first pause and the longest
BUSY_PAUSE, BUSY_PAUSE_MAX = 0.1, 1.0
#: part of the time left, and most seconds, that the first try on a held session may take: the BMC
#: may have restarted and know nothing of it
FIRST_TRY, FIRST_TRY_MAX = 0.4, 2.0
#: seconds of silence after which a session counts as lost; a hurried caller proves nothing
PROOF = 0.8

#: what a BMC answers: completion code (int), data (bytes), the session it came on, words (str)
Answer = collections.namedtuple('Answer', 'code data session words')

_admissions = weakref.WeakKeyDictionary()


def admission(reactor):
    """:returns: the :class:`Admission` that all BMCs of ``reactor`` share."""
    if reactor not in _admissions:
        _admissions[reactor] = Admission(lambda: CONF.ipmi.max_logins, reactor.now)
        exposition.watch('ipmi', _tell)
    return _admissions[reactor]


def _tell():
    """Set the states for ``/metrics``."""
    metrics.SESSIONS.set(sum(one.sessions for one in _admissions.values()))
    metrics.LOGINS.set(sum(one.logins for one in _admissions.values()))
    metrics.LOGINS_WAITING.set(sum(one.waiting for one in _admissions.values()))


class Bmc:
    """:param account: :class:`~obmd.drivers.ipmi.account.Account`.

    :ivar console: None, or who is told ``session_lost(session, error)`` when the session ends.
    :ivar lost_sol: what ``sol`` keeps of a console whose session was lost.
    """

    def __init__(self, account, reactor=None):
        self.account = account
        self.reactor = reactor or reactor_module.get()
        self.console = None
        self.lost_sol = None
        self._admission = admission(self.reactor)
        self._session = None
        self._login = None
        self._login_waiters = {}
        self._taken = (None, None)
        self._refusal = None
        self._heard = None
        self._aborted = None
        self._turn = Turn()
        self._waiting = set()
        self._keepalive = None

    # -- for callers ----------------------------------------------------------------------------

    def call(self, netfn, command, data=(), *, deadline, idempotent=True, prepare=None):
        """As :meth:`command`, for an answer that must be yes.

        :raises BmcRefused: with the BMC's words.
        """
        answer = self.command(
            netfn, command, data, deadline=deadline, idempotent=idempotent, prepare=prepare
        )
        if answer.code:
            raise self.account.error(errors.BmcRefused, answer.words)
        return answer

    def command(self, netfn, command, data=(), *, deadline, idempotent=True, prepare=None):
        """Send a command and wait for its answer; a busy BMC is asked again.

        :param idempotent: bool; False for what must not happen twice: it is sent once.
        :param prepare: called with the session just before the command goes out.
        :returns: :class:`Answer`.
        :raises: BmcSilent, BmcRefused, CredentialsRefused; OutcomeUnknown if not idempotent.
        """
        again = (NODE_BUSY, TIMEOUT, DUPLICATE) if idempotent else (NODE_BUSY,)
        pause = BUSY_PAUSE
        while True:
            answer = self._exchange(netfn, command, data, deadline, idempotent, prepare)
            if answer.code not in again or deadline.remaining <= pause:
                return answer
            self.sleep(pause)
            pause = min(BUSY_PAUSE_MAX, 2 * pause)

    def sleep(self, seconds):
        """Wait; ends early only by :meth:`abort`."""
        try:
            self._wait(self.reactor.waiter(), seconds)
        except TimeoutError:
            pass

    def background(self, netfn, command, data, timeout, on_answer):
        """From the hub: send a command if the BMC is free and has a session.

        :param on_answer: called from the hub with an :class:`Answer`, or with None if none came in
            ``timeout`` seconds; the session is then lost already.
        :returns: bool, whether it was sent.
        """
        session = self._session
        if session is None or self._turn.taken or self._pace() > 0:
            return False
        if not gate.allows(upkeep=True):
            return False
        self._turn.taken = True

        def answered(response):
            timer.cancel()
            self._turn.release()
            on_answer(_answer(response, session))

        def expired():
            session.give_up()
            self.drop(session, self.account.silent('its session does not answer any more'))
            self._turn.release()
            on_answer(None)

        timer = self.reactor.call_later(timeout, expired)
        session.request(netfn, command, data, answered, upkeep=True)
        return True

    @property
    def reachability(self):
        """As of ``base.Driver``; a session that is held is one that answers."""
        return base.REACHABLE if self._session is not None else self._heard

    def reopen(self):
        """The credentials are to be tried again."""
        self._refusal = None

    def abort(self, error):
        """Wake everybody who waits for this BMC, now and from now on, with ``error``."""
        self._aborted = error
        for waiter in list(self._waiting):
            waiter.throw(_copy(error))

    def close(self, deadline):
        """Log out, for good: the BMC has few sessions to give.  Never raises."""
        error = self.account.error(errors.Unavailable, 'the node is being let go')
        self.abort(self._aborted or error)
        self._login_waiters.clear()
        if self._login is not None:
            login, self._login = self._login, None
            self._admission.leave(login)
            login.end()
        if self._session is not None:
            self.drop(self._session, error)

    # -- one command ----------------------------------------------------------------------------

    def _exchange(self, netfn, command, data, deadline, idempotent, prepare):
        """One command, on the held session and, if that is silent, once more on a new one."""
        held = self._session is not None and idempotent
        while True:
            if not gate.allows():
                raise self.account.error(errors.Unavailable, 'it may not be asked now')
            session = self.session(deadline)
            self._take_turn(deadline)
            try:
                if session is not self._session:
                    continue
                if prepare is not None:
                    prepare(session)
                patience = deadline.remaining
                if held:
                    part = max(PROOF, min(FIRST_TRY * patience, FIRST_TRY_MAX))
                    patience, held = min(patience, part), False
                response = self._ask(session, netfn, command, data, patience, idempotent)
                if response is not None:
                    return _answer(response, session)
                silent = patience >= PROOF and session.heard_at <= session.sent_at
                if silent and gate.allows():  # else it may not even have been asked
                    self.drop(session, self.account.silent())
            finally:
                self._turn.release()
            if not idempotent:
                text = 'no answer to a command that may have been carried out'
                raise self.account.error(errors.OutcomeUnknown, text)
            if deadline.expired:
                raise self.account.silent()

    def _ask(self, session, netfn, command, data, patience, idempotent):
        waiter = self.reactor.waiter()
        session.request(netfn, command, data, waiter.send, again=idempotent)
        try:
            return self._wait(waiter, patience)
        except TimeoutError:
            return None
        finally:
            if not waiter.ready:
                session.give_up()

    def _take_turn(self, deadline):
        """First come, first served; then what is left of ``[ipmi] min_interval``."""
        try:
            self._turn.take(self.reactor.waiter, lambda w: self._wait(w, deadline.remaining))
        except TimeoutError:
            raise self.account.silent('busy with other commands till the deadline') from None
        try:
            if (pause := self._pace()) > 0:
                self.sleep(min(pause, deadline.remaining))
        except BaseException:
            self._turn.release()
            raise

    def _pace(self):
        """:returns: seconds until the next command may go out; 0 or less for now."""
        if self._session is None or not CONF.ipmi.min_interval:
            return 0
        return self._session.sent_at + CONF.ipmi.min_interval - self.reactor.now()

    def _wait(self, waiter, seconds):
        self._check()
        self._waiting.add(waiter)
        try:
            return waiter.wait(seconds)
        finally:
            self._waiting.discard(waiter)

    def _check(self):
        if self._aborted is not None:
            raise _copy(self._aborted)

    # -- the session ----------------------------------------------------------------------------

    def session(self, deadline):
        """:returns: the session, logged in now if there is none.

        :raises: BmcSilent, BmcRefused, CredentialsRefused.
        """
        self._check()
        if self._session is not None:
            return self._session
        if self._refusal is not None:
            raise _copy(self._refusal)
        waiter = self.reactor.waiter()
        self._login_waiters[waiter] = None
        try:
            if self._login is None:
                self._start_login()
            return self._wait(waiter, deadline.remaining)
        except TimeoutError:
            self._heard = base.SILENT
            raise self.account.silent() from None
        finally:
            self._login_waiters.pop(waiter, None)
            self._end_idle_login()

    def drop(self, session, error):
        """The session is of no use any more; the next command logs in."""
        if self._session is session:
            self._session = None
            self._heard = base.heard(error)
            self._admission.sessions -= 1
            self._stop_keepalive()
        session.say_goodbye()
        console, self.console = self.console, None
        if console is not None:
            console.session_lost(session, error)

    def _start_login(self):
        found = self.reactor.literal(self.account.host, self.account.port)
        if found is not None:
            self._log_in(*found)
        else:
            self._login = _Resolving(self.account)
            threads.spawn(self._resolve, self._login)

    def _resolve(self, resolving):
        try:
            found = self.reactor.resolve(self.account.host, self.account.port)
        except (OSError, UnicodeError) as error:
            if self._login is resolving:
                self.refused(resolving, self.account.silent(f'its name is unknown: {error}'))
        else:
            if self._login is resolving:
                self._log_in(*found)

    def _log_in(self, family, peer):
        self._login = Rmcp(self, self.account, self.reactor, family, peer, *self._taken)
        self._login.login()

    def _end_idle_login(self):
        """Nobody waits any more: leave a BMC that is silent, finish with one that answers."""
        if self._login is not None and not self._login_waiters and not self._login.opening:
            login, self._login = self._login, None
            self._admission.leave(login)
            login.end()

    # What a login tells us, from the hub

    def answered(self, session):
        self._admission.enter(session)

    def stalled(self, session):
        self._admission.leave(session)
        self._end_idle_login()

    def ready(self, session):
        self._admission.leave(session)
        self._login, self._session = None, session
        self._admission.sessions += 1
        self._taken = (session.suite, session.privlevel)
        self._start_keepalive(session)
        waiters, self._login_waiters = self._login_waiters, {}
        for waiter in waiters:
            waiter.send(session)

    def refused(self, session, error):
        self._admission.leave(session)
        self._login, self._heard = None, base.heard(error)
        if isinstance(error, errors.CredentialsRefused):
            self._refusal = error
            self._admission.refused(self.account)
        LOG.info('%s', error.reason)
        waiters, self._login_waiters = self._login_waiters, {}
        for waiter in waiters:
            waiter.throw(_copy(error))

    # -- keeping it alive -----------------------------------------------------------------------

    def _start_keepalive(self, session):
        self._stop_keepalive()
        pause = CONF.ipmi.keepalive_interval * (1 - self.reactor.random() / 4)
        self._keepalive = self.reactor.call_later(pause, self._keep_alive, session, pause)

    def _keep_alive(self, session, pause):
        left = session.sent_at + pause - self.reactor.now()
        if left > 0:
            self._keepalive = self.reactor.call_later(left, self._keep_alive, session, pause)
            return
        self._start_keepalive(session)
        # Get Device ID, section 20.1: every BMC has it and it touches nothing
        self.background(6, 0x01, (), CONF.ipmi.probe_timeout, lambda answer: None)

    def _stop_keepalive(self):
        if self._keepalive is not None:
            self._keepalive.cancel()
            self._keepalive = None


class Turn:
    """One at a time, in the order of coming."""

    def __init__(self):
        self.taken = False
        self._queue = collections.OrderedDict()

    def take(self, make_waiter, wait):
        """:param wait: called with a waiter if the turn is taken; what it raises is passed on."""
        if not self.taken:
            self.taken = True
            return
        waiter = make_waiter()
        self._queue[waiter] = None
        try:
            wait(waiter)
        except BaseException:
            if waiter in self._queue:
                del self._queue[waiter]
            else:
                self.release()  # it came while we were leaving
            raise

    def release(self):
        if self._queue:
            self._queue.popitem(last=False)[0].send()
        else:
            self.taken = False


class _Resolving:
    """Stands for a login while the BMC's name is looked up."""

    opening = False

    def __init__(self, account):
        self.account = account

    def end(self):
        pass


def _answer(response, session):
    code = response['code']
    words = verdict(response) if code else ''
    return Answer(code, bytes(response['data']), session, words)


def _copy(error):
    """One error may not be raised in many threads: its traceback would grow with each."""
    return type(error)(error.reason, error.node, error.retry_after)
