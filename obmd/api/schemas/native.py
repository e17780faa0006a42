"""What bodies and answers of ``/api/v1`` hold.  One that has a title is a schema of its own in the
OpenAPI document."""

from obmd.api import bearer
from obmd.drivers.base import CAPABILITIES
from obmd.drivers.base import Power

#: what PUT power takes beside what drivers do: shut down, wait until it is off, turn on
SOFT_CYCLE = 'soft_cycle'
ACTIONS = (Power.ON, Power.OFF, Power.SOFT_OFF, Power.CYCLE, SOFT_CYCLE, Power.RESET, Power.DIAG)

_NAME = {'type': 'string'}
_WORDS = {'type': ['string', 'null']}


def _object(title, required, **others):
    """:param required: dict name -> schema of what is always there; ``others``: what may be."""
    return {
        'title': title,
        'type': 'object',
        'required': list(required),
        'properties': {**required, **others},
    }


ERROR = _object(
    'Error',
    {
        'error': {
            'type': 'object',
            'required': ['kind', 'reason'],
            'properties': {
                'kind': {'type': 'string', 'description': 'For programs; see the manual.'},
                'reason': {'type': 'string', 'description': 'For people.'},
                'node': {'type': 'string', 'description': 'The node that it is about.'},
            },
        }
    },
)

HEALTH = _object('Health', {'status': {'const': 'ok'}})

POWER_ACTION = {
    'title': 'PowerAction',
    'type': 'object',
    'required': ['action'],
    'additionalProperties': False,
    'properties': {
        'action': {
            'enum': list(ACTIONS),
            'description': 'on and off are read back; cycle: reset, or on when it is off; '
            'soft_cycle: shut down by the operating system, then on.',
        }
    },
}
POWER_STATUS = _object('PowerStatus', {'node': _NAME, 'power_status': {'type': 'string'}})
POWER_DONE = _object(
    'PowerDone',
    {
        'node': _NAME,
        'action': {'enum': list(ACTIONS)},
        'power_status': {
            'type': ['string', 'null'],
            'description': 'As read back; null where the action is told and not waited for.',
        },
    },
)
SWEEP_LINE = _object(
    'SweepLine',
    {'node': _NAME},
    power_status={'type': 'string'},
    error=ERROR['properties']['error'],
)

BOOT_DEVICE = {
    'title': 'BootDeviceChange',
    'type': 'object',
    'required': ['device'],
    'additionalProperties': False,
    'properties': {'device': {'type': 'string', 'maxLength': 255}},
}
_DEVICES = {
    'type': ['array', 'null'],
    'items': {'type': 'string'},
    'description': 'What it may be; null: any.',
}
BOOT_DEVICE_ANSWER = _object('BootDevice', {'node': _NAME, 'device': _WORDS, 'devices': _DEVICES})

EVENT_LOG = _object(
    'EventLog',
    {
        'node': _NAME,
        'events': {
            'type': 'array',
            'items': {
                'type': 'object',
                'required': ['id', 'time', 'sensor', 'event', 'raw'],
                'properties': {
                    'id': {'type': 'integer'},
                    'time': _WORDS,
                    'sensor': {'type': 'string'},
                    'event': {'type': 'string'},
                    'raw': {'type': 'string'},
                },
            },
        },
    },
)

DRIVER = _object(
    'Driver',
    {
        'name': _NAME,
        'aliases': {'type': 'array', 'items': {'type': 'string'}},
        'capabilities': {'type': 'array', 'items': {'enum': sorted(CAPABILITIES)}},
        'boot_devices': _DEVICES,
        'secret_fields': {
            'type': 'array',
            'items': {'type': 'string'},
            'description': 'Names in info that are credentials: kept sealed, never shown.',
        },
        'info_schema': {
            'type': 'object',
            'description': 'JSON schema of the info that a node of this driver is given.',
        },
    },
)
DRIVERS = _object('Drivers', {'drivers': {'type': 'array', 'items': DRIVER}})

_NAMES = {'type': ['array', 'null'], 'items': {'type': 'string'}}
_TIME = {'type': 'string', 'format': 'date-time'}
_TIMES = {'type': ['string', 'null'], 'format': 'date-time'}
_NEXT = {'type': ['string', 'null'], 'description': 'marker of the next page; null: that is all.'}

