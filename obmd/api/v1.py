"""``/api/v1`` in one table: path, method, who may, what goes in, what comes back.

``obmd.api.rows`` checks a request against its row; ``obmd.api.openapi`` writes the document.
"""

import functools

from obmd.api import http
from obmd.api import job_events
from obmd.api import node_routes
from obmd.api import openapi
from obmd.api.doors import audit
from obmd.api.doors import commands
from obmd.api.doors import console
from obmd.api.doors import drivers
from obmd.api.doors import jobs
from obmd.api.doors import native
from obmd.api.doors import power
from obmd.api.doors import tokens
from obmd.api.rows import ANY
from obmd.api.rows import NDJSON
from obmd.api.rows import OPEN
from obmd.api.rows import Row
from obmd.api.schemas import native as schemas

#: kinds of errors of what a BMC is asked for, and of what changes something there
_READS = ('unsupported', 'bmc_refused', 'credentials_refused', 'bmc_silent')
_WRITES = (*_READS, 'node_busy', 'outcome_unknown', 'state_not_reached')
_JOBS = ('jobs',)
_MOMENT = {'type': 'string', 'format': 'date-time'}
_LIMIT = {'type': 'integer', 'minimum': 1, 'maximum': 10000, 'default': 100}


def document(request, services):
    """``GET /api/v1/openapi.json``: 200, to everybody: it tells what can be asked for, and nothing
    of what is here."""
    return http.json_response(_document())


@functools.cache
def _document():
    return openapi.document(ROUTES)


_PAGE = {'type': 'integer', 'minimum': 1, 'maximum': 1000, 'default': 1000}
#: bytes; a ring has far less, and what is asked for beyond it is all there is
MOST_REPLAY = 10**18

