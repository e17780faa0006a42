"""One command that users may run on nodes, as its folder says it.

::

    NAME/metadata.yaml    what users are told of it
    NAME/default.sh       what runs
    NAME/RANK.sh          what runs instead on nodes of that rank

``RANK`` is a file's name less its last extension; a script is what is executable.  A folder that
is not a whole command raises :class:`Invalid`; what is odd and does no harm is in its notes.

The folder of a built-in command may hold rank scripts alone: they go first on the nodes that they
fit, and the built-in does the rest.

Everything here reads files, which may take long: see :mod:`obmd.common.command_table`.
"""

import dataclasses
import os
import re
import stat
import typing

from obmd.common import names
from obmd.common import threads
from obmd.common import yaml_files

METADATA = 'metadata.yaml'
DEFAULT = 'default'
#: bytes of metadata.yaml
LARGEST = 65536
#: names that its merged maps (<<) may come to
_MOST_MERGED = 10_000
#: files in a command's folder
MOST_FILES = 1000
#: a note: who may change the folder decides what runs
OPEN = 'this folder may be changed by every user of this machine'
#: a name is a word of a command line and a part of URLs
_NAME = re.compile('[A-Za-z0-9][A-Za-z0-9.-]{0,63}')
#: characters of a text that the metadata may hold
LONGEST = 16384

_TOP = ('help', 'confirmation')
_HELP = ('summary', 'description', 'syntax', 'has_context')


class Invalid(Exception):
    """The folder is no command; the text says why."""


class Choice(typing.NamedTuple):
    """What runs on a node.

    :ivar rank: str, which script; None: the built-in.
    :ivar path: str, the script's absolute path; None: the built-in.
    """

    rank: str | None
    path: str | None

    @property
    def executes(self):
        """str, for people: ``builtin`` or the script's file name."""
        return 'builtin' if self.path is None else os.path.basename(self.path)


@dataclasses.dataclass(frozen=True)
class Command:
    """:ivar syntax: str, what follows the command's name on a command line.
    :ivar confirmation: str or None, what a user is asked; ``%{nodes}`` stands for the nodes.
    :ivar has_context: it runs on nodes, once on each; else once, on none.
    :ivar builtin: obmd itself does it where no script fits.
    :ivar scripts: dict of rank to the absolute path of its script.
    :ivar root: str, the folder that holds the command's folder; None: it has none.
    :ivar notes: tuple of str, what is odd in its folder.
    """

    name: str
    summary: str
    description: str
    syntax: str
    confirmation: str | None = None
    has_context: bool = True
    builtin: bool = False
    scripts: dict = dataclasses.field(default_factory=dict)
    root: str | None = None
    notes: tuple = ()

    @property
    def ranks(self):
        """list of str, the ranks that have a script, in alphabetical order."""
        return sorted(self.scripts)

    def choose(self, ranks=()):
        """What runs on a node: the script of the first of its ranks that has one, else the default,
        else the built-in.

        :param ranks: the node's, in order.  :returns: :class:`Choice`.
        """
        for rank in (*ranks, DEFAULT):
            if rank in self.scripts:
                return Choice(rank, self.scripts[rank])
        return Choice(None, None)


class File(typing.NamedTuple):
    """What tells whether a file has changed."""

    name: str
    mode: int
    size: int
    changed: tuple

    @property
    def executable(self):
        """By anybody: who runs it is not who asks."""
        return bool(self.mode & 0o111)


def files(folder):
    """:returns: tuple of :class:`File`, the regular files in ``folder`` that are not hidden.

    :raises Invalid: it cannot be read.
    """
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith('.'):
                    continue
                found.append(_file(entry))
                if len(found) > MOST_FILES:
                    raise Invalid(f'it holds more than {MOST_FILES} files')
    except OSError as error:
        raise Invalid(f'its folder cannot be read: {error.strerror}') from None
    return tuple(sorted(one for one in found if one is not None))


def _file(entry):
    try:
        about = entry.stat()
    except OSError:  # a link to nothing
        return File(entry.name, 0, 0, ())
    if not stat.S_ISREG(about.st_mode):
        return None
    changed = about.st_dev, about.st_ino, about.st_mtime_ns, about.st_ctime_ns
    return File(entry.name, about.st_mode, about.st_size, changed)


def is_open(folder):
    """Whether every user of this machine may put files there, or replace them."""
    try:
        return bool(os.stat(folder).st_mode & stat.S_IWOTH)
    except OSError:
        return False


