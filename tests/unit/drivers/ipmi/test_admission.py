from obmd.drivers.ipmi.account import Account
from obmd.drivers.ipmi.admission import Admission


class Login:
    def __init__(self, host, password=b'secret'):
        self.account = Account('n', host, 623, b'ADMIN', password)
        self.opened = False

    def open(self):
        self.opened = True


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def enter(admission, count, **kwargs):
    logins = [Login(f'192.0.2.{i}', **kwargs) for i in range(count)]
    for login in logins:
        admission.enter(login)
    return logins


def opened(logins):
    return sum(login.opened for login in logins)


def test_no_more_than_the_cap_are_under_way():
    admission = Admission(lambda: 3, Clock())
    logins = enter(admission, 10)
    assert opened(logins) == 3
    admission.leave(logins[0])
    assert opened(logins) == 4


def test_one_that_gives_up_while_it_waits_takes_no_place():
    admission = Admission(lambda: 1, Clock())
    first, second, third = enter(admission, 3)
    admission.leave(second)
    admission.leave(first)
    assert third.opened
    assert not second.opened


def refuse(admission, count, password=b'secret'):
    for i in range(count):
        admission.refused(Login(f'198.51.100.{i}', password).account)


def test_three_bmcs_that_refuse_a_credential_make_its_logins_go_one_at_a_time():
    admission = Admission(lambda: 100, Clock())
    refuse(admission, 3)
    logins = enter(admission, 10)
    for done in range(10):
        assert opened(logins) == done + 1
        admission.leave(next(x for x in logins if x.opened and not getattr(x, 'left', False)))
        logins[done].left = True


def test_two_do_not_and_one_bmc_counts_once():
    admission = Admission(lambda: 100, Clock())
    refuse(admission, 2)
    refuse(admission, 2)
    assert opened(enter(admission, 10)) == 10


def test_another_credential_is_not_slowed():
    admission = Admission(lambda: 100, Clock())
    refuse(admission, 3, password=b'old')
    assert opened(enter(admission, 10)) == 10


def test_after_a_quiet_minute_all_go_together_again():
    clock = Clock()
    admission = Admission(lambda: 100, clock)
    refuse(admission, 3)
    logins = enter(admission, 10)
    assert opened(logins) == 1
    clock.now = 61
    admission.leave(logins[0])
    assert opened(logins) == 10


def test_nothing_is_kept_of_credentials_that_nobody_uses():
    admission = Admission(lambda: 100, Clock())
    for login in enter(admission, 10):
        admission.leave(login)
    assert not admission._credentials
