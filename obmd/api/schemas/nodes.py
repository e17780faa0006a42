"""What the bodies of ``/api/v1/nodes/{id}`` hold."""

#: of a node; Linux names at most a few for each card
MOST_PORTS = 128
#: a year, in seconds
LONGEST_EXPECTED = 31536000

_OBJECT = {'type': ['object', 'null']}

CHANGE = {
    'title': 'NodeChange',
    'type': 'object',
    'properties': {
        'properties': _OBJECT,
        'extra': _OBJECT,
        'instance_info': _OBJECT,
        # what is in it is judged one by one up to the first mistake: a schema lists them all
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