NEW_TOKEN = {
    'title': 'NewToken',
    'type': 'object',
    'additionalProperties': False,
    'properties': {
        'days': {
            'type': ['number', 'null'],
            'exclusiveMinimum': 0,
            'maximum': bearer.MOST_DAYS,
            'description': f'{bearer.DAYS} if not given.',
        },
        'label': {
            'type': ['string', 'null'],
            'minLength': 1,
            'maxLength': bearer.LONGEST_LABEL,
            'description': 'Whose it is.',
        },
        'commands': {
            'type': ['array', 'null'],
            'items': {'type': 'string', 'minLength': 1, 'maxLength': 255},
            'minItems': 1,
            'maxItems': bearer.MOST_COMMANDS,
            'description': 'What it may run; null: all.',
        },
        'nodes': {
            'type': ['string', 'null'],
            'minLength': 1,
            'description': 'A range; null: all.',
        },
        'operations': {
            'type': ['array', 'null'],
            'items': {'enum': list(bearer.OPERATIONS)},
            'minItems': 1,
            'description': f'null: {bearer.JOBS}.',
        },
    },
}
_TOKEN = {
    'jti': {'type': 'string', 'description': 'Its id, the claim jti (RFC 7519).'},
    'label': _WORDS,
    'state': {'enum': ['good', 'expired', 'revoked']},
    'commands': _NAMES,
    'nodes': _WORDS,
    'operations': {'type': 'array', 'items': {'type': 'string'}},
    'issued_at': _TIME,
    'expires_at': _TIME,
    'revoked_at': _TIMES,
}
TOKEN = _object('Token', _TOKEN)
TOKEN_ISSUED = _object('TokenIssued', {**_TOKEN, 'token': {'type': 'string'}})
TOKENS = _object('Tokens', {'tokens': {'type': 'array', 'items': TOKEN}, 'next': _NEXT})

AUDIT = _object(
    'Audit',
    {
        'audit': {
            'type': 'array',
            'items': _object(
                'AuditEntry',
                {
                    'id': {'type': 'integer'},
                    'at': _TIME,
                    'action': {'type': 'string'},
                    'subject': _WORDS,
                    'label': _WORDS,
                    'claimed_user': {
                        'type': ['string', 'null'],
                        'description': 'Whom the caller said to be; not checked.',
                    },
                    'claimed_uid': {'type': ['integer', 'null']},
                    'source': _WORDS,
                    'request_id': _WORDS,
                    'door': _WORDS,
                    'nodes': _WORDS,
                    'job': _WORDS,
                    'outcome': _WORDS,
                    'detail': _WORDS,
                },
            ),
        },
        'next': {'type': ['integer', 'null']},
    },
)

CONSOLE_LINE = _object(
    'ConsoleEvent',
    {'event': {'enum': ['data', 'gap', 'state']}},
    state={'enum': ['up', 'down'], 'description': 'state: whether the console is there.'},
    offset={'type': 'integer', 'description': 'data: of its first byte.'},
    cursor={'type': 'string', 'description': 'data: resumes behind it.'},
    data={'type': 'string', 'contentEncoding': 'base64'},
    bytes={'type': ['integer', 'null'], 'description': 'gap: bytes that are gone.'},
)


COMMAND = _object(
    'Command',
    {
        'name': _NAME,
        'summary': {'type': 'string'},
        'description': {'type': 'string'},
        'syntax': {'type': 'string', 'description': 'What follows its name on a command line.'},
        'confirmation': {
            'type': ['string', 'null'],
            'description': 'What to ask a user before; %{nodes} stands for the nodes.',
        },
        'has_context': {'type': 'boolean', 'description': 'It runs on nodes, once on each.'},
        'builtin': {'type': 'boolean', 'description': 'obmd does it where no script fits.'},
        'ranks': {'type': 'array', 'items': {'type': 'string'}, 'description': 'With a script.'},
    },
)
COMMANDS = _object('Commands', {'commands': {'type': 'array', 'items': COMMAND}})

JOB_STATES = ('running', 'ended')
RUN_STATES = ('queued', 'running', 'ended')
_COUNT = {'type': 'integer', 'minimum': 0}
_STATUS = {'type': ['integer', 'null']}

