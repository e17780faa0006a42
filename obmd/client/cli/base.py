"""What every command of ``obm`` shares."""

import re

from cliff import command
from cliff import lister
from cliff import show

from obmd.client import errors

#: what may change a terminal: control characters but tab, and every escape sequence but colours
_UNSAFE = re.compile(r'\x1b\[[0-9;]{0,30}m|[\x00-\x08\x0a-\x1f\x7f-\x9f]')
_COLOUR = re.compile(r'\x1b\[[0-9;]*m')
#: what makes a text more than one node's name, or a pattern
_RANGE = frozenset('[],@!&^*? ')


def is_one(nodes):
    """:returns: bool, whether a range is the name of one node."""
    return not _RANGE & set(nodes)


def printable(value):
    """:returns: str, without anything that a terminal would obey."""
    text = '' if value is None else str(value)
    return ''.join(c if c.isprintable() else c.encode('unicode_escape').decode() for c in text)


def for_terminal(line):
    """A line that a script wrote, for a terminal: colours stay, what else a terminal would obey
    is spelt out.  :param line: str without its newline."""
    return _UNSAFE.sub(_spell, line)


def _spell(match):
    text = match.group()
    return text if _COLOUR.fullmatch(text) else text.encode('unicode_escape').decode()


def flag(value):
    return {True: 'yes', False: 'no'}.get(value, '')


class _Fast:
    # cliff would look through all installed packages for the one that a command came with
    def get_epilog(self):
        return ''

    @property
    def client(self):
        """:class:`obmd.client.Client`, made when it is first asked for."""
        return self.app.client

    def say(self, text):
        self.app.stdout.write(f'{text}\n')


class Command(_Fast, command.Command):
    pass


class Lister(_Fast, lister.Lister):
    """A table of what the server lists.

    Give :attr:`columns`, a dict of title -> function of an item.
    """

    columns = {}

    def table(self, items):
        rows = (tuple(shown(get(item)) for get in self.columns.values()) for item in items)
        return tuple(self.columns), rows


class ShowOne(_Fast, show.ShowOne):
    def table(self, item):
        return tuple(item), tuple(shown(value) for value in item.values())


class Shown(list):
    """A list, as a table shows it; JSON and YAML have it as it is."""

    def __str__(self):
        return printable(', '.join(str(one) for one in self))


def shown(value):
    """:returns: ``value`` for a formatter of cliff: text is made printable."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list) and not any(isinstance(one, list | dict) for one in value):
        return Shown(value)
    return value


class Declined(errors.ClientError):
    """The user said no."""
