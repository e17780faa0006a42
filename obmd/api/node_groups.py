"""Groups of nodes that an operator names: what the door and ``obmd-manage`` share."""

import dataclasses

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
        raise not_found(name)
    return found


def among(group, covered):
    """The part of a group that a token is for.

    :param group: :class:`obmd.db.node_groups.Group`.  :param covered: frozenset of str, names.
    :returns: the same with only those nodes, ``''`` for none.
    """
    names = [name for name in _unfold(group.nodes) if name in covered]
    return dataclasses.replace(group, nodes=ranges.fold(names))


def not_found(name):
    """:returns: NotFound."""
    return errors.NotFound(f'there is no group "{name}"')


def remove(name):
    """:raises InvalidInput: it cannot be a name.  :raises NotFound:"""
    if not node_groups.delete(check_name(name)):
        raise not_found(name)
