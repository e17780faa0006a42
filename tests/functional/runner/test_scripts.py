"""Scripts as people write them, and worse."""

import os
import signal

import pytest

from obmd.conductor import scripts
from tests.functional.runner.stage import ENVIRONMENT
from tests.functional.runner.stage import alive
from tests.functional.runner.stage import until


def outcome(end):
    return end.outcome, end.status


def test_a_script_that_works(stage):
    end, out, err = stage.run(stage.shell('echo out; echo err >&2'))
    assert (outcome(end), out, err) == (('exited', 0), b'out\n', b'err\n')
    assert end.output_bytes == 8
    assert end.reason is None


def test_the_status_is_the_scripts_own(stage):
    assert outcome(stage.run(stage.shell('exit 123'))[0]) == ('exited', 123)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_a_script_that_dies_by_a_signal(stage, number):
    end, _, _ = stage.run(stage.shell(f'kill -{int(number)} $$'))
    assert outcome(end) == ('signalled', 128 + number)
    assert number.name in end.reason


def test_arguments_come_verbatim(stage):
    given = ['', ' a  b ', '$(id)', '`id`', '-rf', '*', "'", '"', 'é\n', '\\', ';reboot', '%s']
    _, out, _ = stage.run(stage.shell('printf "<%s>" "$@"'), *given)
    assert out.decode() == ''.join(f'<{one}>' for one in given)


def test_the_environment_is_what_was_given_and_nothing_else(stage):
    given = {'PATH': '/bin', 'name': 'n1', 'quote': '\'"', 'lines': 'a\nb', 'é': 'ü', 'empty': ''}
    _, out, _ = stage.run('/usr/bin/env', '-0', environment=given)
    assert dict(line.split('=', 1) for line in out.decode().split('\0') if line) == given


def test_standard_input_is_at_its_end(stage):
    _, out, _ = stage.run(stage.shell('cat; echo end'))
    assert out == b'end\n'


def test_a_script_starts_in_the_root_folder_with_an_ordinary_umask(stage):
    _, out, _ = stage.run(stage.shell('pwd; umask'))
    assert out == b'/\n0022\n'


def test_a_script_has_three_descriptors(stage):
    _, out, _ = stage.run(stage.shell('exec ls /proc/self/fd'))
    # the fourth is that of ls on the folder
    assert out.split() == [b'0', b'1', b'2', b'3']


def test_a_script_leads_a_session_of_its_own(stage):
    _, out, _ = stage.run(stage.shell('echo $$; cut -d" " -f5,6 /proc/$$/stat'))
    pid, group, session = out.split()
    assert pid == group == session


def test_a_script_gets_signals_as_if_from_a_shell(stage):
    _, out, _ = stage.run(stage.shell('exec grep -E "^Sig(Blk|Ign)" /proc/self/status'))
    # the C library keeps 32 and 33 to itself: signal(7)
    ordinary = ~(1 << 31 | 1 << 32)
    assert [int(word, 16) & ordinary for word in out.split()[1::2]] == [0, 0]


def test_a_script_leaves_no_core_and_few_descriptors(stage):
    _, out, _ = stage.run(stage.shell('ulimit -c; ulimit -n'))
    core, descriptors = out.split()
    assert core == b'0'
    assert int(descriptors) <= 1024


def test_output_without_a_newline_is_all_there(stage):
    assert stage.run(stage.shell('printf x'))[1] == b'x'


def test_binary_output_comes_as_it_is(stage):
    everything = bytes(range(256)) * 1000
    (stage.folder / 'binary').write_bytes(everything)
    end, out, _ = stage.run('/bin/cat', str(stage.folder / 'binary'))
    assert out == everything
    assert end.output_bytes == len(everything)


def test_output_that_looks_like_obmds_own_is_output(stage):
    """Nobody ends another node's run by printing what the file has in it."""
    from obmd.runner import frames

    forged = frames.opening() + frames.header(9, frames.END, 2) + b'{}'
    (stage.folder / 'forged').write_bytes(forged)
    assert stage.run('/bin/cat', str(stage.folder / 'forged'))[1] == forged


