"""What the bodies of ``/api/v1/nodes/{id}`` hold."""

#: of a node; Linux names at most a few for each card
MOST_PORTS = 128
#: a year, in seconds
LONGEST_EXPECTED = 31536000

_OBJECT = {'type': ['object', 'null']}

CHANGE = {
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
