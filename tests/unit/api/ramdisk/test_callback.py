"""Which callback URLs are refused, in every spelling that a resolver takes."""

import ipaddress
import socket

import hypothesis
import pytest
from hypothesis import strategies as st

from obmd.api.ramdisk import callback
from obmd.common import errors

GOOD = [
    'https://10.0.0.9',
    'https://10.0.0.9/',
    'https://10.0.0.9:9999',
    'HTTPS://10.0.0.9:9999',
    'https://192.168.1.1:1/a/b?c=d',
    'https://10.0.0.9?x',
    'https://[2001:db8::9]:9999',
    'https://[2001:DB8::9]',
    'https://[fd00::1]:9999/',
    'https://[64:ff9b::10.0.0.9]',
    'https://[64:ff9b:2::127.0.0.1]',
    'https://[::ffff:10.0.0.9]',
    'https://agent.example.org:9999',
    'https://AGENT.example.org.',
    'https://xn--nd-7ka.example.org',
    'https://node_1.rack-2',
    'https://localhost1.example.org',
    'https://127.0.0.1.example.org',
    'https://1e100.net',
    'https://10.0.0.9:65535',
]

NO_URL = [
    '',
    ' ',
    'x',
    '10.0.0.9',
    '//10.0.0.9',
    '/v1',
    'https',
    'https:',
    'https:/10.0.0.9',
    'https:10.0.0.9',
    'https://',
    'https:///',
    'https://:9999',
    'ftp://10.0.0.9',
    'file:///etc/passwd',
    'gopher://10.0.0.9',
    'javascript:alert(1)',
    'data:text/plain,x',
    'httpss://10.0.0.9',
    'xhttps://10.0.0.9',
    'unix:///run/x',
    'https+unix://x',
    'https://user@10.0.0.9',
    'https://user:hunter2@10.0.0.9',
    'https://:@10.0.0.9',
    'https://@10.0.0.9',
    'https://10.0.0.9#@127.0.0.1',
    'https://10.0.0.9\\@127.0.0.1',
    'https://10.0.0.9#fragment',
    ' https://10.0.0.9',
    'https://10.0.0.9 ',
    'https://10.0.0.9\n',
    'https://10.0.0.9\r\nHost: x',
    'https://10.0.0.9/a b',
    'https://10.0.0.9/\t',
    'https://10.0.0.9/\0',
    'https://10.0.0.9/\x7f',
    'https://10.0.0.9/\x1b[2J',
    'https://10.0.0.9/\u2028',
    'https://10.0.0.9/é',
    'https://nodé.example.org',
    'https://１２７.0.0.1',
    'https://127。0。0。1',
    'https://ｌocalhost',
    'https://loc\u0430lhost',
    'https://①②⑦.0.0.1',
    'https://10.0.0.9:',
    'https://10.0.0.9:x',
    'https://10.0.0.9:-1',
    'https://10.0.0.9:0',
    'https://10.0.0.9:65536',
    'https://10.0.0.9:999999',
    'https://10.0.0.9:99:99',
    'https://10.0.0.9:٩',
    'https://%31%32%37.0.0.1',
    'https://10.0.0.9%2f',
    'https://[fe80::1%25eth0]',
    'https://[fe80::1%eth0]',
    'https://[::1',
    'https://::1]',
    'https://::1',
    'https://[]',
    'https://[1]',
    'https://[10.0.0.9]',
    'https://[v1.x]',
    'https://[::1]x',
    'https://[::1::]',
    'https://.',
    'https://..',
    'https://a..b',
    'https://.a',
    'https://10.0.0.9..',
    'https://-a.example.org',
    'https://a-.example.org',
    'https://' + 'a' * 64,
    'https://' + 'a.' * 127 + 'bc',
    'https://10.0.0.9/' + 'x' * 2048,
    'https://10.0.0.9/"',
    'https://10.0.0.9/<x>',
    'https://10.0.0.9/{x}',
    'https://10.0.0.9/`',
    'https://10.0.0.9/^',
    'https://10.0.0.9|x',
    'https://$(id)',
    'https://a;b',
    'https://a,b',
    # numbers that resolvers take for addresses, and that are not written as one
    'https://10',
    'https://168430089',
    'https://0xa.0.0.9',
    'https://10.9',
    'https://10.0.9',
    'https://012.0.0.9',
    'https://10.0.0.09',
    'https://10.0.0.0x9',
    'https://10.0.0.9.',
    'https://256.0.0.1',
    'https://1.2.3.4.5',
    'https://example.1',
    'https://example.0x1',
]