def test_what_a_script_writes_last_is_not_lost(stage):
    _, out, _ = stage.run(stage.shell('head -c 60000 /dev/zero; exit 3'))
    assert len(out) == 60000


def test_output_comes_while_the_script_runs(stage):
    job = stage.start(stage.shell('echo here; exec sleep 1000'))
    assert stage.said(job) == b'here\n'
    stage.scripts.kill(job, 0)
    assert stage.end().outcome == 'cancelled'


# -- what cannot be started -----------------------------------------------------------------------


def refused(stage, path, *arguments, **options):
    end, out, err = stage.run(path, *arguments, **options)
    assert end.outcome == 'not_started'
    assert out == err == b''
    return end.status, end.reason


def test_a_script_that_was_deleted(stage):
    path = stage.shell('true')
    os.unlink(path)
    assert refused(stage, path) == (127, 'the script is not there any more')


def test_a_script_that_is_not_executable(stage):
    status, reason = refused(stage, stage.script('#!/bin/sh\n', mode=0o644))
    assert status == 126
    assert 'may not execute' in reason


def test_a_script_with_an_interpreter_that_is_not_there(stage):
    status, reason = refused(stage, stage.script('#!/usr/bin/nonesuch\n'))
    assert status == 126
    assert 'interpreter' in reason


def test_a_script_without_an_interpreter(stage):
    status, reason = refused(stage, stage.script('echo no shell guesses\n'))
    assert status == 126
    assert '#!' in reason


def test_an_empty_file(stage):
    assert refused(stage, stage.script(''))[0] == 126


def test_a_folder(stage):
    assert refused(stage, str(stage.folder))[0] == 126


def test_a_path_that_depends_on_where_one_stands(stage):
    assert refused(stage, 'bin/true')[0] == 127


@pytest.mark.parametrize(
    ('argument', 'environment'),
    [('a\0b', {}), ('\ud800', {}), ('', {'a': 'b\0c'}), ('', {'a=b': 'c'}), ('', {'': 'c'})],
    ids=['NUL', 'no Unicode', 'NUL in a value', 'equals sign in a name', 'no name'],
)
def test_text_that_no_process_can_get(stage, argument, environment):
    assert refused(stage, '/bin/true', argument, environment=environment)[0] == 126


def test_a_parameter_of_a_megabyte(stage):
    status, reason = refused(stage, '/bin/true', environment={'big': 'x' * (1 << 20)})
    assert status == 126
    assert 'too large' in reason


def test_a_value_that_is_no_text_stops_nobody_else(stage):
    assert refused(stage, '/bin/true', environment={'number': 7})[0] == 126
    assert stage.run('/bin/true')[0].status == 0


def test_a_job_that_is_not_open(stage):
    stage.scripts.run(scripts.Script('no-such-job', 0, '/bin/true', (), ENVIRONMENT, 60.0))
    assert stage.end().outcome == 'not_started'


def test_a_run_that_runs_already_is_not_started_twice(stage):
    path = stage.shell('echo here; exec sleep 1000')
    job = stage.start(path)
    stage.said(job)
    stage.start(path, job=job)
    stage.scripts.say(job, 1, 'then\n')
    stage.said(job, b'then')
    stage.scripts.kill(job, 0)
    assert stage.end().outcome == 'cancelled'
    assert stage.output(job)[0] == b'here\nthen\n'


# -- what does not end --------------------------------------------------------------------------


def test_a_script_that_hangs_is_ended_in_time(stage):
    end, out, _ = stage.run(stage.shell('echo begun; exec sleep 1000'), timeout=1.0)
    assert outcome(end) == ('timed_out', 124)
    assert out == b'begun\n'


def test_a_script_that_ignores_being_told_is_killed(stage):
    path = stage.shell("trap '' TERM; echo $$; while :; do sleep 0.2; done")
    job = stage.start(path)
    pid = int(stage.said(job))
    stage.scripts.kill(job, 0)
    assert outcome(stage.end()) == ('cancelled', 130)
    assert not alive(pid)


