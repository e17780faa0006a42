"""The application for other WSGI servers is built late, once, and again after a failure."""

import webtest

from obmd.api import wsgi
from obmd.common import errors
from tests.unit.api.conftest import error


def test_it_is_built_once_with_the_first_request(api):
    built = []

    def build():
        built.append(1)
        return api.application

    lazy = webtest.TestApp(wsgi._Lazy(build))
    assert built == []
    lazy.get('/healthz', status=200)
    lazy.get('/healthz', status=200)
    assert built == [1]


def test_a_start_that_fails_is_503_without_the_reason_and_tried_again(api):
    outcomes = [errors.Fatal('/etc/obmd/key: missing'), api.application]

    def build():
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    lazy = webtest.TestApp(wsgi._Lazy(build))
    response = lazy.get('/healthz', status=503)
    assert 'missing' not in error(response)['reason']
    lazy.get('/healthz', status=200)


def test_importing_it_reads_nothing():
    assert wsgi.application._app is None
