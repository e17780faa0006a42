import json

import hypothesis
import pytest
from hypothesis import strategies as st

from obmd.common import callers

REQUEST = 'req-01234567-89ab-cdef-0123-456789abcdef'
_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=5,
)


def test_others_are_told_who_and_which_request_but_no_address():
    caller = callers.make(callers.ADMIN, REQUEST, '192.0.2.7')
    assert str(caller) == f'the admin (request {REQUEST})'


def test_an_operator_is_told_the_address_too():
    caller = callers.make(callers.HOLDER, REQUEST, '192.0.2.7')
    assert caller.full == f"the holder of the node's token from 192.0.2.7 (request {REQUEST})"


@pytest.mark.parametrize('who', [callers.ADMIN, callers.HOLDER, callers.OBMD, None])
@pytest.mark.parametrize('request_id', [REQUEST, None])
@pytest.mark.parametrize('address', ['192.0.2.7', '2001:db8::1', None])
def test_it_crosses_the_bus_as_it_is(who, request_id, address):
    caller = callers.Caller(who, request_id, address)
    assert callers.from_wire(json.loads(json.dumps(caller.to_wire()))) == caller


@pytest.mark.parametrize(
    ('sent', 'address'),
    [
        ('192.0.2.7', '192.0.2.7'),
        ('192.0.2.7:4711', '192.0.2.7'),
        ('2001:DB8::1', '2001:db8::1'),
        ('"[2001:db8::1]:4711"', '2001:db8::1'),
        ('fe80::1%eth0\x1b[2J', 'fe80::1'),
        ('198.51.100.1, 192.0.2.7', '192.0.2.7'),
        ('<script>, 192.0.2.7', '192.0.2.7'),
        ('192.0.2.7, <script>', None),
        ('192.0.2.7\nn1: power off', None),
        ('unknown', None),
        ('_hidden', None),
        ('', None),
        (',' * 10000, None),
        ('1' * 10000, None),
        (None, None),
        (7, None),
    ],
)
def test_an_address_is_one_or_left_out(sent, address):
    assert callers.make(callers.HOLDER, None, sent).address == address


@hypothesis.given(
    _anything | st.fixed_dictionaries({'who': _anything, 'request_id': _anything}),
    _anything | st.text(alphabet='0123456789abcdef:.,%[]"\n\x1b ', max_size=60),
)
def test_whatever_was_sent_is_short_and_printable(header, address):
    if isinstance(header, dict):
        header = {**header, 'address': address}
    caller = callers.from_wire(header)
    for text in (str(caller), caller.full):
        assert text.isprintable()
        assert text.isascii()
        assert len(text) <= 255
