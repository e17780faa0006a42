"""What callers of the Action door send, checked: queries and documents of JSON:API 1.0."""

import dataclasses

from obmd.api import errors as api_errors
from obmd.api.jsonapi import documents
from obmd.api.jsonapi import errors as jsonapi_errors
from obmd.common import errors


@dataclasses.dataclass(frozen=True)
class Query:
    """:ivar include: frozenset of str, the relationships to include, or None: not asked for.
    :ivar ids: frozenset of str of ``filter[id]``, or None.
    """

    include: frozenset | None = None
    ids: frozenset | None = None

    def includes(self, name):
        return self.include is not None and name in self.include


def query(request, includes=(), filters=False):
    """:param includes: paths of relationships that may be included.
    :param filters: whether ``filter[id]`` may be given.
    :returns: :class:`Query`.
    :raises BadParameter: any other parameter.
    """
    found = {}
    for name, value in request.query_pairs():
        values = frozenset(one.strip() for one in value.split(',') if one.strip())
        if name == 'include' and includes:
            unknown = sorted(values.difference(includes))
            if unknown:
                raise jsonapi_errors.BadParameter(f'cannot include {unknown[0][:64]}', name)
            found['include'] = values | {one.partition('.')[0] for one in values}
        elif name == 'filter[id]' and filters:
            found['ids'] = values
        else:
            raise jsonapi_errors.BadParameter('this parameter means nothing here', name)
    return Query(**found)


def new(request, kind):
    """What a POST of one new resource says.

    :param kind: str, its type.
    :returns: (dict of attributes, their names with dashes; dict of relationships).
    :raises: what the answer must be, by its class.
    """
    content_type = request.environ.get('CONTENT_TYPE') or ''
    if content_type.strip().lower() != documents.MEDIA_TYPE:
        raise api_errors.UnsupportedMediaType(
            f'the Content-Type must be {documents.MEDIA_TYPE}, without parameters'
        )
    document = request.read_json(empty=False)
    data = document.get('data') if isinstance(document, dict) else None
    if not isinstance(data, dict):
        raise errors.InvalidInput('the document has no data, or it is not one resource')
    if data.get('type') != kind:
        raise jsonapi_errors.Conflict(f'the type of the resource must be {kind}')
    if 'id' in data:
        raise errors.Forbidden('the id of a new resource is not for the client to choose')
    attributes, relationships = data.get('attributes') or {}, data.get('relationships') or {}
    if not isinstance(attributes, dict) or not isinstance(relationships, dict):
        raise errors.InvalidInput('attributes and relationships must be objects')
    return {name.replace('_', '-'): value for name, value in attributes.items()}, relationships


def linked(relationships, name):
    """The one resource that a relationship names.

    :returns: (str type, str id), or None: it is empty or missing.
    :raises InvalidInput: it is not a relationship to one resource.
    """
    relationship = relationships.get(name)
    if relationship is None:
        return None
    data = relationship.get('data') if isinstance(relationship, dict) else False
    if data is None:
        return None
    if not isinstance(data, dict):
        raise errors.InvalidInput(f'the relationship {name} does not name one resource')
    kind, id_ = data.get('type'), data.get('id')
    if not isinstance(kind, str) or not isinstance(id_, str):
        raise errors.InvalidInput(f'the relationship {name} has no type or no id')
    return kind, id_
