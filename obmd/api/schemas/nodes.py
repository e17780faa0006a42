"""What goes in and out of ``/api/v1/nodes`` and ``/api/v1/groups``."""

from obmd.common import names

#: of a node; Linux names at most a few for each card
MOST_PORTS = 128
#: a year, in seconds
LONGEST_EXPECTED = 31536000

_OBJECT = {'type': ['object', 'null']}
_NAME = {
    'type': 'string',
    'minLength': 1,
    'maxLength': names.LONGEST,
    'pattern': '^[^\\x00]*$',
    'description': f'Without spaces, unprintable characters and {names.RESERVED}',
}

CHANGE = {
    'title': 'NodeChange',
    'type': 'object',
    'properties': {
        'obm': {
            'type': ['object', 'null'],
            'required': ['type'],
            'properties': {
                'type': {'type': 'string', 'minLength': 1, 'maxLength': 255},
                'info': {'type': 'object', 'maxProperties': 64},
            },
            'description': 'How its BMC is reached: a driver, and what that wants. Never shown.',
        },
        'conductor_group': {'type': 'string', 'maxLength': 255, 'pattern': '^[^\\x00-\\x1f]*$'},
        # what is in these is judged one by one up to the first mistake: a schema lists them all
        'ranks': {
            'type': ['array', 'string', 'null'],
            'description': 'Words, the most special first; scripts of commands are named so.',
        },
        'parameters': {
            'type': ['object', 'null'],
            'description': 'What its scripts find in their environment.',
        },
        'properties': _OBJECT,
        'extra': _OBJECT,
        'instance_info': _OBJECT,
        'ports': {'type': ['array', 'null'], 'maxItems': MOST_PORTS},
        'expect_agent': {
            'type': ['boolean', 'object', 'null'],
            'required': ['seconds'],
            'maxProperties': 1,
            'properties': {
                'seconds': {'type': 'number', 'minimum': 1, 'maximum': LONGEST_EXPECTED},
            },
        },
    },
}

CREATE = {
    'title': 'NewNode',
    'type': 'object',
    'required': ['name'],
    'properties': {'name': _NAME, **CHANGE['properties']},
}

_TEXT = {'type': ['string', 'null']}

NODE = {
    'title': 'Node',
    'type': 'object',
    'required': ['uuid', 'name', 'driver'],
    'properties': {
        'uuid': {'type': 'string'},
        'name': {'type': 'string'},
        'driver': {'type': 'string'},
        'conductor_group': {'type': 'string'},
        'conductor': _TEXT,
        'properties': {'type': 'object'},
        'extra': {'type': 'object'},
        'instance_info': {'type': 'object'},
        'ports': {'type': 'array', 'items': {'type': 'string'}},
        'ranks': {'type': 'array', 'items': {'type': 'string'}},
        'parameters': {'type': 'object'},
        'expect_agent': {'type': 'boolean'},
        'expect_agent_until': _TEXT,
        'agent': {'type': 'object'},
        'reservation': {'type': ['object', 'null']},
        'target_power_state': _TEXT,
        'last_error': _TEXT,
        'created_at': _TEXT,
        'updated_at': _TEXT,
    },
}

LISTED = {
    'title': 'ListedNode',
    'type': 'object',
    'required': ['uuid', 'name', 'driver'],
    'properties': {
        'uuid': {'type': 'string'},
        'name': {'type': 'string'},
        'driver': {'type': 'string'},
        'conductor_group': {'type': 'string'},
        'conductor': _TEXT,
        'ranks': {'type': 'array', 'items': {'type': 'string'}},
        'credentials_refused': {'type': 'boolean'},
        'target_power_state': _TEXT,
        'last_error': _TEXT,
        'created_at': _TEXT,
        'updated_at': _TEXT,
    },
}

LIST = {
    'title': 'NodeList',
    'type': 'object',
    'required': ['nodes', 'next'],
    'properties': {'nodes': {'type': 'array', 'items': LISTED}, 'next': _TEXT},
}

GROUP = {
    'title': 'NodeGroup',
    'type': 'object',
    'required': ['name', 'nodes'],
    'properties': {
        'name': {'type': 'string'},
        'nodes': {'type': 'string'},
        'updated_at': _TEXT,
    },
}

GROUPS = {
    'title': 'NodeGroups',
    'type': 'object',
    'required': ['groups', 'next'],
    'properties': {'groups': {'type': 'array', 'items': GROUP}, 'next': _TEXT},
}

GROUP_CHANGE = {
    'title': 'NodeGroupChange',
    'type': 'object',
    'required': ['nodes'],
    'additionalProperties': False,
    'properties': {'nodes': {'type': 'string', 'description': 'A range.'}},
}
