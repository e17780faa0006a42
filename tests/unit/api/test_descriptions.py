"""A merge patch: what any sequence of them comes to, and what of it is shown."""

import copy
import json

import hypothesis
import pytest
from hypothesis import strategies as st
from nacl import public as nacl

from obmd.api import descriptions
from obmd.common import errors
from obmd.common import macs
from obmd.common import secrets
from obmd.conf import CONF
from obmd.db import descriptions as rows
from obmd.db import nodes

quick = hypothesis.settings(max_examples=60, deadline=None)

text = st.text(
    st.characters(exclude_categories=['Cs'], exclude_characters='\0*'), max_size=6
) | st.sampled_from(['password', 'configdrive', 'auth_token', 'admin_pass', 'x=1', "'sslkey': 'a'"])
scalar = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
)
value = st.recursive(
    scalar,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
objects = st.none() | st.dictionaries(text, value, max_size=3)
pairs = st.lists(st.integers(0, 255), min_size=6, max_size=6)
some_macs = st.lists(st.sampled_from([f'52:54:00:00:00:{n:02x}' for n in range(5)]), max_size=5)
patches = st.fixed_dictionaries(
    {},
    optional={
        'properties': objects,
        'extra': objects,
        'instance_info': objects,
        'ports': st.none() | some_macs,
    },
)
EMPTY = {'properties': {}, 'extra': {}, 'instance_info': {}, 'ports': ()}


@pytest.fixture(scope='module')
def public_key():
    return secrets.PublicKey(bytes(nacl.PrivateKey.generate().public_key))


@pytest.fixture(scope='module')
def uuid():
    made = 'f0000000-0000-4000-8000-000000000001'
    yield nodes.create('patched', 'mock', '', 'x', 'k', '', made).uuid
    nodes.delete('patched')


def apply(public_key, uuid, patch):
    given, ports, _seconds = descriptions.parse(patch)
    return rows.change(uuid, ports, **descriptions.columns(public_key, uuid, given))


def merged(state, patch):
    """What a patch means, written another way."""
    state = dict(state)
    for name, given in patch.items():
        if name == 'ports':
            state[name] = tuple(sorted(set(given or ())))
        elif name == 'instance_info':
            state[name] = descriptions.mask(given or {})
        else:
            state[name] = given or {}
    return state


def shown(description):
    return {name: getattr(description, name) for name in EMPTY}


@quick
@hypothesis.given(st.lists(patches, max_size=5))
def test_of_many_patches_the_last_word_on_each_name_counts(public_key, uuid, several):
    state = EMPTY
    found = apply(public_key, uuid, dict.fromkeys(EMPTY))
    assert shown(found) == state
    for patch in several:
        found = apply(public_key, uuid, json.loads(json.dumps(patch)))
        state = merged(state, patch)
        assert shown(found) == state
    assert shown(rows.get(uuid)) == state


@quick
@hypothesis.given(patches)
def test_twice_is_once(public_key, uuid, patch):
    once = shown(apply(public_key, uuid, patch))
    assert shown(apply(public_key, uuid, patch)) == once


@quick
@hypothesis.given(patches, patches)
def test_patches_of_different_names_may_come_in_any_order(public_key, uuid, one, other):
    other = {name: given for name, given in other.items() if name not in one}
    results = []
    for order in ((one, other), (other, one)):
        apply(public_key, uuid, dict.fromkeys(EMPTY))
        found = [apply(public_key, uuid, patch) for patch in order]
        results.append(shown(found[-1]))
    assert results[0] == results[1]


@quick
@hypothesis.given(objects)
def test_what_is_shown_and_what_is_sealed(public_key, uuid, given):
    given = given or {}
    before = copy.deepcopy(given)
    made = descriptions.columns(public_key, uuid, {'instance_info': given})
    assert given == before
    hidden = made['instance_info'] != given
    assert (made['sealed_instance_info'] is not None) == hidden
    assert (made['key_id'] is not None) == hidden
    assert hidden == (descriptions.MASK in json.dumps(made['instance_info']))
    assert descriptions.mask(made['instance_info']) == made['instance_info']
    assert made['instance_info'].keys() == given.keys()


@hypothesis.given(pairs, st.sampled_from(':-'), st.sampled_from(['02x', '02X']))
def test_each_spelling_of_an_address_is_the_same_one(digits, separator, form):
    spelled = separator.join(format(digit, form) for digit in digits)
    assert macs.normalise(spelled) == ':'.join(f'{digit:02x}' for digit in digits)


@hypothesis.given(st.text() | st.from_regex('[0-9a-fA-F:.-]{10,20}'))
def test_any_text_is_an_address_as_obmd_writes_it_or_none(given):
    found = macs.normalise(given)
    if found is not None:
        assert macs.normalise(found) == found
        assert found.replace(':', '') == given.lower().replace(':', '').replace('-', '')
        assert len(found) == 17


json_value = st.recursive(
    scalar,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@hypothesis.given(
    json_value
    | st.dictionaries(
        st.sampled_from(['properties', 'extra', 'instance_info', 'ports', 'expect_agent', 'uuid']),
        json_value,
    )
)
def test_any_json_is_a_patch_or_a_mistake_of_the_caller(given):
    try:
        found, ports, seconds = descriptions.parse(given)
    except errors.InvalidInput as error:
        assert len(error.reason) < 1000
        return
    assert found.keys() <= {'properties', 'extra', 'instance_info'}
    assert all(isinstance(one, dict) for one in found.values())
    assert ports is None or ports == sorted(set(ports))
    assert seconds is None or 0 <= seconds <= 31536000


def test_the_default_length_is_read_when_it_is_used():
    CONF.set_override('expect_timeout', 77, 'agent')
    try:
        assert descriptions.parse({'expect_agent': True})[2] == 77
    finally:
        CONF.clear_override('expect_timeout', 'agent')
