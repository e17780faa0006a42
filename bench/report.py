"""What a measure gives, the table and the JSON file made of it."""

import dataclasses
import datetime
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess

#: distributions whose version a number depends on
_PACKAGES = ('obmd', 'eventlet', 'greenlet', 'pyghmi', 'pecan', 'SQLAlchemy', 'oslo.messaging')
#: programs: how each tells its version
_PROGRAMS = {
    'ipmipower': ['ipmipower', '--version'],
    'ipmitool': ['ipmitool', '-V'],
    'ipmi_sim': ['dpkg-query', '-W', '-f', '${Version}', 'openipmi'],
}


class Samples:
    """Repetitions of one number.

    :param values: list of float.
    """

    def __init__(self, values):
        self.values = sorted(values)

    @property
    def median(self):
        return statistics.median(self.values)

    def percentile(self, percent):
        return self.values[min(len(self.values) - 1, int(len(self.values) * percent / 100))]

    def to_json(self):
        told = {'min': self.values[0], 'median': self.median, 'max': self.values[-1]}
        told['repetitions'] = len(self.values)
        if len(self.values) >= 100:
            told['p99'] = self.percentile(99)
        return told


@dataclasses.dataclass
class Row:
    """One line of the table.

    :ivar name: str, which measure.
    :ivar what: str, in a reader's words, with its size.
    :ivar value: float, in ``unit``; a median where there are repetitions.
    :ivar bound: float or None; ``value`` must be at most this, or at least where ``at_least``;
        where ``bound_on_ratio``, ``ratio`` must be at least this.
    :ivar samples, peer: :class:`Samples` or None.  :ivar peer_name: str.
    :ivar is_rival: bool, the peer does the same; False: it is only what ``value`` is judged by.
    :ivar note: str, what limits it or how it was taken.
    """

    name: str
    what: str
    value: float
    unit: str
    bound: float | None = None
    bound_on_ratio: bool = False
    at_least: bool = False
    samples: Samples | None = None
    peer: Samples | None = None
    peer_name: str = ''
    is_rival: bool = True
    note: str = ''

    @property
    def ratio(self):
        """How many times faster than the peer; None without a rival."""
        if self.peer is None or not self.is_rival:
            return None
        return self.peer.median / self.value

    @property
    def met(self):
        """bool, or None where there is no bound."""
        if self.bound is None:
            return None
        if self.bound_on_ratio:
            return self.ratio is not None and self.ratio >= self.bound
        if self.at_least:
            return self.value >= self.bound
        return self.value <= self.bound

    def to_json(self):
        told = {
            'name': self.name,
            'what': self.what,
            'value': self.value,
            'unit': self.unit,
            'bound': self.bound,
            'bound_on': 'ratio' if self.bound_on_ratio else 'value',
            'bound_is': 'least' if self.bound_on_ratio or self.at_least else 'most',
            'ratio': self.ratio,
            'met': self.met,
            'note': self.note,
        }
        if self.samples:
            told['samples'] = self.samples.to_json()
        if self.peer:
            told['peer'] = {'name': self.peer_name, **self.peer.to_json()}
        return told

    def cells(self):
        """:returns: list of str, one a column of the table."""
        bound = peer = ratio = ''
        if self.bound is not None:
            if self.bound_on_ratio:
                bound = f'>= {self.bound:g} x'
            else:
                bound = f'{">=" if self.at_least else "<="} {_say(self.bound)}'
        if self.peer:
            peer = f'{self.peer_name} {_say(self.peer.median)}'
        if self.ratio is not None:
            ratio = f'{self.ratio:.1f} x'
        met = {None: '', True: 'yes', False: 'NO'}[self.met]
        return [self.what, bound, f'{_say(self.value)} {self.unit}', peer, ratio, met]


def _say(number):
    """Three significant digits, without an exponent."""
    if number >= 100:
        return f'{number:.0f}'
    return f'{number:.3g}'


HEAD = ['measure', 'bound', 'measured', 'peer', 'ratio', 'met']


def table(rows):
    """:returns: str."""
    lines = [HEAD] + [row.cells() for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    lines.insert(1, ['-' * width for width in widths])
    return '\n'.join(
        '  '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def machine():
    """:returns: dict, what the numbers depend on."""
    return {
        'cpus': len(os.sched_getaffinity(0)),
        'cpu': _first('/proc/cpuinfo', 'model name'),
        'memory': _first('/proc/meminfo', 'MemTotal'),
        'load': os.getloadavg(),
        'system': platform.platform(),
        'python': platform.python_version(),
        'packages': {name: _version(name) for name in _PACKAGES},
        'programs': {name: _told(command) for name, command in _PROGRAMS.items()},
    }


def _first(path, key):
    with open(path) as file:
        for line in file:
            if line.startswith(key):
                return line.partition(':')[2].strip()
    return ''


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _told(command):
    if shutil.which(command[0]) is None:
        return None
    told = subprocess.run(command, capture_output=True, text=True, timeout=10).stdout
    return (told.splitlines() or [''])[0]


def write(path, rows, facts, sizes):
    """:param facts: of :func:`machine`.  :param sizes: dict, what was asked for."""
    document = {
        'finished': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
        'machine': facts,
        'sizes': sizes,
        'rows': [row.to_json() for row in rows],
    }
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path, 'w') as file:
        json.dump(document, file, indent=1)
        file.write('\n')
