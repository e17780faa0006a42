"""The part of ``/api/v1``'s table that is about nodes and their groups; see ``v1``."""

from obmd.api.doors import groups
from obmd.api.doors import nodes
from obmd.api.rows import ANY
from obmd.api.rows import Row
from obmd.api.schemas import nodes as schemas

_TEXT = {'type': 'string', 'maxLength': 255, 'pattern': '^[^\\x00]*$'}
_PAGING = {
    'limit': {'type': 'integer', 'minimum': 1, 'maximum': 1000, 'default': 1000},
    'marker': {**_TEXT, 'description': 'What "next" of the page before said.'},
}

ROUTES = {
    '/api/v1/nodes': {
        'GET': Row(
            nodes.index,
            'The nodes there are, by name, or in the order of a range',
            ANY,
            query={
                'nodes': {'type': 'string', 'description': 'A range: these, or it is refused.'},
                'driver': {**_TEXT, 'description': 'Those of this driver.'},
                'conductor_group': {**_TEXT, 'description': 'Those of this conductor group.'},
                'rank': {**_TEXT, 'description': 'Those with this rank.'},
                'conductor': {**_TEXT, 'description': 'Those that this host owns.'},
                **_PAGING,
            },
            answer=schemas.LIST,
            errors=('not_found',),
        ),
        'POST': Row(
            nodes.create,
            'Register a node',
            ('nodes',),
            body=schemas.CREATE,
            answer=schemas.NODE,
            status=201,
            errors=('node_exists', 'mac_taken', 'not_found'),
        ),
    },
    '/api/v1/nodes/{id}': {
        'GET': Row(nodes.show, 'A node', ('nodes',), answer=schemas.NODE),
        'PATCH': Row(
            nodes.change,
            'Change what is said about a node (RFC 7396)',
            ('nodes',),
            body=schemas.CHANGE,
            answer=schemas.NODE,
            errors=('mac_taken', 'node_busy'),
        ),
        'DELETE': Row(nodes.delete, 'Unregister a node', ('nodes',), status=204),
    },
    '/api/v1/groups': {
        'GET': Row(
            groups.index, 'Names for ranges of nodes', ANY, query=_PAGING, answer=schemas.GROUPS
        ),
    },
    '/api/v1/groups/{id}': {
        'GET': Row(groups.show, 'A group', ANY, answer=schemas.GROUP),
        'PUT': Row(
            groups.put,
            'Name the nodes of a range, as they are now',
            body=schemas.GROUP_CHANGE,
            answer=schemas.GROUP,
            others={201: schemas.GROUP},
        ),
        'DELETE': Row(groups.delete, 'Forget a name; the nodes stay', status=204),
    },
}
