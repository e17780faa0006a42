"""Ranges mean what ClusterShell means by them, and cost what a caller may cost."""

import time

import pytest
from ClusterShell import NodeSet
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from obmd.common import errors
from obmd.common import ranges


@st.composite
def elements(draw):
    width = draw(st.integers(1, 3))
    first = draw(st.integers(0, 9))
    kind = draw(st.sampled_from(['one', 'range', 'step']))
    if kind == 'one':
        return f'{first:0{width}d}'
    last = first + draw(st.integers(0, 9))
    text = f'{first:0{width}d}-{last:0{width}d}'
    return text + f'/{draw(st.integers(1, 3))}' if kind == 'step' else text


@st.composite
def patterns(draw):
    text = draw(st.sampled_from(['n', 'rack', 'a-b', 'é', 'n1x', 'N']))
    for _ in range(draw(st.integers(0, 2))):
        inside = ','.join(draw(st.lists(elements(), min_size=1, max_size=3)))
        text += f'[{inside}]' + draw(st.sampled_from(['', 'x', '.example.com', '-ib']))
        if text.endswith(']'):
            text += 'z'
    return text


@st.composite
def texts(draw):
    text = draw(patterns())
    for _ in range(draw(st.integers(0, 3))):
        text += draw(st.sampled_from(ranges.OPERATORS)) + draw(patterns())
    return text


@settings(max_examples=300, deadline=None)
@given(texts())
def test_names_are_those_of_nodeset(text):
    try:
        expected = set(NodeSet.NodeSet(text, resolver=NodeSet.RESOLVER_NOGROUP))
    except NodeSet.NodeSetException:
        with pytest.raises(errors.InvalidInput):
            ranges.expand(text, 100000)
        return
    names = ranges.expand(text, 100000)
    assert set(names) == expected
    assert len(names) == len(expected)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet='n1[]-,!&^/0 @*%é\x00', max_size=40))
def test_any_text_is_a_list_or_an_error(text):
    try:
        names = ranges.expand(text, 1000)
    except errors.InvalidInput:
        return
    assert len(names) <= 1000
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    'text',
    [
        'n[1-20001]',
        'n[1-101]m[1-200]',
        'a[0-99]b[0-99]c[0-99]d[0-99]',
        'n[1-999999999999999999]',
        'n[1-20000],m',
        'n[1-20000]!n[1-20000]',
        ','.join(f'n{i}[1-999999999]' for i in range(500)),
    ],
)
def test_too_many_names_are_refused_at_once(text):
    started = time.perf_counter()
    with pytest.raises(errors.InvalidInput, match='more than 20000 nodes'):
        ranges.expand(text, 20000)
    assert time.perf_counter() - started < 0.5


@pytest.mark.parametrize(
    'text',
    [
        '',
        '  ',
        ',',
        'a,',
        '!a',
        'n[1-2',
        'n1-2]',
        'n[[1-2]]',
        'n[]',
        'n[a-b]',
        'n[5-1]',
        'n[1-5/0]',
        'n[1-2]x[1-2]x[1-2]x[1-2]x[1-2]',
        '@all',
        '@src:group',
        'n*',
        'n?',
        'n%s',
        'n\x00',
        'a b',
        'n\n',
        'n' * 20000,
        'é' * 9000,
        'x' * 2000,
        'x' * 2000 + '[1-2]',
        'x' * 600 + '[1-2]' + 'y' * 600,
    ],
)
def test_what_is_no_range_is_invalid_input(text):
    with pytest.raises(errors.InvalidInput):
        ranges.expand(text, 20000)


def test_names_keep_the_order_of_the_text():
    assert ranges.expand('b,a,n[2-3],b', 10) == ['b', 'a', 'n2', 'n3']


def test_a_plain_name_is_itself():
    assert ranges.expand('n1.example.com', 10) == ['n1.example.com']
    assert ranges.expand('demo-😀', 10) == ['demo-😀']


def test_operators_on_patterns_of_two_dimensions_stay_fast():
    text = '^'.join(f'r{i % 99}n{i % 77}' for i in range(1500))
    started = time.perf_counter()
    ranges.expand(text, 20000)
    assert time.perf_counter() - started < 1


GROUPS = {'gpu': ['n3', 'n1'], 'rack1.a-b_c': ['n1', 'n2', 'n3', 'n4'], 'many': None}


def resolve(name, most):
    if name not in GROUPS:
        raise errors.NotFound(f'there is no group {name}')
    return GROUPS[name] or [f'x{n}' for n in range(min(most, 10**6))]


@pytest.mark.parametrize(
    ('text', 'names'),
    [
        ('@gpu', ['n3', 'n1']),
        ('n1,@gpu,n9', ['n1', 'n3', 'n9']),
        ('@rack1.a-b_c!@gpu', ['n2', 'n4']),
        ('@rack1.a-b_c & n[2-9]', ['n2', 'n3', 'n4']),
        ('@rack1.a-b_c^n[4-5]', ['n1', 'n2', 'n3', 'n5']),
        ('@gpu!@gpu', []),
    ],
)
def test_groups_stand_where_patterns_do(text, names):
    found = ranges.expand(text, 20, resolve)
    assert sorted(found) == sorted(names) and len(set(found)) == len(found)