LOCAL = [
    'https://127.0.0.1',
    'https://127.0.0.1:8380/v1',
    'https://127.255.255.254',
    'https://0.0.0.0',
    'https://0.1.2.3',
    'https://169.254.169.254/latest/meta-data',
    'https://169.254.0.1',
    'https://224.0.0.1',
    'https://255.255.255.255',
    'https://[::]',
    'https://[::1]',
    'https://[0:0:0:0:0:0:0:1]',
    'https://[0000:0000:0000:0000:0000:0000:0000:0001]',
    'https://[fe80::1]',
    'https://[FE80::1]',
    'https://[febf::1]',
    'https://[ff02::1]',
    'https://[::ffff:127.0.0.1]',
    'https://[::FFFF:7F00:1]',
    'https://[::ffff:0.0.0.0]',
    'https://[::ffff:169.254.169.254]',
    'https://[::127.0.0.1]',
    'https://[::ffff:0:127.0.0.1]',
    'https://[64:ff9b::127.0.0.1]',
    'https://[64:ff9b::a9fe:a9fe]',
    'https://[64:ff9b:1::127.0.0.1]',
    'https://[64:ff9b:1:7f00:0:100::]',
    'https://[64:ff9b:1:a9fe:a9:fe00::]',
    'https://[64:ff9b:1::10.0.0.9]',
    'https://[fec0::1]',
    'https://[FEFF:ffff::1]',
    'https://[2002:7f00:1::]',
    'https://[2002:a9fe:a9fe::1]',
    'https://[2001:db8::5efe:127.0.0.1]',
    'https://localhost',
    'https://LocalHost:8380',
    'https://localhost.',
    'https://obmd.localhost',
    'https://localhost.localdomain',
    'https://localhost6.localdomain6',
    'https://ip6-localhost',
    'https://ip6-loopback',
]

#: spellings of 127.0.0.1, 0.0.0.0 and 169.254.169.254 that inet_aton or a browser takes
SPELLINGS = [
    'https://2130706433',
    'https://017700000001',
    'https://0x7f000001',
    'https://0X7F000001',
    'https://0x7f.1',
    'https://0x7f.0.0.1',
    'https://0x7f.0x0.0x0.0x1',
    'https://0177.0.0.1',
    'https://0177.0.0.01',
    'https://00000177.0.0.1',
    'https://127.1',
    'https://127.0.1',
    'https://127.0.0.1.',
    'https://127.0.0.01',
    'https://127.0.0.0x1',
    'https://127.0x1',
    'https://0',
    'https://0.',
    'https://00',
    'https://0x0',
    'https://0x',
    'https://0.0',
    'https://0x.0x.0x.0x',
    'https://2852039166',
    'https://0xa9fea9fe',
    'https://0251.0376.0251.0376',
    'https://169.254.43518',
    'https://4294967295',
    'https://6425673729',
]


@pytest.mark.parametrize('url', GOOD)
def test_an_agents_url_is_taken(url):
    callback.check(url, require_tls=True, allow_local=False)


@pytest.mark.parametrize('url', [*NO_URL, *SPELLINGS])
@pytest.mark.parametrize('allow_local', [False, True])
def test_what_is_no_url_of_an_agent_is_refused_even_where_local_ones_are_taken(url, allow_local):
    with pytest.raises(errors.InvalidInput) as refused:
        callback.check(url, require_tls=False, allow_local=allow_local)
    assert 'hunter2' not in refused.value.reason


@pytest.mark.parametrize('url', LOCAL)
def test_what_leads_to_this_machine_is_refused_unless_allowed(url):
    with pytest.raises(errors.InvalidInput, match='callback_url'):
        callback.check(url, require_tls=True, allow_local=False)


@pytest.mark.parametrize(
    'url',
    [
        'https://127.0.0.1:9999',
        'https://[::1]:9999',
        'https://0.0.0.0',
        'https://169.254.1.1',
        'https://[fe80::1]',
        'https://localhost:9999',
        'https://[::ffff:127.0.0.1]',
    ],
)
def test_what_leads_to_this_machine_is_taken_where_allowed(url):
    callback.check(url, require_tls=True, allow_local=True)


def test_tls_may_be_required_or_not():
    callback.check('http://10.0.0.9:9999', require_tls=False, allow_local=False)
    for url in ('http://10.0.0.9:9999', 'HTTP://10.0.0.9:9999'):
        with pytest.raises(errors.InvalidInput, match='https'):
            callback.check(url, require_tls=True, allow_local=False)


def test_names_are_not_resolved(monkeypatch):
    def resolves(*args, **kwargs):
        raise AssertionError('a name was resolved')

    monkeypatch.setattr('socket.getaddrinfo', resolves)
    monkeypatch.setattr('socket.gethostbyname', resolves)
    callback.check('https://agent.example.org', require_tls=True, allow_local=False)


_PART = st.one_of(
    st.sampled_from(['127', '0', '1', '0177', '0x7f', '169', '254', '0xa9', '0376', 'ffff', '']),
    st.integers(0, 2**32).map(str),
    st.integers(0, 2**32).map(hex),
    st.integers(0, 2**32).map('0{:o}'.format),
)
_HOSTS = st.one_of(
    st.lists(_PART, min_size=1, max_size=5).map('.'.join),
    st.lists(_PART, min_size=1, max_size=9).map(':'.join).map('[{}]'.format),
    st.text('0123456789abcdefx.:[]%', min_size=1, max_size=20),
)


@hypothesis.given(host=_HOSTS, dot=st.sampled_from(['', '.']))
@hypothesis.settings(max_examples=400, deadline=None)
def test_no_number_gets_in_that_this_systems_resolver_takes_for_this_machine(host, dot):
    """``AI_NUMERICHOST``: the resolver reads numbers only, and asks nobody."""
    try:
        callback.check(f'https://{host}{dot}/', require_tls=True, allow_local=False)
    except errors.InvalidInput:
        return
    try:
        found = socket.getaddrinfo((host + dot).strip('[]'), 1, flags=socket.AI_NUMERICHOST)
    except OSError:
        return
    for *_, (text, *_) in found:
        address = ipaddress.ip_address(text.partition('%')[0])
        address = getattr(address, 'ipv4_mapped', None) or address
        assert not (address.is_loopback or address.is_link_local or address.is_unspecified)
