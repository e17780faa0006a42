"""The simulated BMCs against ipmitool, which shares no code with them."""

import contextlib
import os
import pty
import re
import subprocess
import time

import pytest

from obmd.testing.fleet import Fleet

pytestmark = pytest.mark.needs('ipmitool')


@pytest.fixture(scope='module')
def fleet():
    with Fleet(2, suite='both', rate=5, power_on=True, boot_delay=0.3, soft_off=1) as fleet:
        yield fleet


def command_line(info, *words, suite=3, user=None):
    return [
        *('ipmitool', '-I', 'lanplus', '-H', info['addr'], '-p', str(info['port'])),
        *('-U', user or info['user'], '-E', '-C', str(suite), '-R', '2', '-N', '1', *words),
    ]


def ipmitool(info, *words, password=None, **options):
    """:returns: (exit status, standard output and error)."""
    done = subprocess.run(
        command_line(info, *words, **options),
        env=os.environ | {'IPMI_PASSWORD': password or info['pass']},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=30,
    )
    return done.returncode, done.stdout


def power(info, suite=3):
    code, said = ipmitool(info, 'chassis', 'power', 'status', suite=suite)
    assert code == 0, said
    return said.split()[-1]


def wait_for(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@contextlib.contextmanager
def sol(info, suite=3):
    """``ipmitool sol activate`` on a terminal; gives a callable that reads until a pattern."""
    terminal, other = pty.openpty()
    process = subprocess.Popen(
        command_line(info, 'sol', 'activate', suite=suite),
        env=os.environ | {'IPMI_PASSWORD': info['pass']},
        stdin=other,
        stdout=other,
        stderr=other,
    )
    os.close(other)
    seen = bytearray()

    def read_until(pattern, seconds=10):
        end = time.monotonic() + seconds
        while not re.search(pattern, seen):
            assert time.monotonic() < end, seen.decode(errors='replace')
            try:
                seen.extend(os.read(terminal, 4096))
            except OSError:
                pytest.fail(f'ipmitool ended: {seen.decode(errors="replace")}')
        return bytes(seen)

    read_until.write = lambda data: os.write(terminal, data)
    try:
        yield read_until
    finally:
        process.terminate()
        process.wait(5)
        os.close(terminal)
        ipmitool(info, 'sol', 'deactivate')


@pytest.mark.parametrize('suite', [3, 17])
def test_power_goes_off_and_on(fleet, suite):
    info = fleet.info(0)
    for state in ('off', 'on'):
        assert ipmitool(info, 'chassis', 'power', state, suite=suite)[0] == 0
        assert power(info, suite) == state


def test_a_soft_off_ends_the_machine_after_its_delay(fleet):
    info = fleet.info(0)
    ipmitool(info, 'chassis', 'power', 'on')
    assert ipmitool(info, 'chassis', 'power', 'soft')[0] == 0
    assert power(info) == 'on'
    wait_for(lambda: power(info) == 'off')
    ipmitool(info, 'chassis', 'power', 'on')


@pytest.mark.parametrize('action', ['reset', 'cycle'])
def test_a_machine_that_is_off_refuses(fleet, action):
    info = fleet.info(0)
    ipmitool(info, 'chassis', 'power', 'off')
    code, said = ipmitool(info, 'chassis', 'power', action)
    assert code != 0
    assert 'not supported in present state' in said
    ipmitool(info, 'chassis', 'power', 'on')


def test_a_power_cycle_comes_back_on(fleet):
    info = fleet.info(0)
    assert ipmitool(info, 'chassis', 'power', 'cycle')[0] == 0
    assert power(info) == 'off'
    wait_for(lambda: power(info) == 'on')


def test_a_persistent_boot_device_stays_and_another_holds_for_one_boot(fleet):
    info = fleet.info(0)

    def flags():
        return ipmitool(info, 'chassis', 'bootparam', 'get', '5')[1]

    ipmitool(info, 'chassis', 'bootdev', 'pxe', 'options=persistent')
    ipmitool(info, 'chassis', 'power', 'reset')
    assert 'Options apply to all future boots' in flags()
    assert 'Boot Flag Valid' in flags()
    assert 'Force PXE' in flags()
    ipmitool(info, 'chassis', 'bootdev', 'disk')
    assert 'apply to only next boot' in flags()
    ipmitool(info, 'chassis', 'power', 'reset')
    assert 'Boot Flag Invalid' in flags()


def test_identify_is_taken(fleet):
    assert ipmitool(fleet.info(0), 'chassis', 'identify', '5')[0] == 0


def test_the_event_log_tells_of_power_changes_and_can_be_cleared(fleet):
    info = fleet.info(1)
    ipmitool(info, 'chassis', 'power', 'off')
    ipmitool(info, 'chassis', 'power', 'on')
    code, said = ipmitool(info, 'sel', 'list')
    assert code == 0
    assert [line.split('|')[4].strip() for line in said.splitlines()] == [
        'Power off/down',
        'Initiated by power up',
    ]
    assert ipmitool(info, 'sel', 'clear')[0] == 0
    wait_for(lambda: 'no entries' in ipmitool(info, 'sel', 'list')[1])


@pytest.mark.parametrize('suite', [3, 17])
def test_the_console_shows_the_boot_and_echoes(fleet, suite):
    info = fleet.info(1)
    ipmitool(info, 'chassis', 'bootdev', 'pxe', 'options=persistent')
    with sol(info, suite) as read_until:
        read_until(rb'SOL Session operational')
        ipmitool(info, 'chassis', 'power', 'reset')
        read_until(rb'SimBIOS [^$]*boot device: network[^$]*node0002 login: [^$]*line 3 ')
        read_until.write(b'uname\r')
        read_until(rb'uname\r\n')


def test_only_one_client_holds_the_console(fleet):
    info = fleet.info(1)
    with sol(info) as read_until:
        read_until(rb'line \d')
        code, said = ipmitool(info, 'sol', 'activate')
        assert code != 0
        assert 'already active on another session' in said


def test_the_console_can_be_had_after_it_was_taken_away(fleet):
    info = fleet.info(1)
    with sol(info) as first:
        first(rb'line \d')
        assert ipmitool(info, 'sol', 'deactivate')[0] == 0
        with sol(info) as second:
            second(rb'line \d')


@pytest.mark.parametrize('suite', [3, 17])
@pytest.mark.parametrize('wrong', [{'password': 'wrong'}, {'user': 'nobody'}])
def test_wrong_credentials_are_refused_at_once(fleet, suite, wrong):
    begin = time.monotonic()
    code, said = ipmitool(fleet.info(0), 'chassis', 'power', 'status', suite=suite, **wrong)
    assert code != 0
    assert 'Unable to establish' in said
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize(('offered', 'refused'), [('3', 17), ('17', 3)])
def test_a_suite_that_is_not_offered_is_refused(offered, refused):
    with Fleet(1, suite=offered) as fleet:
        assert power(fleet.info(0), int(offered)) == 'off'
        assert ipmitool(fleet.info(0), 'chassis', 'power', 'status', suite=refused)[0] != 0


@pytest.mark.parametrize('suite', [3, 17])
def test_a_kg_is_needed_where_there_is_one(suite):
    with Fleet(1, suite='both', kg='a key of its own') as fleet:
        info = fleet.info(0)
        status = ('chassis', 'power', 'status')
        assert ipmitool(info, *status, suite=suite)[0] != 0
        assert ipmitool(info, '-k', 'a key of its own', *status, suite=suite)[0] == 0


def test_an_operator_cannot_be_administrator():
    with Fleet(1, privilege=3, power_on=True) as fleet:
        info = fleet.info(0)
        assert ipmitool(info, 'chassis', 'power', 'status')[0] != 0
        assert ipmitool(info, '-L', 'OPERATOR', 'chassis', 'power', 'off')[0] == 0
        assert ipmitool(info, '-L', 'USER', 'chassis', 'power', 'on')[0] != 0


def test_ipv6_works():
    with Fleet(1, address='::1', power_on=True) as fleet:
        assert power(fleet.info(0)) == 'on'
