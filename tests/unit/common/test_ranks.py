"""What the ranks of a node may be."""

import pytest

from obmd.common import errors
from obmd.common import ranks


def test_one_rank_may_be_a_text():
    assert ranks.check('metal') == ['metal']
    assert ranks.check(['b', 'a.v2', '_x-1']) == ['b', 'a.v2', '_x-1']
    assert ranks.check([]) == []


@pytest.mark.parametrize('given', [None, 5, {}, {'a': 1}, True])
def test_ranks_are_a_list(given):
    with pytest.raises(errors.InvalidInput, match='must be a list'):
        ranks.check(given)


@pytest.mark.parametrize(
    'rank', ['', 'a b', '-rf', '.hidden', '../x', 'a/b', 'é', 'a,b', '@a', 5, None, [], 'x' * 65]
)
def test_a_rank_is_a_word(rank):
    with pytest.raises(errors.InvalidInput, match=r'ranks\.1 must be a word'):
        ranks.check(['metal', rank])


def test_a_rank_is_said_once_and_there_are_not_many():
    with pytest.raises(errors.InvalidInput, match='twice'):
        ranks.check(['a', 'b', 'a'])
    with pytest.raises(errors.InvalidInput, match='at most 32'):
        ranks.check([f'r{n}' for n in range(33)])
