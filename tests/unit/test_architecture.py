"""What holds the house together: who may import whom, who may import eventlet, how long a module
may be, and that the sample configuration is what the code says."""

import ast
import pathlib

import pytest
from oslo_config import cfg
from oslo_config import generator

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = ROOT / 'obmd'

#: the modules beside the rooms, then the rooms from the lowest up; a room imports only from its
#: own floor and from those below
GROUND = 'obmd'
FLOORS = (GROUND, 'conf', 'common', 'db', 'streams', 'drivers', 'conductor', 'api', 'cmd')
#: rooms that stand aside, and the only rooms that they enter
ASIDE = {
    'testing': {'testing', 'common'},
    'client': {'client'},
    'runner': {'runner'},
    'web': {'web'},
}
#: who may enter a room that stands aside
VISITORS = {
    'testing': {'cmd', 'testing'},
    'client': {'client'},
    'runner': {'conductor', 'api'},
    'web': {'web', 'api'},
}

MAY_IMPORT_EVENTLET = (
    'obmd/cmd/*.py',
    'obmd/common/serving.py',
    'obmd/drivers/ipmi/reactor.py',
    'obmd/streams/server.py',
)

MOST_LINES = 450


def modules():
    return sorted(PACKAGE.rglob('*.py'))


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix('').parts
    return parts[:-1] if parts[-1] == '__init__' else parts


def imports(path):
    """Everything that a module imports, wherever in it: (line, dotted name)."""
    package = name_of(path) if path.name == '__init__.py' else name_of(path)[:-1]
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            base = '.'.join((*base, *((node.module,) if node.module else ())))
            for alias in node.names:
                yield node.lineno, f'{base}.{alias.name}'


def room_of(dotted):
    """``obmd.db.nodes.Node`` is in ``db``; None outside of obmd's rooms.

    A module beside the rooms (``obmd.version``) is the ground that all stand on.
    """
    parts = dotted.split('.')
    if parts[0] != 'obmd' or len(parts) < 2:
        return None
    return GROUND if (PACKAGE / f'{parts[1]}.py').exists() else parts[1]


def forbidden(room, other):
    """Why ``room`` may not import from ``other``; None if it may."""
    if room in ASIDE:
        return None if other in ASIDE[room] else f'{room} stands aside'
    if other in ASIDE:
        return None if room in VISITORS[other] else f'{other} stands aside'
    if FLOORS.index(other) > FLOORS.index(room):
        return f'{other} is above {room}'
    return None


def test_every_room_has_its_floor():
    rooms = {p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name != '__pycache__'}
    assert rooms <= {*FLOORS, *ASIDE}


def test_a_room_imports_only_from_floors_below():
    wrong = []
    for path in modules():
        room = room_of('.'.join(name_of(path)))
        if room is None:
            continue
        for line, dotted in imports(path):
            other = room_of(dotted)
            why = forbidden(room, other) if other else None
            if why:
                wrong.append(f'{path.relative_to(ROOT)}:{line}: imports {dotted}, but {why}')
    assert not wrong, '\n' + '\n'.join(wrong)


def test_eventlet_stays_in_its_few_modules():
    allowed = {p for pattern in MAY_IMPORT_EVENTLET for p in ROOT.glob(pattern)}
    wrong = [
        f'{path.relative_to(ROOT)}:{line}: imports {dotted}'
        for path in modules()
        if path not in allowed
        for line, dotted in imports(path)
        if dotted.split('.')[0] == 'eventlet'
    ]
    assert not wrong, '\n' + '\n'.join(wrong)


def test_no_module_outgrows_its_room():
    wrong = []
    for path in modules():
        lines = len(path.read_text().splitlines())
        if lines > MOST_LINES:
            wrong.append(f'{path.relative_to(ROOT)}: {lines} lines, at most {MOST_LINES}')
    assert not wrong, '\n' + '\n'.join(wrong)


def test_the_sample_configuration_is_what_the_code_says(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    made = tmp_path / 'obmd.conf.sample'
    conf = cfg.ConfigOpts()
    generator.register_cli_opts(conf)
    conf(
        ['--config-file', 'etc/obmd/config-generator.conf', '--output-file', str(made)],
        project='obmd',
    )
    generator.generate(conf)
    kept = (ROOT / 'etc/obmd/obmd.conf.sample').read_text()
    assert kept == made.read_text(), 'run "make genconfig"'


@pytest.mark.parametrize(
    ('room', 'other', 'allowed'),
    [
        ('api', 'conductor', True),
        ('conductor', 'api', False),
        ('db', 'common', True),
        ('common', 'db', False),
        ('testing', 'db', False),
        ('conductor', 'testing', False),
        ('cmd', 'testing', True),
    ],
)
def test_the_direction_is_judged_as_the_plan_draws_it(room, other, allowed):
    assert (forbidden(room, other) is None) is allowed
