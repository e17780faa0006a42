"""Folded names of nodes: ``rack[1-20]n[01-40],spare7!rack3n[01-08]`` and what it stands for.

The language is ClusterShell's, and its NodeSet unfolds the patterns.  But NodeSet makes whatever
it is asked for, so a text is read here first: what it may contain, and how many names it makes.
Groups (``@name``) and wildcards are refused: ClusterShell's own resolver runs shell commands.
"""

import re

from ClusterShell import NodeSet

from obmd.common import errors

#: bytes of text
MAX_TEXT = 16384
#: characters of a name, brackets counted as written
MAX_PATTERN = 1024
#: dimensions (brackets) in one pattern
MAX_BRACKETS = 4
#: brackets in a text; each costs NodeSet some 50 microseconds
MAX_ALL_BRACKETS = 1024
#: union, difference, intersection, symmetric difference; from left to right
OPERATORS = ',!&^'
#: groups, wildcards, and what NodeSet formats names with
REFUSED = '@*?%\x7f'

_ELEMENT = re.compile('([0-9]{1,18})(?:-([0-9]{1,18})(?:/([0-9]{1,9}))?)?')


def expand(text, limit):
    """What ``text`` stands for.

    :param text: str.
    :param limit: int, how many names the patterns of ``text`` may make, before operators take
        any away.
    :returns: list of str, each name once.
    :raises InvalidInput: it is no range, or names too many nodes.
    """
    if len(text) > MAX_TEXT or len(text.encode('utf-8', 'replace')) > MAX_TEXT:
        raise errors.InvalidInput(f'the range is longer than {MAX_TEXT} bytes')
    if not text.strip():
        raise errors.InvalidInput('the range is empty')
    operands = list(_operands(text))
    _bound([pattern for _operator, pattern in operands], limit)
    names = {}
    for operator, pattern in operands:
        # The operators of NodeSet itself take minutes for patterns of two dimensions.
        _combine(names, operator, dict.fromkeys(_names(pattern)))
    return list(names)


def _combine(names, operator, found):
    """Change ``names`` in place; costs what ``found`` is long."""
    if operator == '&':
        kept = [name for name in found if name in names]
        names.clear()
        names.update(dict.fromkeys(kept))
        return
    taken = [] if operator == ',' else [name for name in found if name in names]
    if operator != '!':
        names.update(found)
    for name in taken:
        del names[name]


def _names(pattern):
    if '[' not in pattern:
        return [pattern]
    try:
        return list(NodeSet.NodeSet(pattern, resolver=NodeSet.RESOLVER_NOGROUP))
    except Exception:
        # its parser lets more than its own errors out (ValueError, TypeError, OverflowError)
        raise errors.InvalidInput('the range cannot be read') from None


def _bound(patterns, limit):
    """:raises InvalidInput: the patterns make more than ``limit`` names, or are none."""
    total = brackets = 0
    for pattern in patterns:
        names, dimensions = _count(pattern)
        total += names
        brackets += dimensions
        if brackets > MAX_ALL_BRACKETS:
            raise errors.InvalidInput(f'the range has more than {MAX_ALL_BRACKETS} brackets')
        if total > limit:
            raise errors.InvalidInput(f'the range names more than {limit} nodes')


def _operands(text):
    """:returns: iterator of (operator, pattern), split where no brackets are open."""
    operator, start, depth = ',', 0, 0
    for at, character in enumerate(text):
        if character == '[':
            depth += 1
        elif character == ']':
            depth -= 1
        elif depth == 0 and character in OPERATORS:
            yield operator, text[start:at].strip()
            operator, start = character, at + 1
        if depth not in (0, 1):
            raise errors.InvalidInput('the brackets of the range do not match')
        if character in REFUSED or ord(character) < 32:
            raise errors.InvalidInput(f'{character!r} cannot stand in a range')
    if depth:
        raise errors.InvalidInput('the brackets of the range do not match')
    yield operator, text[start:].strip()


def _count(pattern):
    """:returns: (int names, int brackets)."""
    if not pattern:
        raise errors.InvalidInput('an operator of the range lacks an operand')
    if len(pattern) > MAX_PATTERN and '[' not in pattern:
        raise errors.InvalidInput('a name in the range is too long')
    if any(c.isspace() for c in pattern):
        raise errors.InvalidInput('a name in the range has a space in it')
    names = 1
    inside = re.findall(r'\[([^]]*)\]', pattern)
    if len(inside) > MAX_BRACKETS:
        raise errors.InvalidInput(f'a name in the range has more than {MAX_BRACKETS} brackets')
    for elements in inside:
        names *= sum(map(_count_element, elements.split(',')))
    return names, len(inside)


def _count_element(element):
    match = _ELEMENT.fullmatch(element.strip())
    if match is None:
        raise errors.InvalidInput('brackets of the range take numbers: [1-9], [01-20/2], [3,5]')
    first, last, step = match.groups()
    if last is None:
        return 1
    first, last, step = int(first), int(last), int(step or 1)
    if last < first or step < 1:
        raise errors.InvalidInput(f'{match.group()} runs backwards or stands still')
    return (last - first) // step + 1