NEW_JOB = {
    'title': 'NewJob',
    'type': 'object',
    'required': ['command'],
    'additionalProperties': False,
    'properties': {
        'command': {'type': 'string', 'minLength': 1, 'maxLength': 255},
        'arguments': {'type': ['array', 'null'], 'items': {'type': 'string'}, 'maxItems': 1000},
        'nodes': {
            'type': ['string', 'null'],
            'minLength': 1,
            'description': 'A range; null for a command that runs on no nodes.',
        },
        'limit': {
            'type': ['integer', 'null'],
            'minimum': 1,
            'maximum': 4096,
            'description': 'Runs at once.',
        },
        'stagger': {
            'type': ['number', 'null'],
            'minimum': 0,
            'maximum': 3600,
            'description': 'Seconds between two starts.',
        },
        'timeout': {
            'type': ['number', 'null'],
            'exclusiveMinimum': 0,
            'maximum': 2**31,
            'description': 'Seconds that a run may take.',
        },
        'dry_run': {
            'type': ['boolean', 'null'],
            'description': 'Tell what would run where, and run nothing.',
        },
        'request_username': {
            'type': ['string', 'null'],
            'maxLength': 255,
            'pattern': '^[^\\x00-\\x1f]*$',
            'description': 'Who the caller says to be; recorded, not checked.',
        },
        'request_uid': {'type': ['integer', 'null'], 'minimum': 0, 'maximum': 2**32 - 1},
    },
}
JOB = _object(
    'Job',
    {
        'id': {'type': 'string'},
        'command': {'type': 'string'},
        'arguments': {'type': 'array', 'items': {'type': 'string'}},
        'nodes': _WORDS,
        'context_type': _WORDS,
        'state': {'enum': list(JOB_STATES)},
        'status': {**_STATUS, 'description': 'The largest of its runs, once it has ended.'},
        'total': _COUNT,
        'counts': {
            'type': 'object',
            'required': list(RUN_STATES),
            'properties': dict.fromkeys(RUN_STATES, _COUNT),
        },
        'failed': {**_COUNT, 'description': 'Runs that ended with another status than 0.'},
        'limit': _COUNT,
        'stagger': {'type': 'number'},
        'timeout': {'type': 'number'},
        'output_limit': _COUNT,
        'requested_by': {
            'type': 'object',
            'required': ['subject', 'label', 'username', 'uid', 'source', 'door'],
            'properties': {
                'subject': {'type': 'string', 'description': 'admin, or the id of a token.'},
                'label': _WORDS,
                'username': {'type': ['string', 'null'], 'description': 'Not checked.'},
                'uid': {'type': ['integer', 'null']},
                'source': _WORDS,
                'door': {'type': 'string'},
            },
        },
        'created_at': _TIME,
        'cancelled_at': _TIMES,
        'ended_at': _TIMES,
        'links': {'type': 'object', 'additionalProperties': {'type': 'string'}},
    },
)
JOBS = _object('Jobs', {'jobs': {'type': 'array', 'items': JOB}, 'next': _NEXT})
PLAN = _object(
    'Plan',
    {
        'command': {'type': 'string'},
        'runs': {
            'type': 'array',
            'items': _object(
                'PlannedRun',
                {
                    'position': _COUNT,
                    'node': _WORDS,
                    'rank': _WORDS,
                    'executes': {'type': 'string', 'description': 'builtin, or a script.'},
                    'conductor': _WORDS,
                    'problem': _WORDS,
                },
            ),
        },
    },
)
JOB_EVENT = _object(
    'JobEvent',
    {
        'event': {'enum': ['run', 'output', 'gap', 'job']},
        'data': {'type': 'string', 'contentMediaType': 'application/json'},
    },
    id={'type': 'string', 'description': 'As Last-Event-ID: resumes behind it.'},
)
RUNS = _object(
    'Runs',
    {
        'runs': {
            'type': 'array',
            'items': _object(
                'Run',
                {
                    'position': _COUNT,
                    'node': _WORDS,
                    'state': {'enum': list(RUN_STATES)},
                    'outcome': _WORDS,
                    'status': _STATUS,
                    'reason': _WORDS,
                    'conductor': _WORDS,
                    'started_at': _TIMES,
                    'ended_at': _TIMES,
                    'output_bytes': _COUNT,
                },
            ),
        },
        'next': {'type': ['integer', 'null']},
    },
)
