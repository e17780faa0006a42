"""Documents of JSON:API 1.0 (https://jsonapi.org/format/1.0/) as the Action door answers them.

Links do not carry the door's prefix: they follow what the caller has as its base URL.
"""

import json
import urllib.parse

from obmd.api import http

MEDIA_TYPE = 'application/vnd.api+json'


def identifier(kind, id_):
    """A resource identifier object."""
    return {'type': kind, 'id': id_}


def resource(kind, id_, attributes, relationships=None, links=None):
    """A resource object.

    :param relationships: dict of name to resource linkage: an identifier, a list, or None.
    :param links: dict of further links beside ``self``.
    """
    made = identifier(kind, id_) | {
        'attributes': attributes,
        'links': {'self': path(kind, id_), **(links or {})},
    }
    if relationships:
        made['relationships'] = {name: {'data': data} for name, data in relationships.items()}
    return made


def path(kind, id_):
    """:returns: str, where a resource is, below the door's prefix."""
    return f'/{kind}/{urllib.parse.quote(id_, safe="")}'


def answer(data, included=None, status=200, headers=()):
    """:param data: a resource object or a list of them.  :param included: list of them, or None:
    nothing was asked for.
    """
    document = {'data': data}
    if included is not None:
        document['included'] = included
    document['jsonapi'] = {'version': '1.0'}
    body = json.dumps(document, separators=(',', ':')).encode()
    return http.Response(body, status=status, content_type=MEDIA_TYPE, headers=headers)
