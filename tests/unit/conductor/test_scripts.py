"""Whether scripts are run at all; how they run is for the functional tests."""

import pytest

from obmd.common import errors
from obmd.conductor import lease
from obmd.conductor import scripts
from obmd.conductor import spool
from obmd.conf import CONF


@pytest.fixture
def ends():
    return []


@pytest.fixture
def make(tmp_path, ends, monkeypatch):
    monkeypatch.setattr(scripts, 'PATIENCE', 0.0)

    def make(all_in_one=False):
        spools = spool.Spools(str(tmp_path))
        return scripts.Scripts(spools, ends.extend, lease.Lease(10), 'ab' * 16, all_in_one)

    return make


@pytest.fixture
def script():
    return scripts.Script('00000000-0000-0000-0000-000000000001', 3, '/bin/true', (), {}, 60.0)


@pytest.fixture(autouse=True)
def options():
    CONF.clear_override('user', group='actions')
    CONF.clear_override('allow_same_user', group='actions')
    yield
    CONF.clear_override('user', group='actions')
    CONF.clear_override('allow_same_user', group='actions')


def test_a_conductor_refuses_scripts_as_its_own_user(make):
    assert '[actions] user' in make().problem


def test_an_all_in_one_runs_them_as_its_own_user(make):
    assert make(all_in_one=True).problem is None


def test_a_conductor_may_be_told_to(make):
    CONF.set_override('allow_same_user', True, group='actions')
    assert make().problem is None


def test_a_conductor_runs_them_as_another_user(make):
    CONF.set_override('user', 'scripts', group='actions')
    assert make().problem is None


def test_a_script_that_is_refused_ends_with_the_reason(make, script, ends):
    make().run(script)
    assert [(end.position, end.outcome, end.status) for end in ends] == [(3, 'not_started', 126)]
    assert '[actions] user' in ends[0].reason


def test_without_a_fresh_lease_nothing_starts(make, script, ends):
    make(all_in_one=True).run(script)
    assert ends[0].outcome == 'not_started'
    assert 'fenced' in ends[0].reason


def test_without_a_runner_nothing_can_be_said(make):
    with pytest.raises(errors.Unavailable):
        make(all_in_one=True).say('job', 0, 'text')


def test_killing_what_does_not_run_is_harmless(make):
    make(all_in_one=True).kill('job', 0)
