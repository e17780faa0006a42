import pytest

from obmd.client.cli import table
from tests.unit.client.conftest import stream
from tests.unit.client.fake import a_job
from tests.unit.client.fake import event
from tests.unit.client.fake import job_event
from tests.unit.client.fake import output_event
from tests.unit.client.fake import run_event

EVENTS = '/jobs/j1/events'


def job(api, *events, total=1, command='power-off'):
    api.on('POST', '/jobs', (201, a_job(command, total)))
    api.on('GET', EVENTS, [*events])


def plan(api, *nodes):
    """A dry run first, then the job."""
    runs = [{'position': n, 'node': node, 'problem': None} for n, node in enumerate(nodes)]
    api.on('POST', '/jobs', {'command': 'x', 'runs': runs}, (201, a_job(total=len(nodes))))
    api.on('GET', EVENTS, [job_event(0)])


def started(api):
    return [one.value for one in api.asked('POST', '/jobs') if not one.value.get('dry_run')]


def exited(position, node, status=0):
    return run_event(position, node, 'ended', 'exited', status)


def test_output_of_one_node_goes_as_it_is(api, obm):
    job(api, output_event(0, 'n1', 'O'), output_event(0, 'n1', 'K'), exited(0, 'n1'), job_event(0))
    assert obm.run('power', 'off', 'n1') == 0
    assert (obm.out, obm.err) == ('OK', '')


def test_lines_of_several_nodes_are_named_as_dshbak_reads_them(api, obm):
    job(
        api,
        output_event(0, 'n1', 'a\nb'),
        output_event(1, 'n2', 'c\n'),
        output_event(0, 'n1', 'b\n'),
        exited(0, 'n1'),
        exited(1, 'n2'),
        job_event(0),
        total=2,
    )
    assert obm.run('power', 'on', 'n[1-2]') == 0
    assert obm.out == 'n1: a\nn2: c\nn1: bb\n'


def test_a_line_without_its_end_gets_one(api, obm):
    events = [output_event(0, 'n1', 'x'), exited(0, 'n1'), exited(1, 'n2'), job_event(0)]
    job(api, *events, total=2)
    obm.run('power', 'on', 'n[1-2]')
    assert obm.out == 'n1: x\n'


@pytest.mark.parametrize(
    ('option', 'total', 'out'), [('--prefix', 1, 'n1: x\n'), ('--no-prefix', 2, 'x\n')]
)
def test_names_of_lines_can_be_said(api, obm, option, total, out):
    job(api, output_event(0, 'n1', 'x\n'), job_event(0), total=total)
    obm.run('power', 'on', option, 'n1')
    assert obm.out == out


def test_what_a_node_says_on_stderr_goes_there(api, obm):
    job(api, output_event(0, 'n1', 'oh\n', 'stderr'), job_event(0), total=2)
    obm.run('power', 'on', 'n[1-2]')
    assert (obm.out, obm.err) == ('', 'n1: oh\n')


def test_bytes_that_are_no_text_are_not_changed(api, obm):
    data = {'position': 0, 'node': 'n1', 'stream': 'stdout', 'data': '?', 'base64': '/wD+Cg=='}
    job(api, event('output', data), job_event(0))
    obm.run('power', 'on', 'n1')
    assert obm.stdout.buffer.getvalue() == b'\xff\x00\xfe\n'


@pytest.mark.parametrize(
    ('status', 'expected'),
    [(0, 0), (1, 1), (123, 123), (255, 255), (256, 255), (-1, 255), (None, 1)],
)
def test_the_exit_status_is_the_largest_of_the_job(api, obm, status, expected):
    job(api, job_event(status))
    assert obm.run('power', 'on', 'n1') == expected


def test_a_run_that_did_not_exit_is_told_with_its_reason(api, obm):
    lost = run_event(0, 'n1', 'ended', 'lost', 1, 'its conductor is gone')
    job(api, lost, job_event(1))
    obm.run('power', 'on', 'n1')
    assert obm.err == 'obm: n1: lost: its conductor is gone\n'


def test_among_several_a_failure_is_named(api, obm):
    job(api, exited(0, 'n1', 3), exited(1, 'n2'), job_event(3), total=2, command='backup')
    obm.run('power', 'on', 'n[1-2]')
    assert obm.err == 'obm: n1: exit status 3\n'


def test_off_is_an_answer_not_a_failure(api, obm):
    events = [exited(0, 'n1', 123), exited(1, 'n2'), job_event(123)]
    job(api, *events, total=2, command='power-status')
    assert obm.run('power', 'status', 'n[1-2]') == 123
    assert obm.err == ''


def test_an_end_that_is_told_twice_is_said_once(api, obm):
    job(api, exited(0, 'n1', 3), exited(0, 'n1', 3), job_event(3), total=2)
    obm.run('power', 'on', 'n[1-2]')
    assert obm.err.count('exit status') == 1


def test_lost_output_is_counted(api, obm):
    job(api, event('gap', {'position': 0, 'node': 'n1', 'bytes': 17}), job_event(0))
    obm.run('power', 'on', 'n1')
    assert obm.err == 'obm: n1: 17 bytes of output are lost\n'