def test_a_group_that_is_not_there_is_named():
    with pytest.raises(errors.NotFound, match='zzz'):
        ranges.expand('n1,@zzz', 10, resolve)


@pytest.mark.parametrize('text', ['@', '@a b', '@a@gpu', 'n1@gpu', '@$(id)', '@*', '@a[1-3]', '@é'])
def test_what_is_no_group_is_invalid_input(text):
    with pytest.raises(errors.InvalidInput):
        ranges.expand(text, 10, resolve)


def test_groups_count_among_the_names():
    assert len(ranges.expand('n[1-6],@rack1.a-b_c', 10, resolve)) == 6
    for text in ('n[1-7],@rack1.a-b_c', '@many', 'n[1-9],@gpu'):
        with pytest.raises(errors.InvalidInput, match='more than 10 nodes'):
            ranges.expand(text, 10, resolve)


def test_a_text_of_many_groups_is_refused():
    with pytest.raises(errors.InvalidInput, match='more than 64 groups'):
        ranges.expand(','.join(f'@g{n}' for n in range(65)), 10, lambda name, most: [])


@pytest.mark.parametrize(
    ('names', 'folded'),
    [
        ([], ''),
        (['n1'], 'n1'),
        (['n2', 'n1', 'n3', 'n7'], 'n[1-3,7]'),
        (['n08', 'n09', 'n10'], 'n[08-10]'),
        (['n9', 'n10', 'n11'], 'n[9-11]'),
        (['n01', 'n1', 'n001'], 'n01,n1,n001'),
        (['r1n1-ib', 'r1n2-ib', 'r2n1-ib'], 'r1n[1-2]-ib,r2n1-ib'),
        (['login', 'a', 'login'], 'login,a'),
        (['n1.example.com'], 'n1.example.com'),
    ],
)
def test_names_are_folded(names, folded):
    assert ranges.fold(names) == folded


@settings(max_examples=300, deadline=None)
@given(st.lists(st.from_regex(r'[a-z]{1,2}[0-9]{1,4}(-[a-z0-9]{1,4}){0,2}', fullmatch=True)))
def test_what_is_folded_unfolds_to_the_same_names(names):
    folded = ranges.fold(names)
    assert set(ranges.expand(folded, 10000) if names else []) == set(names)


@settings(deadline=None)
@given(st.lists(st.text(min_size=1)))
def test_any_names_are_folded_to_some_text(names):
    assert isinstance(ranges.fold(names), str)


def test_many_names_of_two_dimensions_fold_fast():
    names = [f'r{(i * 7919) % 199}n{(i * 104729) % 997}' for i in range(20000)]
    started = time.perf_counter()
    ranges.fold(names)
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize(
    ('text', 'name'),
    [
        ('n1', 'n1'),
        ('n[1-3,5],m[01-10]', 'n5'),
        ('n[1-3,5],m[01-10]', 'm07'),
        ('rack1n[1-40]x,rack2n[1-40]x', 'rack2n7x'),
        (','.join(f'rack{rack}n[1-4]' for rack in range(3000)), 'rack2999n3'),
        (f'n[{",".join(map(str, range(1, 20000, 2)))}]', 'n19999'),
        ('n[1-9]!n3', 'n4'),
        ('n[1-999999999]', 'n[1-999999999]'),
        ('n[1-9],m[1-9]&n[4-7]^n[6-9]', 'n8'),
        ('n[1-9/2]', 'n9'),
        ('a%b,n[1-9]', 'n4'),
        ('a%b,n[1-9]', 'a%b'),
        ('n[1-9],a[', 'a['),
        ('@gpu,n2', 'n2'),
    ],
)
def test_a_text_of_names_includes_them(text, name):
    assert ranges.includes(text, name)


@pytest.mark.parametrize(
    ('text', 'name'),
    [
        (None, 'n1'),
        ('', 'n1'),
        ('n11', 'n1'),
        ('n[1-3]', 'n4'),
        ('n[1-3]', 'n01'),
        ('n[01-03]', 'n1'),
        ('n[1-9/2]', 'n4'),
        ('n[1-9/0]', 'n4'),
        ('n[1-9]&n[2-3]', 'n4'),
        ('n[1-9]!n3', 'n3'),
        ('@gpu', 'gpu'),
        ('n[1-', 'n1'),
    ],
)
def test_a_text_does_not_include_other_names(text, name):
    assert not ranges.includes(text, name)


@pytest.mark.parametrize(
    'text',
    [
        'n[1-999999999]',
        ','.join(f'n{i}[1-99999]' for i in range(1000)),
        'n[1-99999]!n2,n[1-999999]',
        '[' * 100_000,
        ',' * 100_000,
    ],
)
def test_a_name_that_looks_like_very_many_costs_little(text):
    started = time.perf_counter()
    assert not ranges.includes(text, 'n0')
    assert time.perf_counter() - started < 2


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(alphabet='n019xé-', min_size=1, max_size=6), max_size=20))
def test_what_is_folded_includes_its_names_and_no_other(names):
    text = ranges.fold(names)
    assert all(ranges.includes(text, name) for name in names)
    assert not any(ranges.includes(text, f'{name}1') for name in names if f'{name}1' not in names)
