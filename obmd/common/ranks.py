"""The ranks of a node: words, the most special one first, of which a command's scripts are named.

They name nodes in ranges too: ``@metal`` is every node with that rank.
"""

from obmd.common import errors
from obmd.common import ranges

#: of one node
MOST = 32


def check(given):
    """:param given: any value; a text is one rank.

    :returns: list of str.
    :raises InvalidInput: it is no text and no list of different ones.
    """
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, list | tuple):
        raise errors.InvalidInput('ranks must be a list of words')
    if len(given) > MOST:
        raise errors.InvalidInput(f'ranks must be at most {MOST}')
    for position, rank in enumerate(given):
        if not isinstance(rank, str) or not ranges.GROUP.fullmatch(rank):
            raise errors.InvalidInput(f'ranks.{position} must be {ranges.GROUP_IS}')
    if len(set(given)) != len(given):
        raise errors.InvalidInput('ranks has one of them twice')
    return list(given)