def test_a_script_that_is_stopped_is_ended(stage):
    job = stage.start(stage.shell('echo $$; kill -STOP $$'))
    pid = int(stage.said(job))
    stage.scripts.kill(job, 0)
    assert outcome(stage.end()) == ('cancelled', 130)
    assert not alive(pid)


def test_a_script_may_clean_up_when_it_is_cancelled(stage):
    job = stage.start(stage.shell("trap 'echo clean; exit 0' TERM; echo up; sleep 1000 & wait"))
    stage.said(job)
    stage.scripts.kill(job, 0)
    assert outcome(stage.end()) == ('cancelled', 130)
    assert stage.output(job)[0] == b'up\nclean\n'


def test_the_reason_of_a_kill_is_kept(stage):
    job = stage.start(stage.shell('echo up; exec sleep 1000'))
    stage.said(job)
    stage.scripts.kill(job, 0, 'lost', 'the conductor was stopped')
    end = stage.end()
    assert (end.outcome, end.status, end.reason) == ('lost', 1, 'the conductor was stopped')


def test_killing_one_run_leaves_the_others_of_its_job(stage):
    path = stage.shell('echo up; exec sleep 1000')
    job = stage.start(path)
    stage.start(path, job=job, position=1)
    stage.said(job, b'up\nup\n')
    stage.scripts.kill(job, 1)
    assert stage.end().position == 1
    stage.scripts.kill(job, 0)
    assert stage.end().position == 0


def test_killing_what_has_ended_changes_nothing(stage):
    job = stage.start('/bin/true')
    assert stage.end().status == 0
    stage.scripts.kill(job, 0)
    assert stage.output(job)[2] == {0: ('exited', 0)}


# -- what a script leaves behind ------------------------------------------------------------------


def test_what_stays_in_the_group_is_ended_with_its_script(stage):
    end, out, _ = stage.run(stage.shell('sleep 1000 & echo $!; exit 7'))
    assert outcome(end) == ('exited', 7)
    assert not alive(int(out))


def test_what_stays_and_ignores_being_told_is_killed(stage):
    text = 'sh -c \'trap "" TERM; echo $$; while :; do sleep 0.2; done\' & sleep 0.5'
    end, out, _ = stage.run(stage.shell(text))
    assert outcome(end) == ('exited', 0)
    assert not alive(int(out))


def test_what_leaves_the_group_and_holds_the_output_is_ended(stage):
    end, out, _ = stage.run(stage.shell("setsid sh -c 'echo $$; exec sleep 1000' & sleep 0.5"))
    assert outcome(end) == ('exited', 0)
    until(lambda: not alive(int(out)))


#: forked twice, in a session of its own, with nothing open that is ours
DAEMON = """
(setsid sh -c 'echo $$; exec sleep 1000 </dev/null >/dev/null 2>&1' &)
"""


def test_a_daemon_lives_as_long_as_its_script_and_not_much_longer(stage):
    job = stage.start(stage.shell(DAEMON + 'exec sleep 1000'))
    pid = int(stage.said(job))
    others = [stage.run('/bin/true')[0].status for _ in range(3)]
    assert others == [0, 0, 0]
    assert alive(pid)
    stage.scripts.kill(job, 0)
    assert stage.end().outcome == 'cancelled'
    until(lambda: not alive(pid))


#: it changes what it is known by, and has a child that is none of the runner's
SHED = """
setsid bash -c '
    ulimit -S -R unlimited
    exec 3>&1 >/dev/null 2>&1
    sleep 1000 3>&- &
    echo $$ $! >&3
    exec 3>&-
    wait' &
"""


def test_what_shed_its_label_is_ended_with_its_script(stage):
    pids = stage.run(stage.shell(SHED + 'sleep 0.5'))[1].split()
    assert len(pids) == 2
    until(lambda: not any(alive(int(pid)) for pid in pids))


