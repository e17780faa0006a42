"""Groups of nodes that an operator names: what the door and ``obmd-manage`` share."""

from obmd.api import selection
from obmd.common import errors
from obmd.common import ranges
from obmd.conf import CONF
from obmd.db import node_groups


def check_name(name):
    """:returns: ``name``.  :raises InvalidInput: it is None, or cannot be a group's."""
    if name is None or not ranges.GROUP.fullmatch(name):
        raise errors.InvalidInput(f'the name of a group is {ranges.GROUP_IS}')
    return name


def keep(name, text):
    """Make a group, or replace its nodes, by those that a range names now.

    :param name: str, or None: it cannot be one.  :param text: str, a range.
    :returns: (:class:`obmd.db.node_groups.Group`, bool: whether it is new).
    :raises InvalidInput: of the name or the range.
    :raises NotFound: naming the nodes, or the group in ``text``, that do not exist.
    """
    check_name(name)
    names = [node.name for node in selection.select(text)]
    folded = ranges.fold(names)
    if set(_unfold(folded)) != set(names):
        raise errors.InvalidInput('names with brackets, commas, @ or the like cannot be in a group')
    is_new = node_groups.put(name, folded)
    return find(name), is_new


def _unfold(folded):
    try:
        return ranges.expand(folded, CONF.api.max_range, longest=selection.LONGEST_GROUP)
    except errors.InvalidInput:
        return ()


def find(name):
    """:returns: :class:`obmd.db.node_groups.Group`.

    :raises InvalidInput: it cannot be a name.  :raises NotFound:
    """
    found = node_groups.get(check_name(name))
    if found is None:
        raise errors.NotFound(f'there is no group "{name}"')
    return found


def remove(name):
    """:raises InvalidInput: it cannot be a name.  :raises NotFound:"""
    if not node_groups.delete(check_name(name)):
        raise errors.NotFound(f'there is no group "{name}"')
