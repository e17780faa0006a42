"""Who may log in now: a cap on logins under way, and one at a time with a doubtful credential.

Only BMCs that have answered a first packet come here, so a silent one never holds a place.

When three BMCs refuse the same credential within a minute it is probably wrong everywhere (a
password was changed on the fleet): from then on logins with it go one at a time, until a minute
has passed without a refusal.  They do not stop.  Credentials are compared by a hash keyed with a
secret of this process.
"""

import collections
import hashlib
import hmac
import os

#: BMCs that refuse a credential within WINDOW seconds before it is doubtful
DOUBTFUL, WINDOW = 3, 60.0


class _Credential:
    __slots__ = ('active', 'waiting', 'refusals')

    def __init__(self):
        self.active = 0
        self.waiting = collections.OrderedDict()
        self.refusals = {}

    def doubtful(self, now):
        for address in [a for a, at in self.refusals.items() if now - at > WINDOW]:
            del self.refusals[address]
        return len(self.refusals) >= DOUBTFUL

    @property
    def forgettable(self):
        return not (self.active or self.waiting or self.refusals)


class Admission:
    """:param cap: callable giving the number of logins that may be under way.

    A login is any object with ``account`` and ``open()``, called when it may go on.
    """

    def __init__(self, cap, clock):
        self._cap = cap
        self._clock = clock
        self._secret = os.urandom(32)
        self._credentials = {}
        self._admitted = set()
        self._queue = collections.OrderedDict()
        #: sessions that are open; kept by those who have them
        self.sessions = 0

    @property
    def logins(self):
        """Number of logins under way."""
        return len(self._admitted)

    @property
    def waiting(self):
        """Number of logins that wait for their turn."""
        behind = sum(len(credential.waiting) for credential in self._credentials.values())
        return len(self._queue) + behind

    def enter(self, login):
        """Call ``login.open()`` now or when there is room."""
        self._queue[login] = None
        self._admit()

    def leave(self, login):
        """``login`` has ended, or does not want to any more; harmless when it never came."""
        key = self._key(login.account)
        credential = self._credentials.get(key)
        if login in self._admitted:
            self._admitted.discard(login)
            credential.active -= 1
            self._return(credential)
        else:
            self._queue.pop(login, None)
            if credential is not None:
                credential.waiting.pop(login, None)
        if credential is not None and credential.forgettable:
            del self._credentials[key]
        self._admit()

    def refused(self, account):
        """A BMC has refused ``account``'s credential."""
        self._credential(account).refusals[account.address] = self._clock()

    def _return(self, credential):
        """Those who waited for this credential come first again: one, or all if it is good."""
        while credential.waiting:
            login, _ = credential.waiting.popitem(last=False)
            self._queue[login] = None
            self._queue.move_to_end(login, last=False)
            if credential.doubtful(self._clock()):
                return

    def _admit(self):
        while self._queue and len(self._admitted) < self._cap():
            login, _ = self._queue.popitem(last=False)
            credential = self._credential(login.account)
            if credential.active and credential.doubtful(self._clock()):
                credential.waiting[login] = None
                continue
            credential.active += 1
            self._admitted.add(login)
            login.open()

    def _credential(self, account):
        return self._credentials.setdefault(self._key(account), _Credential())

    def _key(self, account):
        digest = hmac.new(self._secret, digestmod=hashlib.blake2b)
        for part in (account.user, account.password, account.kg or b''):
            digest.update(bytes([len(part)]) + part)
        return digest.digest()
