import pytest

from tests.unit.client.fake import a_job
from tests.unit.client.fake import job_event


def command(api, has_context=True, confirmation=None):
    api.on(
        'GET',
        '/commands/backup',
        {
            'name': 'backup',
            'summary': 'Save it',
            'description': 'Save it all',
            'syntax': 'NAME [DEPTH]',
            'confirmation': confirmation,
            'has_context': has_context,
            'builtin': False,
            'ranks': ['default'],
        },
    )
    runs = [{'position': 0, 'node': 'n1' if has_context else None, 'problem': None}]
    started = (201, a_job('backup'))
    answers = [{'runs': runs}, started] if confirmation else [started]
    api.on('POST', '/jobs', *answers)
    api.on('GET', '/jobs/j1/events', [job_event(0)])


def sent(api):
    last = api.asked('POST', '/jobs')[-1].value
    return last['nodes'], last['arguments']


@pytest.mark.parametrize(
    ('words', 'expected'),
    [
        (['n1'], ('n1', [])),
        (['n1', 'a', 'b c'], ('n1', ['a', 'b c'])),
        (['n1', '--', '-v', '--yes'], ('n1', ['-v', '--yes'])),
        (['n1', 'a', '--', '-v', '--', 'x'], ('n1', ['a', '-v', '--', 'x'])),
        (['n1', '--limit', '3', 'a'], ('n1', ['a'])),
        (['n1', 'a', '--no-prefix'], ('n1', ['a'])),
        (['--', '-rf', '$(id)'], ('-rf', ['$(id)'])),
    ],
)
def test_words_are_nodes_and_arguments_verbatim(api, obm, words, expected):
    command(api)
    assert obm.run('action', 'run', 'backup', *words) == 0
    assert sent(api) == expected


def test_a_command_without_nodes_has_arguments_only(api, obm):
    command(api, has_context=False)
    assert obm.run('action', 'run', 'backup', 'a', 'b') == 0
    assert sent(api) == (None, ['a', 'b'])


def test_a_command_on_nodes_needs_some(api, obm):
    command(api)
    assert obm.run('action', 'run', 'backup') == 1
    assert api.asked('POST', '/jobs') == []
    assert 'say which' in obm.err


def test_an_option_that_is_not_ours_needs_dashes(api, obm, capsys):
    command(api)
    assert obm.run('action', 'run', 'backup', 'n1', '-v') == 2
    assert api.requests == []
    assert 'put -- before' in capsys.readouterr().err


def test_a_confirmation_of_the_command_is_asked_for_one_node_too(api, obm):
    command(api, confirmation='Really %{nodes}?')
    obm.answer('y\n')
    assert obm.run('action', 'run', 'backup', 'n1') == 0
    assert 'Really n1?' in obm.err


def test_a_confirmation_without_nodes_is_asked(api, obm):
    command(api, has_context=False, confirmation='Really?')
    obm.answer('n\n')
    assert obm.run('action', 'run', 'backup') == 1
    assert len(api.asked('POST', '/jobs')) == 1


def test_an_unknown_command_is_told(api, obm):
    api.refuse('GET', '/commands/nope', 404, 'not_found', 'there is no such command')
    assert obm.run('action', 'run', 'nope', 'n1') == 1
    assert obm.err == 'obm: there is no such command\n'


def test_commands_are_listed_as_json_too(api, obm):
    api.on('GET', '/commands', {'commands': [{'name': 'a', 'summary': 'b', 'syntax': 'NAME'}]})
    assert obm.run('action', 'list', '-f', 'csv', '-c', 'Name', '-c', 'Summary') == 0
    assert obm.out == '"Name","Summary"\n"a","b"\n'
