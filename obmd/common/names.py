"""What a node may be called, and how a name that is odd stands in a line.

A name goes into ranges, logs and lines that people and programs read; it is never a part of a
shell's command line, so ``-rf`` and ``$(id)`` are names like others.
"""

import unicodedata

from obmd.common import errors

#: what ranges are made of (``obmd.common.ranges``)
RESERVED = '[],!&^@*?%'
#: general categories of Unicode: control characters, and those that end lines and paragraphs
_CONTROL = ('Cc', 'Zl', 'Zp')
#: characters
LONGEST = 255


def check(name):
    """:param name: str.  :raises InvalidInput: a new node cannot be called so."""
    check_label(name)
    if any(c in RESERVED or c.isspace() or not c.isprintable() for c in name):
        raise errors.InvalidInput(
            f'a node name has no spaces, no unprintable characters and none of {RESERVED}'
        )


def check_label(name):
    """As :func:`check`, for OBMd's door, where a name may be nearly anything: only what would
    forge a line is refused.

    :raises InvalidInput:
    """
    if not 0 < len(name) <= LONGEST or '\0' in name:
        raise errors.InvalidInput(f'a node name has 1 to {LONGEST} characters, none of them NUL')
    try:
        name.encode()
    except UnicodeEncodeError:
        raise errors.InvalidInput('a node name is text') from None
    if any(unicodedata.category(c) in _CONTROL for c in name):
        raise errors.InvalidInput('a node name has no control characters and is one line')


def shown(name):
    """:returns: str, as it may stand in a line, whatever characters it has."""
    return ''.join(c if c.isprintable() else c.encode('unicode_escape').decode() for c in name)