def read(root, name, found, builtin=None, open_to_all=False):
    """The command in ``root/name``.

    :param found: what :func:`files` gave of it.  :param open_to_all: what :func:`is_open` did.
    :param builtin: :class:`Command` of that name that obmd has, or None.
    :raises Invalid:
    """
    if '_' in name:
        raise Invalid('a name of a command has no "_"')
    if _NAME.fullmatch(name) is None:
        raise Invalid(
            'a name of a command is 1 to 64 letters, digits, "." and "-", beginning with a letter '
            'or digit'
        )
    folder = os.path.join(root, name)
    notes = [OPEN] if open_to_all else []
    if any(one.name == METADATA for one in found):
        told = _metadata(name, _load(os.path.join(folder, METADATA)), notes)
    elif builtin is not None:
        told = {key: getattr(builtin, key) for key in (*_HELP, 'confirmation')}
    else:
        raise Invalid(f'it has no {METADATA}')
    scripts = _scripts(folder, found, notes)
    has_default = DEFAULT in scripts
    if not has_default and any(_rank(one.name) == DEFAULT for one in found):
        raise Invalid('its default script is not executable')
    if not has_default and builtin is None:
        raise Invalid('it has no default script')
    if not told['has_context'] and len(scripts) > has_default:
        ranks = names.shown(', '.join(sorted(scripts.keys() - {DEFAULT})))
        raise Invalid(f'it runs on no nodes (has_context: false), but has scripts for {ranks}')
    if builtin is not None and not told['has_context']:
        raise Invalid('the built-in command of that name runs on nodes; has_context must be true')
    return Command(
        name,
        builtin=builtin is not None,
        scripts=scripts,
        root=root,
        notes=tuple(notes),
        **told,
    )


def _rank(file_name):
    return os.path.splitext(file_name)[0]


def _scripts(folder, found, notes):
    scripts = {}
    for one in found:
        if one.name == METADATA:
            continue
        rank, name = _rank(one.name), names.shown(one.name)
        if not one.executable:
            notes.append(f'{name} is not executable: it is passed over')
        elif rank in scripts:
            used = names.shown(os.path.basename(scripts[rank]))
            notes.append(f'{name} is passed over: {used} is the script of that rank')
        else:
            scripts[rank] = os.path.join(folder, one.name)
        if one.executable and one.mode & stat.S_IWOTH:
            notes.append(f'{name} may be changed by every user of this machine')
    return scripts


# -- metadata.yaml --------------------------------------------------------------------------------


def _load(path):
    try:
        with open(path, 'rb', opener=_open) as file:
            text = file.read(LARGEST + 1)
    except OSError as error:
        raise Invalid(f'{METADATA} cannot be read: {error.strerror}') from None
    if len(text) > LARGEST:
        raise Invalid(f'{METADATA} is longer than {LARGEST} bytes')
    try:
        return yaml_files.load(text, _MOST_MERGED)
    except yaml_files.Invalid as error:
        where = f' (line {error.line})' if error.line else ''
        raise Invalid(f'{METADATA} is not YAML{where}: {error}') from None


def _open(path, flags):
    # it may have become a pipe
    return threads.native_open(path, flags | os.O_NONBLOCK)


def _metadata(name, content, notes):
    """:returns: dict of what :class:`Command` takes from it."""
    if not isinstance(content, dict):
        raise Invalid(f'{METADATA} is not a map')
    told = content.get('help')
    if not isinstance(told, dict):
        raise Invalid('help is missing or not a map')
    _note_unknown(content, _TOP, '', notes)
    _note_unknown(told, _HELP, 'help.', notes)
    has_context = told.get('has_context')
    if has_context is None:
        has_context = True
    if not isinstance(has_context, bool):
        raise Invalid('help.has_context is neither true nor false')
    summary = _text(told, 'summary', 'help.')
    if not summary:
        raise Invalid('help.summary is missing')
    syntax = _text(told, 'syntax', 'help.')
    if syntax is None:
        syntax = 'NAME' if has_context else ''
    if has_context and syntax.split()[:1] != ['NAME']:
        raise Invalid('help.syntax must start with NAME')
    return {
        'summary': summary,
        'description': _text(told, 'description', 'help.') or summary,
        'syntax': syntax,
        'has_context': has_context,
        'confirmation': _text(content, 'confirmation', '') or None,
    }


def _note_unknown(content, known, where, notes):
    for key in content:
        if key not in known:
            name = (
                names.shown(key[:64])
                if isinstance(key, str)
                else f'a name of the type {type(key).__name__}'
            )
            notes.append(f'{METADATA}: {where}{name} means nothing')


def _text(content, key, where):
    value = content.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise Invalid(f'{where}{key} is not text')
    if len(value) > LONGEST or '\0' in value:
        raise Invalid(f'{where}{key} is longer than {LONGEST} characters or holds NUL')
    return value.strip()