def test_a_range_is_sent_whole(api, obm):
    job(api, job_event(0))
    obm.run('power', 'on', 'rack[1-9]n[01-40],@spare!n7')
    (body,) = started(api)
    assert body['nodes'] == 'rack[1-9]n[01-40],@spare!n7'


def test_limits_go_with_it(api, obm):
    job(api, job_event(0))
    obm.run('power', 'on', 'n1', '--limit', '4', '--stagger', '0.5', '--timeout', '60')
    (body,) = started(api)
    assert (body['limit'], body['stagger'], body['timeout']) == (4, 0.5, 60)


@pytest.mark.parametrize('option', ['--limit=0', '--limit=x', '--stagger=-1', '--timeout=nan'])
def test_limits_that_cannot_be_are_refused_here(api, obm, option, capsys):
    assert obm.run('power', 'on', 'n1', option) == 2
    assert api.requests == []


def test_a_job_can_be_left_to_itself(api, obm):
    job(api)
    assert obm.run('power', 'on', 'n[1-9]', '--detach') == 0
    assert obm.out == 'j1\n'
    assert api.asked('GET', EVENTS) == []


def test_off_over_several_asks_and_yes_goes_on(api, obm):
    plan(api, 'n1', 'n2', 'n3')
    obm.answer('y\n')
    assert obm.run('power', 'off', 'n[1-3]') == 0
    assert 'Power off n[1-3] (3 nodes), confirm to proceed [y/n]?' in obm.err
    assert len(started(api)) == 1


@pytest.mark.parametrize('answer', ['n\n', 'NO\n', '', 'what\nn\n'])
def test_without_a_yes_nothing_is_done(api, obm, answer):
    plan(api, 'n1', 'n2')
    obm.answer(answer)
    assert obm.run('power', 'off', 'n[1-2]') == 1
    assert started(api) == []
    assert 'nothing was done' in obm.err


def test_with_nobody_to_ask_nothing_is_done(api, obm):
    plan(api, 'n1', 'n2')
    assert obm.run('power', 'off', 'n[1-2]') == 1
    assert started(api) == []
    assert '--yes' in obm.err


@pytest.mark.parametrize('option', ['--yes', '-y', '--confirm'])
def test_yes_is_not_asked_for(api, obm, option):
    job(api, job_event(0), total=2)
    assert obm.run('power', 'off', 'n[1-2]', option) == 0
    assert len(api.asked('POST', '/jobs')) == 1


def test_off_of_one_node_is_not_asked_for(api, obm):
    job(api, job_event(0))
    assert obm.run('power', 'off', 'n1') == 0
    assert len(started(api)) == 1


def test_a_range_of_one_node_is_not_asked_for(api, obm):
    plan(api, 'n1')
    assert obm.run('power', 'off', '@one') == 0
    assert len(started(api)) == 1


def test_on_is_not_asked_for(api, obm):
    job(api, job_event(0), total=9)
    assert obm.run('power', 'on', 'n[1-9]') == 0
    assert len(api.asked('POST', '/jobs')) == 1


def test_a_change_of_type_is_asked_for_one_node_too(api, obm):
    plan(api, 'n1')
    obm.answer('y\n')
    assert obm.run('estate', 'change', 'n1', 'gpu-small') == 0
    assert 'Change machine type for n1. If powered on it will be rebooted.' in obm.err
    (body,) = started(api)
    assert (body['command'], body['arguments']) == ('estate-change', ['gpu-small'])


def test_a_dry_run_tells_and_runs_nothing(api, obm):
    runs = [
        {'node': 'n1', 'rank': 'ipmi', 'executes': 'builtin', 'conductor': 'c1', 'problem': None},
        {'node': 'n2', 'rank': None, 'executes': None, 'conductor': None, 'problem': 'no owner'},
    ]
    api.on('POST', '/jobs', {'command': 'power-off', 'runs': runs})
    assert obm.run('power', 'off', 'n[1-2]', '--dry-run') == 1
    assert obm.out == 'n1: builtin (rank ipmi) on c1\nn2: no owner\n'
    assert started(api) == []


def test_ctrl_c_before_the_answer_tells_that_nobody_knows(api, obm):
    def interrupt(request):
        raise KeyboardInterrupt

    api.on('POST', '/jobs', interrupt)
    assert obm.run('power', 'on', 'n1') == 130
    assert 'whether the job was started is not known' in obm.err


def test_a_refusal_is_one_line(api, obm):
    api.refuse('POST', '/jobs', 404, 'not_found', 'there is no node zzz')
    assert obm.run('power', 'on', 'zzz') == 1
    assert obm.err == 'obm: there is no node zzz\n'


def test_a_stream_that_is_lost_names_the_job(api, obm, monkeypatch):
    monkeypatch.setattr('obmd.client.events.PATIENCE', 0)
    api.on('POST', '/jobs', (201, a_job()))
    api.on('GET', EVENTS, [output_event(0, 'n1', 'x\n')])
    monkeypatch.setattr('obmd.client.events.follow.__defaults__', (None, 90.0, 0.0))
    assert obm.run('power', 'on', 'n1') == 1
    assert 'obm job watch j1' in obm.err


