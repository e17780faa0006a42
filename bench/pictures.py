"""Draws what ``python -m bench.ring --json`` found: ``python -m bench.pictures FILE FOLDER``.

The same file gives the same pictures, byte for byte, with the same matplotlib; each names the
file it was drawn from by its checksum.
"""

import argparse
import hashlib
import json
import os
import sys

import matplotlib

matplotlib.use('svg')

from matplotlib import pyplot  # noqa: E402  after the choice of what it draws with

from bench import ring  # noqa: E402

HOME = os.path.join('doc', 'source', 'scaling')
STYLE = {
    'svg.hashsalt': 'obmd',
    'svg.fonttype': 'none',
    'font.family': 'sans-serif',
    'font.size': 10,
    'figure.figsize': (7.2, 3.6),
    'figure.constrained_layout.use': True,
    'axes.grid': True,
    'grid.color': '#dddddd',
    'axes.spines.top': False,
    'axes.spines.right': False,
    'legend.frameon': False,
}


def main(arguments=None):
    """:returns: int, 0."""
    p = argparse.ArgumentParser(prog='python -m bench.pictures', description=__doc__.split(':')[0])
    p.add_argument('file', nargs='?', default=os.path.join(HOME, 'ring.json'))
    p.add_argument('folder', nargs='?', default=HOME)
    args = p.parse_args(arguments)
    with open(args.file, 'rb') as file:
        content = file.read()
    found = json.loads(content)
    told = f'drawn from ring.json, sha256 {hashlib.sha256(content).hexdigest()}'
    metadata = {'Date': None, 'Creator': None, 'Description': told}
    with matplotlib.rc_context(STYLE):
        for name, draw in PICTURES.items():
            figure, axes = pyplot.subplots()
            draw(axes, found)
            figure.savefig(os.path.join(args.folder, f'{name}.svg'), metadata=metadata)
            pyplot.close(figure)
    return 0


def _changes(found, scenario):
    return [change for change in found['changes'] if change['scenario'] == scenario]


def _balance(axes, found):
    growth = _changes(found, 'growth')
    sizes = [change['after'] for change in growth]
    axes.fill_between(
        sizes,
        [change['lightest'] for change in growth],
        [change['heaviest'] for change in growth],
        color='#b9d2ea',
        label='from the one with fewest to the one with most',
    )
    axes.axhline(1, color='#444444', linewidth=0.8)
    axes.set(
        xlabel='conductors',
        ylabel='nodes of a conductor / mean',
        xlim=(1, max(sizes)),
        ylim=(0.75, 1.25),
    )
    axes.legend()


def _moved(axes, found):
    joins = [change for change in _changes(found, 'growth') if change['ideal']]
    sizes = [change['after'] for change in joins]
    axes.plot(sizes, [change['moved'] for change in joins], label='moved by one join')
    axes.plot(sizes, [change['ideal'] for change in joins], 'k--', lw=0.8, label='ideal, 1/N')
    single = [
        change for change in _changes(found, 'death') if change['before'] - change['after'] == 1
    ]
    axes.plot(
        [change['before'] for change in single],
        [change['moved'] for change in single],
        'o',
        color='#c0392b',
        label='taken over after one death',
    )
    axes.set(xlabel='conductors', ylabel='nodes', xscale='log', yscale='log')
    _plain(axes.xaxis, [size for size in found['conductors'] if size > 1])
    axes.legend()


def _ratio(axes, found):
    for scenario, mark in (('growth', '.'), ('death', 'o'), ('flapping', 'x'), ('restart', '+')):
        those = [change for change in _changes(found, scenario) if change['ideal']]
        axes.plot(
            [max(change['before'], change['after']) for change in those],
            [change['moved'] / change['ideal'] for change in those],
            mark,
            label=scenario,
        )
    axes.axhline(1.2, color='#c0392b', linewidth=0.8, label='1.2')
    axes.axhline(1, color='#444444', linewidth=0.8)
    axes.set(xlabel='conductors', ylabel='moved / ideal')
    axes.legend(ncols=5, loc='lower center', bbox_to_anchor=(0.5, 1))


def _database(axes, found):
    sizes = range(1, max(found['conductors']) + 1)
    rest = [ring.at_rest(found, size) for size in sizes]
    axes.plot(sizes, [one['writes'] for one in rest], label='writes')
    axes.plot(sizes, [one['reads'] for one in rest], label='reads')
    axes.set(
        xlabel='conductors',
        ylabel='statements a second, at rest',
        xlim=(1, max(sizes)),
        ylim=(0, None),
    )
    axes.legend()


def _cost(axes, found):
    times = found['times']
    sizes = [one['conductors'] for one in times]
    axes.plot(sizes, [one['ring_ms'] for one in times], 'o-', label='a ring, in all')
    axes.plot(sizes, [one['slice_ms'] for one in times], 'o-', label='its longest slice')
    axes.set(xlabel='conductors', ylabel='ms', xlim=(0, None), ylim=(0, None))
    axes.legend()


def _plain(axis, ticks):
    axis.set_ticks(ticks, [str(tick) for tick in ticks])
    axis.set_ticks([], minor=True)


PICTURES = {
    'balance': _balance,
    'moved': _moved,
    'ratio': _ratio,
    'database': _database,
    'cost': _cost,
}


if __name__ == '__main__':
    sys.exit(main())