def test_a_script_that_sheds_its_label_lasts_while_others_end(stage):
    job = stage.start(stage.script('#!/bin/bash\nulimit -S -R unlimited; echo up; sleep 1000'))
    stage.said(job)
    pids = stage.run(stage.shell(SHED + 'sleep 0.5'))[1].split()
    until(lambda: not any(alive(int(pid)) for pid in pids))
    stage.scripts.kill(job, 0)
    assert stage.end().outcome == 'cancelled'


def test_a_script_that_forks_many_is_ended_with_all_of_them(stage):
    text = 'for i in $(seq 100); do (setsid sleep 1000 &) ; sleep 1000 & done; echo done; wait'
    job = stage.start(stage.shell(text))
    stage.said(job)
    stage.scripts.kill(job, 0)
    assert stage.end().outcome == 'cancelled'
    until(lambda: not sleepers(stage))


def sleepers(stage):
    """Processes that are a script's of this stage, whoever their parent is."""
    from obmd.runner import labels

    found = labels.Labels(int(stage.identity[:8], 16)).strays()
    return [pid for pid, _ in found if alive(pid)]


# -- too much of it -----------------------------------------------------------------------------


def test_a_flood_ends_at_the_limit(stage):
    job = stage.job(limit=1 << 20)
    end, out, _ = stage.run('/usr/bin/yes', job=job)
    assert outcome(end) == ('output_limit', 125)
    assert len(out) == end.output_bytes == 1 << 20


def test_both_streams_count(stage):
    job = stage.job(limit=100_000)
    end, out, err = stage.run(stage.shell('yes | tee /dev/stderr'), job=job)
    assert outcome(end) == ('output_limit', 125)
    assert len(out) + len(err) == 100_000


def test_the_limit_is_one_for_all_runs_of_a_job(stage):
    path, job = stage.shell('head -c 600 /dev/zero'), stage.job(limit=1000)
    stage.start(path, job=job)
    assert outcome(stage.end()) == ('exited', 0)
    stage.start(path, job=job, position=1)
    assert outcome(stage.end()) == ('output_limit', 125)
    stage.start('/bin/true', job=job, position=2)
    assert outcome(stage.end()) == ('exited', 0)


def test_the_limit_is_the_same_when_a_job_was_closed_and_is_opened_again(stage):
    path, job = stage.shell('head -c 600 /dev/zero; exec sleep 1000'), stage.job(limit=1000)
    stage.start(path, job=job)
    stage.said(job, bytes(600))
    stage.scripts.kill(job, 0)
    stage.end()
    stage.scripts.close(job)
    stage.scripts.open(job, 1000)
    # told before it: what was in the file is known by then
    stage.scripts.say(job, 2, 'opened\n')
    stage.said(job, b'opened')
    stage.start(path, job=job, position=1)
    end = stage.end()
    assert (outcome(end), end.output_bytes) == (('output_limit', 125), 400)


def test_a_flood_up_to_the_limit_is_no_fault(stage):
    job = stage.job(limit=1000)
    end, out, _ = stage.run(stage.shell('head -c 1000 /dev/zero'), job=job)
    assert (outcome(end), len(out)) == (('exited', 0), 1000)


def test_a_flood_delays_no_other_script(stage):
    flood = stage.start('/usr/bin/yes', job=stage.job(limit=1 << 40))
    ends = []
    for _ in range(10):
        stage.start('/bin/true')
        ends.append(stage.end().outcome)
    stage.scripts.kill(flood, 0)
    assert ends == ['exited'] * 10
    assert stage.end().outcome == 'cancelled'
    stage.spools.remove(flood)


def test_what_builtin_commands_say_is_in_the_same_file(stage):
    job = stage.job()
    stage.scripts.say(job, 4, 'OK\n')
    stage.scripts.end(job, 4, 'exited', 0)
    assert stage.output(job) == (b'OK\n', b'', {4: ('exited', 0)}, 0)


def test_a_closed_job_is_settled(stage):
    job = stage.start('/bin/true')
    stage.end()
    stage.scripts.close(job)
    reader = stage.spools.reader(job)
    found = []
    while not (reader.ended and not (more := reader.read(1))):
        found += reader.read(1) if not reader.ended else more
    assert [frame.data for frame in found] == [('exited', 0)]
