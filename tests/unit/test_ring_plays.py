"""The simulation of bench/ring.py judges rightly, and what the documentation shows came from it."""

import hashlib
import json
import pathlib
import random
import re
import types

import hypothesis
import pytest
from hypothesis import strategies as st

from bench import fleet
from bench import plays
from bench import ring

SCALING = pathlib.Path(__file__).resolve().parents[2] / 'doc/source/scaling'


class Rings:
    """Proposes what a test says."""

    def __init__(self, answers):
        self._answers = iter(answers)

    def propose(self, node):
        return next(self._answers)


@pytest.fixture
def proposed(monkeypatch):
    """``proposed('a', 'b')``: the next change gives the first node to a, the second to b."""

    def say(*owners):
        fake = types.SimpleNamespace(Rings=lambda *_: Rings(owners))
        monkeypatch.setattr(fleet, 'ownership', fake)

    return say


def make(count, **kinds):
    drawn = random.Random(5)
    return fleet.Fleet(fleet.make_nodes(count, drawn, **kinds), 32, drawn)


def named(made, name):
    return next(one for one in made.members if one.incarnation == name)


def member(name, group='', drivers=('ipmi',)):
    return fleet.conductors.Conductor(name, name, group, drivers, '')


def test_what_goes_to_the_one_who_joins_has_a_reason_and_the_rest_is_stray(proposed):
    made = make(4)
    proposed('a', 'a', 'b', 'b')
    first = made.change('x', '', joined=[member('a'), member('b')])
    assert (first.moved, first.found, first.stray) == (0, 4, 0)
    proposed('a', 'c', 'a', 'b')
    change = made.change('x', '', joined=[member('c')])
    assert (change.moved, change.stray) == (2, 1)
    assert change.ideal == pytest.approx(4 / 3)
    assert not change.met


def test_what_the_dead_had_moves_with_a_reason_and_the_rest_is_stray(proposed):
    made = make(4)
    proposed('a', 'a', 'b', 'c')
    made.change('x', '', joined=[member('a'), member('b'), member('c')])
    proposed('b', 'c', 'c', 'c')
    change = made.change('x', '', left=[named(made, 'a')])
    assert (change.moved, change.stray) == (3, 1)
    assert change.ideal == pytest.approx(4 / 3)


def test_a_node_that_nobody_can_own_is_orphaned_and_found_again(proposed):
    made = make(2)
    proposed('a', 'a')
    made.change('x', '', joined=[member('a')])
    proposed(None, None)
    change = made.change('x', '', left=list(made.members))
    assert (change.orphaned, change.moved, change.stray, change.ideal) == (2, 0, 0, 0)
    proposed('b', 'b')
    change = made.change('x', '', joined=[member('b')])
    assert (change.found, change.moved, change.stray) == (2, 0, 0)


def test_balance_is_the_worst_of_all_groups(proposed):
    made = make(6, groups=('r1', 'r2'))
    proposed('a', 'c', 'a', 'c', 'b', 'c')
    change = made.change('x', '', joined=[member('a', 'r1'), member('b', 'r1'), member('c', 'r2')])
    assert change.heaviest == pytest.approx(2 / 1.5)
    assert change.lightest == pytest.approx(1 / 1.5)


def test_one_without_a_node_is_the_lightest(proposed):
    made = make(2)
    proposed('a', 'a')
    change = made.change('x', '', joined=[member('a'), member('b')])
    assert (change.heaviest, change.lightest) == (2, 0)


def test_the_ideal_counts_only_the_nodes_that_the_change_concerns():
    made = make(100, groups=('r1', 'r2'))
    made.change(
        'x',
        '',
        joined=[member(name, group) for name, group in zip('abcd', ['r1', 'r2'] * 2, strict=True)],
    )
    assert made.change('x', '', joined=[member('e', 'r1')]).ideal == pytest.approx(50 / 3)
    assert made.change('x', '', left=[named(made, 'b')]).ideal == pytest.approx(50 / 2)


def test_more_than_the_bound_is_broken():
    values = dict.fromkeys(('moved', 'stray', 'orphaned', 'found', 'heaviest', 'lightest'), 0)
    change = fleet.Change('x', '', 1, 2, **{**values, 'moved': 150}, ideal=100.0)
    assert change.bound == 150
    assert change.met
    assert not fleet.Change('x', '', 1, 2, **{**values, 'moved': 151}, ideal=100.0).met
    assert not fleet.Change('x', '', 1, 2, **{**values, 'stray': 1}, ideal=100.0).met


@hypothesis.settings(max_examples=3, deadline=None, derandomize=True)
@hypothesis.given(st.integers(0, 2**32))
def test_no_play_moves_a_node_without_a_reason(seed):
    changes = list(plays.play(100, (2, 4), 16, seed))
    assert {change.scenario for change in changes} == {
        'growth',
        'death',
        'flapping',
        'restart',
        'racks',
        'drivers',
    }
    assert sum(change.stray for change in changes) == 0
    assert any(change.orphaned for change in changes)


def test_the_same_seed_plays_the_same():
    one, two, other = (list(plays.play(50, (2, 3), 16, seed)) for seed in (7, 7, 8))
    assert one == two
    assert one != other


def test_a_fleet_that_is_copied_stays_as_it_was():
    made = make(20)
    made.change('x', '', joined=[member('a'), member('b')])
    owners, members = list(made.owners), made.members
    made.copy().change('x', '', left=[named(made, 'a')])
    assert (made.owners, made.members) == (owners, members)


def test_at_rest_the_database_is_asked_for_beats_looks_and_tokens():
    found = {
        'nodes': 4000,
        'statements': {
            'heartbeat': {'writes': 1, 'reads': 0},
            'look': {'writes': 0, 'reads': 2},
            'token check': {'writes': 0, 'reads': 1},
        },
        'intervals': {'heartbeat': 2, 'token check': 4},
    }
    assert ring.at_rest(found, 1) == {'writes': 0.5, 'reads': 1 + 8 / 4}
    assert ring.at_rest(found, 4) == {'writes': 2, 'reads': 4 * (1 + 2 / 4)}


@pytest.mark.parametrize(
    'arguments', [['--nodes', '0'], ['--conductors', '3,0'], ['--conductors', 'x']]
)
def test_sizes_that_cannot_be_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as refused:
        ring.main(arguments)
    assert refused.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_the_documentation_shows_a_run_of_the_promised_size_that_kept_its_bounds():
    found = json.loads((SCALING / 'ring.json').read_text())
    assert (found['nodes'], max(found['conductors'])) == (100000, 100)
    names = {field.name for field in fleet.dataclasses.fields(fleet.Change)}
    changes = [fleet.Change(**change) for change in found['changes'] if change.keys() == names]
    assert len(changes) == len(found['changes'])
    assert all(change.met for change in changes)


def test_every_picture_was_drawn_from_the_data_beside_it():
    """If not: ``make pictures``."""
    checksum = hashlib.sha256((SCALING / 'ring.json').read_bytes()).hexdigest()
    shown = re.findall(r'(?:image|figure):: (\S+)', (SCALING / 'index.rst').read_text())
    assert len(shown) >= 4
    assert {path.name for path in SCALING.glob('*.svg')} == set(shown)
    for name in shown:
        assert checksum in (SCALING / name).read_text(), name
