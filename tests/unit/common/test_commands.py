import os
import time

import pytest

from obmd.common import commands

METADATA = 'help:\n  summary: Tell the load\n'
BUILTIN = commands.Command('power-off', 'Off', 'Off!', 'NAME', 'Sure?', builtin=True)


@pytest.fixture
def folder(tmp_path):
    """``folder(metadata, files)`` makes a command's folder: name of a file to its mode."""

    def make(metadata=METADATA, name='load', **files):
        made = tmp_path / name
        made.mkdir()
        if metadata is not None:
            (made / 'metadata.yaml').write_text(metadata)
        for file, mode in (files or {'default.sh': 0o755}).items():
            (made / file).write_text('#!/bin/sh\n')
            (made / file).chmod(mode)
        return made

    return make


def read(folder, builtin=None):
    return commands.read(str(folder.parent), folder.name, commands.files(folder), builtin)


def refused(folder, builtin=None):
    with pytest.raises(commands.Invalid) as raised:
        read(folder, builtin)
    return str(raised.value)


# -- what metadata says ----------------------------------------------------------------------------


def test_only_a_summary_is_needed(folder):
    made = read(folder())
    assert (made.name, made.summary, made.description) == ('load', 'Tell the load', 'Tell the load')
    assert (made.syntax, made.has_context, made.confirmation) == ('NAME', True, None)
    assert not made.builtin
    assert made.notes == ()


def test_all_that_may_be_said(folder):
    made = read(
        folder(
            'confirmation: Sure about %{nodes}?\n'
            'help:\n  summary: S\n  description: D\n  syntax: NAME [N]\n  has_context: true\n'
        )
    )
    assert (made.summary, made.description, made.syntax) == ('S', 'D', 'NAME [N]')
    assert made.confirmation == 'Sure about %{nodes}?'


def test_a_command_that_runs_on_no_node_has_no_syntax_by_default(folder):
    made = read(folder('help: {summary: S, has_context: false}'))
    assert (made.syntax, made.has_context) == ('', False)


def test_a_command_that_runs_on_no_node_has_any_syntax(folder):
    assert read(folder('help: {summary: S, has_context: false, syntax: "[N]"}')).syntax == '[N]'


@pytest.mark.parametrize(
    ('metadata', 'why'),
    [
        (None, 'it has no metadata.yaml'),
        ('', 'metadata.yaml is not a map'),
        ('[1]', 'metadata.yaml is not a map'),
        ('a: [}', 'metadata.yaml is not YAML (line 1)'),
        ('a: !!python/object/apply:os.system ["true"]', 'metadata.yaml is not YAML'),
        ('[' * 20000, 'metadata.yaml is not YAML'),
        ('a: \x01', 'metadata.yaml is not YAML'),
        ('a: 2020-99-99', 'metadata.yaml is not YAML (line 1): a value is no timestamp'),
        ('a: 1\nb: !!bool x', 'metadata.yaml is not YAML (line 2): a value is no bool'),
        ('a: !!int ""', 'metadata.yaml is not YAML (line 1): a value is no int'),
        ('a: !!timestamp x', 'metadata.yaml is not YAML (line 1): a value is no timestamp'),
        ('x: ' + 'y' * commands.LARGEST, f'metadata.yaml is longer than {commands.LARGEST} bytes'),
        ('confirmation: x', 'help is missing or not a map'),
        ('help: text', 'help is missing or not a map'),
        ('help: {description: D}', 'help.summary is missing'),
        ('help: {summary: " "}', 'help.summary is missing'),
        ('help: {summary: 5}', 'help.summary is not text'),
        ('help: {summary: S, description: [x]}', 'help.description is not text'),
        ('help: {summary: S, syntax: 3}', 'help.syntax is not text'),
        ('help: {summary: S, syntax: ""}', 'help.syntax must start with NAME'),
        ('help: {summary: S, syntax: TYPE NAME}', 'help.syntax must start with NAME'),
        ('help: {summary: S, syntax: NAMES}', 'help.syntax must start with NAME'),
        ('help: {summary: S, has_context: "no"}', 'help.has_context is neither true nor false'),
        ('help: {summary: S}\nconfirmation: true', 'confirmation is not text'),
        ('help: {summary: "a\\0b"}', 'help.summary is longer than 16384 characters or holds NUL'),
    ],
)
def test_metadata_that_is_refused(folder, metadata, why):
    assert refused(folder(metadata)).startswith(why)


def test_metadata_that_is_no_file_is_not_waited_for(folder):
    made = folder(None)
    os.mkfifo(made / 'metadata.yaml')
    assert refused(made) == 'it has no metadata.yaml'


def test_aliases_that_multiply_cost_nothing(folder):
    lines = ['a0: &a0 [x, x]']
    lines += [f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 9)}]' for i in range(1, 30)]
    assert read(folder(METADATA + '\n'.join(lines))).summary == 'Tell the load'


def test_merged_maps_that_multiply_are_refused_at_once(folder):
    lines = ['k0: &k0 {a: 1}']
    lines += [f'k{i}: &k{i} {{<<: [{", ".join([f"*k{i - 1}"] * 9)}]}}' for i in range(1, 12)]
    started = time.perf_counter()
    assert 'too much is merged' in refused(folder(METADATA + '\n'.join(lines)))
    assert time.perf_counter() - started < 2


