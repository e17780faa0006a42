import os
import stat

import pytest

from obmd.cmd import serve
from obmd.common import errors
from obmd.common import secrets
from obmd.conf import CONF


@pytest.fixture
def state(conf, tmp_path):
    conf(None, state_path=str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ('address', 'cert', 'url'),
    [
        (('127.0.0.1', 80), None, 'http://127.0.0.1:80'),
        (('0.0.0.0', 80), None, 'http://127.0.0.1:80'),
        (('::', 80, 0, 0), None, 'http://[::1]:80'),
        (('192.0.2.1', 443), '/c', 'https://192.0.2.1:443'),
        (('2001:db8::1', 443, 0, 0), '/c', 'https://[2001:db8::1]:443'),
    ],
)
def test_the_url_of_a_listener_can_be_reached_from_here(conf, address, cert, url):
    conf('api', tls_cert=cert)
    assert serve.url_of(CONF.api, address) == url


@pytest.mark.parametrize('group', ['api', 'conductor'])
def test_plain_http_off_loopback_is_refused_for_every_listener(conf, group):
    conf(group, listen='0.0.0.0:0')
    with pytest.raises(errors.Fatal, match='plain HTTP'):
        serve.check(CONF[group])
    conf(group, insecure=True)
    assert serve.check(CONF[group]) is None


def test_a_certificate_that_cannot_be_read_is_refused(conf, tmp_path):
    conf('api', tls_cert=str(tmp_path / 'no'), tls_key=str(tmp_path / 'no'))
    with pytest.raises(errors.Fatal, match='certificate'):
        serve.check(CONF.api)


def test_a_port_in_use_is_refused_by_name(conf):
    conf('api', listen='127.0.0.1:0')
    with serve.bind(CONF.api) as sock:
        port = sock.getsockname()[1]
        conf('api', listen=f'127.0.0.1:{port}')
        with pytest.raises(errors.Fatal, match=f'127.0.0.1:{port} is in use'):
            serve.bind(CONF.api)


def test_a_state_folder_that_cannot_be_made_is_refused(conf, tmp_path):
    (tmp_path / 'file').touch()
    conf(None, state_path=str(tmp_path / 'file' / 'state'))
    with pytest.raises(errors.Fatal, match='state_path cannot be used'):
        serve.make_state_folder()


def test_the_all_in_one_makes_its_admin_token_once(state):
    path, first = serve.own_admin_token()
    assert path == str(state / 'admin-token')
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert serve.own_admin_token() == (path, first)
    with open(path) as file:
        assert secrets.token_hash(file.read().strip()) == first


def test_the_all_in_one_makes_its_keys_once(state):
    keyring, public = serve.own_keys()
    assert keyring.public.key_id == public.key_id
    again, _ = serve.own_keys()
    assert again.key_ids == keyring.key_ids


def test_half_a_pair_of_keys_is_refused_and_not_replaced(state):
    serve.own_keys()
    private, public = secrets.key_paths()
    os.unlink(private)
    with pytest.raises(errors.Fatal):
        serve.own_keys()
    assert not os.path.exists(private)
