"""Folded names of nodes: ``rack[1-20]n[01-40],@gpu!rack3n[01-08]`` and what it stands for.

The language is ClusterShell's, and its NodeSet unfolds the patterns.  But NodeSet makes whatever
it is asked for, so a text is read here first: what it may contain, and how many names it makes.
Groups (``@name``) are the caller's to resolve, and wildcards are refused: ClusterShell's own
resolver runs shell commands.
"""

import itertools
import re

from ClusterShell import NodeSet

from obmd.common import errors

#: bytes of text
MAX_TEXT = 16384
#: characters of a name, without its brackets and what is in them
MAX_PATTERN = 1024
#: dimensions (brackets) in one pattern
MAX_BRACKETS = 4
#: brackets in a text; each costs NodeSet some 50 microseconds
MAX_ALL_BRACKETS = 1024
#: different groups in a text; each costs a query or two
MAX_GROUPS = 64
#: union, difference, intersection, symmetric difference; from left to right
OPERATORS = ',!&^'
#: wildcards, and what NodeSet formats names with
REFUSED = '*?%\x7f'
#: what stands behind the @ of a group
GROUP = re.compile('[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}')
GROUP_IS = 'a word of at most 64 letters, digits, "_", "." and "-"'

_NUMBERED = re.compile(r'([^0-9]*(?:[0-9]+[^0-9]+)*?)([0-9]{1,18})([^0-9]*)')
#: between commas that stand in no brackets
_WORD = re.compile(r'(?:[^,[]|\[[^][]*\]|\[)+')
_BRACKETS = re.compile(r'\[([^][]*)\]')
_NUMBERS = re.compile(r'(?:[0-9]|\[[^][]*\])+')
_ELEMENT = re.compile('([0-9]{1,18})(?:-([0-9]{1,18})(?:/([0-9]{1,9}))?)?')


def expand(text, limit, resolve=None, longest=MAX_TEXT):
    """What ``text`` stands for.

    :param text: str.
    :param limit: int, how many names the patterns and groups of ``text`` may make, before
        operators take any away.
    :param resolve: called with a group's name and how many names it may have (one more shows that
        there are too many); gives an iterable of str.  None: groups are refused.
    :param longest: int, bytes that the text may have.
    :returns: list of str, each name once.
    :raises InvalidInput: it is no range, or names too many nodes.
    :raises NotFound: ``resolve`` knows no such group.
    """
    if len(text) > longest or len(text.encode('utf-8', 'replace')) > longest:
        raise errors.InvalidInput(f'the range is longer than {longest} bytes')
    if not text.strip():
        raise errors.InvalidInput('the range is empty')
    operands = list(_operands(text))
    left = limit - _bound([pattern for _, pattern in operands if pattern[:1] != '@'], limit)
    groups = {pattern: None for _, pattern in operands if pattern[:1] == '@'}
    if len(groups) > MAX_GROUPS:
        raise errors.InvalidInput(f'the range has more than {MAX_GROUPS} groups')
    for pattern in groups:
        groups[pattern] = _members(pattern[1:], resolve, limit, left)
        left -= len(groups[pattern])
    names = {}
    for operator, pattern in operands:
        # The operators of NodeSet itself take minutes for patterns of two dimensions.
        found = groups[pattern] if pattern in groups else dict.fromkeys(_names(pattern))
        _combine(names, operator, found)
    return list(names)


def only_grows(text, group):
    """Whether a range could only name more if somebody were in a group that is not there.

    :param text: str that :func:`expand` reads.  :param group: str, a name without the ``@``.
    :returns: bool; False behind ``!``, ``&`` and ``^``, and before a ``^``.
    """
    is_before = False
    for operator, pattern in _operands(text):
        is_here = pattern == f'@{group}'
        if (is_here and operator != ',') or (is_before and operator == '^'):
            return False
        is_before = is_before or is_here
    return True


def includes(text, name):
    """Whether a node is named in a range without groups, or in what :func:`fold` has made.

    No names are made, so it costs what the text is long, whatever a name in it looks like.  What
    is no range is read word by word: it has names that look odd, or was cut.

    :param text: str or None.  :param name: str.  :returns: bool.
    """
    words = _WORD.findall(text or '')
    if name in words:
        return True
    try:
        operands = list(_operands(text or ''))
    except errors.InvalidInput:
        operands = [(',', word) for word in words]
    is_in, shape = False, _shape(name)
    for operator, pattern in operands:
        found = pattern == name or _makes(pattern, name, shape)
        if operator == ',':
            is_in = is_in or found
        elif operator == '&':
            is_in = is_in and found
        elif operator == '!':
            is_in = is_in and not found
        else:
            is_in = is_in != found
    return is_in