def test_a_number_that_python_does_not_write_means_nothing(folder):
    made = read(folder(f'{METADATA}? 0x{"f" * 5000}\n: x\n'))
    assert made.notes == ('metadata.yaml: a name of the type int means nothing',)


def test_a_word_that_means_nothing_is_told(folder):
    made = read(folder('help: {summary: S, sumary: T}\nconfirmaton: x\n'))
    assert made.notes == (
        'metadata.yaml: confirmaton means nothing',
        'metadata.yaml: help.sumary means nothing',
    )


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', ['load', 'a', 'Load-2', 'v1.2', '9'])
def test_names(folder, name):
    assert read(folder(name=name)).name == name


@pytest.mark.parametrize(
    'name', ['a_b', '-rf', '.x', 'a b', '$(id)', 'ü', 'a\nb', 'x' * 65, '\udcff']
)
def test_names_that_are_refused(folder, name):
    assert refused(folder(name=name)).startswith('a name of a command')


# -- scripts ---------------------------------------------------------------------------------------


def test_a_rank_is_a_file_name_less_its_last_extension(folder):
    made = read(
        folder(**{'default': 0o755, 'aws.sh': 0o755, 'metal.v2.py': 0o755, '.hidden': 0o755})
    )
    assert made.ranks == ['aws', 'default', 'metal.v2']
    assert os.path.basename(made.scripts['metal.v2']) == 'metal.v2.py'


@pytest.mark.parametrize(
    ('ranks', 'executes'),
    [
        ([], 'default.sh'),
        (['other'], 'default.sh'),
        (['other', 'metal', 'aws'], 'metal.sh'),
        (['aws', 'metal'], 'aws.sh'),
        (['../load/aws', 'metadata'], 'default.sh'),
    ],
)
def test_the_first_of_the_nodes_ranks_that_has_a_script_is_chosen(folder, ranks, executes):
    made = folder(**{'default.sh': 0o755, 'aws.sh': 0o755, 'metal.sh': 0o755})
    choice = read(made).choose(ranks)
    assert choice.executes == executes
    assert choice.path == str(made / executes)


def test_a_rank_script_that_is_not_executable_is_passed_over(folder):
    made = read(folder(**{'default.sh': 0o755, 'aws.sh': 0o644}))
    assert made.choose(['aws']).rank == 'default'
    assert made.notes == ('aws.sh is not executable: it is passed over',)


def test_a_default_that_is_not_executable_makes_the_command_invalid(folder):
    made = folder(**{'default.sh': 0o644, 'aws.sh': 0o755})
    assert refused(made) == 'its default script is not executable'


def test_a_command_has_a_default(folder):
    assert refused(folder(**{'aws.sh': 0o755})) == 'it has no default script'


def test_of_two_scripts_for_a_rank_the_first_is_used_and_the_other_named(folder):
    made = read(folder(**{'default.sh': 0o755, 'default.sh~': 0o755}))
    assert made.choose().executes == 'default.sh'
    assert made.notes == ('default.sh~ is passed over: default.sh is the script of that rank',)


def test_a_script_that_everybody_may_change_is_told(folder):
    made = read(folder(**{'default.sh': 0o777}))
    assert made.notes == ('default.sh may be changed by every user of this machine',)


def test_a_command_that_runs_on_no_node_has_the_default_only(folder):
    made = folder(
        'help: {summary: S, has_context: false}', **{'default.sh': 0o755, 'aws.sh': 0o755}
    )
    assert refused(made).endswith('but has scripts for aws')


def test_folders_and_links_to_nothing_are_no_scripts(folder):
    made = folder()
    (made / 'aws.sh').mkdir()
    (made / 'metal.sh').symlink_to('/nonexistent')
    assert read(made).ranks == ['default']


def test_a_link_to_a_script_is_one(folder):
    made = folder()
    (made / 'aws.sh').symlink_to(made / 'default.sh')
    assert read(made).ranks == ['aws', 'default']


def test_too_many_files_are_refused(folder, monkeypatch):
    monkeypatch.setattr(commands, 'MOST_FILES', 3)
    made = folder(**{f'{n}.sh': 0o755 for n in range(3)})
    assert refused(made) == 'it holds more than 3 files'


# -- the folder of a built-in command --------------------------------------------------------------


def test_rank_scripts_alone_go_before_the_built_in(folder):
    made = read(folder(None, 'power-off', **{'aws.sh': 0o755}), BUILTIN)
    assert made.choose(['aws']).executes == 'aws.sh'
    assert made.choose(['metal']).executes == 'builtin'
    assert (made.summary, made.confirmation, made.builtin) == ('Off', 'Sure?', True)


def test_its_metadata_goes_before_the_built_ins(folder):
    made = read(folder('help: {summary: Ours}', 'power-off', **{'aws.sh': 0o755}), BUILTIN)
    assert (made.summary, made.confirmation) == ('Ours', None)


def test_its_default_leaves_nothing_to_the_built_in(folder):
    made = read(folder(METADATA, 'power-off'), BUILTIN)
    assert made.choose(['any']).executes == 'default.sh'


def test_it_runs_on_nodes_as_the_built_in_does(folder):
    made = folder('help: {summary: S, has_context: false}', 'power-off')
    assert 'has_context must be true' in refused(made, BUILTIN)
