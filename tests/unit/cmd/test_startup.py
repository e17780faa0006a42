import argparse
import os
import signal
import threading

import pytest

from obmd.cmd import startup
from obmd.common import errors
from obmd.conf import CONF


@pytest.fixture
def signals():
    kept = {
        number: signal.getsignal(number)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)
    }
    yield
    signal.set_wakeup_fd(-1)
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in kept.items():
        signal.signal(number, handler)


# -- refusals -------------------------------------------------------------------------------------


def fail(error):
    raise error


@pytest.mark.parametrize(
    'error',
    [
        errors.Fatal('a port is in use'),
        errors.Fatal('driver x cannot be imported: line one\n  line two\n'),
        errors.Unavailable('the database does not answer'),
    ],
)
def test_a_refusal_is_one_line_and_status_1(capsys, error):
    assert startup.run('obmd', fail, error) == 1
    said = capsys.readouterr()
    assert said.out == ''
    assert said.err.count('\n') == 1
    assert said.err.startswith('obmd: ' + error.reason.split()[0])


def test_a_bug_is_one_line_that_points_to_the_log(capsys):
    assert startup.run('obmd', fail, ValueError('hunter2')) == 1
    said = capsys.readouterr().err
    assert 'hunter2' not in said.splitlines()[-1]
    assert 'see the log' in said


def test_an_interruption_has_its_own_status():
    assert startup.run('obmd', fail, KeyboardInterrupt()) == 130


@pytest.mark.parametrize(('value', 'status'), [(None, 0), (0, 0), (3, 3)])
def test_an_end_has_the_status_it_says(value, status):
    assert startup.run('obmd', lambda: value) == status


# -- options --------------------------------------------------------------------------------------


def test_config_files_are_given_in_their_order():
    parser = argparse.ArgumentParser()
    startup.add_config_file(parser)
    namespace, rest = parser.parse_known_args(
        ['--config-file', 'a', '--debug', '--config-file', 'b']
    )
    assert startup.with_files(namespace, rest) == [
        '--debug',
        '--config-file',
        'a',
        '--config-file',
        'b',
    ]


@pytest.fixture
def _options():
    parsed = CONF._args is not None
    CONF.reset()
    yield
    CONF.reset()
    if parsed:
        CONF([], project='obmd', default_config_files=[])


@pytest.mark.usefixtures('_options')
def test_the_last_file_wins_and_the_environment_over_all(tmp_path, monkeypatch):
    one, two = tmp_path / 'one', tmp_path / 'two'
    one.write_text('[console]\nring_size = 5000\nlinger = 7\n[DEFAULT]\nhost = one\n')
    two.write_text('[console]\nring_size = 6000\n')
    monkeypatch.setenv('OS_DEFAULT__HOST', 'environment')
    startup.configure(['--config-file', str(one), '--config-file', str(two)], 'obmd')
    assert CONF.console.ring_size == 6000
    assert CONF.console.linger == 7
    assert CONF.host == 'environment'


@pytest.mark.usefixtures('_options')
@pytest.mark.parametrize(
    'content',
    [None, 'this is no option\n', '[api]\nworkers = many\n', '[console]\nring_size = 1\n'],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / 'obmd.conf'
    if content is not None:
        path.write_text(content)
    with pytest.raises(errors.Fatal) as fatal:
        startup.configure(['--config-file', str(path)], 'obmd')
    assert '\n' not in fatal.value.reason


# -- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_wakes_who_waits_and_sets_the_alarm(signals, number):
    stop = startup.Stop()
    assert not stop.wanted
    os.kill(os.getpid(), number)
    stop.wait(3)
    assert stop.wanted
    assert 3 < signal.getitimer(signal.ITIMER_REAL)[0] <= 3 + startup.LAST_RESORT


def test_any_other_signal_wakes_nobody(signals):
    seen = threading.Event()
    kept = signal.signal(signal.SIGUSR1, lambda *_: seen.set())
    try:
        stop = startup.Stop()
        signal.raise_signal(signal.SIGUSR1)  # to this thread, which runs the handlers
        assert seen.is_set()
        assert not stop._event.wait(0.01)
    finally:
        signal.signal(signal.SIGUSR1, kept)
        stop.now()


def test_it_may_stop_by_itself(signals):
    stop = startup.Stop()
    stop.now()
    stop.wait(3)
    assert stop.wanted


@pytest.mark.usefixtures('_options')
def test_a_value_in_the_environment_that_cannot_be_is_refused_too(monkeypatch):
    monkeypatch.setenv('OS_CONSOLE__CAPTURE', 'sometimes')
    with pytest.raises(errors.Fatal, match='capture'):
        startup.configure([], 'obmd', [])
