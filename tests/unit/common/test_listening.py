"""Addresses, the rule about plain HTTP, and what refuses a start."""

import os
import socket

import pytest

from obmd.common import errors
from obmd.common import listening


@pytest.mark.parametrize(
    ('text', 'address'),
    [
        ('127.0.0.1:8380', ('127.0.0.1', 8380)),
        (':8800', ('', 8800)),
        ('[::1]:80', ('::1', 80)),
        ('[::]:0', ('::', 0)),
        ('obmd.example.org:65535', ('obmd.example.org', 65535)),
        (' localhost:1 ', ('localhost', 1)),
    ],
)
def test_addresses(text, address):
    assert listening.parse_address(text) == address


@pytest.mark.parametrize(
    'text', ['', '8380', 'host', 'host:', 'host:x', '::1:80', 'host:65536', 'host:-1', 'host:٣']
)
def test_what_is_no_address_is_fatal(text):
    with pytest.raises(errors.Fatal, match='is not an address'):
        listening.parse_address(text)


@pytest.mark.parametrize(
    ('host', 'loopback'),
    [
        ('127.0.0.1', True),
        ('127.8.9.10', True),
        ('::1', True),
        ('localhost', True),
        ('', False),
        ('0.0.0.0', False),
        ('::', False),
        ('192.0.2.1', False),
        ('2001:db8::1', False),
    ],
)
def test_loopback(host, loopback):
    assert listening.is_loopback((host, 80)) is loopback


@pytest.mark.parametrize(
    ('host', 'insecure', 'cert', 'key', 'refusal'),
    [
        ('127.0.0.1', False, None, None, None),
        ('', True, None, None, None),
        ('', False, 'c', 'k', None),
        ('127.0.0.1', False, 'c', 'k', None),
        ('', False, None, None, 'plain HTTP on :80 is refused'),
        ('192.0.2.1', False, '', '', 'plain HTTP on 192.0.2.1:80 is refused'),
        ('2001:db8::1', False, '', '', r'plain HTTP on \[2001:db8::1\]:80 is refused'),
        ('127.0.0.1', True, 'c', 'k', '"insecure" is set together'),
        ('', True, 'c', 'k', '"insecure" is set together'),
        ('127.0.0.1', False, 'c', None, 'certificate is set without its key'),
        ('127.0.0.1', True, None, 'k', 'key is set without its certificate'),
    ],
)
def test_plain_http_needs_loopback_or_to_be_wanted(host, insecure, cert, key, refusal):
    if refusal is None:
        listening.check_plaintext((host, 80), insecure, cert, key)
        return
    with pytest.raises(errors.Fatal, match=refusal):
        listening.check_plaintext((host, 80), insecure, cert, key)


def test_a_name_that_does_not_resolve_is_fatal():
    with pytest.raises(errors.Fatal, match='cannot resolve'):
        listening.is_loopback(('no such host', 80))


@pytest.mark.parametrize('content', [None, b'', b'not PEM', b'\xff' * 100])
def test_a_certificate_that_cannot_be_used_is_fatal_and_named(tmp_path, content):
    cert, key = tmp_path / 'cert.pem', tmp_path / 'key.pem'
    if content is not None:
        cert.write_bytes(content)
        key.write_bytes(content)
    with pytest.raises(errors.Fatal) as caught:
        listening.tls_context(str(cert), str(key))
    assert str(cert) in caught.value.reason
    assert '\n' not in caught.value.reason


def test_a_port_in_use_is_fatal_and_named():
    with listening.bind(('127.0.0.1', 0)) as held:
        port = held.getsockname()[1]
        for bind in (listening.bind, listening.reserve):
            with pytest.raises(errors.Fatal, match=f'127.0.0.1:{port} is in use'):
                bind(('127.0.0.1', port))


def test_an_address_that_is_not_ours_is_fatal():
    with pytest.raises(errors.Fatal, match='192.0.2.1:0 cannot be used'):
        listening.bind(('192.0.2.1', 0))


def test_all_addresses_are_both_families():
    with listening.bind(('', 0)) as bound:
        port = bound.getsockname()[1]
        for host in ('127.0.0.1', '::1') if socket.has_dualstack_ipv6() else ('127.0.0.1',):
            socket.create_connection((host, port), 5).close()


def test_workers_share_what_the_parent_reserved():
    with listening.reserve(('127.0.0.1', 0)) as reservation:
        address = reservation.getsockname()
        with pytest.raises(errors.Fatal, match='in use'):
            listening.bind(address)
        with listening.bind(address, reuse_port=True), listening.bind(address, reuse_port=True):
            with pytest.raises(errors.Fatal, match='in use'):
                listening.reserve(address)


def test_nagle_is_off():
    with listening.bind(('127.0.0.1', 0)) as bound:
        with socket.create_connection(bound.getsockname()):
            accepted, _ = bound.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_limit_of_files_is_raised_to_what_is_permitted():
    limit = listening.raise_file_limit()
    assert limit >= 1024 or os.geteuid() != 0