def test_an_event_of_a_newer_server_is_passed_over(api, obm):
    job(api, event('mood', {'good': True}), job_event(0))
    assert obm.run('power', 'on', 'n1') == 0


@pytest.mark.parametrize(
    ('name', 'data'),
    [('run', {}), ('output', {'position': 0}), ('output', {'base64': '!'}), ('run', 5)],
)
def test_an_event_that_lacks_something_is_told(api, obm, name, data):
    job(api, event(name, data), job_event(0))
    assert obm.run('power', 'on', 'n1') == 1
    assert f'an event "{name}" is not as it should be; the job goes on' in obm.err


def test_files_that_cannot_be_written_are_told_with_the_job(api, obm, tmp_path):
    (tmp_path / 'n1.out').mkdir()
    job(api, output_event(0, 'n1', 'x'), job_event(0))
    assert obm.run('power', 'on', 'n1', '-o', str(tmp_path)) == 1
    assert 'n1.out: Is a directory; the job goes on, see: obm job watch j1' in obm.err


def test_a_character_may_come_in_two_parts(api, obm):
    obm.stdout = stream(terminal=True)
    parts = [{'base64': 'ww=='}, {'base64': 'qQ=='}]
    about = {'position': 0, 'node': 'n1', 'stream': 'stdout', 'data': '?'}
    job(api, *(event('output', about | part) for part in parts), job_event(0))
    obm.run('power', 'on', 'n1')
    assert obm.out == 'é'


def test_what_a_script_says_does_not_command_the_terminal(api, obm):
    obm.stdout = stream(terminal=True)
    job(api, output_event(0, 'n1', '\x1b[31mred\x1b[0m\x1b]0;title\x07\x1b[2J\n'), job_event(0))
    obm.run('power', 'on', 'n1')
    assert obm.out == '\x1b[31mred\x1b[0m\\x1b]0;title\\x07\\x1b[2J\n'


def test_a_pipe_gets_what_the_script_wrote(api, obm):
    job(api, output_event(0, 'n1', '\x1b[2J\n'), job_event(0))
    obm.run('power', 'on', 'n1')
    assert obm.out == '\x1b[2J\n'


def test_a_terminal_has_a_bar_and_lines_above_it(api, obm):
    obm.stdout, obm.stderr = stream(terminal=True), stream(terminal=True)
    events = [run_event(0, 'n1', 'running'), run_event(1, 'n2', 'running')]
    events += [output_event(0, 'n1', 'hello\n'), exited(0, 'n1', 2), exited(1, 'n2'), job_event(2)]
    job(api, *events, total=2)
    assert obm.run('power', 'on', 'n[1-2]') == 2
    assert 'n1: hello' in obm.err
    assert 'n1: exit status 2' in obm.err
    assert '2/2, 1 failed' in obm.err


@pytest.mark.parametrize('terminal', ['stdout', None])
def test_without_a_terminal_there_is_no_bar(api, obm, terminal):
    if terminal:
        setattr(obm, terminal, stream(terminal=True))
    job(api, exited(0, 'n1'), exited(1, 'n2'), job_event(0), total=2)
    obm.run('power', 'on', 'n[1-2]')
    assert (obm.out, obm.err) == ('', '')


@pytest.mark.parametrize('words', [('n1',), ('n1', '-g'), ('-g', 'n1')])
def test_power_is_typed_as_flight_power_is(api, obm, words):
    job(api, job_event(0))
    assert obm.run('on', *words, name='power', commands=table.POWER) == 0
    (body,) = started(api)
    assert (body['command'], body['nodes']) == ('power-on', 'n1')


@pytest.mark.parametrize('words', [('n1', 'T'), ('n1', 'T', '-g'), ('-g', 'n1', 'T')])
def test_estate_is_typed_as_flight_estate_is(api, obm, words):
    job(api, job_event(0))
    assert obm.run('change', '-y', *words, name='estate', commands=table.ESTATE) == 0
    (body,) = started(api)
    assert (body['nodes'], body['arguments']) == ('n1', ['T'])


def test_a_job_that_runs_can_be_watched(api, obm):
    api.on('GET', '/jobs/j1', a_job(total=2))
    api.on('GET', EVENTS, [output_event(0, 'n1', 'x\n'), job_event(5)])
    assert obm.run('job', 'watch', 'j1') == 5
    assert obm.out == 'n1: x\n'


def test_soft_asks_each_node_and_tells_which_failed(api, obm):
    api.on('GET', '/nodes', {'nodes': [{'name': 'n1'}, {'name': 'n2'}], 'next': None})
    api.on('PUT', '/nodes/n1/power', {'node': 'n1'})
    api.refuse('PUT', '/nodes/n2/power', 504, 'bmc_silent', 'no answer')
    assert obm.run('power', 'soft', 'n[1-2]', '--yes') == 1
    assert (obm.out, obm.err) == ('n1: OK\n', 'obm: n2: no answer\n')
    assert api.asked('PUT', '/nodes/n1/power')[0].value == {'action': 'soft_off'}
