import pytest

from obmd.client.cli import asking

TEXT = 'Power off %{nodes}, confirm [y/n]?'


@pytest.mark.parametrize(
    ('nodes', 'given', 'expected'),
    [
        (['n1'], 'n1', 'n1'),
        (['n1', 'n2', 'n3'], '@all', 'n[1-3] (3 nodes)'),
        (['n01', 'n02', 'x'], '@all', 'n[01-02],x (3 nodes)'),
        (['a[1', 'b'], '*', 'a[1,b (2 nodes)'),
        (['@a', 'b'], '*', '@a,b (2 nodes)'),
    ],
)
def test_a_question_names_the_nodes_and_counts_them(nodes, given, expected):
    assert asking.about(TEXT, nodes, given) == f'Power off {expected}, confirm [y/n]?'


def test_many_nodes_are_named_as_the_user_did():
    nodes = [f'r{a}n{b}' for a in range(100) for b in range(100)]
    assert '@all (10000 nodes)' in asking.about(TEXT, nodes, '@all')


def test_a_long_list_is_cut():
    nodes = [f'{chr(97 + n % 26)}{n * n}x' for n in range(200)]
    assert len(asking.about(TEXT, nodes, None)) < 500


def test_a_question_without_nodes_is_asked_as_it_is():
    assert asking.about('Really?', [], None) == 'Really?'
