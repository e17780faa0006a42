"""What scripts can get at: nothing of the service's own.

As root these tests run scripts as another user; otherwise as the user who runs the tests, from
whom only the processes are protected.
"""

import os
import pwd

import pytest

from obmd.conf import CONF
from tests.functional.runner.stage import Stage

ROOT = os.geteuid() == 0
USER = 'nobody' if ROOT else pwd.getpwuid(os.geteuid()).pw_name
SECRET = 'not-for-scripts'


@pytest.fixture(scope='module')
def stage():
    CONF.set_override('user', USER, group='actions')
    os.environ['OBMD_TEST_SECRET'] = SECRET
    with Stage(all_in_one=False) as stage:
        (stage.state / 'secret').write_text(SECRET)
        yield stage
    del os.environ['OBMD_TEST_SECRET']
    CONF.clear_override('user', group='actions')


def test_scripts_run_as_that_user_with_its_groups(stage):
    _, out, _ = stage.run(stage.shell('id -un; id -G'))
    name, groups = out.decode().splitlines()
    account = pwd.getpwnam(USER)
    assert name == USER
    assert {int(g) for g in groups.split()} == set(os.getgrouplist(USER, account.pw_gid))


def test_scripts_have_no_capability(stage):
    _, out, _ = stage.run(stage.shell('grep -E "^Cap(Inh|Prm|Eff|Amb)" /proc/self/status'))
    assert {int(word, 16) for word in out.split()[1::2]} == {0}


def test_the_runner_has_none_either(stage):
    text = 'grep -E "^Cap(Inh|Prm|Eff|Amb)" /proc/$PPID/status'
    _, out, _ = stage.run(stage.shell(text))
    assert {int(word, 16) for word in out.split()[1::2]} == {0}


@pytest.mark.parametrize('what', ['environ', 'mem', 'maps', 'fd/0', 'cwd/', 'auxv'])
def test_a_script_cannot_look_into_the_runner(stage, what):
    """``mem`` is refused to whoever may not trace it: ptrace(2), access mode checks."""
    end, out, err = stage.run(stage.shell(f'cat /proc/$PPID/{what}'))
    assert end.status != 0
    assert out == b''
    assert b'denied' in err


def test_nothing_of_the_services_environment_is_in_a_scripts(stage):
    _, out, _ = stage.run('/usr/bin/env')
    assert SECRET.encode() not in out


def test_nothing_of_the_services_environment_is_in_the_runners(stage):
    with open(f'/proc/{stage.runner}/cmdline', 'rb') as file:
        assert SECRET.encode() not in file.read()
    if ROOT:
        with open(f'/proc/{stage.runner}/environ', 'rb') as file:
            assert file.read() == b''


def test_the_state_of_the_service_is_closed_to_another_user(stage):
    end, out, _ = stage.run(stage.shell(f'cat {stage.state}/secret'))
    assert (end.status == 0, out == SECRET.encode()) == ((False, False) if ROOT else (True, True))


def test_the_output_of_others_is_closed_to_another_user(stage):
    end, _, _ = stage.run(stage.shell(f'ls {stage.state}/jobs'))
    assert (end.status != 0) is ROOT


def test_a_user_that_does_not_exist_is_told_and_other_output_works():
    CONF.set_override('user', 'nonesuch-user', group='actions')
    try:
        with Stage(all_in_one=False) as stage:
            end, _, _ = stage.run('/bin/true')
            assert (end.outcome, end.status) == ('not_started', 126)
            assert "no user 'nonesuch-user'" in end.reason
            assert end.reason == stage.scripts.problem
            job = stage.job()
            stage.scripts.say(job, 0, 'OK\n')
            stage.scripts.end(job, 0, 'exited', 0)
            assert stage.output(job)[0] == b'OK\n'
    finally:
        CONF.clear_override('user', group='actions')


def test_a_conductor_refuses_its_own_user():
    with Stage(all_in_one=False) as stage:
        end, _, _ = stage.run('/bin/true')
    assert end.outcome == 'not_started'
    assert 'allow_same_user' in end.reason


def test_a_conductor_that_is_told_to_runs_scripts_as_its_own_user():
    CONF.set_override('allow_same_user', True, group='actions')
    try:
        with Stage(all_in_one=False) as stage:
            _, out, _ = stage.run('/usr/bin/id', '-u')
        assert int(out) == os.geteuid()
    finally:
        CONF.clear_override('allow_same_user', group='actions')
