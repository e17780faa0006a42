import pytest

from obmd.cmd import conductor_service
from obmd.common import errors

OWN = 'http://127.0.0.1:8381'


def test_by_default_it_is_the_listeners_own():
    assert conductor_service.callback_url(OWN) == OWN


@pytest.mark.parametrize(
    'url',
    [
        'https://conductor-1.example:8381',
        'https://192.0.2.1/behind/a/proxy',
        'http://127.0.0.1:1',
        'http://[::1]:8381',
        'http://localhost',
    ],
)
def test_what_may_be(conf, url):
    conf('conductor', callback_url=url)
    assert conductor_service.callback_url(OWN) == url


@pytest.mark.parametrize(
    'url', ['http://192.0.2.1:8381', 'http://0.0.0.0:80', 'http://[2001:db8::1]']
)
def test_plain_http_off_loopback_needs_insecure(conf, url):
    conf('conductor', callback_url=url)
    with pytest.raises(errors.Fatal, match='plain http'):
        conductor_service.callback_url(OWN)
    conf('conductor', insecure=True)
    assert conductor_service.callback_url(OWN) == url


@pytest.mark.parametrize(
    'url',
    [
        'conductor:8381',
        'ftp://host/',
        'https://',
        'https:///path',
        'https://host:port',
        'https://host:99999',
        'https://[::1',
        'https://me:hunter2@host',
        'https://host/?query=1',
        'https://host/#fragment',
        'javascript:alert(1)',
    ],
)
def test_what_may_not_be_is_one_line_without_a_password(conf, url):
    conf('conductor', callback_url=url)
    with pytest.raises(errors.Fatal, match='callback_url') as fatal:
        conductor_service.callback_url(OWN)
    assert 'hunter2' not in fatal.value.reason


def test_a_listener_on_the_network_needs_a_callback_url_that_is_safe():
    with pytest.raises(errors.Fatal):
        conductor_service.callback_url('http://192.0.2.1:8381')


@pytest.mark.parametrize('listen', [':8381', '0.0.0.0:8381', '[::]:8381'])
def test_a_listener_on_every_address_must_say_which_one_viewers_use(conf, listen):
    conf('conductor', listen=listen, insecure=True)
    with pytest.raises(errors.Fatal, match='callback_url'):
        conductor_service.callback_url(OWN)
