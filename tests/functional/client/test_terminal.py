"""``obm`` in a terminal: what a user sees of it."""

import os
import secrets
import subprocess
import tempfile

import pytest

from tests.functional.client.api_server import ApiServer
from tests.functional.client.test_command_line import settings
from tests.functional.deployment import BIN
from tests.functional.deployment import wait_until

pytestmark = pytest.mark.needs('tmux')

WIDTH, HEIGHT = 100, 30


class Terminal:
    """A terminal of tmux with a shell in it."""

    def __init__(self, env):
        self._folder = tempfile.TemporaryDirectory(prefix='obm-tmux-')
        socket = os.path.join(self._folder.name, secrets.token_hex(4))
        # a server of its own; nobody's tmux.conf
        self._tmux = ['tmux', '-S', socket, '-f', '/dev/null']
        self._env = env | {'LC_ALL': 'C.UTF-8', 'TERM': 'screen'}

    def __enter__(self):
        size = ['-x', str(WIDTH), '-y', str(HEIGHT)]
        self._call('new-session', '-d', *size, "PS1='$ ' exec bash --norc --noprofile")
        self.wait_for('$')
        return self

    def __exit__(self, *unused):
        subprocess.run([*self._tmux, 'kill-server'], env=self._env, timeout=30)
        self._folder.cleanup()

    def _call(self, *words):
        done = subprocess.run(
            [*self._tmux, *words], env=self._env, capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def type(self, text, *keys):
        self._call('send-keys', '-l', text)
        self._call('send-keys', *(keys or ['Enter']))

    def press(self, *keys):
        self._call('send-keys', *keys)

    @property
    def screen(self):
        return self._call('capture-pane', '-p')

    @property
    def lines(self):
        return [line.rstrip() for line in self.screen.splitlines() if line.strip()]

    def wait_for(self, text):
        """:returns: str, the screen once ``text`` is on it."""

        def seen():
            screen = self.screen
            return screen if text in screen else None

        try:
            return wait_until(seen, 30, repr(text))
        except AssertionError as error:
            raise AssertionError(f'{error}; the screen was:\n{self.screen}') from None


@pytest.fixture
def api():
    with ApiServer([f'n{n}' for n in range(1, 21)]) as server:
        yield server


@pytest.fixture
def terminal(api):
    with Terminal(settings(api, PATH=f'{BIN}:{os.environ["PATH"]}')) as one:
        yield one


def test_a_bar_counts_and_names_what_runs(api, terminal):
    terminal.type('obm power on n[1-20]')
    for position in range(12):
        api.run(position, 'running')
    terminal.wait_for('0/20')
    terminal.wait_for('n8 ')
    assert 'n9 ' not in terminal.screen
    for position in range(8):
        api.exit(position)
    terminal.wait_for('8/20')
    terminal.wait_for('n12')


def test_lines_and_failures_stand_above_the_bar_at_once(api, terminal):
    terminal.type('obm power on n[1-20]')
    for position in range(3):
        api.run(position, 'running')
    api.say(0, 'hello from here\n')
    api.run(1, 'ended', 'timed_out', 124, 'it took longer than 5 s')
    terminal.wait_for('1/20, 1 failed')
    lines = terminal.lines
    (said,) = [n for n, line in enumerate(lines) if line == 'n1: hello from here']
    (told,) = [n for n, line in enumerate(lines) if 'n2: timed out: it took longer' in line]
    (bar,) = [n for n, line in enumerate(lines) if '1/20' in line]
    assert said < told < bar


def test_the_bar_is_gone_at_the_end_and_the_lines_stay(api, terminal):
    terminal.type('obm power on n[1-20]; echo "left with $?"')
    for position in range(20):
        api.run(position, 'running')
        api.say(position, f'line of {position}\n')
        api.exit(position, 2)
    api.end(2)
    terminal.wait_for('left with 2')
    screen = terminal.screen
    assert '20/20' not in screen
    assert 'n20: line of 19' in screen


def test_lines_longer_than_the_terminal_are_whole(api, terminal):
    terminal.type('clear; obm power on n[1-20]; echo end')
    api.say(0, 'x' * 150 + '\n')
    api.end()
    terminal.wait_for('end\n')
    assert ''.join(terminal.lines).count('x') == 150


def test_with_output_in_a_file_the_bar_is_still_there(api, terminal, tmp_path):
    path = tmp_path / 'out'
    terminal.type(f'obm power on n[1-20] > {path}')
    api.run(0, 'running')
    api.say(0, 'hello\n')
    terminal.wait_for('0/20')
    wait_until(lambda: path.read_text() == 'n1: hello\n', 30, 'the line in the file')
    assert 'hello' not in terminal.screen


def test_a_question_is_asked_and_answered(api, terminal):
    terminal.type('obm power off n[1-20]; echo "left with $?"')
    terminal.wait_for('Power off n[1-20] (20 nodes), confirm to proceed [y/n]?')
    assert [one[3].get('dry_run') for one in api.asked('POST')] == [True]
    terminal.type('n')
    terminal.wait_for('left with 1')
    assert len(api.asked('POST')) == 1
    terminal.type('clear; obm power off n[1-20]; echo "left with $?"')
    terminal.wait_for('[y/n]?')
    terminal.type('y')
    api.end(0)
    terminal.wait_for('left with 0')
    assert len(api.asked('POST')) == 3


def test_ctrl_c_at_the_bar_cancels_and_tells_the_end(api, terminal):
    terminal.type('obm power on n[1-20]; echo "left with $?"')
    api.run(0, 'running')
    terminal.wait_for('0/20')
    terminal.press('C-c')
    assert api.cancelled.wait(30)
    terminal.wait_for('cancelling job j1')
    api.run(0, 'ended', 'cancelled', 130)
    api.end(130)
    screen = terminal.wait_for('left with 130')
    assert 'n1: cancelled' in screen
    assert 'Traceback' not in screen


def test_an_escape_sequence_of_a_script_is_spelt_out(api, terminal):
    terminal.type('obm power on n[1-20]')
    api.say(0, '\x1b[2Jcleared\x1b[1;1Hmoved\n')
    screen = terminal.wait_for('moved')
    assert '\\x1b[2Jcleared' in screen


def test_names_are_completed(api, terminal):
    terminal.type('source <(obm complete); clear')
    terminal.type('obm power st', 'Tab')
    terminal.wait_for('obm power status')
    terminal.type('n1', 'Tab')
    terminal.wait_for('obm power status n1x')
