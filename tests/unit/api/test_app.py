"""What every answer has, and what no answer may have."""

import re

import pytest

from obmd.api import app as api_app
from obmd.api import errors as api_errors
from obmd.api import groups
from obmd.common import errors


def test_every_answer_has_a_request_id(api, node):
    numbers = set()
    for path, status in (('/healthz', 200), ('/nope', 404), ('/node/n1/console', 401)):
        response = api.app.get(path, status=status)
        number = response.headers['X-Openstack-Request-Id']
        assert re.fullmatch('req-[0-9a-f-]{36}', number)
        numbers.add(number)
    assert len(numbers) == 3


def test_an_empty_200_stays_200(api, admin):
    assert api.app.delete('/node/n1', headers=admin).status_int == 200


def test_a_stream_reaches_the_server_as_it_is(api, node):
    from tests.unit.api.conftest import offer

    made = offer(b'x')
    api.conductor.answers['open_console'] = made
    environ = api.app.RequestClass.blank(f'/node/n1/console?token={node}').environ
    assert api.application(environ, lambda *args: None) is made.stream


def test_proxy_headers_count_only_where_a_proxy_is_configured(api, admin, conf):
    headers = {
        **admin,
        'Origin': 'https://obmd.example.org',
        'X-Forwarded-Host': 'obmd.example.org',
    }
    api.app.delete('/node/n1', headers=headers, status=403)
    conf('oslo_middleware', enable_proxy_headers_parsing=True)
    api.app.app = api_app.make_app(api.services)
    api.app.delete('/node/n1', headers=headers, status=200)


def test_every_kind_of_error_has_a_status_or_is_internal():
    kinds = {cls.kind for cls in _all(errors.ObmdError)} - {'internal', 'fatal'}
    assert kinds <= set(api_errors.STATUS)


def _all(cls):
    return [cls, *(deeper for sub in cls.__subclasses__() for deeper in _all(sub))]


@pytest.mark.parametrize(
    ('address', 'group'),
    [
        ('10.1.2.3', 'rack1'),
        ('10.1.2.3:623', 'rack1'),
        ('10.1.9.1', 'shelf'),
        ('10.2.0.1', 'ten'),
        ('[2001:db8:2::1]:623', 'six'),
        ('2001:db8:2::1', 'six'),
        ('[2001:db8:2::1]', 'six'),
        ('192.0.2.1', 'rest'),
        ('bmc.example.org', 'rest'),
        ('bmc.example.org:623', 'rest'),
        ('', 'rest'),
        (':', 'rest'),
    ],
)
def test_the_longest_network_gives_the_group(conf, address, group):
    networks = ['10.0.0.0/8:ten', '10.1.0.0/16:rack1', '10.1.9.0/24:shelf', '2001:db8:2::/48:six']
    conf(group_by_network=networks, default_group='rest')
    assert groups.group_of(address) == group


@pytest.mark.parametrize('pair', ['10.0.0.0/99:x', 'nonsense', '10.0.0.1/8:x', ':x'])
def test_a_network_that_is_none_is_fatal(conf, pair):
    conf(group_by_network=[pair])
    with pytest.raises(errors.Fatal):
        groups.group_of('10.0.0.1')
