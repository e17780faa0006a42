"""What nodes may be called."""

import pytest

from obmd.common import errors
from obmd.common import names


@pytest.mark.parametrize(
    'name', ['n1', 'n1.example.com', '-rf', '$(id)', 'a;b', "'--", 'café', '😀', '..', 'x' * 255]
)
def test_names_that_a_node_may_have(name):
    names.check(name)
    names.check_label(name)


@pytest.mark.parametrize(
    'name', ['', 'x' * 256, 'a\0', '\ud800', 'a\nb', 'a\x1b[2J', 'a\x7f', 'a\u2028']
)
def test_names_that_no_node_may_have(name):
    for check in (names.check, names.check_label):
        with pytest.raises(errors.InvalidInput) as caught:
            check(name)
        assert 'x' * 256 not in caught.value.reason


@pytest.mark.parametrize('name', ['a b', 'a\u202eb', 'a\xa0', *(f'n{c}1' for c in '[],!&^@*?%')])
def test_names_that_only_obmds_door_takes(name):
    names.check_label(name)
    with pytest.raises(errors.InvalidInput):
        names.check(name)


def test_a_name_in_a_line_is_one_word_of_it():
    assert names.shown('n1\nn2: \x1b[2J\ud800é😀') == 'n1\\nn2: \\x1b[2J\\ud800é😀'
