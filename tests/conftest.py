"""What all tests share: programs that a test needs, and no skipping in continuous integration."""

import glob
import os
import shutil

import pytest

CI = os.environ.get('CI', '').lower() in ('1', 'true', 'yes')

#: where Debian keeps what is not on everybody's PATH
_MORE_FOLDERS = ['/usr/sbin', '/sbin', *sorted(glob.glob('/usr/lib/postgresql/*/bin'))]


def find_program(name):
    """:returns: str, the path of a program, or None."""
    path = os.pathsep.join([os.environ.get('PATH', os.defpath), *_MORE_FOLDERS])
    return shutil.which(name, path=path)


def pytest_configure(config):
    config.addinivalue_line(
        'markers', 'needs(program, ...): left out where a program is not installed; fails in CI'
    )
    config.addinivalue_line(
        'markers', 'alone: tools/functional.py runs nothing beside it, because it measures silences'
    )


def pytest_runtest_setup(item):
    for marker in item.iter_markers('needs'):
        missing = [name for name in marker.args if find_program(name) is None]
        if missing:
            pytest.skip(f'{", ".join(missing)} not installed')


@pytest.fixture
def program():
    """``program('initdb')`` gives the path of a program or leaves the test out."""

    def find(name):
        path = find_program(name)
        if path is None:
            pytest.skip(f'{name} not installed')
        return path

    return find


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    return _fail_if_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    return _fail_if_skipped((yield))


def _fail_if_skipped(report):
    """In CI a test that is left out is a failure: it would go unnoticed for ever."""
    if CI and report.outcome == 'skipped' and not hasattr(report, 'wasxfail'):
        reason = report.longrepr
        if isinstance(reason, tuple):
            reason = reason[2]
        report.outcome = 'failed'
        report.longrepr = f'nothing may be left out in CI: {reason}'
    return report
