"""``obm complete``: what the shell may put where the cursor stands.

The script that it prints calls it again at each press of the tab key, with the line in the
environment; nodes, groups, commands and jobs are those that the server has.
"""

import argparse
import itertools
import os
import re
import shlex

from obmd.client import errors
from obmd.client import settings
from obmd.client.cli import base

SCRIPT = r"""_obm_complete() {
    local offer
    COMPREPLY=()
    while IFS= read -r offer; do
        COMPREPLY+=("$offer")
    done < <(OBM_COMPLETE_LINE="${COMP_LINE:0:$COMP_POINT}" \
        OBM_COMPLETE_BREAKS="$COMP_WORDBREAKS" "$1" complete 2>/dev/null)
}
complete -o default -F _obm_complete obm power estate obm-power obm-estate
"""
LINE, BREAKS = 'OBM_COMPLETE_LINE', 'OBM_COMPLETE_BREAKS'
#: names that are offered at once
MOST = 100
#: the shell puts an offer into its line as it is: characters of which it makes nothing else; only
#: who types a range puts the others there
_PLAIN = re.compile(r'[\w.,:@%+=/-]*')
_OF_A_RANGE = re.compile(r'[\w.,:@%+=/\[\]!&^-]*')
#: seconds that somebody waits for the tab key
TIMEOUT = 2.0


class Complete(base.Command):
    """Print a script for bash; in ~/.bashrc: source <(obm complete)

    zsh takes it too, after: autoload -Uz bashcompinit && bashcompinit
    """

    def take_action(self, parsed_args):
        if LINE not in os.environ:
            self.app.stdout.write(SCRIPT)
            return
        for word in offers(self.app, os.environ[LINE], os.environ.get(BREAKS, '')):
            self.say(word)


def offers(app, line, breaks=''):
    """:param app: :class:`obmd.client.cli.app.Obm`.  :param line: str, up to the cursor.

    :param breaks: str, the characters that are words of their own to the shell.
    :returns: list of str, what may stand for the last word, as the shell wants it.
    """
    words, current = _split(line)
    try:
        found = _Place(app, words[1:], current).offers()
    except errors.ClientError:
        return []
    # the shell knows of the word only what stands behind the last of these
    cut = max((current.rfind(mark) for mark in breaks), default=-1) + 1
    fit = (word for word in found if word.startswith(current) and _is_safe(word, len(current)))
    return sorted({word[cut:] for word in fit})[:MOST]


def _is_safe(word, typed):
    return bool(_OF_A_RANGE.fullmatch(word) and _PLAIN.fullmatch(word, typed))


def _split(line):
    """:returns: (list of str, the words before the last; str, the last one)."""
    for end in ('', "'", '"'):
        try:
            words = shlex.split(line + end)
            break
        except ValueError:
            continue
    else:
        words = line.split()
    if not line or line[-1].isspace():
        return words, ''
    return words[:-1], words[-1]


class _Place:
    """Where in a command the cursor stands."""

    def __init__(self, app, words, current):
        self._app = app
        self._current = current
        self._words = self._without_options(words)

    def _without_options(self, words):
        """Leave out what stands before the command, as it was said it is asked with."""
        takes = {
            option: action
            for action in self._app.parser._actions
            for option in action.option_strings
        }
        words = list(words)
        while words and words[0].startswith('-'):
            name, equals, value = words.pop(0).partition('=')
            action = takes.get(name)
            if action is None or action.nargs == 0:
                continue
            if not equals:
                value = words.pop(0) if words else None
            if action.dest in settings.VARIABLES or action.dest == 'config':
                setattr(self._app.options, action.dest, value)
        return words

    def offers(self):
        """:returns: iterable of str."""
        commands = self._app.command_manager.commands
        typed = ' '.join(self._words)
        for length in range(len(self._words), 0, -1):
            name = ' '.join(self._words[:length])
            if name in commands:
                command = commands[name].load()(self._app, None)
                parser = command.get_parser(f'{self._app.NAME} {name}')
                return self._of_command(name, parser, self._words[length:])
        if not self._words and self._current.startswith('-'):
            return [option for one in self._app.parser._actions for option in one.option_strings]
        start = f'{typed} ' if typed else ''
        return [
            name.removeprefix(start).split(' ')[0] for name in commands if name.startswith(start)
        ]

    def _of_command(self, name, parser, words):
        options = {option: one for one in parser._actions for option in one.option_strings}
        before = options.get(words[-1]) if words else None
        if before is not None and before.nargs != 0:
            return before.choices or ()
        if self._current.startswith('-'):
            return [o for o, one in options.items() if one.help != argparse.SUPPRESS]
        at = 0
        for index, word in enumerate(words):
            if word.startswith('-') or (index and _takes_value(options.get(words[index - 1]))):
                continue
            at += 1
        positionals = [one.dest for one in parser._actions if not one.option_strings]
        if at >= len(positionals):
            return ()
        return self._values(name, positionals[at])

    def _values(self, name, kind):
        client = self._app.client
        client.transport.timeout = TIMEOUT
        if kind in ('nodes', 'node', 'words'):
            return self._nodes(client)
        if kind == 'command':
            return (command['name'] for command in client.commands.list())
        if kind == 'job':
            return (job['id'] for job in itertools.islice(client.jobs.list(), MOST))
        if kind == 'name' and name.startswith('group'):
            return (group['name'] for group in client.groups.list())
        if kind == 'name' and name.startswith('driver'):
            return (driver['name'] for driver in client.drivers.list())
        return ()

    def _nodes(self, client):
        """The last name of a range."""
        start = re.match(r'(.*[,!&^])?', self._current).group()
        word = self._current[len(start) :]
        if word.startswith('@'):
            return (f'{start}@{group["name"]}' for group in client.groups.list())
        # who may see some nodes only is given none that follow what is no node
        found = client.nodes.after(word, MOST) or client.nodes.after('', MOST)
        return (f'{start}{node["name"]}' for node in found)


def _takes_value(action):
    return action is not None and action.nargs != 0
