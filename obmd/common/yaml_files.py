"""YAML of files that others write: plain values only, and no file makes work without end.

Anchors and merged maps (``<<``) let a short text stand for a large one, and PyYAML raises what it
pleases; here what is merged is bounded and every fault is one error.
"""

import yaml

#: levels that maps and lists may be nested
_DEEPEST = 64
#: names that merged maps (<<) may come to in all
_MOST_MERGED = 1_000_000


class Invalid(Exception):
    """The text says why, never a value.  :ivar line: int, from 1, or None: it is not known."""

    def __init__(self, reason, mark=None):
        super().__init__(reason)
        self.line = None if mark is None else mark.line + 1


def load(text, most_merged=_MOST_MERGED, names_once=False):
    """:param text: bytes or str, one document.
    :param names_once: a map that has a name twice is refused; else the last one wins.
    :returns: what it says: None, texts, numbers, dates, lists, dicts.
    :raises Invalid: it cannot be read.
    """
    try:
        return _load(text, most_merged, names_once)
    except Invalid:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Invalid(error.problem or error.context, mark) from None
    except yaml.YAMLError as error:
        raise Invalid(str(error).partition('\n')[0]) from None
    except Exception as error:
        # whatever it is, it is the file's fault, and never to be the end of who reads it
        raise Invalid(f'it cannot be made sense of ({type(error).__name__})') from None


class _Loader(getattr(yaml, 'CSafeLoader', yaml.SafeLoader)):
    """YAML 1.1; what is merged is bounded."""

    most_merged = merged = 0

    def construct_object(self, node, deep=False):
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError):
            # a date that there is not; !!bool x, !!int "", !!timestamp x
            kind = node.tag.rpartition(':')[2]
            raise Invalid(f'a value is no {kind}', node.start_mark) from None

    def flatten_mapping(self, node):
        super().flatten_mapping(node)
        # each level counts before the next one multiplies it
        self.merged += len(node.value)
        if self.merged > self.most_merged:
            raise Invalid('too much is merged here', node.start_mark)


def _load(text, most_merged, names_once):
    _refuse_deep(text)
    loader = _Loader(text)
    loader.most_merged = most_merged
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if names_once:
            _refuse_twice(node)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _refuse_deep(text):
    """libyaml makes nodes by recursion, and ends the process when that goes too deep."""
    depth = 0
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST:
            raise Invalid('nested too deeply', event.start_mark)


def _refuse_twice(root):
    """YAML has the last of two names win in silence.

    :raises Invalid: a map has a name twice.
    """
    seen, left = set(), [root]
    while left:
        node = left.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            names = set()
            for key, value in node.value:
                name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else id(key)
                if name in names:
                    shown = f'"{key.value}"' if isinstance(key, yaml.ScalarNode) else 'a name'
                    raise Invalid(f'{shown} stands there twice', key.start_mark)
                names.add(name)
                left.append(value)
        elif isinstance(node, yaml.SequenceNode):
            left.extend(node.value)