#: path -> method -> :class:`obmd.api.rows.Row`
ROUTES = {
    **node_routes.ROUTES,
    '/api/v1/openapi.json': {
        'GET': Row(document, 'This document', OPEN, answer={'type': 'object'}),
    },
    '/api/v1/power': {
        'GET': Row(
            native.sweep,
            'The power of many nodes, a line each as the answers come',
            ('status',),
            query={
                'nodes': {
                    'type': 'string',
                    'minLength': 1,
                    'required': True,
                    'description': 'A range, such as rack1n[01-40].',
                },
                'deadline': {
                    'type': 'number',
                    'exclusiveMinimum': 0,
                    'description': 'Seconds until a node without an answer gets an error line.',
                },
            },
            answer=schemas.SWEEP_LINE,
            media=NDJSON,
        ),
    },
    '/api/v1/nodes/{id}/power': {
        'GET': Row(
            power.show,
            'The power of a node, asked for now',
            ('status',),
            answer=schemas.POWER_STATUS,
            errors=_READS,
        ),
        'PUT': Row(
            power.change,
            'Turn a node on or off, or restart it',
            ('power',),
            body=schemas.POWER_ACTION,
            answer=schemas.POWER_DONE,
            errors=_WRITES,
        ),
    },
    '/api/v1/nodes/{id}/boot_device': {
        'GET': Row(
            power.show_boot_device,
            'What a node boots from, asked for now',
            ('status', 'boot'),
            answer=schemas.BOOT_DEVICE_ANSWER,
            errors=_READS,
        ),
        'PUT': Row(
            power.change_boot_device,
            'Set what a node boots from',
            ('boot',),
            body=schemas.BOOT_DEVICE,
            answer=schemas.BOOT_DEVICE_ANSWER,
            errors=_WRITES,
        ),
    },
    '/api/v1/nodes/{id}/event_log': {
        'GET': Row(
            native.event_log,
            'The newest records of the event log of a BMC, oldest first',
            ('status',),
            query={'limit': _LIMIT},
            answer=schemas.EVENT_LOG,
            errors=_READS,
        ),
    },
    '/api/v1/nodes/{id}/console': {
        'GET': Row(
            console.show,
            'What the console of a node says, as it says it, a line an event',
            ('console',),
            query={
                'replay': {
                    'type': 'integer',
                    'minimum': 0,
                    'maximum': MOST_REPLAY,
                    'description': 'Bytes of history before what comes.',
                },
                'cursor': {
                    'type': 'string',
                    'pattern': '^[0-9A-Za-z_-]{1,64}:[0-9]{1,19}$',
                    'description': 'Goes on where a data event said.',
                },
                'takeover': {
                    'type': 'boolean',
                    'default': False,
                    'description': 'Ends the session of whoever holds the console.',
                },
            },
            answer=schemas.CONSOLE_LINE,
            media=NDJSON,
            errors=(*_READS, 'console_held'),
        ),
    },
    '/api/v1/drivers': {
        'GET': Row(drivers.index, 'The enabled drivers', ANY, answer=schemas.DRIVERS),
    },
    '/api/v1/drivers/{id}': {
        'GET': Row(drivers.show, 'A driver', ANY, answer=schemas.DRIVER),
    },
    '/api/v1/commands': {
        'GET': Row(commands.index, 'The commands that you may run', _JOBS, answer=schemas.COMMANDS),
    },
    '/api/v1/commands/{id}': {
        'GET': Row(commands.show, 'A command', _JOBS, answer=schemas.COMMAND),
    },
    '/api/v1/jobs': {
        'GET': Row(
            jobs.index,
            'Your jobs, the newest first; all jobs for the admin',
            _JOBS,
            query={
                'state': {'type': 'string', 'enum': list(schemas.JOB_STATES)},
                'limit': _PAGE,
                'marker': {'type': 'string', 'maxLength': 36},
            },
            answer=schemas.JOBS,
            errors=('not_found',),
        ),
        'POST': Row(
            jobs.create,
            'Run a command on nodes, or on none',
            _JOBS,
            body=schemas.NEW_JOB,
            answer=schemas.JOB,
            status=201,
            others={200: schemas.PLAN},
            errors=('not_found', 'outcome_unknown'),
        ),
    },
    '/api/v1/jobs/{id}': {
        'GET': Row(jobs.show, 'A job', _JOBS, answer=schemas.JOB),
        'DELETE': Row(
            jobs.cancel,
            'End a job: what runs is killed, what waits is not begun',
            _JOBS,
            answer=schemas.JOB,
            status=202,
            others={200: schemas.JOB},
        ),
    },
    '/api/v1/jobs/{id}/runs': {
        'GET': Row(
            jobs.runs,
            'The runs of a job, by position',
            _JOBS,
            query={
                'state': {'type': 'string', 'enum': list(schemas.RUN_STATES)},
                'limit': _PAGE,
                'marker': {'type': 'integer', 'minimum': 0, 'maximum': 2**31 - 1},
            },
            answer=schemas.RUNS,
        ),
    },
    '/api/v1/jobs/{id}/runs/{position}/output': {
        'GET': Row(
            jobs.output,
            'What a run writes, until it has ended',
            _JOBS,
            query={
                'stream': {
                    'type': 'string',
                    'enum': list(job_events.CHOICES),
                    'default': 'both',
                },
            },
            answer={},
            media='application/octet-stream',
        ),
    },
    '/api/v1/jobs/{id}/events': {
        'GET': Row(
            jobs.events,
            'What becomes of a job and what it writes, until it has ended',
            _JOBS,
            query={
                'cursor': {
                    'type': 'string',
                    'maxLength': 4096,
                    'description': 'As Last-Event-ID: the id of the last event that is known.',
                },
            },
            answer=schemas.JOB_EVENT,
            media=job_events.MEDIA,
        ),
    },
    '/api/v1/tokens': {
        'GET': Row(
            tokens.index,
            'The access tokens that were issued, themselves excepted',
            query={'limit': _PAGE, 'marker': {'type': 'string', 'maxLength': 64}},
            answer=schemas.TOKENS,
        ),
        'POST': Row(
            tokens.create,
            'Make an access token; it is told this once',
            body=schemas.NEW_TOKEN,
            answer=schemas.TOKEN_ISSUED,
            status=201,
        ),
    },
    '/api/v1/tokens/{id}': {
        'DELETE': Row(tokens.revoke, 'End an access token at once', answer=schemas.TOKEN),
    },
    '/api/v1/audit': {
        'GET': Row(
            audit.index,
            'Who did what, the newest first',
            query={
                'since': {**_MOMENT, 'description': 'From then on; a date will do.'},
                'until': {**_MOMENT, 'description': 'Before then.'},
                'subject': {'type': 'string', 'description': 'admin, or a token by id or label.'},
                'action': {'type': 'string', 'description': 'Such as "token revoke".'},
                'command': {'type': 'string', 'description': 'Jobs of this command.'},
                'job': {'type': 'string', 'description': 'What belongs to this job.'},
                'node': {'type': 'string', 'description': 'What this node was part of.'},
                'limit': _PAGE,
                'marker': {'type': 'integer', 'minimum': 0, 'maximum': 2**63 - 1},
            },
            answer=schemas.AUDIT,
        ),
    },
}