def _shape(word):
    """What the names of a pattern have in common."""
    return _NUMBERS.sub('0', word)


def _makes(pattern, name, shape):
    """:param shape: of the name."""
    if '[' not in pattern or _shape(pattern) != shape:
        return False
    parts = _BRACKETS.split(pattern)
    if len(parts) > 2 * MAX_BRACKETS + 1:
        return False
    fixed, inside = map(re.escape, parts[::2]), parts[1::2]
    match = re.fullmatch('([0-9]{1,18})'.join(fixed), name)
    return match is not None and all(map(_holds, inside, match.groups()))


def _holds(inside, digits):
    """Whether a number, as it is written, stands in brackets."""
    for element in inside.split(','):
        match = _ELEMENT.fullmatch(element.strip())
        if match is None:
            return False
        first, last, step = match.groups()
        width = len(first) if first[0] == '0' else 0
        number, first, step = int(digits), int(first), int(step or 1)
        is_between = first <= number <= (first if last is None else int(last))
        is_hit = is_between and step and (number - first) % step == 0
        if is_hit and f'{number:0{width}d}' == digits:
            return True
    return False


def _members(group, resolve, limit, left):
    """:returns: dict of the names in a group, at most ``left``."""
    if not GROUP.fullmatch(group):
        raise errors.InvalidInput(f'behind @ stands {GROUP_IS}')
    if resolve is None:
        raise errors.InvalidInput('groups (@) cannot stand here')
    found = dict.fromkeys(resolve(group, left + 1))
    if len(found) > left:
        raise _too_many(limit)
    return found


def _too_many(limit):
    return errors.InvalidInput(f'the range names more than {limit} nodes')


def fold(names):
    """The names of a list as a short text, for people and to be kept.

    The last number in a name is folded, as in ``rack1n[01-40]``; names that :func:`expand` would
    take for more than a name make no range, only a text.

    :param names: iterable of str.
    :returns: str, each name once, in the order in which their first ones come.
    """
    alike = {}
    for name in dict.fromkeys(names):
        match = _NUMBERED.fullmatch(name)
        if match is None:
            alike[name] = None
            continue
        head, digits, tail = match.groups()
        # n9 and n10 are alike, n09 and n10 too
        padded = len(digits) > 1 and digits[0] == '0'
        width = len(digits) if padded or (head, tail, len(digits)) in alike else 0
        alike.setdefault((head, tail, width), []).append(int(digits))
    return ','.join(
        one if numbers is None else _folded(*one, numbers) for one, numbers in alike.items()
    )


def _folded(head, tail, width, numbers):
    """:param numbers: list of int, each once."""
    numbers = sorted(numbers)
    spans, first = [], numbers[0]
    for number, after in itertools.zip_longest(numbers, numbers[1:]):
        if after != number + 1:
            last = f'-{number:0{width}d}' if number > first else ''
            spans.append(f'{first:0{width}d}{last}')
            first = after
    inside = spans[0] if len(numbers) == 1 else f'[{",".join(spans)}]'
    return f'{head}{inside}{tail}'


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
    """:returns: int, how many names the patterns make.

    :raises InvalidInput: more than ``limit``, or one is none.
    """
    total = brackets = 0
    for pattern in patterns:
        names, dimensions = _count(pattern)
        total += names
        brackets += dimensions
        if brackets > MAX_ALL_BRACKETS:
            raise errors.InvalidInput(f'the range has more than {MAX_ALL_BRACKETS} brackets')
        if total > limit:
            raise _too_many(limit)
    return total


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
    if '@' in pattern:
        raise errors.InvalidInput("'@' stands only before the name of a group")
    if any(c.isspace() for c in pattern):
        raise errors.InvalidInput('a name in the range has a space in it')
    names = 1
    inside = re.findall(r'\[([^]]*)\]', pattern)
    # each of the names that a pattern makes has what is outside of the brackets
    if len(pattern) - sum(len(elements) + 2 for elements in inside) > MAX_PATTERN:
        raise errors.InvalidInput('a name in the range is too long')
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
