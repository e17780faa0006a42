import argparse
import subprocess

import pytest

from obmd.client.cli import app
from obmd.client.cli import completion
from obmd.client.cli import table
from tests.unit.client.conftest import URL

#: of bash, as it comes
BREAKS = ' \t\n"\'@><=;|&(:'


@pytest.fixture
def offers(api):
    api.on('GET', '/nodes', {'nodes': [{'name': 'n10'}, {'name': 'n11'}, {'name': 'x1'}]})
    api.on('GET', '/groups', {'groups': [{'name': 'gpu'}, {'name': 'spare'}]})
    api.on('GET', '/commands', {'commands': [{'name': 'backup'}, {'name': 'power-on'}]})
    api.on('GET', '/jobs', {'jobs': [{'id': 'j1'}, {'id': 'j2'}], 'next': None})

    def ask(line, name='obm', commands=table.OBM):
        one = app.Obm(name, 'what it is', commands, adapter=api)
        one.options = argparse.Namespace(url=URL, config=None, debug=False)
        return completion.offers(one, line, BREAKS)

    return ask


@pytest.mark.parametrize(
    ('line', 'expected'),
    [
        ('obm po', ['power']),
        ('obm power ', ['cycle', 'off', 'on', 'soft', 'status']),
        ('obm power o', ['off', 'on']),
        ('obm --url https://x power o', ['off', 'on']),
        ('obm power off n1', ['n10', 'n11']),
        ('obm power off x9,n1', ['x9,n10', 'x9,n11']),
        ('obm power off --yes n1', ['n10', 'n11']),
        ('obm power off --limit 3 n1', ['n10', 'n11']),
        ('obm power off n1 ', []),
        ('obm power off --st', ['--stagger']),
        ('obm job list --state ', ['ended', 'running']),
        ('obm job show ', ['j1', 'j2']),
        ('obm action run b', ['backup']),
        ('obm action run backup n1', ['n10', 'n11']),
        ('obm node import ', []),
        ('obm group show s', ['spare']),
        ('obm nonsense ', []),
        ('obm "po', ['power']),
    ],
)
def test_what_may_come_next_is_offered(offers, line, expected):
    assert offers(line) == expected


def test_the_shell_takes_an_at_sign_for_a_word_of_its_own(offers):
    assert offers('obm power off n1,@g') == ['gpu']


def test_the_short_form_is_completed_too(offers):
    assert offers('power of', 'power', table.POWER) == ['off']
    assert offers('power off x', 'power', table.POWER) == ['x1']


def test_names_are_asked_for_from_where_they_begin(offers, api):
    offers('obm power off n1')
    (request,) = api.asked('GET', '/nodes')
    assert request.query == {'marker': 'n1', 'limit': '100'}


def test_without_a_right_to_names_there_is_no_offer(offers, api):
    api.refuse('GET', '/nodes', 403, 'forbidden', 'no')
    assert offers('obm power off n1') == []


@pytest.mark.parametrize(
    'name', ['$(id)', '`id`', 'a;id', 'a&id', 'a!id', 'a|id', 'a b', 'a\nb', "a'b", 'a\\b', '~a']
)
def test_a_name_that_the_shell_would_obey_is_not_offered(offers, api, name):
    api.on('GET', '/nodes', {'nodes': [{'name': name}, {'name': 'n1'}]})
    assert offers('obm power off ') == ['n1']


def test_the_shell_takes_each_line_as_one_offer_and_expands_none(tmp_path):
    program = tmp_path / 'obm'
    program.write_text("#!/bin/sh\nprintf '%s\\n' '*' 'a b'\n")
    program.chmod(0o755)
    script = f'{completion.SCRIPT}\n_obm_complete {program}; printf "<%s>" "${{COMPREPLY[@]}}"'
    told = subprocess.run(['bash', '-c', script], cwd=tmp_path, capture_output=True, text=True)
    assert told.stdout == '<*><a b>'
