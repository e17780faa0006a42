import pytest

from obmd.client.cli import app
from obmd.client.cli import table


@pytest.mark.parametrize('name', sorted(table.OBM))
def test_each_command_explains_itself(name, capsys):
    assert app.main([*name.split(), '--help']) == 0
    assert f'obm {name}' in capsys.readouterr().out


@pytest.mark.parametrize(('main', 'name'), [(app.power, 'off'), (app.estate, 'change')])
def test_the_short_forms_explain_themselves(main, name, capsys):
    assert main([name, '--help']) == 0
    assert name in capsys.readouterr().out


@pytest.mark.parametrize('words', [[], ['--help'], ['-h']])
def test_help_lists_the_commands(words, capsys):
    assert app.main(words) == 0
    out = capsys.readouterr().out
    assert 'power off' in out
    assert 'Could not load' not in out


@pytest.mark.parametrize('words', [['nope'], ['power'], ['power', 'o', 'n1'], ['node', 'd', 'n1']])
def test_a_name_that_is_not_whole_is_no_command(obm, api, words):
    assert obm.run(*words) == 2
    assert api.requests == []


def test_an_option_that_does_not_exist_is_refused(capsys):
    assert app.main(['--nope', 'node', 'list']) == 2
    assert 'unknown option' in capsys.readouterr().err


def test_options_after_the_command_are_the_command_s(obm, api):
    api.on('GET', '/nodes', {'nodes': [], 'next': None})
    assert obm.run('node', 'list', '--driver', 'ipmi') == 0
    assert api.requests[0].query == {'driver': 'ipmi'}


def test_a_wrong_setting_is_one_line(api, capsys):
    assert app.main(['--url=nonsense', 'node', 'list']) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("obm: 'nonsense' is not a URL")
