"""Which nodes a caller means: a range, with groups, becomes nodes.

``@name`` is a group that an operator made (``obmd.db.node_groups``), else the nodes with that rank.
"""

from obmd.common import errors
from obmd.common import ranges
from obmd.conf import CONF
from obmd.db import node_groups
from obmd.db import node_lists
from obmd.db import ranks

#: bytes of a group's nodes as they are kept
LONGEST_GROUP = 2**20
#: characters of an answer that names what does not exist
_SHOWN = 1000


class Unknown(errors.NotFound):
    """Some of the nodes do not exist.  :ivar names: list of str."""

    def __init__(self, names):
        super().__init__(_no_such(names))
        self.names = names


def expand(text):
    """:param text: str.  :returns: list of str, names, in the order of ``text``, each once.

    :raises InvalidInput: it is no range, or names more than ``[api] max_range`` nodes.
    :raises NotFound: naming the group that does not exist.
    """
    return ranges.expand(text, CONF.api.max_range, members)


def members(group, most):
    """What is in a group, as :func:`obmd.common.ranges.expand` wants it.

    :returns: list of str.  :raises NotFound: there is no such group.
    """
    found = node_groups.get(group)
    if found is not None:
        return ranges.expand(found.nodes, CONF.api.max_range, longest=LONGEST_GROUP)
    names = ranks.members(group, most)
    if not names:
        raise errors.NotFound(f'there is no group "@{group}", and no node with that rank')
    return names


def select(text):
    """:param text: str, a range.

    :returns: list of :class:`obmd.db.node_lists.Place`, in the order of ``text``, each once.

    :raises InvalidInput: see :func:`expand`, or it names no node at all.
    :raises Unknown: naming all those that do not exist.
    """
    names = expand(text)
    if not names:
        raise errors.InvalidInput('the range names no node')
    return rows(names)


def rows(names):
    """:param names: list of str, each once.

    :returns: list of :class:`obmd.db.node_lists.Place`, in that order.
    :raises Unknown: naming all those that do not exist.
    """
    found = {node.name: node for node in node_lists.places(names)}
    missing = [name for name in names if name not in found]
    if missing:
        raise Unknown(missing)
    return [found[name] for name in names]


def _no_such(missing):
    folded = ranges.fold(missing)
    if len(folded) > _SHOWN:
        folded = f'{folded[:_SHOWN]}... ({len(missing)} in all)'
    return f'there is no such node: {folded}'
