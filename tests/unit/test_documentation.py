"""The documentation names what the code has: routes, kinds of errors, options of the examples."""

import pathlib
import re

import pytest
from oslo_db import options as db_options
from oslo_messaging import opts as messaging_opts

from obmd import conf
from obmd.api import errors as api_errors
from obmd.api import routes
from obmd.common import metrics

ROOT = pathlib.Path(__file__).resolve().parents[2]
USER = ROOT / 'doc/source/user'
EXAMPLES = ('all-in-one.conf', 'api-host.conf', 'conductor-host.conf', 'conductor-rack1.conf')


def test_every_route_is_in_the_reference():
    text = ''.join(path.read_text() for path in sorted(USER.glob('*.rst')))
    named = set(re.findall(r'``([A-Z]+) (/[^?` ]*)', text))
    routed = {(method, path) for path, methods in routes.ROUTES.items() for method in methods}
    assert routed <= named, f'not documented: {sorted(routed - named)}'


def test_every_kind_of_error_is_in_the_reference_with_its_status():
    rows = re.findall(r'^([a-z_]+) +(\d{3}) ', (USER / 'errors.rst').read_text(), re.MULTILINE)
    documented = {kind: int(status) for kind, status in rows}
    assert documented == {**api_errors.STATUS, 'internal': 500}


@pytest.mark.parametrize('name', EXAMPLES)
def test_an_example_has_only_options_that_exist(name):
    text = (ROOT / 'etc/obmd' / name).read_text()
    known = {(group, option.name) for group, options in conf.list_opts() for option in options}
    known |= {('database', option.name) for option in db_options.database_opts}
    for group, options in messaging_opts.list_opts():
        known |= {(group or 'DEFAULT', option.name) for option in options}
    known.add(('DEFAULT', 'transport_url'))
    # an example that is commented out is meant to work too
    lines = re.sub(r'^#(?=[a-z_]+ = )', '', text, flags=re.MULTILINE)
    used, group = set(), None
    for line in lines.splitlines():
        if match := re.fullmatch(r'\[(\w+)\]', line):
            group = match.group(1)
        elif match := re.match(r'([a-z_]+) = ', line):
            used.add((group, match.group(1)))
    assert used and used <= known, f'unknown: {sorted(used - known)}'


def test_every_metric_is_on_its_page_with_type_labels_and_place():
    text = (ROOT / 'doc/source/operator/metrics.rst').read_text()
    cell = r'\n     - (.+)'
    rows = re.findall(rf'   \* - ``(obmd_\w+)``{cell}{cell}{cell}', text)
    documented = {name: (kind, labels, where) for name, kind, labels, where in rows}
    kinds = {metrics.Events: 'counter', metrics.Durations: 'histogram', metrics.State: 'gauge'}
    registered = {
        metric.name: (
            kinds[type(metric)],
            ', '.join(f'``{label}``' for label in metric.labels) or '–',
            metric.on if metric.on == metrics.BOTH else f'``obmd-{metric.on}``',
        )
        for metric in metrics.ALL
    }
    assert documented == registered


def test_an_alert_asks_only_for_metrics_and_labels_that_exist():
    text = (ROOT / 'etc/obmd/prometheus-rules.yml').read_text()
    labels = {
        name + suffix: metric.labels
        for metric in metrics.ALL
        for name in [metric.name]
        for suffix in ('', '_count', '_sum', '_bucket')
    }
    asked = re.findall(r'\b(obmd_\w+)(?:\{(\w+)=)?', text)
    assert len(asked) > 10
    wrong = [(name, label) for name, label in asked if name not in labels]
    wrong += [(n, label) for n, label in asked if label and label not in labels.get(n, ())]
    assert not wrong
